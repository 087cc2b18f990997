//! HTTP/1 as clients speak it: versions, keep-alive, pipelining, framing,
//! interim answers, and answers without a body.

use std::time::Duration;

use crate::support::{Gateway, Http1, Origin, PATIENCE, Request, client::Ended, eventually};

#[tokio::test]
async fn an_http_1_0_client_gets_its_answer_and_the_end_of_the_connection() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;

    let answer = gateway.connect().await.send_raw("GET /a HTTP/1.0\r\nHost: api.example.com\r\n\r\n").await;

    assert_eq!((answer.status, answer.echo().target(), answer.closed), (200, "/a", true));
    assert_eq!(answer.echo().0["version"], "HTTP/1.1");
    assert_eq!(gateway.line_of(&answer).await["protocol"], "HTTP/1.0");
}

#[tokio::test]
async fn an_http_1_0_client_that_asks_for_it_keeps_its_connection() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let mut client = gateway.connect().await;
    let asking = |path: &str| {
        format!("GET {path} HTTP/1.0\r\nHost: api.example.com\r\nConnection: keep-alive\r\n\r\n")
    };

    let first = client.send_raw(asking("/first")).await;
    let second = client.send_raw(asking("/second")).await;
    let last = client.send_raw("GET /last HTTP/1.0\r\nHost: api.example.com\r\n\r\n").await;

    assert_eq!((first.closed, first.header("connection")), (false, Some("keep-alive")));
    assert_eq!((second.closed, second.echo().target()), (false, "/second"));
    assert_eq!((last.closed, last.echo().target()), (true, "/last"));
}

#[tokio::test]
async fn an_http_1_0_client_never_gets_chunks() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;

    for script in ["chunked,body=whole", "http10,body=whole", "body=whole"] {
        for keep in ["", "Connection: keep-alive\r\n"] {
            let request =
                format!("GET / HTTP/1.0\r\nHost: api.example.com\r\n{keep}x-origin: {script}\r\n\r\n");
            let mut client = gateway.connect().await;
            client.write(request).await.unwrap();
            let head = client.read_head().await.unwrap();
            let body = client.read_exactly(5).await.unwrap();

            assert_eq!((head.status, head.header("transfer-encoding")), (200, None), "{script} {head:?}");
            assert_eq!(body, b"whole", "{script} {head:?}");
            if head.header("content-length").is_none() {
                assert_eq!(client.read_to_end().await.unwrap(), b"", "{script}");
            }
        }
    }
}

#[tokio::test]
async fn a_connection_is_kept_until_the_client_says_close() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let mut client = gateway.connect().await;

    for nth in 0..10 {
        let answer = client.send(&Request::get(&format!("/{nth}"))).await;
        assert_eq!((answer.echo().target(), answer.closed), (format!("/{nth}").as_str(), false));
    }
    let last = client.send(&Request::get("/last").header("Connection", "close")).await;

    assert_eq!((last.status, last.header("connection"), last.closed), (200, Some("close"), true));
}

#[tokio::test]
async fn of_pipelined_requests_the_first_is_answered_whole_and_the_connection_ends() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let second = Request::get("/second").to_http1();

    for (first, body) in [
        (Request::get("/first").script("body=first"), "first"),
        (Request::get("/first").script("body=first,delay=100ms"), "first"),
        (Request::get("/first").script("body=first,chunked"), "first"),
        (Request::post("/first", "four").script("body=posted"), "posted"),
        (Request::post("/first", "").chunks(&["fo", "ur"]).script("body=posted"), "posted"),
    ] {
        let mut client = gateway.connect().await;
        let before = origin.requests().await;
        client.write([first.to_http1(), second.clone(), second.clone()].concat()).await.unwrap();

        let answer = client.read_response().await.unwrap();

        assert_eq!((answer.status, answer.text().as_str()), (200, body), "{first:?}");
        // Neither answered nor refused: the client has to send it again.
        assert_eq!(client.read_to_end().await.unwrap(), b"", "{first:?}");
        assert_eq!(origin.requests().await - before, 1, "{first:?}");
    }
    assert_eq!(gateway.access_log().iter().filter(|line| line["path"] == "/second").count(), 0);
}

#[tokio::test]
async fn a_next_request_that_comes_while_the_first_is_served_ends_the_connection_too() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let mut client = gateway.connect().await;
    client.write(Request::get("/first").script("body=first,delay=500ms").to_http1()).await.unwrap();
    eventually(PATIENCE, || async { origin.requests().await == 1 }).await;

    client.write(Request::get("/second").to_http1()).await.unwrap();

    assert_eq!(client.read_response().await.unwrap().text(), "first");
    assert_eq!(client.read_to_end().await.unwrap(), b"");
    assert_eq!(origin.requests().await, 1);
}

