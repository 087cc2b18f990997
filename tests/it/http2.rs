//! HTTP/2 on either side: clients over TLS, upstreams with and without it.

use http::{HeaderMap, HeaderValue};

use crate::support::{Gateway, Origin, Request, Tls, WebSocket, certs};

#[tokio::test]
async fn streams_of_one_connection_do_not_wait_for_each_other() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "").await;
    let client = gateway.connect_http2(&Tls::default()).await.unwrap();
    let mut endless = client.start(&Request::get("/endless").script("sse=1000/100ms"), true).await.unwrap();
    endless.piece().await.unwrap().expect("the first event");

    let mut started = Vec::new();
    for nth in 0..50 {
        let request = Request::post(&format!("/{nth}"), format!("body {nth}")).script("delay=100ms");
        let mut exchange = client.start(&request, false).await.unwrap();
        exchange.write(format!("body {nth}"), true).await.unwrap();
        started.push(exchange);
    }

    for (nth, exchange) in started.iter_mut().enumerate().rev() {
        let echo = exchange.response().await.unwrap().echo();
        assert_eq!(
            (echo.target(), echo.body()),
            (format!("/{nth}").as_str(), format!("body {nth}").as_str())
        );
    }
    endless.piece().await.unwrap().expect("another event");
}

#[tokio::test]
async fn cookie_crumbs_reach_an_http_1_upstream_in_one_line() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "").await;
    let mut client = gateway.connect_http2(&Tls::default()).await.unwrap();

    let crumbs =
        Request::get("/").header("cookie", "a=1").header("cookie", "b=2; c=3").header("cookie", "d=4");
    let echo = client.send(&crumbs).await.echo();

    assert_eq!(echo.lines("cookie"), ["a=1; b=2; c=3; d=4"]);
    assert_eq!((echo.0["version"].as_str(), echo.host()), (Some("HTTP/1.1"), Some("api.example.com")));
    assert_eq!(echo.lines("via"), ["2 tollgate"]);
}

#[tokio::test]
async fn answers_without_a_body_end_their_stream_and_no_other() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "").await;
    let mut client = gateway.connect_http2(&Tls::default()).await.unwrap();

    let head = client.send(&Request::head("/").script("size=1000000")).await;
    let nothing = client.send(&Request::get("/").script("status=204,no_body")).await;
    let same = client.send(&Request::get("/").script("status=304,size=500")).await;
    let hinted = client.send(&Request::get("/").script("early_hints,body=page")).await;
    let closed = client.send(&Request::get("/").script("http10,body=to the end")).await;
    let expected = client.send(&Request::post("/", "body").header("expect", "100-continue")).await;

    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("1000000"), 0));
    assert_eq!((nothing.status, nothing.body.len()), (204, 0));
    assert_eq!((same.status, same.header("content-length"), same.body.len()), (304, Some("500"), 0));
    assert_eq!((hinted.status, hinted.text().as_str()), (200, "page"));
    assert_eq!((closed.text().as_str(), closed.header("transfer-encoding")), ("to the end", None));
    assert_eq!((expected.status, expected.echo().body()), (200, "body"));
}

#[tokio::test]
async fn trailers_do_not_pass_an_http_1_upstream() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "").await;
    let mut client = gateway.connect_http2(&Tls::default()).await.unwrap();

    let down = client.send(&Request::get("/").script("body=abc,trailers=x-sum:1")).await;
    let mut exchange = client.start(&Request::new("POST", "/"), false).await.unwrap();
    exchange.write("abc", false).await.unwrap();
    exchange.write_trailers(sum());
    let up = exchange.response().await.unwrap().echo();

    assert_eq!((down.text().as_str(), down.trailers.len()), ("abc", 0));
    assert_eq!((up.body(), up.0["trailers"].as_array().unwrap().len()), ("abc", 0));
}

#[tokio::test]
async fn an_http2_upstream_takes_many_streams_on_one_connection() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "protocol: http2").await;
    let mut client = gateway.connect_http2(&Tls::default()).await.unwrap();
    let mut open = Vec::new();

    // One after the other: Pingora connects again when none is free at the moment.
    for nth in 0..20 {
        let request = Request::get(&format!("/{nth}")).script("size=2,drip=60s/1");
        let mut exchange = client.start(&request, true).await.unwrap();
        exchange.piece().await.unwrap().expect("its first byte");
        open.push(exchange);
    }
    let echo = client.send(&Request::get("/last")).await.echo();

    assert_eq!(
        (echo.target(), echo.0["version"].as_str(), echo.connection()),
        ("/last", Some("HTTP/2.0"), 1)
    );
    assert_eq!((echo.host(), echo.header("host")), (Some("api.example.com"), None));
}

