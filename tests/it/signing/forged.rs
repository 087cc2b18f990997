//! Whatever a client writes into a signer's field, no upstream sees it, whether the
//! route signs or not.

use serde_json::json;

use super::{claims_of, only_token, signing};
use crate::support::{
    Frames, Gateway, Origin, Request, Response, Tls, certs,
    frames::{Outcome, get},
    request::HOST,
};

const FORGED: &str = "f0rged-by-a-client";

/// A route that signs, one that does not, and one of a signer with another field.
async fn gateway(origin: &Origin) -> Gateway {
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let routes = "
routes:
  - { name: signed, match: { path: /signed }, sign: default, to: [{ upstream: origin }] }
  - { name: plain, match: { path: /plain }, to: [{ upstream: origin }] }
  - { name: two, match: { path: /two }, sign: default, to: [{ upstream: two }] }
upstreams:
  - { name: origin, endpoints: [{ address: \"{origin}\" }] }
  - { name: two, endpoints: [{ address: \"{origin}\" }], protocol: http2 }
";
    signing(origin, "bind: [path]").certificate(&certificate).yaml_more(routes).start().await
}

/// Nothing of it arrived: it was refused, or there is our token and nothing else.
async fn assert_not_there(gateway: &Gateway, answer: &Response, sent: &str) {
    if answer.status == 400 {
        return;
    }
    assert_eq!(answer.status, 200, "{sent:?} got {answer:?}");
    let echo = answer.echo();
    assert!(!echo.0.to_string().contains(FORGED), "{sent:?} came through: {}", echo.0);
    match echo.target() {
        "/plain" => assert_eq!(echo.lines("jwt"), Vec::<&str>::new(), "{sent:?}"),
        _ => drop(claims_of(gateway, only_token(&echo)).await),
    }
}

#[tokio::test]
async fn no_spelling_in_a_header_arrives() {
    let origin = Origin::start().await;
    let gateway = gateway(&origin).await;
    let lines = [
        format!("JWT: {FORGED}\r\n"),
        format!("jwt: {FORGED}\r\n"),
        format!("jWt: {FORGED}\r\nJWT: {FORGED}\r\nJwt:{FORGED}\r\n"),
        format!("JWT : {FORGED}\r\n"),
        format!("JWT:\r\n {FORGED}\r\n"),
        format!("J_WT: {FORGED}\r\n_JWT: {FORGED}\r\n"),
        format!("Connection: JWT\r\nJWT: {FORGED}\r\n"),
        format!("Connection: close, jwt\r\nJWT: {FORGED}\r\n"),
        "Connection: JWT\r\n".to_owned(),
        "JWT: \r\n".to_owned(),
    ];

    for path in ["/signed", "/plain", "/two"] {
        for lines in &lines {
            let sent = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n");
            let answer = gateway.connect().await.send_raw(&sent).await;
            assert_not_there(&gateway, &answer, &sent).await;
        }
    }
}

#[tokio::test]
async fn none_arrives_from_http_2() {
    let origin = Origin::start().await;
    let gateway = gateway(&origin).await;

    for path in ["/signed", "/plain", "/two"] {
        for name in ["jwt", "j_wt"] {
            let mut client = gateway.connect_http2(&Tls::default()).await.unwrap();
            let request = Request::get(path).header(name, FORGED).header(name, FORGED);
            let answer = client.send(&request).await;
            assert_not_there(&gateway, &answer, &format!("{path} {name}")).await;
        }
    }
}

#[tokio::test]
async fn upper_case_does_not_come_through_http_2() {
    let origin = Origin::start().await;
    let gateway = gateway(&origin).await;

    for (name, comes) in [("JWT", false), ("Jwt", false), ("jwt", true)] {
        for path in ["/signed", "/plain", "/two"] {
            let before = origin.requests().await;
            let mut client = Frames::open(&gateway).await;
            let mut fields = get(path);
            fields.push((name.into(), FORGED.into()));

            let stream = client.request(&fields, true).await;

            let Outcome::Answer(status, body) = client.outcome(stream).await else {
                assert!(!comes && origin.requests().await == before, "{name} {path}");
                continue;
            };
            assert!(comes && status == 200 && !body.contains(FORGED), "{name} {path}: {status} {body}");
        }
    }
}

#[tokio::test]
async fn none_arrives_in_trailers() {
    let origin = Origin::start().await;
    let gateway = gateway(&origin).await;

    for path in ["/signed", "/plain", "/two"] {
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\nTrailer: JWT\r\n");
        let sent = format!("{head}\r\n2\r\nhi\r\n0\r\nJWT: {FORGED}\r\n\r\n");
        let answer = gateway.connect().await.send_raw(&sent).await;
        assert_not_there(&gateway, &answer, &sent).await;

        let client = gateway.connect_http2(&Tls::default()).await.unwrap();
        let mut exchange = client.start(&Request::new("POST", path), false).await.unwrap();
        exchange.write("hi", false).await.unwrap();
        let trailers = [("jwt".parse().unwrap(), FORGED.parse().unwrap())];
        exchange.write_trailers(http::HeaderMap::from_iter(trailers));
        let answer = exchange.response().await.unwrap();
        assert_not_there(&gateway, &answer, path).await;
        assert_eq!(answer.echo().0["trailers"], json!([]));
    }
}

#[tokio::test]
async fn a_name_with_an_underscore_for_a_hyphen_does_not_come_through_the_gate() {
    let origin = Origin::start().await;
    let gateway = signing(&origin, "header: X-Identity").start().await;

    for name in ["X-Identity", "x-identity", "X_Identity", "x_identity"] {
        let answer = gateway.send(&Request::get("/").header(name, FORGED)).await;

        assert_eq!(answer.status == 400, name.contains('_'), "{name}: {answer:?}");
        if answer.status == 200 {
            let echo = answer.echo();
            assert!(!echo.0.to_string().contains(FORGED), "{name}: {}", echo.0);
            assert_eq!(echo.lines("x-identity").len(), 1);
        }
    }
}

#[tokio::test]
async fn an_operators_change_of_the_field_does_not_outlive_the_token() {
    let origin = Origin::start().await;
    let routes = "routes: [{ name: all, sign: default, to: [{ upstream: origin }], request_headers: { remove: [JWT], set: [{ name: JWT, value: static }] } }]";
    let gateway = signing(&origin, "").yaml_more(routes).start().await;

    let echo = gateway.get("/").await.echo();

    claims_of(&gateway, only_token(&echo)).await;
}