#[tokio::test]
async fn a_client_that_half_closes_after_its_request_gets_its_answer() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;

    for request in [
        Request::get("/").script("delay=200ms,body=here"),
        Request::get("/").script("delay=200ms,chunked,drip=50ms/1,body=here"),
        Request::post("/", "body").script("delay=200ms,body=here"),
        Request::post("/", "").chunks(&["bo", "dy"]).script("delay=200ms,body=here"),
    ] {
        let mut client = gateway.connect().await;
        client.write(request.to_http1()).await.unwrap();
        client.half_close().await;

        let answer = client.read_response().await.unwrap();

        assert_eq!(
            (answer.status, answer.text().as_str(), answer.closed),
            (200, "here", true),
            "{request:?}"
        );
        assert!(gateway.line_of(&answer).await["flag"].is_null());
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_is_told_to_continue() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;

    for (framing, body) in
        [("Content-Length: 4", "body"), ("Transfer-Encoding: chunked", "4\r\nbody\r\n0\r\n\r\n")]
    {
        let mut client = gateway.connect().await;
        client
            .write(format!("POST / HTTP/1.1\r\nHost: h.test\r\nExpect: 100-continue\r\n{framing}\r\n\r\n"))
            .await
            .unwrap();
        let interim = client.read_head().await.unwrap();
        client.write(body).await.unwrap();
        let answer = client.read_response().await.unwrap();
        let next = client.send(&Request::get("/next")).await;

        assert_eq!(interim.status, 100);
        assert_eq!((answer.status, answer.echo().body(), answer.interim.len()), (200, "body", 0));
        assert_eq!((next.status, next.echo().target()), (200, "/next"));
    }
}

#[tokio::test]
async fn an_origin_that_refuses_instead_of_100_is_heard_before_the_body() {
    let origin = Origin::script("never_reads,status=417,body=no").await;
    let gateway =
        Gateway::builder().origin("origin", &origin).yaml("connections: { read: 300ms }").start().await;
    let mut client = gateway.connect().await;

    client
        .write("POST / HTTP/1.1\r\nHost: h.test\r\nExpect: 100-continue\r\nContent-Length: 400\r\n\r\n")
        .await
        .unwrap();
    let answer = client.read_response().await.unwrap();

    assert_eq!((answer.status, answer.text().as_str(), answer.interim.len()), (417, "no", 0));
    // The body may or may not come: what follows cannot be a request for sure.
    assert_eq!((answer.header("connection"), client.ended().await), (Some("close"), Ended::Closed));
}

#[tokio::test]
async fn a_refusal_of_the_gateway_does_not_ask_for_the_body_and_ends_the_connection() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder()
        .origin("shop", &origin)
        .yaml("routes: [{ name: shop, match: { path: /shop }, max_body: 1KiB, to: [{ upstream: shop }] }]")
        .start()
        .await;

    for (path, length, status, flag) in [
        ("/shop", 2000, 413, "body_too_large"),
        ("/none", 10, 404, "no_route"),
        ("/none", 2000, 404, "no_route"),
    ] {
        let mut client = gateway.connect().await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: h.test\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        );
        let answer = client.send_raw(head).await;

        assert_eq!(
            (answer.status, answer.flag().as_str(), answer.interim.len()),
            (status, flag, 0),
            "{path}"
        );
        assert_eq!((answer.header("connection"), answer.closed), (Some("close"), true), "{path}");
    }
    assert_eq!(origin.requests().await, 0);
}

#[tokio::test]
async fn a_body_over_the_cap_is_refused_while_it_comes() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder()
        .origin("shop", &origin)
        .yaml("routes: [{ name: shop, max_body: 1KiB, to: [{ upstream: shop }] }]")
        .start()
        .await;
    let exact = vec![b'x'; 1024];
    let more = vec![b'x'; 1025];

    let sized = gateway.send(&Request::post("/", &exact)).await;
    let chunked = gateway.send(&Request::post("/", "").chunks(&[&exact])).await;
    assert_eq!(
        (sized.echo().0["body_bytes"].as_u64(), chunked.echo().0["body_bytes"].as_u64()),
        (Some(1024), Some(1024))
    );

    for request in [
        Request::post("/", &more),
        Request::post("/", "").chunks(&[&more]),
        Request::post("/", "").chunks(&[&exact, &exact]),
    ] {
        let answer = gateway.send(&request).await;
        assert_eq!((answer.status, answer.flag().as_str(), answer.closed), (413, "body_too_large", true));
    }
    // What had begun is cut, so that no origin takes a part for the whole: the
    // one connection that is left asks this.
    eventually(PATIENCE, || async { origin.stats().await["open_connections"] == 1 }).await;
}

