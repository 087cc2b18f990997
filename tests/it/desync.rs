//! Attempts to make gateway and origin disagree where a request ends. What an
//! attacker hides in a body asks for `/smuggled`; no origin may ever see that,
//! and each sees exactly the requests that were let in.

use tokio::io::AsyncWriteExt;

use crate::support::{
    Frames, Gateway, Http1, Origin, PATIENCE, Request, Response, Tls, certs, eventually,
    frames::{self, END_STREAM, Outcome, get},
    request::HOST,
};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: api.example.com\r\n\r\n";

#[tokio::test]
async fn two_framings_never_smuggle() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let length = SMUGGLED.len();
    let chunks = format!("0\r\n\r\n{SMUGGLED}");
    let spellings = [
        "Transfer-Encoding: chunked",
        "transfer-encoding: CHUNKED",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked\x0b",
        "Transfer-Encoding: \0chunked",
        "Transfer-Encoding: \u{a0}chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding:\n chunked",
        "X: x\nTransfer-Encoding: chunked",
        "X: x\rTransfer-Encoding: chunked",
        "Transfer-Encoding\r\n: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding: chunke\u{212a}",
        "Transfer_Encoding: chunked",
        "Transfer-Encoding;x: chunked",
        "Connection: transfer-encoding\r\nTransfer-Encoding: chunked",
        "Connection: content-length\r\nTransfer-Encoding: chunked",
    ];

    for spelling in spellings {
        for body in [
            format!("Content-Length: {}\r\n\r\n{chunks}", length + 5),
            format!("Content-Length: 5\r\n\r\n{chunks}"),
        ] {
            let sent = format!("POST / HTTP/1.1\r\nHost: api.example.com\r\n{spelling}\r\n{body}");
            let answer = gateway.connect().await.send_raw(&sent).await;
            assert_eq!((answer.status, answer.closed), (400, true), "{sent:?} got {answer:?}");

            let turned = sent
                .replace(&format!("{spelling}\r\n"), "")
                .replace("\r\n\r\n0", &format!("\r\n{spelling}\r\n\r\n0"));
            let answer = gateway.connect().await.send_raw(&turned).await;
            assert_eq!((answer.status, answer.closed), (400, true), "{turned:?} got {answer:?}");
        }
    }
    assert_eq!(origin.requests().await, 0, "{:?}", origin.log().await);
}

#[tokio::test]
async fn a_length_in_another_spelling_never_smuggles() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let length = SMUGGLED.len();

    for spelling in [
        format!("Content-Length : {length}"),
        format!("Content_Length: {length}"),
        format!("Content-Length: 0\r\nContent-Length: {length}"),
        format!("Content-Length: {length}\r\nContent-Length: {length}"),
        format!("Content-Length: 0, {length}"),
        format!("Content-Length: +{length}"),
        format!("Content-Length: 0x{length:x}"),
        format!("Content-Length: {length}\0"),
        format!("Content-Length: {length}\n"),
        format!("X: x\nContent-Length: {length}"),
        format!("Connection: Content-Length\r\nContent-Length: {length}"),
        format!("Content-Length:\r\n {length}"),
    ] {
        let sent = format!("GET / HTTP/1.1\r\nHost: api.example.com\r\n{spelling}\r\n\r\n{SMUGGLED}");
        let answer = gateway.connect().await.send_raw(&sent).await;

        assert_eq!((answer.status, answer.closed), (400, true), "{sent:?} got {answer:?}");
    }
    assert_eq!(origin.requests().await, 0, "{:?}", origin.log().await);
}

