//! What services get that verify the tokens of Kong's plugin today: its claims and
//! nothing else, with the hash of every body.

use boring::x509::X509;
use serde_json::{Value, json};

use super::{TWO_PROTOCOLS, bodies::hex, http2, jwks, only_token, signing_with};
use crate::support::{Gateway, Origin, Request, Response, certs};

/// An RSA key and its certificate, in one file.
async fn key() -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let plugins = ["--algorithm", "RS256", "--certificate", "gw.test", "--name", "a"];
    let made = Gateway::cli(&[&["keys", "generate", "--out", &path], &plugins[..]].concat()).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    std::fs::read_to_string(folder.path().join("a.pem")).unwrap()
}

fn part(token: &str, nth: usize) -> Value {
    let part = token.split('.').nth(nth).unwrap();
    serde_json::from_slice(&tollgate::jwt::decode(part.as_bytes()).unwrap()).unwrap()
}

fn names(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn the_plugins_claims_are_all_there_with_the_hash_of_every_body() {
    let (origin, key) = (Origin::start().await, key().await);
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let signer = signing_with(&origin, "profile: kong_upstream_jwt").key("keys/a.pem", &key);
    let gateway = signer.certificate(&certificate).yaml_more(TWO_PROTOCOLS).start().await;
    let own = X509::from_pem(key.as_bytes()).unwrap();

    // The plugin itself tells nothing of a body above 8 KB.
    let bodies = [&b""[..], b"hello", &[7; 100_000]];
    for (path, body) in ["/one", "/two"].into_iter().flat_map(|path| bodies.map(|body| (path, body))) {
        let chunks: Vec<_> = body.chunks(9_000).collect();
        for request in [Request::post(path, body), Request::post(path, "").chunks(&chunks)] {
            let answers = [gateway.send(&request).await, http2(&gateway).await.send(&request).await];
            answers.iter().for_each(|answer| assert_the_plugins(answer, body, &own));
            assert!(answers.iter().all(|answer| part(only_token(&answer.echo()), 1)["aud"] == path[1..]));
        }
    }
    // And the keys are told as any other's.
    let keys = jwks(&gateway, &Request::get("/jwks.json")).await.json();
    assert_eq!(keys["keys"][0]["alg"], "RS256");
}

#[tokio::test]
async fn the_plugins_consumer_is_who_was_authenticated() {
    let (origin, key) = (Origin::start().await, key().await);
    let caller = tollgate::identity::NewKey::new(&[7; 40]);
    let sections = "authentication: [{ name: partners, api_keys: { files: [callers.yaml] } }]
routes: [{ name: all, sign: default, to: [{ upstream: origin }], authenticate: [partners] }]";
    let callers = format!("keys: [{{ consumer: partner-a, sha256: {} }}]\n", caller.digest);
    let signer = signing_with(&origin, "profile: kong_upstream_jwt").key("keys/a.pem", &key);
    let gateway = signer.file("callers.yaml", &callers).yaml_more(sections).start().await;

    let echo = gateway.send(&Request::get("/").header("X-Api-Key", &caller.key)).await.echo();

    let claims = part(only_token(&echo), 1);
    let plugins = ["aud", "consumerid", "consumername", "exp", "iat", "iss", "jti", "payloadhash"];
    assert_eq!(names(&claims), plugins);
    assert_eq!((&claims["consumerid"], &claims["consumername"]), (&json!("partner-a"), &json!("partner-a")));
}

fn assert_the_plugins(answer: &Response, body: &[u8], own: &X509) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let echo = answer.echo();
    let (header, claims) = (part(only_token(&echo), 0), part(only_token(&echo), 1));
    let hash = if body.is_empty() { String::new() } else { hex(&boring::sha::sha256(body)) };
    let shown = tollgate::jwt::decode(header["x5c"][0].as_str().unwrap().as_bytes()).unwrap();

    assert_eq!(names(&claims), ["aud", "exp", "iat", "iss", "jti", "payloadhash"]);
    assert_eq!(claims["payloadhash"], hash, "{}", body.len());
    assert_eq!(names(&header), ["alg", "kid", "typ", "x5c"]);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("RS256"), &json!("JWT")));
    assert_eq!(shown, own.to_der().unwrap());
    assert_eq!(echo.0["body_bytes"], body.len());
}
