//! Signed identity, end to end: what upstreams get, what clients cannot do, and what
//! becomes of keys and bodies.

mod bodies;
mod forged;
mod held;
mod key_set;
mod plugin;
mod rotation;
mod secrets;

use std::{fs, os::unix::fs::PermissionsExt, time::SystemTime};

use serde_json::{Map, Value, json};
use tollgate::{
    config::signer::Algorithm,
    jwt::{Expected, PublicKeys, SigningKey, verify},
};

use crate::support::{
    Gateway, Http1, Http2, Origin, Request, Response, Tls, WebSocket, certs, gateway::GatewayBuilder,
    http2::grpc_frame, response::Echo,
};

#[tokio::test]
async fn an_upstream_gets_a_token_that_says_who_asks_and_what() {
    let origin = Origin::start().await;
    let claims = "claims: [client_ip, zone, route, tenant], bind: [method, path, query, host]";
    let gateway = signing(&origin, claims).yaml_more("location: { zone: use1-az9 }").start().await;

    let echo = gateway.send(&Request::post("/orders/a%20b?n=1", "hi")).await.echo();

    let claims = claims_of(&gateway, only_token(&echo)).await;
    for (name, value) in [
        ("iss", json!("https://gw.test")),
        ("aud", json!("origin")),
        ("sub", json!("anonymous")),
        ("client_ip", json!("127.0.0.1")),
        ("zone", json!("use1-az9")),
        ("route", json!("all")),
        ("htm", json!("POST")),
        ("htu", json!(format!("http://{}/orders/a%20b", echo.host().unwrap()))),
        ("qh", json!(base64url_sha256(b"n=1"))),
    ] {
        assert_eq!(claims.get(name), Some(&value), "{name} of {claims:?}");
    }
    assert_eq!(claims.get("tenant"), None);
    assert_eq!(echo.target(), "/orders/a%20b?n=1");
}

#[tokio::test]
async fn a_token_tells_path_and_host_as_the_upstream_gets_them() {
    let origin = Origin::start().await;
    let gateway = signing(&origin, "bind: [path, host]")
        .yaml_more(
            "routes: [{ name: all, sign: default, to: [{ upstream: origin }], rewrite: { strip_prefix: /v1, host: inner.test } }]",
        )
        .start()
        .await;

    let echo = gateway.get("/v1/orders").await.echo();

    let claims = claims_of(&gateway, only_token(&echo)).await;
    assert_eq!(claims["htu"], "http://inner.test/orders");
    assert_eq!((echo.target(), echo.host()), ("/orders", Some("inner.test")));
}

#[tokio::test]
async fn every_algorithm_signs_and_bearer_stands_before_it_where_asked() {
    let origin = Origin::start().await;
    for algorithm in Algorithm::ALL {
        let more = format!("algorithm: {algorithm}, header: X-Identity, bearer: true");
        let gateway =
            signing_with(&origin, &more).key("keys/a.pem", &pem(algorithm)).yaml_done().start().await;

        let echo = gateway.get("/").await.echo();

        let token = echo.header("x-identity").unwrap().strip_prefix("Bearer ").unwrap();
        claims_of(&gateway, token).await;
    }
}

#[tokio::test]
async fn tokens_are_used_again_unless_they_are_bound_and_counted_either_way() {
    let origin = Origin::start().await;
    for (more, different, cached) in [("", 1, 2.0), ("bind: [path]", 3, 0.0)] {
        let gateway = signing(&origin, more).start().await;
        let mut tokens = Vec::new();
        for _ in 0..3 {
            tokens.push(only_token(&gateway.get("/").await.echo()).to_owned());
        }

        tokens.sort();
        tokens.dedup();

        assert_eq!(tokens.len(), different, "{more}");
        let counted = async |result| {
            let labels = [("signer", "default"), ("result", result)];
            gateway.metric("tollgate_jwt_signed_total", &labels).await
        };
        assert_eq!((counted("cached").await, counted("fresh").await), (cached, 3.0 - cached), "{more}");
    }
}

#[tokio::test]
async fn http_2_websockets_and_grpc_are_signed_too() {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let gateway = signing(&origin, "bind: [path]").certificate(&certificate).start().await;

    let mut client = gateway.connect_http2(&Tls::default()).await.unwrap();
    let echo = client.send(&Request::post("/two", "hi")).await.echo();
    assert_eq!(claims_of(&gateway, only_token(&echo)).await["htu"], "/two");

    let call =
        Request::new("POST", "/echo").header("content-type", "application/grpc").header("te", "trailers");
    client.send(&call.chunks(&[grpc_frame(b"x")]).script("status=200")).await;
    let mut socket = WebSocket::open(gateway.connect().await, &Request::get("/chat")).await.unwrap();
    socket.send_text("hello").await.unwrap();
    for path in ["/echo", "/chat"] {
        let signed = gateway.line(|line| line["path"] == path || path == "/chat").await;
        assert!(signed["status"].is_number());
    }
    let labels = [("signer", "default"), ("result", "fresh")];
    assert_eq!(gateway.metric("tollgate_jwt_signed_total", &labels).await, 3.0);
}

