//! Bodies that are too large, broken or unwanted: the status, and whether the
//! connection goes on without taking a body for a request.

use std::time::Duration;

use tokio::{io::AsyncReadExt, net::TcpListener, time::timeout};

use crate::support::{Gateway, Http1, Origin, PATIENCE, Request, Response, eventually};

#[tokio::test]
async fn a_length_above_the_cap_is_refused_before_a_byte_goes_upstream() {
    let (origin, gateway) = capped().await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n";

    for sent in [head.to_owned(), format!("{head}{}", "x".repeat(1001))] {
        let answer = gateway.connect().await.send_raw(sent).await;

        assert_eq!((answer.status, answer.flag().as_str(), answer.closed), (413, "body_too_large", true));
    }
    assert_eq!(gateway.send(&Request::post("/", "x".repeat(1000))).await.echo().0["body_bytes"], 1000);
    assert_eq!(origin.stats().await["connections"], 2, "one for the request, one for this question");
    assert_eq!(origin.requests().await, 1);
}

#[tokio::test]
async fn a_body_without_length_is_counted_and_cut_at_the_cap() {
    let (origin, gateway) = capped().await;
    let fits = Request::post("/", "").chunks(&["x".repeat(500), "x".repeat(500)]);
    let above = Request::post("/above", "").chunks(&["x".repeat(500), "x".repeat(501)]);

    let refused = gateway.connect().await.send(&above).await;

    assert_eq!((refused.status, refused.flag().as_str(), refused.closed), (413, "body_too_large", true));
    assert_eq!(gateway.line_of(&refused).await["bytes_in"], 1001);
    assert_eq!(gateway.send(&fits).await.echo().0["body_bytes"], 1000);
    assert!(origin.stats().await["bytes_in"].as_u64().unwrap() <= 1500, "what is above the cap went on");
    assert_eq!(gateway.metrics().await.refused(), [("flag body_too_large".to_owned(), 1.0)].into());
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut_at_the_cap() {
    let (_origin, gateway) = capped().await;
    let mut client = gateway.connect().await;
    client.write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();

    let endless = "400\r\n".to_owned() + &"x".repeat(0x400) + "\r\n";
    let answer = client.send_raw(endless.repeat(10_000)).await;

    assert_eq!((answer.status, answer.flag().as_str(), answer.closed), (413, "body_too_large", true));
}

#[tokio::test]
async fn a_chunk_that_is_none_is_a_400_and_the_connection_closed() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let bodies = [
        "zz\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: a\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
    ];
    for body in bodies {
        let smuggled = format!("{body}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = gateway.connect().await.send_raw(chunked_post(&smuggled)).await;

        assert_eq!((answer.status, answer.closed), (400, true), "{body:?} got {answer:?}");
        assert_eq!(answer.flag(), "bad_transfer_encoding", "{body:?}");
        assert_eq!(gateway.line_of(&answer).await["flag"], "bad_transfer_encoding", "{body:?}");
    }
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(200_000));
    assert_eq!(gateway.connect().await.send_raw(chunked_post(&long)).await.status, 400);
    let trailers = format!("0\r\n{}\r\n", "X: a\r\n".repeat(20_000));
    assert_eq!(gateway.connect().await.send_raw(chunked_post(&trailers)).await.status, 400);

    assert!(origin.log().await.iter().all(|seen| seen["target"] == "/"), "{:?}", origin.log().await);
    let counted = gateway.metrics().await.refused();
    assert_eq!(counted, [("flag bad_transfer_encoding".to_owned(), bodies.len() as f64 + 2.0)].into());
}

// What goes upstream is chunked anew, so that no origin sees these; a server in
// front of us that reads them otherwise would see another end of the body.
#[tokio::test]
async fn a_chunk_that_pingora_forgives_is_a_400_too() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;

    for body in FORGIVEN {
        let sent = chunked_post(&format!("{body}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"));
        let head = sent.len() - sent.split_once("\r\n\r\n").unwrap().1.len();

        let at_once = gateway.connect().await.send_raw(&sent).await;
        let apart = send_in_two(&gateway, &sent, head).await;
        let in_bytes = send_in_bytes(&gateway, &sent).await;

        for answer in [at_once, apart, in_bytes] {
            assert_eq!((answer.status, answer.closed), (400, true), "{body:?} got {answer:?}");
            assert_eq!(answer.flag(), "bad_transfer_encoding", "{body:?}");
            assert_eq!(gateway.line_of(&answer).await["flag"], "bad_transfer_encoding", "{body:?}");
        }
    }
    assert!(origin.log().await.iter().all(|seen| seen["target"] == "/"), "{:?}", origin.log().await);
    let counted = gateway.metrics().await.refused();
    assert_eq!(counted, [("flag bad_transfer_encoding".to_owned(), 3.0 * FORGIVEN.len() as f64)].into());
}

