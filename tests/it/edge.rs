//! The age of connections: they are asked to end, nobody loses a request, and
//! what goes on for too long is cut and still written down.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, sleep};

use crate::support::{
    Gateway, Http1, Http2, Origin, PATIENCE, Puppet, Request, Tls, WebSocket, certs, eventually,
    link::slow_link,
    load::{Asks, Load},
    websocket::Frame,
};

#[tokio::test]
async fn connections_that_age_lose_no_request() {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .certificate(&certificate)
        .yaml("connections: { max_age: 1s }")
        .start()
        .await;
    let request = Request::get("/");
    let plain = Asks::of(gateway.plain, request.clone()).pause(Duration::from_millis(2));
    let secure = Asks::of(gateway.tls, request.clone()).tls(Tls::default()).pause(Duration::from_millis(2));
    let multiplexed =
        Asks::of(gateway.tls, request).tls(Tls::default().alpn(&["h2"])).pause(Duration::from_millis(4));
    let (http1, http2) = (Load::new(), Load::new());

    let clients = tokio::spawn(futures::future::join_all(
        (0..6)
            .map(|_| tokio::spawn(http1.clone().http1(plain.clone())))
            .chain((0..4).map(|_| tokio::spawn(http1.clone().http1(secure.clone()))))
            .chain((0..4).map(|_| tokio::spawn(http2.clone().http2(multiplexed.clone(), 4)))),
    ));
    sleep(Duration::from_secs(8)).await;
    http1.end();
    http2.end();
    clients.await.unwrap();

    assert_eq!(http1.lost(), [""; 0]);
    assert_eq!(http2.lost(), [""; 0]);
    // Ten and four connections, eight seconds, an age of 0.9 to 1.1 seconds.
    assert!(http1.asked_to_end.load(Ordering::Relaxed) >= 50, "{http1:?}");
    assert!(http2.asked_to_end.load(Ordering::Relaxed) >= 20, "{http2:?}");
}

/// EDGE.md, 3: a close with unread input makes the kernel throw away what it
/// still had to send. The client's WINDOW_UPDATEs are such input.
#[tokio::test]
async fn large_answers_are_complete_when_their_connection_ends_of_age() {
    let origin = Origin::script("size=300000").await;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .certificate(&certificate)
        .yaml("connections: { max_age: 500ms }")
        .start()
        .await;
    let asks = Asks::of(gateway.tls, Request::get("/")).tls(Tls::default().alpn(&["h2"])).narrow(4096);
    let load = Load::new();

    let clients = (0..6).map(|_| tokio::spawn(load.clone().http2(asks.clone(), 3)));
    let clients = tokio::spawn(futures::future::join_all(clients));
    sleep(Duration::from_secs(5)).await;
    load.end();
    clients.await.unwrap();

    assert_eq!(load.lost(), [""; 0]);
    assert!(load.asked_to_end.load(Ordering::Relaxed) >= 20, "{load:?}");
}

/// What waits in the gateway's kernel while a client is slow is no less a part
/// of the answer, however long nothing comes from the client.
#[tokio::test]
async fn a_slow_client_gets_the_end_of_an_answer_too() {
    let origin = Origin::script("size=110000").await;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .certificate(&certificate)
        .yaml("connections: { max_age: 300ms }")
        .start()
        .await;
    // The window is 64 KiB, and opened again when half of it was read: the end
    // takes 2.6 s, and a word of the client comes every 1.3 s.
    let link = slow_link(gateway.tls, 2_500, Duration::from_millis(100)).await;

    let mut http = Http2::open(link, &Tls::default()).await.unwrap();
    let answer = http.try_send(&Request::get("/")).await.unwrap_or_else(|cut| panic!("{cut}"));

    assert_eq!(answer.body.len(), 110_000);
    http.ended().await.unwrap();
}

