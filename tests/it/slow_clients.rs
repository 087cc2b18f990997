//! Clients that say little, late or nothing: each is ended at its deadline, by
//! the reason that says why, and nobody is woken for it.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::{
    Gateway, Http1, Origin, PATIENCE, Request, Tls, certs,
    client::Ended,
    eventually,
    request::HOST,
    stream::{self, Stream},
    within,
};

const DEADLINE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_header_that_drips_is_ended_at_its_deadline() {
    let (origin, gateway) = start("header_timeout: 1s").await;

    assert_drip_is_ended(&mut gateway.connect().await).await;
    assert_drip_is_ended(&mut gateway.connect_tls(&Tls::default()).await.unwrap()).await;

    assert_ended(&gateway, "header_timeout", 2.0).await;
    assert_eq!((origin.requests().await, gateway.access_log().len()), (0, 0));
}

#[tokio::test]
async fn a_later_header_on_a_connection_has_the_same_deadline() {
    let (_origin, gateway) = start("header_timeout: 1s").await;

    for secure in [false, true] {
        let mut client = match secure {
            false => gateway.connect().await,
            true => gateway.connect_tls(&Tls::default()).await.unwrap(),
        };
        client.send(&Request::get("/")).await;
        // Waiting for a request is not waiting for the rest of one.
        let ended = within(DEADLINE * 2, || async { false }).await;
        assert!(ended.is_none() && client.is_open().await);
        client.send(&Request::get("/")).await;

        assert_drip_is_ended(&mut client).await;
    }

    assert_ended(&gateway, "header_timeout", 2.0).await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_ended_like_a_header_that_drips() {
    let (_origin, gateway) = start("header_timeout: 1s").await;
    let over_tls = gateway.connect_tls(&Tls::default()).await.unwrap();
    let http2 = gateway.connect_http2(&Tls::default()).await.unwrap();

    assert_eq!(gateway.connect().await.ended().await, Ended::Closed);
    assert_eq!({ over_tls }.ended().await, Ended::Closed);
    let _ = http2.ended().await;

    assert_ended(&gateway, "header_timeout", 3.0).await;
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_ended() {
    let (_origin, gateway) = start("handshake_timeout: 1s").await;
    // A record of 512 bytes, a ClientHello of 508, and not all of it.
    let half = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0; 100]].concat();

    for bytes in [&half[..], &half[..3], b""] {
        let began = Instant::now();
        let mut client = Http1::open(gateway.tls).await;
        client.write(bytes).await.unwrap();

        client.ended().await;
        assert!(began.elapsed() >= DEADLINE.mul_f64(0.9), "{:?}", began.elapsed());
    }
    let mut drips = Http1::open(gateway.tls).await;
    let _ = drips.write_slowly(&half, 1, Duration::from_millis(50)).await;
    drips.ended().await;

    assert_ended(&gateway, "handshake_timeout", 4.0).await;
}

#[tokio::test]
async fn who_connects_and_leaves_is_counted_and_not_complained_of() {
    let (_origin, gateway) = start("header_timeout: 10s").await;

    for address in [gateway.plain, gateway.tls] {
        for _ in 0..10 {
            drop(Http1::open(address).await);
            Http1::open(address).await.reset();
        }
    }
    drop(gateway.connect_tls(&Tls::default()).await.unwrap());
    drop(gateway.connect_http2(&Tls::default()).await.unwrap());

    assert_ended(&gateway, "probe", 42.0).await;
    assert_eq!(gateway.access_log().len(), 0);
}

