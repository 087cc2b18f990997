//! Bodies that a token is bound to: read whole, or compared on their way.

use serde_json::Value;

use super::{TWO_PROTOCOLS, base64url_sha256, claims_of, http2, only_token, signing};
use crate::support::{
    Gateway, Http1, Origin, PATIENCE, Request, Response, WebSocket, certs, eventually,
    http2::{grpc_frame, grpc_messages},
    request::HOST,
    websocket::Frame,
};

const LARGE: usize = 700_000;

/// One route towards HTTP/1, one towards HTTP/2.
async fn gateway(origin: &Origin, more: &str) -> Gateway {
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let sections = format!(
        "{TWO_PROTOCOLS}  - {{ name: call, match: {{ path: /echo.Echo }}, sign: default, to: [{{ upstream: two }}] }}\n"
    );
    signing(origin, more).certificate(&certificate).yaml_more(&sections).start().await
}

async fn assert_bound(gateway: &Gateway, answer: &Response, body: &[u8]) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let echo = answer.echo();
    let claims = claims_of(gateway, only_token(&echo)).await;
    assert_eq!(claims["bh"], base64url_sha256(body), "{}", body.len());
    assert_eq!(echo.0["body_bytes"], body.len());
    assert_eq!(echo.0["body_sha256"], hex(&boring::sha::sha256(body)));
    let line = gateway.line_of(answer).await;
    assert_eq!(line["bytes_in"], body.len(), "{line}");
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", boring::base64::encode_block(&boring::sha::sha256(body)))
}

/// The same body in every way that clients send one.
fn requests(path: &str, body: &[u8]) -> Vec<Request> {
    let said = digest(body);
    let chunks: Vec<_> = body.chunks(9_000).collect();
    let bare = [Request::post(path, body), Request::post(path, "").chunks(&chunks)];
    bare.into_iter().map(|request| request.header("Content-Digest", &said)).collect()
}

#[tokio::test]
async fn the_hash_of_every_body_is_in_its_token() {
    let origin = Origin::start().await;
    for mode in ["buffer", "digest"] {
        let gateway = gateway(&origin, &format!("bind: [body], body: {{ mode: {mode} }}")).await;
        for path in ["/one", "/two"] {
            let bodies = [&b""[..], b"x", b"hello", &[7; 70_000], &[8; LARGE]];
            let with_bodies =
                bodies.iter().flat_map(|body| requests(path, body).into_iter().map(|r| (r, *body)));
            for (request, body) in with_bodies.chain([(Request::get(path), &b""[..])]) {
                assert_bound(&gateway, &gateway.send(&request).await, body).await;
                assert_bound(&gateway, &http2(&gateway).await.send(&request).await, body).await;
            }
        }
        let held = gateway.metric("tollgate_jwt_held_body_bytes", &[("signer", "default")]).await;
        assert_eq!(held, 0.0);
    }
}

#[tokio::test]
async fn a_connection_goes_on_after_a_body_that_was_held() {
    let origin = Origin::start().await;
    let gateway = gateway(&origin, "bind: [body]").await;
    let mut client = gateway.connect().await;

    for body in ["one", "", "three"] {
        let answer = client.send(&Request::post("/one", body)).await;
        assert_bound(&gateway, &answer, body.as_bytes()).await;
        let answer = client.send(&Request::post("/one", "").chunks(&["and ", "chunks"])).await;
        assert_bound(&gateway, &answer, b"and chunks").await;
    }
}

