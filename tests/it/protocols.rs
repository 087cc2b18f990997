//! HTTP/1 as clients speak it: versions, keep-alive, pipelining, interim answers,
//! and answers without a body or without a length.

use crate::support::{Gateway, Http1, Origin, PATIENCE, Request, eventually};

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
