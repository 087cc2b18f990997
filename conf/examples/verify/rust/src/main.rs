//! A small upstream with `verify.rs` in it, set by the environment: see `../README.md`.

use std::{env, net::SocketAddr, process::exit, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

mod keys;
mod verify;

use keys::Keys;
use verify::{Claims, PARTS, Refused, Verifier};

struct Upstream {
    verifier: Verifier,
    /// The field that carries the token, and what stands before it.
    header: String,
    before: &'static str,
}

#[tokio::main]
async fn main() {
    let algorithms = words("ALGORITHMS", "ES256", &["ES256", "EdDSA", "RS256", "PS256"]);
    if algorithms.is_empty() {
        fail("ALGORITHMS is empty");
    }
    let algorithms = algorithms.iter().filter_map(|name| name.parse().ok()).collect();
    let keys =
        Keys::new(needed("JWKS"), algorithms, seconds("JWKS_REFETCH", "5"), seconds("JWKS_MAX_AGE", "300"));
    let verifier = Verifier {
        keys,
        issuer: needed("ISSUER"),
        audience: needed("AUDIENCE"),
        require_bind: words("REQUIRE_BIND", "", &PARTS),
        scheme: setting("SCHEME", "http"),
        seen: (setting("ONCE", "") == "1").then(Default::default),
    };
    let before = if setting("BEARER", "") == "1" { "Bearer " } else { "" };
    let upstream = Arc::new(Upstream { verifier, header: setting("HEADER", "JWT"), before });
    let address: SocketAddr =
        setting("LISTEN", "127.0.0.1:8080").parse().unwrap_or_else(|_| fail("LISTEN is no ADDRESS:PORT"));
    let listener = TcpListener::bind(address).await.unwrap_or_else(|why| fail(&why.to_string()));
    println!("listening on {}", listener.local_addr().unwrap_or(address));
    axum::serve(listener, Router::new().fallback(serve).with_state(upstream)).await.ok();
}

async fn serve(State(upstream): State<Arc<Upstream>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(Body::new(body), MAX_BODY).await else {
        return answer(
            StatusCode::PAYLOAD_TOO_LARGE,
            &json!({ "title": "Content Too Large", "status": 413 }),
        );
    };
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let asked = verify::Request {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        host,
        body: &body,
    };
    match upstream.claims(&head.headers, &asked).await {
        Ok(claims) => answer(StatusCode::OK, &Value::Object(claims)),
        Err(why) => answer(
            StatusCode::UNAUTHORIZED,
            &json!({ "title": "Unauthorized", "status": 401, "detail": why }),
        ),
    }
}

impl Upstream {
    async fn claims(
        &self,
        headers: &header::HeaderMap,
        asked: &verify::Request<'_>,
    ) -> Result<Claims, Refused> {
        let lines: Vec<_> = headers.get_all(&self.header).iter().collect();
        // Of two, somebody else might read the other one.
        let [line] = lines[..] else {
            return Err(format!("{} fields `{}` instead of one", lines.len(), self.header));
        };
        let token = line.to_str().ok().and_then(|line| line.strip_prefix(self.before));
        let token =
            token.ok_or_else(|| format!("`{}` does not begin with `{}`", self.header, self.before))?;
        self.verifier.verify(token, asked).await
    }
}

fn answer(status: StatusCode, value: &Value) -> Response {
    let media = if status == StatusCode::OK { "application/json" } else { "application/problem+json" };
    let mut response = (status, [(header::CONTENT_TYPE, media)], value.to_string()).into_response();
    if status == StatusCode::UNAUTHORIZED {
        let challenge = header::HeaderValue::from_static("Bearer error=\"invalid_token\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

fn setting(name: &str, otherwise: &str) -> String {
    env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

fn needed(name: &str) -> String {
    match setting(name, "") {
        empty if empty.is_empty() => fail(&format!("{name} is not set")),
        value => value,
    }
}

/// A setting that is a list; with a word that is misspelt nothing starts.
fn words(name: &str, otherwise: &str, allowed: &[&str]) -> Vec<String> {
    let found: Vec<_> =
        setting(name, otherwise).split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    if let Some(wrong) = found.iter().find(|word| !allowed.contains(&word.as_str())) {
        fail(&format!("{name}: `{wrong}` is none of {}", allowed.join(" ")));
    }
    found
}

fn seconds(name: &str, otherwise: &str) -> Duration {
    let number = setting(name, otherwise).parse();
    Duration::from_secs(number.unwrap_or_else(|_| fail(&format!("{name} is no number of seconds"))))
}

fn fail(why: &str) -> ! {
    eprintln!("{why}");
    exit(1)
}

const MAX_BODY: usize = 1 << 20;