#[tokio::test]
async fn a_body_where_none_is_usual_stays_a_body() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let length = SMUGGLED.len();
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n");
    let mut sent = 0;

    for method in ["GET", "DELETE", "OPTIONS", "POST"] {
        for framing in [
            format!("Content-Length: {length}\r\n\r\n{SMUGGLED}"),
            format!("Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"),
            format!("Expect: y 100-continue\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"),
            format!("Expect: \r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"),
            format!("Connection: close\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"),
            chunked.clone(),
            format!("Expect: 100-continue\r\n{chunked}"),
        ] {
            let request = format!("{method} / HTTP/1.1\r\nHost: api.example.com\r\n{framing}");
            let mut client = gateway.connect().await;
            let answer = client.send_raw(&request).await;

            assert_eq!(answer.status, 200, "{request:?} got {answer:?}");
            assert_eq!((answer.echo().method(), answer.echo().body()), (method, SMUGGLED), "{request:?}");
            sent += 1;
            if !answer.closed {
                assert_eq!(client.send(&Request::get("/next")).await.echo().target(), "/next", "{request:?}");
                sent += 1;
            }
        }
    }
    assert_never_smuggled(&origin, sent).await;
}

#[tokio::test]
async fn a_body_that_is_answered_early_is_not_the_next_request() {
    let origin = Origin::script("never_reads,status=403").await;
    let gateway = Gateway::in_front_of(&origin).await;

    for expect in ["", "Expect: 100-continue\r\n"] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{expect}Content-Length: 100000\r\n\r\n");
        let mut client = gateway.connect().await;
        client.write(head).await.unwrap();
        let answer = client.read_head().await.unwrap();
        let length = answer.header("content-length").unwrap().parse().unwrap();
        client.read_exactly(length).await.unwrap();
        // It may be cut: nobody reads it any more.
        let _ = client.write(SMUGGLED.repeat(10)).await;
        let after = rest(&mut client).await;

        assert_eq!((answer.status, answer.header("connection")), (403, Some("close")), "{answer:?}");
        assert_eq!(after, "");
    }
    assert_never_smuggled(&origin, 2).await;
}

#[tokio::test]
async fn what_follows_a_body_is_looked_at_like_a_first_request() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let get = "GET /first HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let length = "POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let bad = [
        format!("X{SMUGGLED}"),
        format!("\r\n\r\n\r\n{SMUGGLED}"),
        format!("hello{SMUGGLED}"),
        format!("\0{SMUGGLED}"),
        "GET /smuggled%00 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /a b/smuggled HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "Extra lineGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /%20\0/smuggled HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET smuggled HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /smuggled HTTP/1.1\nHost: a\n\n".to_owned(),
    ];
    let mut sent = 0;
    for first in [get, post, length] {
        for second in &bad {
            for cut in [0, 1, 6, second.len()] {
                let (with_first, later) = second.as_bytes().split_at(cut);
                let mut client = gateway.connect().await;
                client.write([first.as_bytes(), with_first].concat()).await.unwrap();
                let answer = client.read_response().await.unwrap();
                let _ = client.write(later).await;
                let after = rest(&mut client).await;

                assert_eq!(answer.echo().target(), "/first", "{second:?} cut at {cut}");
                assert!(is_refusal(&after), "{second:?} cut at {cut}: {after}");
                sent += 1;
            }
        }
    }
    assert_never_smuggled(&origin, sent).await;
}

