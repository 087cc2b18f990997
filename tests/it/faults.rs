//! Upstreams that break the protocol: what the client sees of it, and that the
//! next request sees nothing of it.

use crate::support::{Gateway, Origin, PATIENCE, Puppet, Request, Tls, certs, eventually};

#[tokio::test]
async fn a_cut_answer_is_cut_for_every_client() {
    let origin = Origin::start().await;
    for (upstream, script) in [
        ("protocol: http1", "size=1000,truncate=10"),
        ("protocol: http1", "size=1000,truncate=10,chunked"),
        ("protocol: http1", "size=1000,reset_after_header"),
        ("protocol: http1", "size=1000,reset_after_header,chunked"),
        ("protocol: http2", "size=1000,truncate=10"),
        ("protocol: http2", "size=1000,truncate=10,chunked"),
        ("protocol: http2", "size=1000,reset_after_header"),
    ] {
        let gateway = https(&origin, upstream).await;
        let request = Request::get("/").script(script);
        let mut http2 = gateway.connect_http2(&Tls::default()).await.unwrap();

        let http1 = gateway.connect().await.try_send(&request).await;
        let old = gateway.connect().await.try_send_raw(old(&request)).await;
        let stream = http2.try_send(&request).await;

        assert!(http1.is_err(), "{upstream} {script}: {http1:?}");
        let cut = stream.expect_err("an HTTP/2 client sees the cut");
        assert!(cut.seen.status == 200 && !cut.is_go_away, "{upstream} {script}: {cut}");
        // HTTP/1.0 has no end but the connection's, unless there is a length.
        if !script.contains("chunked") {
            assert!(old.is_err(), "{upstream} {script}: {old:?}");
        }
        assert_eq!(http2.send(&Request::get("/next")).await.status, 200, "the connection goes on");
        let cut =
            eventually(PATIENCE, || async { Some(gateway.access_log()).filter(|log| log.len() == 4) }).await;
        let flags = cut
            .iter()
            .filter(|line| line["path"] == "/")
            .map(|line| (&line["status"], line["flag"].as_str()));
        flags.for_each(|flag| assert_eq!(flag, (&200.into(), Some("upstream_reset")), "{upstream} {script}"));
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_502() {
    for answer in [
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/9.9 200 OK\r\ncontent-length: 0\r\n\r\n",
        "ICY 200 OK\r\ncontent-length: 0\r\n\r\n",
        "\u{1f4a9}\u{1f4a9}\u{1f4a9}\u{1f4a9}\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nspace before : 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 0x5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nhello",
    ] {
        let (puppet, gateway) = puppet(answer).await;

        let refused = gateway.get("/").await;

        assert_eq!((refused.status, refused.flag().as_str()), (502, "upstream_protocol"), "{answer:?}");
        assert_eq!(puppet.requests(), 1, "{answer:?}");
        eventually(PATIENCE, || async { puppet.open_connections() == 0 }).await;
    }
}

#[tokio::test]
async fn a_body_that_is_not_as_framed_is_cut() {
    for body in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nhello\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}");
        let (puppet, gateway) = puppet(&answer).await;

        let cut = gateway.connect().await.try_send(&Request::get("/")).await;

        assert!(cut.is_err() || cut.as_ref().is_ok_and(|answer| answer.status == 502), "{body:?}: {cut:?}");
        let line = gateway.line(|line| line["path"] == "/").await;
        assert!(!line["flag"].is_null(), "{body:?}: {line}");
        eventually(PATIENCE, || async { puppet.open_connections() == 0 }).await;
    }
}

#[tokio::test]
async fn of_two_framings_the_chunks_count_and_the_client_sees_one() {
    let (_puppet, gateway) = puppet(
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    )
    .await;
    let mut client = gateway.connect().await;

    for _ in 0..3 {
        let answer = client.send(&Request::get("/")).await;
        assert_eq!(
            (answer.text().as_str(), answer.header("content-length"), answer.header("transfer-encoding")),
            ("hello", None, Some("chunked"))
        );
    }
}