/// EDGE.md, 5: at the cut Pingora does not call `logging` on HTTP/1.
#[tokio::test]
async fn what_goes_on_past_the_ceiling_is_cut_and_still_written_down() {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .certificate(&certificate)
        .yaml("connections: { max_age: 500ms, max_drain: 1s, max_drain_streams: 1s }")
        .start()
        .await;
    let events =
        |path: &str| Request::get(path).header("Accept", "text/event-stream").script("sse=1000/50ms");
    let download = |path: &str| Request::get(path).script("size=1000000,drip=20ms/1000");
    let begun = Instant::now();

    let http1 = async |request: Request| {
        let mut http = gateway.connect().await;
        http.write(request.to_http1()).await.unwrap();
        assert_eq!(http.read_head().await.unwrap().status, 200);
        let rest = http.read_to_end().await.unwrap();
        // The client sees that it is not the end.
        assert!(rest.len() > 500 && !rest.ends_with(b"0\r\n\r\n"), "{}", rest.len());
    };
    let http2 = async |requests: [Request; 2]| {
        let http = gateway.connect_http2(&Tls::default()).await.unwrap();
        let mut streams = Vec::new();
        for request in &requests {
            streams.push(http.start(request, true).await.unwrap());
        }
        for stream in &mut streams {
            let cut = stream.response().await.unwrap_err();
            assert!(cut.seen.status == 200 && cut.seen.body.len() > 500, "{cut}");
        }
    };
    let websocket = async || {
        let mut socket = WebSocket::open(gateway.connect().await, &Request::get("/socket")).await.unwrap();
        socket.send_text("hello").await.unwrap();
        socket.receive().await.unwrap();
        assert_eq!(socket.receive().await.unwrap(), Frame::Close(Some(1001)));
        assert!(socket.receive().await.is_err());
    };
    tokio::join!(
        http1(events("/events")),
        http1(download("/file")),
        http2([events("/events2"), download("/file2")]),
        websocket(),
    );

    // Between 0.9 * 0.5 s + 1 s and a busy machine's 1.1 * 0.5 s + 1 s.
    assert!((1.4..30.0).contains(&begun.elapsed().as_secs_f64()), "{:?}", begun.elapsed());
    for path in ["/events", "/file", "/events2", "/file2", "/socket"] {
        let line = gateway.line(|line| line["path"] == path).await;
        assert!(line["duration_us"].as_u64().unwrap() > 1_000_000, "{line}");
        assert_eq!((&line["upstream"], &line["route"]), (&"origin".into(), &"all".into()), "{line}");
        let status = if path == "/socket" { 101 } else { 200 };
        assert_eq!((&line["status"], &line["flag"]), (&status.into(), &"cut".into()), "{line}");
    }
    assert_eq!(gateway.access_log().len(), 5);
    assert_eq!(gateway.metric("tollgate_rejections_total", &[("flag", "cut")]).await, 5.0);
    let cut = [("reason", "max_age_cut")];
    let name = "tollgate_connections_ended_early_total";
    eventually(PATIENCE, || async { gateway.metric(name, &cut).await == 4.0 }).await;
    // Nothing is left of them, on either side: this question alone.
    eventually(PATIENCE, || async { origin.stats().await["open_connections"] == 1 }).await;
    eventually(PATIENCE, || async { gateway.status().await["connections"] == 0 }).await;
    let status = gateway.status().await;
    assert_eq!((&status["websockets"], &status["streams"]), (&0.into(), &0.into()));
}

#[tokio::test]
async fn what_was_cut_leaves_no_socket_behind() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .yaml("connections: { max_age: 200ms, max_drain: 1s, max_drain_streams: 1s }")
        .start()
        .await;
    let round = async || {
        let mut socket = WebSocket::open(gateway.connect().await, &Request::get("/")).await.unwrap();
        let mut events = gateway.connect().await;
        events.write(Request::get("/").script("sse=100000/50ms").to_http1()).await.unwrap();
        assert_eq!(socket.receive().await.unwrap(), Frame::Close(Some(1001)));
        events.read_to_end().await.unwrap();
        drop((socket, events));
        eventually(PATIENCE, || async { gateway.status().await["connections"] == 0 }).await;
        eventually(PATIENCE, || async { origin.stats().await["open_connections"] == 1 }).await;
    };
    round().await;
    let after_one = gateway.open_fds();

    for _ in 0..3 {
        round().await;
    }

    eventually(PATIENCE, || async { gateway.open_fds() <= after_one }).await;
}