#[tokio::test]
async fn a_bad_chunk_after_many_good_ones_is_a_400_and_no_whole_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let upstreams = format!("upstreams: [{{ name: raw, endpoints: [{{ address: \"{upstream}\" }}] }}]");
    let yaml = format!("{upstreams}\nroutes: [{{ name: all, to: [{{ upstream: raw }}] }}]");
    let gateway = Gateway::builder().yaml(&yaml).start().await;
    let good = format!("1000;n=\"v\"\r\n{}\r\n", "x".repeat(0x1000)).repeat(256);

    for body in FORGIVEN {
        let sent = chunked_post(&format!("{good}{body}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"));
        let mut client = gateway.connect().await;
        let (answer, seen) = tokio::join!(client.send_raw(sent), read_one(&listener));

        assert_eq!((answer.status, answer.closed), (400, true), "{body:?} got {answer:?}");
        assert_eq!(answer.flag(), "bad_transfer_encoding", "{body:?}");
        assert!(seen.len() > 900_000 && !seen.ends_with("0\r\n\r\n"), "{} bytes", seen.len());
        assert!(!seen.contains("smuggled"));
    }
}

#[tokio::test]
async fn a_body_that_is_cut_at_the_cap_is_no_whole_one_for_the_upstream() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let upstreams = format!("upstreams: [{{ name: raw, endpoints: [{{ address: \"{upstream}\" }}] }}]");
    let routes = "requests: { max_body: 1000B }\nroutes: [{ name: all, to: [{ upstream: raw }] }]";
    let gateway = Gateway::builder().yaml(&format!("{upstreams}\n{routes}")).start().await;
    // All of it is there before the gateway has connected.
    let sent = chunked_post(&format!("1f4\r\n{0}\r\n1f5\r\n{0}x\r\n0\r\n\r\n", "x".repeat(500)));

    for _ in 0..20 {
        let mut client = gateway.connect().await;
        let (answer, seen) = tokio::join!(client.send_raw(sent.clone()), read_one(&listener));

        assert_eq!((answer.status, answer.closed), (413, true), "{answer:?}");
        assert!(!seen.ends_with("0\r\n\r\n"), "{seen}");
    }
}

#[tokio::test]
async fn a_bad_chunk_is_refused_where_nothing_goes_upstream_too() {
    let (origin, gateway) = capped().await;
    let head = "POST /nothing HTTP/1.1\r\nHost: other.example.com\r\nTransfer-Encoding: chunked\r\n\r\n";

    let bad = gateway.connect().await.send_raw(format!("{head}5 \r\nhello\r\n0\r\n\r\n")).await;
    let good = gateway.connect().await.send_raw(format!("{head}5\r\nhello\r\n0\r\n\r\n")).await;

    assert_eq!((bad.status, bad.flag().as_str(), bad.closed), (400, "bad_transfer_encoding", true));
    assert_eq!((good.status, good.flag().as_str(), good.closed), (404, "no_route", true));
    assert_eq!(origin.requests().await, 0);
}

#[tokio::test]
async fn a_connection_goes_on_after_good_chunks_and_its_next_bad_one_is_found() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let good = chunked_post("5;a=\"b\"\r\nhello\r\n0\r\nX-Trailer: dropped\r\n\r\n");
    // What is no chunk is a body like any other where its length is told.
    let told = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n5 \r\nh";
    let mut client = gateway.connect().await;

    for _ in 0..3 {
        assert_eq!(client.send_raw(&good).await.echo().body(), "hello");
        assert_eq!(write_in_pieces(&mut client, good.as_bytes(), 1).await.echo().body(), "hello");
        assert_eq!(client.send_raw(told).await.echo().body(), "5 \r\nh");
        assert_eq!(client.send(&Request::get("/")).await.status, 200);
    }
    assert_eq!(gateway.metric("tollgate_connections_total", &[]).await, 1.0);

    let bad = client.send_raw(chunked_post("5\r\nhello\r\n\r\n\r\n")).await;
    assert_eq!((bad.status, bad.flag().as_str(), bad.closed), (400, "bad_transfer_encoding", true));
}

