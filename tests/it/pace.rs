//! Clients that send or take too slowly, and those that ask too often on one
//! connection: they are ended, by the reason that says why, and who is only silent
//! is not.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use crate::support::{
    Frames, Gateway, Http1, Origin, PATIENCE, Puppet, Request, Tls, WebSocket, certs, eventually,
    frames::{Outcome, PING, frame, get},
    link::slow_link,
    load::{Asks, Load},
    request::HOST,
};

const SLOW: &str = "min_rate: { bytes: 1000B, grace: 1s }";

#[tokio::test]
async fn a_body_below_the_rate_is_a_408() {
    let (origin, gateway) = start(SLOW).await;
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n");
    let drips = [
        (format!("{head}Content-Length: 1000\r\n\r\n"), "x"),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n"), "1\r\nx\r\n"),
        // Of no use to a POST, and of none against its pace.
        (format!("{head}Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 1000\r\n\r\n"), "x"),
        (format!("{head}Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1000\r\n\r\n"), "x"),
    ];

    for (head, piece) in drips {
        let began = Instant::now();
        let mut client = gateway.connect().await;
        client.write(&head).await.unwrap();
        let _ =
            client.write_slowly(piece.repeat(60).as_bytes(), piece.len(), Duration::from_millis(50)).await;
        let answer = client.read_response().await.unwrap();

        assert_eq!((answer.status, answer.flag().as_str(), answer.closed), (408, "client_timeout", true));
        assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
        assert_eq!(gateway.send(&Request::post("/", "quick")).await.echo().body(), "quick");
    }
    assert_ended(&gateway, "body_too_slow", 4.0).await;
    assert!(origin.log().await.len() <= 8);
}

#[tokio::test]
async fn a_body_below_the_rate_ends_its_http_2_connection() {
    let (_origin, gateway) = start(SLOW).await;
    let mut other = gateway.connect_http2(&Tls::default()).await.unwrap();
    let grpc = Request::new("POST", "/grpc").header("content-type", "application/grpc");

    // The upstream speaks HTTP/1: to it no call is one.
    for request in [Request::new("POST", "/post"), Request::get("/get"), grpc.header("te", "trailers")] {
        let slow = gateway.connect_http2(&Tls::default()).await.unwrap();
        let mut exchange = slow.start(&request, false).await.unwrap();
        for _ in 0..80 {
            if exchange.write("x", false).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }

        // The connection is gone, and no answer came.
        assert_eq!(exchange.response().await.map_or(0, |answer| answer.status), 0, "{request:?}");
        let line = gateway.line(|line| line["path"] == request.target.as_str()).await;
        assert_eq!(line["flag"], "client_timeout", "{line}");
    }
    assert_ended(&gateway, "body_too_slow", 3.0).await;
    assert_eq!(other.send(&Request::post("/", "quick")).await.echo().body(), "quick");
}

#[tokio::test]
async fn only_bytes_of_bodies_keep_a_body_alive() {
    let (_origin, gateway) = start(SLOW).await;
    let mut client = Frames::open(&gateway).await;
    let fields = [(":method", "POST"), (":scheme", "https"), (":path", "/slow"), (":authority", HOST)];
    client.request(&fields, false).await;

    // 3 kB/s, within what a client may ping.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(8) {
        if client.write(&frame(PING, 0, 0, &[0; 8]).repeat(2)).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    // It was ended while it said much.
    drop(client);

    assert_eq!(gateway.line(|line| line["path"] == "/slow").await["flag"], "client_timeout");
    assert_ended(&gateway, "body_too_slow", 1.0).await;
}

#[tokio::test]
async fn one_body_above_the_rate_does_not_pay_for_others() {
    let (_origin, gateway) = start(SLOW).await;
    let client = gateway.connect_http2(&Tls::default()).await.unwrap();
    let mut bodies = Vec::new();
    for _ in 0..20 {
        bodies.push(client.start(&Request::new("POST", "/slow"), false).await.unwrap());
    }

    // 2 kB/s, where twenty need ten times as much.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(8) {
        if bodies[0].write(vec![b'x'; 100], false).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    drop((bodies, client));

    let line = gateway.line(|line| line["path"] == "/slow").await;
    assert_eq!(line["flag"], "client_timeout", "{line}");
    assert_ended(&gateway, "body_too_slow", 1.0).await;
}