#[tokio::test]
async fn the_same_length_twice_is_one_length() {
    for lengths in ["content-length: 5\r\ncontent-length: 5", "content-length: 5, 5"] {
        let (_puppet, gateway) = puppet(&format!("HTTP/1.1 200 OK\r\n{lengths}\r\n\r\nhello")).await;

        let answer = gateway.get("/").await;

        assert_eq!(
            (answer.text().as_str(), answer.header("content-length")),
            ("hello", Some("5")),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn bytes_after_an_answer_are_no_answer() {
    let next = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    for (method, answer, body) in [
        ("GET", format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello{next}"), "hello"),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello, world".to_owned(), "hello"),
        (
            "GET",
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{next}"),
            "hello",
        ),
        ("GET", "HTTP/1.1 204 No Content\r\ncontent-length: 6\r\n\r\nforged".to_owned(), ""),
        ("GET", format!("HTTP/1.1 304 Not Modified\r\n\r\n{next}"), ""),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged".to_owned(), ""),
    ] {
        let (puppet, gateway) = puppet(&answer).await;
        let mut client = gateway.connect().await;

        for nth in 1..=3 {
            let answer = client.send(&Request::new(method, "/")).await;
            assert_eq!((answer.text().as_str(), answer.closed), (body, false), "{answer:?}");
            assert_eq!((puppet.requests(), puppet.connections()), (nth, nth), "never reused: {answer:?}");
        }
        eventually(PATIENCE, || async { puppet.open_connections() == 0 }).await;
    }
}

#[tokio::test]
async fn bytes_that_come_late_end_a_pooled_connection() {
    let forged = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    let puppet = Puppet::says_more("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", forged).await;
    let gateway = Gateway::with_upstream(&puppet.origin, "retries: { attempts: 1 }").await;

    for nth in 1..=3 {
        assert_eq!(gateway.get("/").await.text(), "hello");
        eventually(PATIENCE, || async { puppet.written() == nth * forged.len() as u64 }).await;
        eventually(PATIENCE, || async { puppet.open_connections() == 0 }).await;
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_not_reused() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let mut client = gateway.connect().await;

    for script in ["http10", "close", "close_silently", "http10"] {
        let first = client.send(&Request::get("/").script(script)).await;
        assert_eq!((first.status, first.closed), (200, false), "{script}");
        assert_eq!(first.header("connection"), Some("keep-alive"), "{script}");
    }
    let connections = client.send(&Request::get("/")).await.echo().connection();

    assert_eq!(connections, 5);
}

#[tokio::test]
async fn a_header_beyond_all_measure_is_a_502_and_a_large_one_goes_through() {
    let large =
        format!("HTTP/1.1 200 OK\r\nx-large: {}\r\ncontent-length: 5\r\n\r\nhello", "y".repeat(60_000));
    let huge =
        format!("HTTP/1.1 200 OK\r\nx-huge: {}\r\ncontent-length: 5\r\n\r\nhello", "y".repeat(2 << 20));
    let endless = format!("HTTP/1.1 200 OK\r\nx-endless: {}", "y".repeat(2 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(1000));

    let (_puppet, gateway) = puppet(&large).await;
    let answer = gateway.get("/").await;
    assert_eq!((answer.text().as_str(), answer.header("x-large").map(str::len)), ("hello", Some(60_000)));

    for (name, bytes) in [("huge", huge), ("endless", endless), ("many", many)] {
        let (_puppet, gateway) = puppet(&bytes).await;
        let refused = gateway.get("/").await;
        assert_eq!((refused.status, refused.flag().as_str()), (502, "upstream_protocol"), "{name}");
    }
}

#[tokio::test]
async fn after_an_interim_answer_a_failure_is_still_answered() {
    for (interim, request) in [
        ("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n", Request::get("/")),
        ("HTTP/1.1 100 Continue\r\n\r\n", Request::post("/", "body").header("Expect", "100-continue")),
    ] {
        let puppet = Puppet::says(interim).await;
        let gateway = Gateway::with_upstream(&puppet.origin, "timeouts: { read: 300ms }").await;

        let answer = gateway.send(&request).await;

        assert_eq!(
            (answer.interim.len(), answer.status, answer.flag().as_str()),
            (1, 504, "upstream_timeout")
        );
        assert_eq!(gateway.line_of(&answer).await["status"], 504);
    }
}

#[tokio::test]
async fn fields_of_the_upstreams_connection_stop_at_the_gateway() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-private\r\nKeep-Alive: timeout=5\r\n\
        Proxy-Connection: keep-alive\r\nX-Private: 1\r\nUpgrade: h2c\r\nX-Public: 2\r\nContent-Length: 5\r\n\r\nhello";
    let puppet = Puppet::says(answer).await;
    let gateway = https(&puppet.origin, "").await;

    let http1 = gateway.get("/").await;
    let http2 = gateway.connect_http2(&Tls::default()).await.unwrap().send(&Request::get("/")).await;

    for answer in [http1, http2] {
        assert_eq!((answer.text().as_str(), answer.header("x-public")), ("hello", Some("2")));
        for name in ["keep-alive", "proxy-connection", "x-private", "upgrade"] {
            assert_eq!(answer.header(name), None, "{name} of {answer:?}");
        }
    }
}

#[tokio::test]
async fn what_is_sent_again_is_whole() {
    let (resets, answers) = (Origin::resets_before_header().await, Origin::start().await);
    let gateway = Gateway::builder()
        .origin("resets", &resets)
        .origin("answers", &answers)
        .yaml(
            r#"
            upstreams:
              - { name: shop, endpoints: [{ address: "{resets}" }, { address: "{answers}" }], retries: { attempts: 2 } }
            routes: [{ name: all, to: [{ upstream: shop }] }]
            "#,
        )
        .start()
        .await;

    // Up to 64 KiB are kept to be sent again.
    for (size, always) in [(50_000, true), (500_000, false)] {
        for _ in 0..10 {
            let answer = gateway.send(&Request::post("/", vec![b'x'; size]).method("PUT")).await;
            match answer.status {
                200 => assert_eq!(answer.echo().0["body_bytes"], size),
                _ => assert_eq!((answer.flag().as_str(), always), ("upstream_reset", false)),
            }
        }
    }
    assert!(resets.requests().await > 0, "no request met the endpoint that resets");
}

/// An upstream that says these bytes to every request, one attempt each.
async fn puppet(answer: &str) -> (Puppet, Gateway) {
    let puppet = Puppet::says(answer).await;
    let gateway =
        Gateway::with_upstream(&puppet.origin, "retries: { attempts: 1 }, timeouts: { read: 2s }").await;
    (puppet, gateway)
}

/// In front of one origin, with a TLS listener.
async fn https(origin: &Origin, more: &str) -> Gateway {
    let upstream = format!(
        "{{ name: origin, endpoints: [{{ address: \"{{origin}}\" }}], retries: {{ attempts: 1 }}, {more} }}"
    );
    Gateway::builder()
        .origin("origin", origin)
        .certificate(&certs::server(&certs::authority(), &["api.example.com"]))
        .yaml(&format!("upstreams: [{upstream}]"))
        .start()
        .await
}

fn old(request: &Request) -> Vec<u8> {
    String::from_utf8(request.to_http1()).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1).into_bytes()
}