#[tokio::test]
async fn all_attempts_of_a_request_have_one_token() {
    let (bad, good) = (Origin::answers(503).await, Origin::start().await);
    let gateway = signing(&good, "bind: [path]")
        .origin("bad", &bad)
        .yaml_more(
            "upstreams: [{ name: origin, retries: { attempts: 3, on: [503] }, endpoints: [{ address: \"{bad}\" }, { address: \"{origin}\" }] }]\nroutes: [{ name: all, sign: default, to: [{ upstream: origin }] }]",
        )
        .start()
        .await;

    for _ in 0..6 {
        let echo = gateway.get("/").await.echo();
        claims_of(&gateway, only_token(&echo)).await;
    }

    let labels = [("signer", "default"), ("result", "fresh")];
    assert!(bad.requests().await > 0);
    assert_eq!(gateway.metric("tollgate_jwt_signed_total", &labels).await, 6.0);
}

#[tokio::test]
async fn bad_keys_stop_a_start_and_a_reload_keeps_the_good_ones() {
    let origin = Origin::start().await;
    let without = signing_with(&origin, "").file("keys/readme.txt", "none here").yaml_done();
    assert!(without.check(&[]).await.stderr.contains("signers[0].keys"));
    let wrong = signing_with(&origin, "").key("keys/a.pem", &pem(Algorithm::EdDsa)).yaml_done();
    assert_eq!(wrong.run_to_end().await.code, Some(78));

    let gateway = signing(&origin, "").start().await;
    let damaged = "-----BEGIN PRIVATE KEY-----\nrubbish\n-----END PRIVATE KEY-----\n";
    for (text, words) in [
        (damaged.to_owned(), "is damaged"),
        (p384(), "is a P-384 key, and ES256 needs a P-256 key"),
        (pem(Algorithm::Rs256), "is an RSA key, and ES256 needs a P-256 key"),
        (pem(Algorithm::Es256).replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "is encrypted"),
    ] {
        gateway.files.write_key("keys/b.pem", &text);
        let refused = gateway.reload().await;
        assert_eq!(refused.code, Some(78), "{refused:?}");
        assert!(refused.stderr.contains("b.pem") && refused.stderr.contains(words), "{words}: {refused:?}");
    }
    gateway.files.write("keys/b.pem", &pem(Algorithm::Es256));
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(gateway.files.path("keys/b.pem"), open).unwrap();
    let refused = gateway.reload().await;
    assert!(refused.stderr.contains("can be read or changed by others (mode 0644)"), "{refused:?}");
    fs::remove_file(gateway.files.path("keys/b.pem")).unwrap();
    fs::set_permissions(gateway.files.path("keys"), fs::Permissions::from_mode(0o777)).unwrap();
    let refused = gateway.reload().await;
    assert!(refused.stderr.contains("can be written by everyone"), "{refused:?}");
    let echo = gateway.get("/").await.echo();
    claims_of(&gateway, only_token(&echo)).await;
}