/// It would be read as more of the frame.
#[tokio::test]
async fn a_websocket_that_is_cut_inside_of_a_frame_or_after_its_close_hears_no_other() {
    let switches = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    let half = b"\x82\x05half";
    let closed = b"\x81\x02hi\x88\x02\x0f\xa0";
    let between = b"\x81\x02hi\x8a\0";
    let cases: [(&[u8], &[u8]); 3] = [(half, b""), (closed, b""), (between, b"\x88\x02\x03\xe9")];
    for (frames, then) in cases {
        let puppet = Puppet::says([switches.as_bytes(), frames].concat()).await;
        let gateway = Gateway::builder()
            .origin("origin", &puppet.origin)
            .yaml("connections: { max_age: 500ms, max_drain: 1s, max_drain_streams: 1s }")
            .start()
            .await;
        let mut client = gateway.connect().await;
        let request = Request::get("/").header("Connection", "Upgrade").header("Upgrade", "websocket");
        let request = request.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "x");

        client.write(request.to_http1()).await.unwrap();
        assert_eq!(client.read_head().await.unwrap().status, 101);

        assert_eq!(client.read_to_end().await.unwrap(), [frames, then].concat());
    }
}

#[tokio::test]
async fn a_stream_that_ends_before_the_ceiling_is_whole() {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .certificate(&certificate)
        .yaml("connections: { max_age: 300ms, max_drain: 10s }")
        .start()
        .await;
    let events = Request::get("/").header("Accept", "text/event-stream").script("sse=10/100ms");

    let mut http2 = gateway.connect_http2(&Tls::default()).await.unwrap();
    let mut http1 = gateway.connect().await;
    let (one, two) = tokio::join!(http1.send(&events), http2.send(&events));

    assert_eq!([&one, &two].map(|answer| answer.text().matches("data:").count()), [10, 10]);
    http2.ended().await.unwrap();
    // Its header was sent before its age: the next answer says the end.
    assert_eq!(one.header("connection"), Some("keep-alive"));
    assert_eq!(http1.send(&Request::get("/")).await.header("connection"), Some("close"));
    // And here it is sent after it.
    let late = gateway.connect().await.send(&Request::get("/").script("delay=500ms")).await;
    assert_eq!((late.header("connection"), late.closed), (Some("close"), true));
}

/// EDGE.md, 1: a peek for HTTP/2 waits for 24 bytes, and this has 18.
#[tokio::test]
async fn the_shortest_request_is_answered_at_once() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let begun = Instant::now();

    let answer = Http1::open(gateway.plain).await.send_raw("GET / HTTP/1.0\r\n\r\n").await;

    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(answer.closed, "{answer:?}");
    assert_eq!(gateway.line(|_| true).await["protocol"], "HTTP/1.0");
}

// An NLB forgets a flow that is silent for 350 s, and then answers it with a reset.
#[tokio::test]
async fn a_silent_connection_is_probed_long_before_a_load_balancer_forgets_it() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let mut client = gateway.connect().await;
    client.send(&Request::get("/")).await;

    let (kind, left) = timer_of(gateway.plain.port(), client.local_addr().port());

    // 2 is keep-alive (Documentation/networking/proc_net_tcp.rst); in ticks of 10 ms.
    assert_eq!(kind, 2);
    assert!((1..=60 * 100).contains(&left), "{left}");
}

/// The kernel's timer of a connection between these ports, from the first one's side.
fn timer_of(local: u16, remote: u16) -> (u32, u64) {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ends = format!(":{local:04X}");
    let from = format!(":{remote:04X}");
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = fields.into_iter().find(|row| row[1].ends_with(&ends) && row[2].ends_with(&from)).unwrap();
    let (kind, left) = row[5].split_once(':').unwrap();
    (kind.parse().unwrap(), u64::from_str_radix(left, 16).unwrap())
}