#[tokio::test]
async fn bodies_and_trailers_pass_from_http2_to_http2() {
    let authority = certs::authority();
    let origin = Origin::builder().tls(&certs::server(&authority, &["origin.internal"])).start().await;
    let secure = Gateway::builder()
        .origin("origin", &origin)
        .certificate(&certs::server(&authority, &["api.example.com"]))
        .file("ca.pem", &authority.pem().unwrap())
        .yaml(
            r#"
            upstreams:
              - name: origin
                protocol: http2
                endpoints: [{ address: "{origin_tls}" }]
                tls: { server_name: origin.internal, ca: ca.pem }
            "#,
        )
        .start()
        .await;

    for gateway in [https(&origin, "protocol: http2").await, secure] {
        let mut client = gateway.connect_http2(&Tls::default()).await.unwrap();
        let large = vec![b'x'; 3_000_000];

        let down = client.send(&Request::get("/").script("size=3000000,trailers=x-sum:1")).await;
        let up = client.send(&Request::post("/", &large)).await.echo();
        let empty = client.send(&Request::get("/").script("size=0,trailers=x-sum:2")).await;
        let mut exchange = client.start(&Request::new("POST", "/"), false).await.unwrap();
        exchange.write("abc", false).await.unwrap();
        exchange.write_trailers(sum());
        let with_trailers = exchange.response().await.unwrap().echo();

        assert_eq!((down.body.len(), down.trailer("x-sum")), (3_000_000, Some("1")));
        assert_eq!(
            (up.0["body_bytes"].as_u64(), up.0["version"].as_str()),
            (Some(3_000_000), Some("HTTP/2.0"))
        );
        assert_eq!((empty.body.len(), empty.trailer("x-sum")), (0, Some("2")));
        // Pingora passes the answer's trailers on, not the request's.
        assert_eq!((with_trailers.body(), with_trailers.0["trailers"].as_array().unwrap().len()), ("abc", 0));
    }
}

#[tokio::test]
async fn an_http_1_client_is_served_by_an_http2_upstream() {
    let origin = Origin::start().await;
    let gateway = Gateway::with_upstream(&origin, "protocol: http2").await;
    let mut client = gateway.connect().await;

    let chunks = client.send(&Request::post("/a?b=c", "").chunks(&["ab", "cd"])).await;
    let sized = client
        .send(&Request::post("/", "abcd").header("Connection", "keep-alive, x-own").header("X-Own", "1"))
        .await;
    let head = client.send(&Request::head("/").script("size=1000")).await;
    let nothing = client.send(&Request::get("/").script("status=204,no_body")).await;
    let same = client.send(&Request::get("/").script("status=304,no_body")).await;
    let large = client.send(&Request::get("/").script("size=1000000,chunked")).await;
    let trailed = client.send(&Request::get("/").script("body=abc,trailers=x-sum:1")).await;
    let hinted = client.send(&Request::get("/").script("early_hints,body=page")).await;

    let echo = chunks.echo();
    assert_eq!((echo.target(), echo.body(), echo.host()), ("/a?b=c", "abcd", Some("api.example.com")));
    assert_eq!((echo.0["version"].as_str(), echo.header("transfer-encoding")), (Some("HTTP/2.0"), None));
    let echo = sized.echo();
    assert_eq!((echo.body(), echo.header("content-length"), echo.header("x-own")), ("abcd", Some("4"), None));
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("1000"), 0));
    assert_eq!((nothing.status, same.status), (204, 304));
    assert_eq!((large.body.len(), large.header("transfer-encoding")), (1_000_000, Some("chunked")));
    assert_eq!((trailed.text().as_str(), trailed.trailers.len(), trailed.closed), ("abc", 0, false));
    assert_eq!((hinted.status, hinted.text().as_str()), (200, "page"));
    assert_eq!(client.send(&Request::get("/last")).await.echo().target(), "/last");
}

#[tokio::test]
async fn an_http2_upstream_that_says_goaway_loses_no_request() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "protocol: http2").await;
    let mut client = gateway.connect_http2(&Tls::default()).await.unwrap();

    for nth in 0..20 {
        let script = if nth % 2 == 0 { "close" } else { "" };
        let answer = client.send(&Request::post(&format!("/{nth}"), "once").script(script)).await;
        assert_eq!((answer.status, answer.echo().target()), (200, format!("/{nth}").as_str()));
    }

    assert_eq!(origin.requests().await, 20);
    assert!(origin.stats().await["connections"].as_u64().unwrap() > 10);
}