#[tokio::test]
async fn keys_may_be_credentials_of_the_service_manager() {
    let origin = Origin::start().await;
    let credentials = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode| {
        let path = credentials.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    // As `LoadCredential=jwt:FOLDER` names them, and another credential beside.
    write("jwt_a.pem", &pem(Algorithm::Es256), 0o400);
    write("tls.pem", "of somebody else", 0o400);
    let signer = Signing {
        signer: "signers: [{ name: default, issuer: \"https://gw.test\", keys: \"credential:jwt\" }]"
            .to_owned(),
        ..signing_with(&origin, "")
    };
    let folder = credentials.path().display().to_string();
    let gateway = signer.env("CREDENTIALS_DIRECTORY", &folder).start().await;

    let echo = gateway.get("/").await.echo();
    let told = gateway.ask(&["keys", "status", "--json"]).await;
    write("jwt_b.pem", "damaged", 0o400);
    let refused = gateway.reload().await;

    claims_of(&gateway, only_token(&echo)).await;
    assert!(told.stdout.contains("\"jwt_a.pem\""), "{told:?}");
    assert_eq!(refused.code, Some(78), "{refused:?}");
    assert!(refused.stderr.contains("jwt_b.pem` holds no private key"), "{refused:?}");
}

#[tokio::test]
async fn explain_says_who_would_sign_and_what_the_token_tells() {
    let origin = Origin::start().await;
    let gateway = signing(&origin, "claims: [zone, { token: groups }], bind: [path, body]").start().await;

    let told = gateway.ask(&["explain", "--host", "a.test", "--path", "/"]).await;

    let line = "signed by default with ES256 in jwt: iss aud sub iat nbf exp jti zone groups htu bh";
    assert!(told.stdout.contains(line), "{told:?}");
}

#[tokio::test]
async fn check_tells_what_rsa_costs() {
    let origin = Origin::start().await;
    let builder =
        signing_with(&origin, "algorithm: RS256").key("keys/a.pem", &pem(Algorithm::Rs256)).yaml_done();

    let told = builder.check(&[]).await;

    assert!(told.stdout.contains("note: signer default pays about 630 us"), "{told:?}");
}

/// A signed gateway to be started.
pub struct Signing {
    builder: GatewayBuilder,
    signer: String,
    more: String,
}

/// In front of one origin, with a signer `default` of ES256 whose spec says more, and
/// one route `all` that it signs for.
pub fn signing(origin: &Origin, more: &str) -> Signing {
    signing_with(origin, more).key("keys/a.pem", &pem(Algorithm::Es256))
}

/// As [`signing`], without a key yet.
pub fn signing_with(origin: &Origin, more: &str) -> Signing {
    let signer = format!("signers: [{{ name: default, issuer: \"https://gw.test\", keys: keys, {more} }}]");
    Signing { builder: Gateway::builder().origin("origin", origin), signer, more: String::new() }
}

impl Signing {
    /// More sections, in lines of their own.
    pub fn yaml_more(mut self, more: &str) -> Self {
        self.more = format!("{}\n{more}", self.more);
        self
    }

    pub fn key(self, name: &str, text: &str) -> Self {
        Self { builder: self.builder.key(name, text), ..self }
    }

    pub fn file(self, name: &str, text: &str) -> Self {
        Self { builder: self.builder.file(name, text), ..self }
    }

    pub fn origin(self, name: &str, origin: &Origin) -> Self {
        Self { builder: self.builder.origin(name, origin), ..self }
    }

    pub fn certificate(self, issued: &certs::Issued) -> Self {
        Self { builder: self.builder.certificate(issued), ..self }
    }

    pub fn env(self, name: &str, value: &str) -> Self {
        Self { builder: self.builder.env(name, value), ..self }
    }

    /// What the gateway's own builder does from here on.
    pub fn yaml_done(self) -> GatewayBuilder {
        let yaml = self.yaml();
        self.builder.yaml(&yaml)
    }

    pub async fn start(self) -> Gateway {
        self.yaml_done().start().await
    }

    /// The main file.
    pub fn yaml(&self) -> String {
        let mut yaml = format!("{}{}", self.signer, self.more);
        if !self.more.contains("\nupstreams:") {
            yaml.push_str("\nupstreams: [{ name: origin, endpoints: [{ address: \"{origin}\" }] }]");
        }
        if !self.more.contains("\nroutes:") {
            yaml.push_str("\nroutes: [{ name: all, sign: default, to: [{ upstream: origin }] }]");
        }
        yaml
    }
}

fn p384() -> String {
    let curve = boring::ec::EcGroup::from_curve_name(boring::nid::Nid::SECP384R1).unwrap();
    let key = boring::ec::EcKey::generate(&curve).unwrap();
    String::from_utf8(key.private_key_to_pem().unwrap()).unwrap()
}

/// A fresh key.
pub fn pem(algorithm: Algorithm) -> String {
    String::from_utf8(SigningKey::generate(algorithm).unwrap().to_pem().unwrap()).unwrap()
}

/// The token in `JWT`; panics unless there is exactly one line.
pub fn only_token(echo: &Echo) -> &str {
    echo.header("jwt").unwrap_or_else(|| panic!("not one token: {:?}", echo.lines("jwt")))
}

/// The claims of a token that verifies with the keys that the gateway tells now.
pub async fn claims_of(gateway: &Gateway, token: &str) -> Map<String, Value> {
    let keys = PublicKeys::parse(&jwks(gateway, &Request::get("/jwks.json")).await.body).unwrap();
    let verified = verify(token, &keys, &Expected::default(), SystemTime::now());
    verified.unwrap_or_else(|flaw| panic!("{flaw:?}: {token}")).claims
}

/// Asks the admin listener.
pub async fn jwks(gateway: &Gateway, request: &Request) -> Response {
    Http1::open(gateway.address("metrics")).await.send(&request.clone().honest()).await
}

pub fn base64url_sha256(bytes: &[u8]) -> String {
    tollgate::jwt::encode(&boring::sha::sha256(bytes))
}

/// An HTTP/2 connection to the TLS listener.
#[allow(dead_code)]
pub async fn http2(gateway: &Gateway) -> Http2 {
    gateway.connect_http2(&Tls::default()).await.unwrap()
}

/// One route towards HTTP/1, one towards HTTP/2.
const TWO_PROTOCOLS: &str = "
upstreams:
  - { name: one, endpoints: [{ address: \"{origin}\" }] }
  - { name: two, endpoints: [{ address: \"{origin}\" }], protocol: http2 }
routes:
  - { name: one, match: { path: /one }, sign: default, to: [{ upstream: one }] }
  - { name: two, match: { path: /two }, sign: default, to: [{ upstream: two }] }
";