#[tokio::test]
async fn a_body_above_the_cap_is_413_and_never_unsigned() {
    let origin = Origin::start().await;
    let gateway = gateway(&origin, "bind: [body], body: { max: 1KiB }").await;

    for path in ["/one", "/two"] {
        for request in [Request::post(path, [7; 1025]), Request::post(path, "").chunks(&[[7; 600]; 2])] {
            let one = gateway.send(&request).await;
            let two = http2(&gateway).await.send(&request).await;

            assert_eq!((one.status, &*one.flag()), (413, "body_too_large_to_sign"));
            assert_eq!((two.status, &*two.flag()), (413, "body_too_large_to_sign"));
        }
        assert_bound(&gateway, &gateway.send(&Request::post(path, [7; 1024])).await, &[7; 1024]).await;
    }
    assert_eq!(origin.requests().await, 2);
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_reaches_nobody() {
    let origin = Origin::start().await;
    let gateway = gateway(&origin, "bind: [body]").await;
    let head = format!("POST /one HTTP/1.1\r\nHost: {HOST}\r\n");

    let mut gone = gateway.connect().await;
    gone.write(format!("{head}Content-Length: 10\r\n\r\nhalf")).await.unwrap();
    gone.half_close().await;
    gone.read_to_end().await.ok();
    let bad = gateway
        .connect()
        .await
        .send_raw(format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nx\r\n"))
        .await;
    let client = http2(&gateway).await;
    let mut reset = client.start(&Request::new("POST", "/one"), false).await.unwrap();
    reset.write("half", false).await.unwrap();
    reset.reset(h2::Reason::CANCEL);

    assert_eq!(bad.status, 400, "{bad:?}");
    eventually(PATIENCE, || async {
        let gone = |line: &Value| line["flag"] == "client_gone";
        gateway.access_log().iter().filter(|line| gone(line)).count() == 2
    })
    .await;
    assert_eq!(origin.requests().await, 0);
    let held = || gateway.metric("tollgate_jwt_held_body_bytes", &[]);
    eventually(PATIENCE, || async { held().await == 0.0 }).await;
}

#[tokio::test]
async fn who_waits_for_100_is_told_to_go_on_and_the_upstream_is_not_asked_again() {
    let origin = Origin::start().await;
    let gateway = gateway(&origin, "bind: [body]").await;
    let head = format!("POST /one HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\n");

    let mut client = gateway.connect().await;
    client.write(format!("{head}Content-Length: 5\r\n\r\n")).await.unwrap();
    assert_eq!(client.read_head().await.unwrap().status, 100);
    client.write("hello").await.unwrap();
    let answer = client.read_response().await.unwrap();
    let mut large = gateway.connect().await;
    large.write(format!("{head}Content-Length: 9999999\r\n\r\n")).await.unwrap();
    let refused = large.read_response().await.unwrap();

    assert_bound(&gateway, &answer, b"hello").await;
    assert_eq!((answer.interim.len(), answer.echo().header("expect")), (0, None));
    assert_eq!((refused.status, refused.interim.len()), (413, 0));
}

#[tokio::test]
async fn a_retry_sends_the_held_body_again_whatever_its_size() {
    let (bad, good) = (Origin::answers(503).await, Origin::start().await);
    for protocol in ["http1", "http2"] {
        let sections = format!(
            "upstreams: [{{ name: origin, protocol: {protocol}, retries: {{ attempts: 3, on: [503], budget: 100% }}, endpoints: [{{ address: \"{{bad}}\" }}, {{ address: \"{{origin}}\" }}] }}]\nroutes: [{{ name: all, sign: default, to: [{{ upstream: origin }}] }}]"
        );
        let gateway = signing(&good, "bind: [body]").origin("bad", &bad).yaml_more(&sections).start().await;

        for _ in 0..12 {
            let answer = gateway.send(&Request::post("/", [9; LARGE]).method("PUT")).await;
            assert_bound(&gateway, &answer, &[9; LARGE]).await;
        }

        let retried = gateway.access_log().iter().filter(|line| line["attempts"] == 2).count();
        assert!(retried > 0, "nothing was tried twice");
    }
}

/// The session does not say that it is done where trailers follow: whoever asks for
/// more is told at once that there is nothing, for ever.
#[tokio::test]
async fn a_body_with_trailers_ends_like_any_other() {
    let origin = Origin::start().await;
    for (mode, wrong) in [("buffer", 200), ("digest", 400)] {
        let gateway = gateway(&origin, &format!("bind: [body], body: {{ mode: {mode} }}")).await;
        for path in ["/one", "/two"] {
            for (body, said, status) in [("hi", "hi", 200), ("", "", 200), ("hi", "ho", wrong)] {
                let answer = with_trailers(&gateway, path, body, said).await;

                assert_eq!(answer.status, status, "{mode} {path} {body} {said}");
            }
        }
    }
}

async fn with_trailers(gateway: &Gateway, path: &str, body: &'static str, said: &str) -> Response {
    let request = Request::new("POST", path).header("Content-Digest", &digest(said.as_bytes()));
    let mut exchange = http2(gateway).await.start(&request, false).await.unwrap();
    if !body.is_empty() {
        exchange.write(body, false).await.unwrap();
    }
    let trailers = [("x-sum".parse().unwrap(), "1".parse().unwrap())];
    exchange.write_trailers(http::HeaderMap::from_iter(trailers));
    exchange.response().await.unwrap()
}

#[tokio::test]
async fn another_body_than_was_said_never_ends_at_the_upstream() {
    let origin = Origin::start().await;
    let gateway = gateway(&origin, "bind: [body], body: { mode: digest }").await;
    let mut sent = 1;

    for path in ["/one", "/two"] {
        for body in [&b"x"[..], &[7; 70_000], &[8; LARGE]] {
            for request in requests(path, body) {
                let mut request = request;
                request.headers = vec![("Content-Digest".to_owned(), digest(b"another"))];
                let one = gateway.send(&request).await;
                let two = http2(&gateway).await.send(&request).await;

                assert_eq!((one.status, &*one.flag()), (400, "digest_mismatch"), "{path} {}", body.len());
                sent += 2 * (body.len() as u64 - 1);
                assert_eq!((two.status, &*two.flag()), (400, "digest_mismatch"), "{path} {}", body.len());
            }
        }
        let without = gateway.send(&Request::post(path, "x")).await;
        assert_eq!((without.status, &*without.flag()), (400, "digest_missing"));
        let empty = gateway.send(&Request::get(path).header("Content-Digest", &digest(b"x"))).await;
        assert_eq!((empty.status, &*empty.flag()), (400, "digest_mismatch"));
    }
    // An answer that counts has all of the body in front of it, and no request did.
    let lines = gateway.access_log();
    assert!(lines.iter().all(|line| line["status"] == 400 && line["upstream_first_byte_us"].is_null()));
    assert!(origin.stats().await["bytes_in"].as_u64().unwrap() < sent, "a whole body arrived");
}

#[tokio::test]
async fn a_mode_without_a_hash_says_so() {
    let origin = Origin::start().await;
    let gateway = gateway(&origin, "bind: [body, path], body: { mode: unsigned }").await;

    let echo = gateway.send(&Request::post("/one", "hello")).await.echo();

    assert_eq!(echo.body(), "hello");
    assert_eq!(claims_of(&gateway, only_token(&echo)).await["bh"], "UNSIGNED");
}

#[tokio::test]
async fn a_call_of_grpc_is_held_up_to_its_end() {
    let origin = Origin::start().await;
    let gateway = gateway(&origin, "bind: [body]").await;
    let call = Request::new("POST", "/echo.Echo/Unary").header("content-type", "application/grpc");

    let answer =
        http2(&gateway).await.send(&call.header("te", "trailers").chunks(&[grpc_frame(b"ping")])).await;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(grpc_messages(&answer.body), [b"ping".to_vec()]);
    assert_eq!(answer.trailer("grpc-status"), Some("0"));
}

#[tokio::test]
async fn a_body_that_never_ends_is_408() {
    let origin = Origin::start().await;
    let sections =
        "upstreams: [{ name: origin, endpoints: [{ address: \"{origin}\" }], timeouts: { request: 1s } }]";
    let gateway = signing(&origin, "bind: [body]").yaml_more(sections).start().await;

    let mut client: Http1 = gateway.connect().await;
    client.write(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\nhalf")).await.unwrap();
    let answer = client.read_response().await.unwrap();

    assert_eq!((answer.status, &*answer.flag()), (408, "client_timeout"));
    assert_eq!(origin.requests().await, 0);
}

#[tokio::test]
async fn a_websocket_has_no_body_and_its_messages_are_none() {
    let origin = Origin::start().await;
    for mode in ["buffer", "digest", "unsigned"] {
        let gateway = gateway(&origin, &format!("bind: [body], body: {{ mode: {mode} }}")).await;
        let mut socket = WebSocket::open(gateway.connect().await, &Request::get("/one")).await.unwrap();

        for _ in 0..3 {
            socket.send_text("hello").await.unwrap();
            assert_eq!(socket.receive().await.unwrap(), Frame::Text("hello".into()), "{mode}");
        }
    }
}

#[tokio::test]
async fn a_retry_compares_the_body_from_its_beginning() {
    let (bad, good) = (Origin::answers(503).await, Origin::start().await);
    let sections = "upstreams: [{ name: origin, retries: { attempts: 3, on: [503], budget: 100% }, endpoints: [{ address: \"{bad}\" }, { address: \"{origin}\" }] }]";
    let spec = "bind: [body], body: { mode: digest }";
    let gateway = signing(&good, spec).origin("bad", &bad).yaml_more(sections).start().await;

    for _ in 0..12 {
        for request in requests("/", &[9; 20_000]) {
            assert_bound(&gateway, &gateway.send(&request.method("PUT")).await, &[9; 20_000]).await;
        }
    }

    assert!(bad.requests().await > 0, "nothing was tried twice");
}