#[tokio::test]
async fn a_long_upload_to_an_http2_upstream_outlives_the_read_timeout() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "protocol: http2, timeouts: { read: 500ms }").await;
    let client = gateway.connect_http2(&Tls::default()).await.unwrap();
    let mut slow = gateway.connect().await;
    let body = [b"Content-Length: 10\r\n\r\n".as_slice(), b"ten bytes."].concat();

    let from_http1 = async {
        slow.write("POST / HTTP/1.1\r\nHost: h.test\r\n").await.unwrap();
        slow.write_slowly(&body, 22, std::time::Duration::ZERO).await.unwrap();
        slow.read_response().await.unwrap()
    };
    assert_eq!(from_http1.await.echo().body(), "ten bytes.");
    let mut exchange = client.start(&Request::new("POST", "/"), false).await.unwrap();
    for _ in 0..10 {
        exchange.write("x", false).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    exchange.write("x", true).await.unwrap();

    let answer = exchange.response().await.unwrap();
    assert_eq!((answer.status, answer.echo().body()), (200, "x".repeat(11).as_str()));
}

#[tokio::test]
async fn clients_that_stop_reading_hold_nobody_else_of_an_upstream_connection() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "protocol: http2").await;
    let mut stalled = Vec::new();
    for _ in 0..10 {
        let mut client = gateway.connect().await;
        client.write(Request::get("/large").script("size=1000000000").to_http1()).await.unwrap();
        client.read_some().await.unwrap();
        stalled.push(client);
    }

    for _ in 0..20 {
        let answer = gateway.send(&Request::get("/small").script("size=100000")).await;
        assert_eq!((answer.status, answer.body.len()), (200, 100_000));
    }
    assert_eq!(origin.stats().await["connections"], 2, "all of them share one, and one is this question");
}

#[tokio::test]
async fn a_stream_that_is_never_answered_is_a_504_and_ends_no_other() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "protocol: http2, timeouts: { read: 500ms, stream_idle: 300s }").await;
    let mut client = gateway.connect_http2(&Tls::default()).await.unwrap();
    let asked = Request::get("/events").header("accept", "text/event-stream").script("sse=1000/10ms");
    let mut events = client.start(&asked, true).await.unwrap();
    events.piece().await.unwrap().expect("an event");

    let silent = client.send(&Request::get("/").script("never_answers")).await;

    assert_eq!((silent.status, silent.flag().as_str()), (504, "upstream_timeout"));
    for _ in 0..10 {
        events.piece().await.unwrap().expect("another event");
    }
    assert_eq!(client.send(&Request::get("/next")).await.status, 200);
}

#[tokio::test]
async fn a_socket_cannot_be_opened_where_only_http2_is_spoken() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "protocol: http2").await;

    let refused = WebSocket::open(gateway.connect().await, &Request::get("/")).await.err().unwrap();

    // The origin gets an ordinary request: nothing is left that asks for a socket.
    assert_eq!((refused.status, refused.echo().header("upgrade")), (200, None));
}

#[tokio::test]
async fn an_answer_in_many_small_frames_ends_no_connection() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "protocol: http2").await;
    let other = gateway.connect_http2(&Tls::default()).await.unwrap();
    let mut events = other.start(&Request::get("/events").script("sse=1000/10ms"), true).await.unwrap();
    events.piece().await.unwrap().expect("an event");

    let answer = gateway.send(&Request::get("/").script("size=100000,chunked,drip=0ms/1")).await;

    assert_eq!((answer.status, answer.body.len()), (200, 100_000));
    for _ in 0..10 {
        events.piece().await.unwrap().expect("another event");
    }
}

#[tokio::test]
async fn an_upload_in_many_small_frames_ends_no_connection() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "").await;
    let client = gateway.connect_http2(&Tls::default()).await.unwrap();
    let mut exchange = client.start(&Request::new("POST", "/"), false).await.unwrap();

    for _ in 0..50_000 {
        exchange.write("a telemetry point", false).await.unwrap();
    }
    exchange.write("", true).await.unwrap();

    assert_eq!(exchange.response().await.unwrap().echo().0["body_bytes"], 50_000 * 17);
}

/// In front of one origin, with a TLS listener and more of the upstream's keys.
async fn https(origin: &Origin, more: &str) -> Gateway {
    Gateway::https(origin, more, "").await
}

fn sum() -> HeaderMap {
    HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))])
}