// By that the edge knows that nothing more of its body is to come.
#[tokio::test]
async fn an_upload_that_is_answered_before_its_end_is_reset() {
    let (_origin, gateway) = start(SLOW).await;
    let mut client = Frames::open(&gateway).await;
    let fields = [(":method", "POST"), (":scheme", "https"), (":path", "/;"), (":authority", HOST)];

    for _ in 0..5 {
        let refused = client.request(&fields, false).await;
        assert!(matches!(client.outcome(refused).await, Outcome::Answer(400, _)));
        assert_eq!(client.outcome(refused).await, Outcome::Reset(0));
    }
}

#[tokio::test]
async fn a_socket_that_opened_before_its_handshake_had_all_of_a_body_has_no_pace() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    let puppet = Puppet::says(switch).await;
    let sections = format!("connections: {{ {SLOW} }}");
    let gateway = Gateway::https(&puppet.origin, "protocol: http1", &sections).await;
    let mut client = gateway.connect().await;
    let head = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n");
    client.write(format!("{head}Content-Length: 1000\r\n\r\nsome")).await.unwrap();
    assert_eq!(client.read_head().await.unwrap().status, 101);

    // The silence is what is tested.
    assert!(timeout(Duration::from_millis(2500), client.read_to_end()).await.is_err());
    assert_eq!(gateway.metric("tollgate_connections_ended_early_total", &[]).await, 0.0);
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_cut() {
    let (_origin, gateway) = start(SLOW).await;
    let mut plain = gateway.connect().await;
    let mut secure = gateway.connect_tls(&Tls::default()).await.unwrap();
    for (client, path) in [(&mut plain, "/plain"), (&mut secure, "/secure")] {
        client.write(Request::get(path).script("size=100000000").to_http1()).await.unwrap();
        client.read_head().await.unwrap();
    }

    for path in ["/plain", "/secure"] {
        let line = gateway.line(|line| line["path"] == path).await;
        assert_eq!((&line["status"], &line["flag"]), (&200.into(), &"cut".into()), "{line}");
    }
    assert_ended(&gateway, "read_too_slow", 2.0).await;
    assert_eq!(gateway.get("/").await.status, 200);
}

#[tokio::test]
async fn a_stream_whose_window_stays_closed_ends_and_no_other() {
    let (_origin, gateway) = start("write: 1s").await;
    let mut client = Frames::open(&gateway).await;
    let large = [get("/large"), vec![(b"x-origin".to_vec(), b"size=1000000".to_vec())]].concat();

    // 64 KiB come, and no window update goes back.
    let stalled = client.request(&large, true).await;
    let outcome = client.outcome(stalled).await;

    assert!(matches!(outcome, Outcome::Reset(_)), "{outcome:?}");
    let line = gateway.line(|line| line["path"] == "/large").await;
    assert_eq!((&line["status"], &line["flag"]), (&200.into(), &"client_gone".into()), "{line}");
    client.frame(8, 0, 0, &1_000_000u32.to_be_bytes()).await.unwrap();
    let next = client.request(&get("/next"), true).await;
    assert!(matches!(client.outcome(next).await, Outcome::Answer(200, _)));
}

#[tokio::test]
async fn an_answer_that_is_taken_above_the_rate_is_whole() {
    let (_origin, gateway) = start(SLOW).await;
    let link = slow_link(gateway.plain, 50_000, Duration::from_millis(10)).await;

    let answer = Http1::open(link).await.send(&Request::get("/").script("size=12000000")).await;

    assert_eq!((answer.status, answer.body.len()), (200, 12_000_000));
}

