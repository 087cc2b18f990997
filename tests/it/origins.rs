//! The harness itself: clients against origins, without a gateway between.

use crate::support::{
    Http1, Http2, Origin, PATIENCE, Request, Tls, WebSocket, certs,
    client::Ended,
    eventually,
    http2::{grpc_frame, grpc_messages},
    websocket::Frame,
};

#[tokio::test]
async fn an_echo_tells_what_was_sent() {
    let origin = Origin::named("orders").await;
    let request =
        Request::post("/orders?x=1", "a body").honest().header("X-Twice", "1").header("X-Twice", "2");

    let answer = Http1::open(origin.address).await.send(&request).await;

    let echo = answer.echo();
    assert_eq!((echo.origin(), echo.method(), echo.target()), ("orders", "POST", "/orders?x=1"));
    assert_eq!((echo.host(), echo.body()), (Some("api.example.com"), "a body"));
    assert_eq!((echo.lines("x-twice"), echo.header("x-twice")), (vec!["1", "2"], None));
    assert!(!answer.closed);
}

#[tokio::test]
#[should_panic = "a forged field reached the origin"]
async fn a_forged_field_at_the_origin_fails_the_test() {
    let origin = Origin::start().await;

    Http1::open(origin.address).await.send(&Request::get("/")).await;
}

#[tokio::test]
async fn one_connection_takes_answers_of_every_framing() {
    let origin = Origin::start().await;
    let mut client = Http1::open(origin.address).await;
    let script = |script: &str| Request::get("/").honest().script(script);

    assert_eq!(client.send(&script("chunked,body=abc,trailers=x-sum:1")).await.trailer("x-sum"), Some("1"));
    assert_eq!(client.send(&script("status=204,no_body")).await.status, 204);
    assert_eq!(client.send(&Request::head("/").honest().script("size=1000")).await.body, b"");
    assert_eq!(client.send(&script("early_hints,body=x")).await.interim[0].0, 103);
    assert_eq!(
        client.send(&Request::post("/", "").honest().chunks(&["ab", "cd"])).await.echo().body(),
        "abcd"
    );
    let last = client.send(&script("http10,body=to the end")).await;

    assert_eq!((last.text().as_str(), last.closed), ("to the end", true));
    assert_eq!(origin.requests().await, 6);
}

#[tokio::test]
async fn a_client_sees_how_a_connection_ends() {
    let resets = Origin::resets_before_header().await;
    let closes = Origin::closes_before_header().await;
    let cuts = Origin::script("truncate=10,size=100").await;
    let request = Request::get("/").to_http1();

    for (origin, ending) in [(&resets, Ended::Reset), (&closes, Ended::Closed)] {
        let mut client = Http1::open(origin.address).await;
        client.write(&request).await.unwrap();
        assert_eq!(client.ended().await, ending);
    }
    let cut = Http1::open(cuts.address).await.try_send(&Request::get("/")).await;
    assert!(cut.unwrap_err().to_string().contains("cut after"));
}

#[tokio::test]
async fn nothing_listens_at_a_dead_origin_nor_at_a_stopped_one() {
    let dead = Origin::dead();
    let stopped = Origin::start().await;

    stopped.stop().await;

    for address in [dead.address, stopped.address] {
        let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[tokio::test]
async fn an_origin_with_a_full_queue_neither_accepts_nor_refuses() {
    let origin = Origin::never_accepts();

    let waiting = tokio::time::timeout(
        std::time::Duration::from_millis(200),
        tokio::net::TcpStream::connect(origin.address),
    );

    assert!(waiting.await.is_err());
}

#[tokio::test]
async fn tls_clients_choose_name_and_certificate() {
    let authority = certs::authority();
    let certificate = certs::server(&authority, &["orders.internal"]);
    let origin = Origin::builder().tls(&certificate).client_ca(&authority).start().await;
    let address = origin.tls_address.unwrap();
    let client =
        Tls::to("orders.internal").trusting(&authority).certificate(&certs::client(&authority, "gw"));

    let first = Http1::over(client.connect(address).await.unwrap()).send(&Request::get("/").honest()).await;
    let wrong_name = Tls::to("payments.internal").trusting(&authority).connect(address).await;

    assert_eq!(first.echo().0["tls"]["server_name"], "orders.internal");
    assert!(first.echo().0["tls"]["client_cert_subject"].as_str().unwrap().contains("CN=gw"));
    assert!(wrong_name.err().unwrap().0.contains("CERTIFICATE_VERIFY_FAILED"));
}

#[tokio::test]
async fn http2_carries_large_bodies_both_ways_trailers_and_grpc() {
    let authority = certs::authority();
    let origin = Origin::builder().tls(&certs::server(&authority, &["api.example.com"])).start().await;
    let mut client = Http2::open(origin.tls_address.unwrap(), &Tls::default()).await.unwrap();

    let up = client.send(&Request::post("/", vec![b'x'; 300_000]).honest()).await;
    let down = client.send(&Request::get("/").honest().script("size=300000,trailers=x-sum:1")).await;
    let grpc = Request::new("POST", "/shop.Orders/Unary")
        .honest()
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .chunks(&[grpc_frame(b"ping")]);
    let grpc = client.send(&grpc).await;
    let cut = client.try_send(&Request::get("/").honest().script("size=1000,truncate=10")).await.unwrap_err();

    assert_eq!(up.echo().0["body_bytes"], 300_000);
    assert_eq!((down.body.len(), down.trailer("x-sum")), (300_000, Some("1")));
    assert_eq!((grpc_messages(&grpc.body), grpc.trailer("grpc-status")), (vec![b"ping".to_vec()], Some("0")));
    assert_eq!((cut.seen.status, cut.seen.body.len(), cut.is_go_away), (200, 10, false));
}

#[tokio::test]
async fn a_websocket_echoes_and_closes_with_its_code() {
    let origin = Origin::start().await;
    let http = Http1::open(origin.address).await;
    let mut socket = WebSocket::open(http, &Request::get("/").honest()).await.unwrap();

    socket.send_text("hello").await.unwrap();
    assert_eq!(socket.receive().await.unwrap(), Frame::Text("hello".to_owned()));
    socket.send_binary(&[7; 70_000]).await.unwrap();
    assert_eq!(socket.receive().await.unwrap(), Frame::Binary(vec![7; 70_000]));
    socket.close(4001).await.unwrap();

    assert_eq!(socket.receive().await.unwrap(), Frame::Close(Some(4001)));
}

#[tokio::test]
async fn an_origin_counts_and_logs_what_it_received() {
    let origin = Origin::start().await;

    Http1::open(origin.address)
        .await
        .send(&Request::get("/orders").honest().header("X-Request-Id", "7"))
        .await;

    let log = origin.log().await;
    assert_eq!((log.len(), &log[0]["target"], &log[0]["x-request-id"]), (1, &"/orders".into(), &"7".into()));
    origin.set_script("status=503").await;
    assert_eq!(Http1::open(origin.address).await.send(&Request::get("/").honest()).await.status, 503);
    eventually(PATIENCE, || async { origin.stats().await["open_connections"] == 1 }).await;
}