#[tokio::test]
async fn a_chunk_in_an_unusual_spelling_means_what_it_says() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let mut client = gateway.connect().await;

    for body in [
        "5;a=b;c=\"d\"\r\nhello\r\n0\r\n\r\n",
        "0000005\r\nhello\r\n0000\r\n\r\n",
        "2\r\nhe\r\n3\r\nllo\r\n0;x\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-Trailer: dropped\r\n\r\n",
    ] {
        let echo = client.send_raw(chunked_post(body)).await.echo();

        assert_eq!(echo.body(), "hello", "{body:?}");
        assert_eq!(echo.0["trailers"], serde_json::json!([]), "{body:?}");
        assert_eq!(echo.lines("transfer-encoding"), ["chunked"], "{body:?}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_a_whole_request() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;

    for sent in [
        chunked_post("5\r\nhello\r\n"),
        chunked_post("5\r\nhel"),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nhello".to_owned(),
    ] {
        let mut client = gateway.connect().await;
        client.write(&sent).await.unwrap();
        client.half_close().await;

        let said = client.read_to_end().await.unwrap_or_default();

        assert!(!said.starts_with(b"HTTP/1.1 2"), "{sent:?} got {}", String::from_utf8_lossy(&said));
    }
    eventually(PATIENCE, || async { gateway.access_log().len() == 3 }).await;
    assert!(
        gateway.access_log().iter().all(|line| line["flag"] == "client_gone"),
        "{:?}",
        gateway.access_log()
    );
    let refused: f64 = gateway.metrics().await.refused().values().sum();
    assert_eq!(refused, 3.0);
}

#[tokio::test]
async fn fifty_refusals_go_over_one_connection() {
    let (origin, gateway) = capped().await;
    let mut client = gateway.connect().await;

    for _ in 0..50 {
        let answer = client.send(&Request::get("/nothing").host("other.example.com")).await;
        assert_eq!((answer.status, answer.flag().as_str(), answer.closed), (404, "no_route", false));
    }

    assert_eq!(client.send(&Request::get("/")).await.echo().target(), "/");
    assert_eq!(gateway.metric("tollgate_connections_total", &[]).await, 1.0);
    assert_eq!(gateway.metric("tollgate_rejections_total", &[("flag", "no_route")]).await, 50.0);
    assert_eq!(origin.requests().await, 1);
}

#[tokio::test]
async fn a_refused_request_with_a_small_body_is_not_confused_with_the_next() {
    let (origin, gateway) = capped().await;
    let body = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

    for piece in [usize::MAX, 1] {
        let mut client = gateway.connect().await;
        let refused = Request::post("/nothing", body).host("other.example.com").to_http1();
        let answer = write_in_pieces(&mut client, &refused, piece).await;
        assert_eq!((answer.status, answer.closed), (404, false), "in pieces of {piece}");
        assert_eq!(client.send(&Request::get("/next")).await.echo().target(), "/next");
    }

    let seen = origin.log().await;
    assert!(seen.iter().all(|seen| seen["target"] == "/next"), "{seen:?}");
    assert_eq!(gateway.metric("tollgate_connections_total", &[]).await, 2.0);
}

#[tokio::test]
async fn a_refused_request_with_a_body_that_is_large_or_waits_ends_the_connection() {
    let (origin, gateway) = capped().await;
    let refused = |lines: &str| format!("POST /nothing HTTP/1.1\r\nHost: other.example.com\r\n{lines}\r\n");
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

    for sent in [
        refused("Content-Length: 1000000\r\n") + smuggled,
        refused("Content-Length: 35\r\nExpect: 100-continue\r\n") + smuggled,
        refused("Content-Length: 36\r\nExpect: 100-continue\r\n"),
        refused("Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n" + smuggled,
    ] {
        let answer = gateway.connect().await.send_raw(&sent).await;

        assert_eq!((answer.status, answer.closed), (404, true), "{sent:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{sent:?}");
    }
    assert_eq!(origin.requests().await, 0);
}

/// A gateway that takes bodies of 1000 bytes, and nothing for other hosts.
async fn capped() -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let routes = r#"
        requests: { max_body: 1000B }
        routes: [{ name: all, match: { hosts: [a, api.example.com] }, to: [{ upstream: origin }] }]
        "#;
    let gateway = Gateway::builder().origin("origin", &origin).yaml(routes).start().await;
    (origin, gateway)
}

fn chunked_post(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

/// What comes on one connection, to its end.
async fn read_one(listener: &TcpListener) -> String {
    let mut seen = Vec::new();
    let reading = async { listener.accept().await.unwrap().0.read_to_end(&mut seen).await };
    let _ = timeout(PATIENCE, reading).await.expect("one connection that ends");
    String::from_utf8_lossy(&seen).into_owned()
}

/// The second piece goes when the gateway has had the time to take the first.
async fn send_in_two(gateway: &Gateway, sent: &str, at: usize) -> Response {
    let mut client = gateway.connect().await;
    client.write_slowly(sent.as_bytes(), at, Duration::from_millis(20)).await.unwrap();
    client.read_response().await.unwrap()
}

async fn send_in_bytes(gateway: &Gateway, sent: &str) -> Response {
    let mut client = gateway.connect().await;
    // It may be refused and closed before its end.
    let _ = client.write_slowly(sent.as_bytes(), 1, Duration::ZERO).await;
    client.read_response().await.unwrap()
}

async fn write_in_pieces(client: &mut Http1, bytes: &[u8], size: usize) -> Response {
    for piece in bytes.chunks(size) {
        client.write(piece).await.unwrap();
    }
    client.read_response().await.unwrap()
}

/// Each is something else to Pingora than to RFC 9112.
const FORGIVEN: [&str; 12] = [
    "\r\n5\r\nhello\r\n0\r\n\r\n",
    ";a\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5\t;a\r\nhello\r\n0\r\n\r\n",
    "5;a=b\nc\r\nhello\r\n0\r\n\r\n",
    "5;\0\r\nhello\r\n0\r\n\r\n",
    "5; a = b\r\nhello\r\n0\r\n\r\n",
    "5;a=\"b\r\nhello\r\n0\r\n\r\n",
    "0\r\nno trailer\r\n\r\n",
    "0\r\nX: \0\r\n\r\n",
    "0\r\nX : a\r\n\r\n",
    "0\r\nTransfer_Encoding: chunked\r\n\r\n",
];
