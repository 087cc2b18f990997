//! Request bodies over HTTP/1: asked for with 100, in chunks, too large, too slow.

use std::time::Duration;

use crate::support::{Gateway, Origin, PATIENCE, Request, client::Ended, eventually};

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
    // What had begun is cut, so that no origin takes a part for the whole: what is
    // left asks this, or carried the small body of a known length. Those in chunks
    // have connections of their own.
    eventually(PATIENCE, || async { origin.stats().await["open_connections"] == 2 }).await;
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
async fn a_body_that_stops_coming_is_refused_after_its_silence() {
    let origin = Origin::start().await;
    let gateway =
        Gateway::builder().origin("origin", &origin).yaml("connections: { read: 2s }").start().await;
    let mut slow = gateway.connect().await;
    let mut stopped = gateway.connect().await;

    let head = "POST / HTTP/1.1\r\nHost: h.test\r\nContent-Length: 8\r\n\r\n";
    slow.write(head).await.unwrap();
    slow.write_slowly(b"8 in all", 2, Duration::from_millis(100)).await.unwrap();
    stopped.write([head, "four"].concat()).await.unwrap();
    let answer = stopped.read_response().await.unwrap();

    let whole = slow.read_response().await.unwrap();
    assert_eq!(whole.status, 200, "{} {:?}", whole.text(), gateway.access_log());
    assert_eq!(whole.echo().body(), "8 in all");
    assert_eq!((answer.status, answer.flag().as_str(), answer.closed), (408, "client_timeout", true));
}