#[tokio::test]
async fn what_comes_while_a_request_is_served_is_looked_at_too() {
    let origin = Origin::script("delay=50ms").await;
    let gateway = Gateway::in_front_of(&origin).await;

    for (nth, second) in
        ["GET /a b/smuggled HTTP/1.1\r\nHost: a\r\n\r\n", &format!("X{SMUGGLED}")].iter().enumerate()
    {
        let mut client = gateway.connect().await;
        client.write("GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        eventually(PATIENCE, || async { origin.requests().await == nth as u64 + 1 }).await;
        client.write(second).await.unwrap();

        assert_eq!(client.read_response().await.unwrap().echo().target(), "/first");
        let after = rest(&mut client).await;
        assert!(is_refusal(&after), "{after}");
    }
    assert_never_smuggled(&origin, 2).await;
}

#[tokio::test]
async fn bytes_behind_an_upgrade_that_is_refused_go_nowhere() {
    let origin = Origin::script("status=200,body=no").await;
    let gateway = Gateway::in_front_of(&origin).await;
    let websocket =
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    for (connection, upgrade) in [
        ("Upgrade", websocket),
        ("keep-alive, Upgrade", websocket),
        ("Upgrade, HTTP2-Settings", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
    ] {
        let head = format!("GET /first HTTP/1.1\r\nHost: a\r\nConnection: {connection}\r\n{upgrade}\r\n");
        let mut client = gateway.connect().await;
        let answer = client.send_raw(format!("{head}X{SMUGGLED}")).await;
        let after = rest(&mut client).await;

        assert_eq!((answer.status, answer.text().as_str()), (200, "no"), "{upgrade:?}");
        assert!(is_refusal(&after), "{after}");
    }
    assert_never_smuggled(&origin, 3).await;
}

#[tokio::test]
async fn an_answer_behind_an_answer_is_nobodys() {
    let two =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nevil!";
    let none = "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nevil!";
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nevil!";
    for raw in [two, none, chunks] {
        let origin = Origin::start().await;
        let gateway = Gateway::in_front_of(&origin).await;
        let script = format!("raw={}", boring::base64::encode_block(raw.as_bytes()));

        for method in ["GET", "HEAD", "GET"] {
            let answer = gateway.send(&Request::get("/").method(method).script(&script)).await;
            assert!(answer.status == 200 || answer.status == 204, "{raw:?} got {answer:?}");
            for _ in 0..3 {
                assert_eq!(gateway.get("/after").await.echo().target(), "/after", "{raw:?}");
            }
        }
    }
}

#[tokio::test]
async fn http_2_bodies_do_not_smuggle_into_http_1() {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &[HOST]);
    let gateway = Gateway::builder().origin("origin", &origin).certificate(&certificate).start().await;

    for (name, value) in [
        ("content-length", "0"),
        ("content-length", "5"),
        ("content-length", "1000"),
        ("transfer-encoding", "chunked"),
        ("x", "1\r\ntransfer-encoding: chunked"),
        ("transfer_encoding", "chunked"),
    ] {
        let mut client = Frames::open(&gateway).await;
        let mut fields = get("/");
        fields[0].1 = b"POST".to_vec();
        fields.push((name.into(), value.into()));
        let stream = client.request(&fields, false).await;
        let body = format!("0\r\n\r\n{SMUGGLED}");
        client.frame(frames::DATA, END_STREAM, stream, body.as_bytes()).await.unwrap();

        let outcome = client.outcome(stream).await;

        // A request without a body may be answered before anything behind it is read.
        let empty = |body: &str| value == "0" && body.contains("\"body_bytes\":0,");
        let passed = matches!(&outcome, Outcome::Answer(200, body) if !empty(body));
        assert!(!passed, "{name}: {value} got {outcome:?}");
    }
    let seen = origin.log().await;
    assert!(seen.iter().all(|seen| seen["target"] == "/"), "{seen:?}");
    let good: Response =
        gateway.connect_http2(&Tls::default()).await.unwrap().send(&Request::post("/", SMUGGLED)).await;
    assert_eq!(good.echo().body(), SMUGGLED);
}

/// What still comes when the client says no more; the connection must end.
async fn rest(client: &mut Http1) -> String {
    // It may have ended already.
    let _ = client.stream.shutdown().await;
    match client.read_to_end().await {
        Ok(said) => String::from_utf8_lossy(&said).into_owned(),
        Err(why) => {
            assert_ne!(why.kind(), std::io::ErrorKind::TimedOut, "the connection is still open");
            String::new()
        }
    }
}

/// Nothing, or one answer that refuses.
fn is_refusal(said: &str) -> bool {
    let refuses = ["HTTP/1.1 400 ", "HTTP/1.1 405 "].iter().any(|status| said.starts_with(status));
    said.is_empty() || (refuses && said.matches("HTTP/1.1 ").count() == 1)
}

/// The origin saw so many requests, and none that was hidden.
async fn assert_never_smuggled(origin: &Origin, requests: u64) {
    let seen = origin.log().await;
    let hidden = seen.iter().any(|seen| seen["target"].as_str().unwrap().contains("smuggled"));
    assert!(!hidden, "{seen:?}");
    assert_eq!(origin.requests().await, requests, "{seen:?}");
}