#[tokio::test]
async fn an_idle_connection_is_ended_in_order() {
    let (_origin, gateway) = start("idle: 1s").await;
    let mut plain = gateway.connect().await;
    let mut over_tls = gateway.connect_tls(&Tls::default()).await.unwrap();
    let mut http2 = gateway.connect_http2(&Tls::default()).await.unwrap();
    let began = Instant::now();

    for client in [&mut plain, &mut over_tls] {
        client.send(&Request::get("/")).await;
        client.send(&Request::get("/")).await;
    }
    http2.send(&Request::get("/")).await;

    assert_eq!((plain.ended().await, over_tls.ended().await), (Ended::Closed, Ended::Closed));
    http2.ended().await.unwrap();
    assert!(began.elapsed() >= DEADLINE.mul_f64(0.9), "{:?}", began.elapsed());
    let open = || async { gateway.metric("tollgate_connections_open", &[]).await };
    eventually(PATIENCE, || async { open().await == 0.0 }).await;
    let reasons = gateway.metrics().await.refused();
    assert_eq!(reasons, [("reason idle_timeout".to_owned(), 2.0)].into(), "HTTP/2 is the library's to end");
    assert_quiet(&gateway);
}

#[tokio::test]
async fn an_idle_connection_with_a_request_under_way_is_not_idle() {
    let (_origin, gateway) = start("idle: 1s, header_timeout: 1s").await;
    let slow = Request::get("/").script("delay=2500ms,body=late");
    let mut plain = gateway.connect().await;
    let mut http2 = gateway.connect_http2(&Tls::default()).await.unwrap();

    let (one, two) = tokio::join!(plain.send(&slow), http2.send(&slow));

    assert_eq!((one.text().as_str(), two.text().as_str()), ("late", "late"));
    assert!(!one.closed);
}

#[tokio::test]
async fn a_body_that_stops_coming_is_a_408() {
    let (origin, gateway) = start("read: 1s").await;
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n");

    for body in [
        "Content-Length: 100\r\n\r\nsome",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n",
        "Content-Length: 5\r\n\r\n",
    ] {
        let began = Instant::now();
        let answer = gateway.connect().await.send_raw(format!("{head}{body}")).await;

        assert_eq!(
            (answer.status, answer.flag().as_str(), answer.closed),
            (408, "client_timeout", true),
            "{body:?}"
        );
        // Not by the endpoint's deadline, which comes at 15 s.
        let took = began.elapsed();
        assert!(took >= DEADLINE.mul_f64(0.9) && took < Duration::from_secs(10), "{took:?}");
        assert_eq!(gateway.line_of(&answer).await["status"], 408);
    }
    assert_eq!(gateway.metrics().await.refused(), [("flag client_timeout".to_owned(), 3.0)].into());
    assert!(origin.requests().await <= 3);
    assert_quiet(&gateway);
}

#[tokio::test]
async fn a_body_that_comes_slowly_and_steadily_is_served() {
    let (_origin, gateway) = start("read: 1s").await;
    let mut client = gateway.connect().await;

    client.write(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 20\r\n\r\n")).await.unwrap();
    client.write_slowly(b"twenty bytes of body", 1, Duration::from_millis(100)).await.unwrap();

    assert_eq!(client.read_response().await.unwrap().echo().body(), "twenty bytes of body");
}

#[tokio::test]
async fn a_client_that_stops_sending_is_not_its_endpoints_fault() {
    let text = r#"
        upstreams: [{ name: origin, endpoints: [{ address: "{origin}" }], timeouts: { read: 1s } }]
        routes: [{ name: all, to: [{ upstream: origin }] }]
        "#;
    let (_origin, gateway) = start_with(text).await;
    let mut client = gateway.connect_http2(&Tls::default()).await.unwrap();

    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100\r\n\r\nsome");
    let one = gateway.connect().await.send_raw(head).await;
    let mut stalled = client.start(&Request::new("POST", "/"), false).await.unwrap();
    stalled.write("some", false).await.unwrap();
    let two = stalled.response().await.unwrap();

    for answer in [one, two] {
        assert_eq!((answer.status, answer.flag().as_str()), (408, "client_timeout"));
        assert_eq!(gateway.line_of(&answer).await["flag"], "client_timeout");
    }
    assert_eq!(gateway.metric("tollgate_upstream_attempts_total", &[("result", "timeout")]).await, 0.0);
    assert_eq!(client.send(&Request::get("/next")).await.echo().target(), "/next");
    // Silent although everything was sent: that is the endpoint's.
    let silent = gateway.send(&Request::post("/", "body").script("never_answers")).await;
    assert_eq!((silent.status, silent.flag().as_str()), (504, "upstream_timeout"));
}

#[tokio::test]
async fn connections_above_the_cap_are_ended_and_make_room_when_others_leave() {
    let (_origin, gateway) = start("max: 3").await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(served(Http1::open(gateway.plain).await).await.unwrap());
    }

    for _ in 0..5 {
        assert!(served(gateway.connect().await).await.is_none());
    }
    assert!(gateway.connect_tls(&Tls::default()).await.is_err());
    assert_ended(&gateway, "connection_cap", 6.0).await;
    for client in &mut held {
        assert_eq!(client.send(&Request::get("/")).await.status, 200);
    }

    held.pop();
    eventually(PATIENCE, || async { served(gateway.connect().await).await.is_some() }).await;
}