#[tokio::test]
async fn who_is_only_silent_is_not_slow() {
    let (_origin, gateway) = start(SLOW).await;
    let (_calls_origin, calls) = start_with(SLOW, "protocol: http2").await;
    let late = Request::post("/", "all of it").script("delay=4s,body=late");
    let events = Request::get("/").header("Accept", "text/event-stream").script("sse=3/1500ms");
    let mut http2 = gateway.connect_http2(&Tls::default()).await.unwrap();
    let talk = calls.connect_http2(&Tls::default()).await.unwrap();
    let mut call = Request::new("POST", "/").header("content-type", "application/grpc");
    call = call.header("te", "trailers");
    let mut call = talk.start(&call, false).await.unwrap();
    let mut socket = WebSocket::open(gateway.connect().await, &Request::get("/")).await.unwrap();

    let (one, two, three, ()) = tokio::join!(
        gateway.send(&late),
        gateway.send(&events),
        http2.send(&late),
        sleep(Duration::from_secs(4)),
    );
    socket.send_text("still here").await.unwrap();
    call.write("still here", true).await.unwrap();

    assert_eq!((one.text(), three.text()), ("late".to_owned(), "late".to_owned()));
    assert_eq!(two.text().matches("data:").count(), 3);
    assert!(socket.receive().await.is_ok());
    assert_eq!(call.response().await.unwrap().status, 200);
    for gateway in [gateway, calls] {
        assert_eq!(gateway.metrics().await.refused(), [].into());
    }
}

#[tokio::test]
async fn an_endpoint_that_takes_slowly_is_not_its_clients_fault() {
    let (_origin, gateway) = start(SLOW).await;

    // Some kernels give such a reader 32 KiB in each 200 ms: more would take all our patience.
    let answer = gateway.send(&Request::post("/", "x".repeat(5 << 20)).script("slow_read=10ms/100000")).await;

    assert_eq!(answer.status, 200);
    assert_eq!(gateway.metrics().await.refused(), [].into());
}

#[tokio::test]
async fn the_last_request_that_a_connection_may_have_says_so() {
    let (_origin, gateway) = start("max_requests: 3").await;

    for request in [Request::get("/"), Request::new("TRACE", "/")] {
        let mut client = gateway.connect().await;
        let mut answers = Vec::new();
        for _ in 0..3 {
            answers.push(client.send(&request).await.closed);
        }
        assert_eq!(answers, [false, false, true]);
    }
    let mut http2 = gateway.connect_http2(&Tls::default()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(http2.send(&Request::get("/")).await.status, 200);
    }
    http2.ended().await.unwrap();
    assert!(gateway.metrics().await.refused().keys().all(|key| !key.starts_with("reason")));
}

#[tokio::test]
async fn connections_that_had_enough_requests_lose_none() {
    let (_origin, gateway) = start("max_requests: 50").await;
    let plain = Asks::of(gateway.plain, Request::get("/"));
    let multiplexed = Asks::of(gateway.tls, Request::get("/")).tls(Tls::default().alpn(&["h2"]));
    let (http1, http2) = (Load::new(), Load::new());

    let clients = tokio::spawn(futures::future::join_all(
        (0..3)
            .map(|_| tokio::spawn(http1.clone().http1(plain.clone())))
            .chain((0..3).map(|_| tokio::spawn(http2.clone().http2(multiplexed.clone(), 4)))),
    ));
    eventually(PATIENCE, || async {
        [&http1, &http2].iter().all(|load| load.asked_to_end.load(Ordering::Relaxed) >= 20)
    })
    .await;
    http1.end();
    http2.end();
    clients.await.unwrap();

    assert_eq!((http1.lost(), http2.lost()), (vec![], vec![]));
}

async fn assert_ended(gateway: &Gateway, reason: &str, times: f64) {
    let labels = [("reason", reason)];
    let name = "tollgate_connections_ended_early_total";
    eventually(PATIENCE, || async { gateway.metric(name, &labels).await >= times }).await;
    assert_eq!(gateway.metric(name, &labels).await, times);
    let stderr = gateway.stderr();
    assert!(!stderr.contains("level=warn") && !stderr.contains("level=error"), "{stderr}");
}

async fn start(connections: &str) -> (Origin, Gateway) {
    start_with(connections, "protocol: http1").await
}

async fn start_with(connections: &str, more: &str) -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &[HOST]);
    let builder = Gateway::builder().origin("origin", &origin).certificate(&certificate);
    let upstream = "name: origin, endpoints: [{ address: \"{origin}\" }], timeouts: { read: 60s }";
    let yaml = format!("connections: {{ {connections} }}\nupstreams: [{{ {upstream}, {more} }}]\n");
    (origin, builder.yaml(&yaml).start().await)
}