#[tokio::test]
async fn head_204_and_304_have_no_body_and_the_connection_goes_on() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let mut client = gateway.connect().await;

    let head = client.send(&Request::head("/").script("size=1000000")).await;
    let head_of_chunks = client.send(&Request::head("/").script("size=1000,chunked")).await;
    let nothing = client.send(&Request::get("/").script("status=204,no_body")).await;
    let same = client.send(&Request::get("/").script("status=304,no_body,header=etag:\"1\"")).await;
    let same_sized = client.send(&Request::get("/").script("status=304,size=500")).await;
    let after = client.send(&Request::get("/after")).await;

    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("1000000"), 0));
    assert_eq!((head_of_chunks.status, head_of_chunks.body.len()), (200, 0));
    assert_eq!(
        (nothing.status, nothing.header("content-length"), nothing.header("transfer-encoding")),
        (204, None, None)
    );
    assert_eq!(
        (same.status, same.header("etag"), same.header("transfer-encoding")),
        (304, Some("\"1\""), None)
    );
    assert_eq!((same_sized.status, same_sized.header("content-length")), (304, Some("500")));
    assert_eq!((after.status, after.echo().target(), after.closed), (200, "/after", false));
    assert_eq!(origin.stats().await["connections"], 2, "one of them is this question");
}

#[tokio::test]
async fn bodies_in_chunks_go_both_ways() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let mut client = gateway.connect().await;
    let large = vec![b'y'; 300_000];

    let up = client.send(&Request::post("/", "").chunks(&[b"ab".as_slice(), b"c", &large])).await;
    let empty = client.send(&Request::post("/", "").chunks::<&str>(&[])).await;
    let down = client.send(&Request::get("/").script("size=300000,chunked")).await;
    let nothing = client.send(&Request::get("/").script("size=0,chunked")).await;

    assert_eq!(up.echo().0["body_bytes"], 300_003);
    assert_eq!(
        (up.echo().header("transfer-encoding"), up.echo().header("content-length")),
        (Some("chunked"), None)
    );
    assert_eq!((empty.echo().0["body_bytes"].as_u64(), empty.closed), (Some(0), false));
    assert_eq!(
        (down.body.len(), down.header("transfer-encoding"), down.header("content-length")),
        (300_000, Some("chunked"), None)
    );
    assert_eq!((nothing.status, nothing.body.len(), nothing.closed), (200, 0, false));
}

#[tokio::test]
async fn http_1_trailers_are_dropped_both_ways() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let mut client = gateway.connect().await;

    let down = client.send(&Request::get("/").script("body=abc,trailers=x-sum:1")).await;
    let up = client
        .send_raw("POST / HTTP/1.1\r\nHost: h.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n")
        .await;

    assert_eq!((down.text().as_str(), down.trailers.len(), down.closed), ("abc", 0, false));
    assert_eq!((up.echo().body(), up.echo().0["trailers"].as_array().unwrap().len()), ("ab", 0));
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_comes_in_chunks() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let mut client = gateway.connect().await;

    let answer = client.send(&Request::get("/").script("http10,size=200000")).await;
    let next = client.send(&Request::get("/next")).await;

    assert_eq!(
        (answer.body.len(), answer.header("transfer-encoding"), answer.closed),
        (200_000, Some("chunked"), false)
    );
    assert_eq!(next.echo().target(), "/next");
}

#[tokio::test]
async fn early_hints_come_before_the_answer() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let mut client = gateway.connect().await;

    client.write(Request::get("/").script("early_hints,delay=100ms,body=page").to_http1()).await.unwrap();
    let answer = client.read_response().await.unwrap();
    let old = Http1::open(gateway.plain)
        .await
        .send_raw("GET / HTTP/1.0\r\nHost: h.test\r\nx-origin: early_hints,body=page\r\n\r\n")
        .await;

    let (status, hints) = &answer.interim[0];
    assert_eq!((*status, answer.interim.len(), answer.text().as_str()), (103, 1, "page"));
    assert!(hints.iter().any(|(name, value)| name == "link" && value.contains("preload")), "{hints:?}");
    assert_eq!((old.interim.len(), old.text().as_str()), (0, "page"), "HTTP/1.0 has no interim answers");
}

#[tokio::test]
async fn a_body_that_stops_coming_is_refused_after_its_silence() {
    let origin = Origin::start().await;
    let gateway =
        Gateway::builder().origin("origin", &origin).yaml("connections: { read: 300ms }").start().await;
    let mut slow = gateway.connect().await;
    let mut stopped = gateway.connect().await;

    let head = "POST / HTTP/1.1\r\nHost: h.test\r\nContent-Length: 8\r\n\r\n";
    slow.write(head).await.unwrap();
    slow.write_slowly(b"8 in all", 2, Duration::from_millis(100)).await.unwrap();
    stopped.write([head, "four"].concat()).await.unwrap();
    let answer = stopped.read_response().await.unwrap();

    assert_eq!(slow.read_response().await.unwrap().echo().body(), "8 in all");
    assert_eq!((answer.status, answer.flag().as_str(), answer.closed), (408, "client_timeout", true));
}