#[tokio::test]
async fn one_client_cannot_take_the_connections_of_others() {
    let (_origin, gateway) = start("max_per_client: 2").await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(served(gateway.connect().await).await.unwrap());
    }

    assert!(served(gateway.connect().await).await.is_none());
    let other = Http1::over(Stream::Plain(stream::connect_from([127, 0, 0, 2], gateway.plain).await));
    assert!(served(other).await.is_some());
    assert_ended(&gateway, "client_cap", 1.0).await;

    held.clear();
    eventually(PATIENCE, || async { served(gateway.connect().await).await.is_some() }).await;
}

#[tokio::test]
async fn a_refused_client_that_talks_on_keeps_its_place_under_the_cap() {
    let (_origin, gateway) = start("max_per_client: 2").await;
    let mut talking = Vec::new();
    for _ in 0..2 {
        let mut client = gateway.connect().await;
        assert!(client.send_raw("GET /a b HTTP/1.1\r\n\r\n").await.closed);
        client.write("x").await.unwrap();
        talking.push(client);
    }

    assert!(served(gateway.connect().await).await.is_none());
    let counted = gateway.metrics().await.refused();
    assert_eq!((counted["reason client_cap"], counted["reason bad_request_line"]), (1.0, 2.0));

    talking.clear();
    eventually(PATIENCE, || async { served(gateway.connect().await).await.is_some() }).await;
}

/// The connection, once it has served a request.
async fn served(mut client: Http1) -> Option<Http1> {
    client.try_send(&Request::get("/")).await.ok().filter(|answer| answer.status == 200).map(|_| client)
}

/// Drips a header that never ends and looks when that is ended.
async fn assert_drip_is_ended(client: &mut Http1) {
    let began = Instant::now();
    let head = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX: {}", "a".repeat(1_000));

    // Ends with an error when the gateway has closed, long before its own end.
    let _ = client.write_slowly(head.as_bytes(), 1, Duration::from_millis(40)).await;
    client.ended().await;

    let took = began.elapsed();
    assert!(took >= DEADLINE.mul_f64(0.9) && took < Duration::from_secs(15), "{took:?}");
}

async fn assert_ended(gateway: &Gateway, reason: &str, times: f64) {
    let labels = [("reason", reason)];
    eventually(PATIENCE, || async {
        gateway.metric("tollgate_connections_ended_early_total", &labels).await >= times
    })
    .await;
    assert_eq!(gateway.metrics().await.refused(), [(format!("reason {reason}"), times)].into());
    assert_quiet(gateway);
}

fn assert_quiet(gateway: &Gateway) {
    let stderr = gateway.stderr();
    assert!(!stderr.contains("level=warn") && !stderr.contains("level=error"), "{stderr}");
}

async fn start(connections: &str) -> (Origin, Gateway) {
    start_with(&format!("connections: {{ {connections} }}\n")).await
}

async fn start_with(text: &str) -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &[HOST]);
    let builder = Gateway::builder().origin("origin", &origin).certificate(&certificate);
    (origin, builder.yaml(text).start().await)
}
