//! The end of a gateway: it finishes what was sent, refuses what comes later,
//! and is gone as soon as nothing is left, or at once when told so.

use std::{
    io::{Read, Write},
    sync::atomic::Ordering,
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use crate::support::{
    Gateway, Http1, Http2, Origin, PATIENCE, Request, Tls, WebSocket, certs, eventually,
    http2::{grpc_frame, grpc_messages},
    load::{Asks, Load},
    process::Exit,
    stream,
    websocket::Frame,
};

// One drain, and everyone who can be under way in it.
#[allow(clippy::too_many_lines)]
#[tokio::test]
async fn a_drain_answers_everything_that_was_sent_and_ends_when_nothing_is_left() {
    let (_origin, gateway) = start("").await;
    let load = Load::new();
    let plain = Asks::of(gateway.plain, Request::get("/"));
    let secure = Asks::of(gateway.tls, Request::get("/")).tls(Tls::default());
    let h2 = secure.clone().tls(Tls::default().alpn(&["h2"]));
    let slow = Asks::of(gateway.plain, Request::get("/slow").script("delay=400ms"));
    let (often, seldom) = (Duration::from_millis(2), Duration::from_millis(700));
    let mut clients = JoinSet::new();
    for asks in [&plain, &secure] {
        for _ in 0..3 {
            clients.spawn(load.clone().http1(asks.clone().pause(often)));
            clients.spawn(load.clone().fresh(asks.clone()));
        }
        clients.spawn(load.clone().http1(asks.clone().pause(seldom)));
    }
    for _ in 0..3 {
        clients.spawn(load.clone().http1(slow.clone()));
        clients.spawn(load.clone().http2(h2.clone().pause(often), 3));
    }
    clients.spawn(load.clone().http2(h2.clone().pause(seldom), 1));
    eventually(PATIENCE, || async { load.answered.load(Ordering::Relaxed) > 300 }).await;

    load.may_be_refused();
    gateway.signal(libc::SIGTERM);
    clients.join_all().await;
    let idle = Instant::now();
    let exit = gateway.wait_exit(PATIENCE).await;

    assert_eq!(load.lost(), [""; 0]);
    assert_eq!((exit.code, exit.signal), (Some(0), None), "{exit:?}");
    // Not when its ceiling of five minutes is reached.
    assert!(idle.elapsed() < Duration::from_secs(10), "{:?}", idle.elapsed());
    assert_eq!(served(&exit), load.answered.load(Ordering::Relaxed));
}

#[tokio::test]
async fn who_was_connected_before_a_drain_is_served_in_it() {
    let (_origin, gateway) = start("").await;
    // Their first request is sent after the drain has begun.
    let mut silent = vec![gateway.connect().await, gateway.connect_tls(&Tls::default()).await.unwrap()];
    // They have not even begun their handshake.
    let [unshaken, unshaken_h2] = [gateway.tls; 2].map(stream::connect);
    let (unshaken, unshaken_h2) = (unshaken.await.unwrap(), unshaken_h2.await.unwrap());
    // Half of their bodies come after it.
    let mut upload = gateway.connect().await;
    upload.write(UPLOAD_BEGUN).await.unwrap();
    let http2 = gateway.connect_http2(&Tls::default()).await.unwrap();
    let mut upload_h2 = http2.start(&Request::new("POST", "/"), false).await.unwrap();
    upload_h2.write("half", false).await.unwrap();
    eventually(PATIENCE, || async { gateway.status().await["connections"] == 6 }).await;

    gateway.signal(libc::SIGTERM);
    eventually(PATIENCE, || async { stream::connect(gateway.plain).await.is_err() }).await;

    for http in &mut silent {
        let answer = http.send(&Request::get("/")).await;
        assert_eq!((answer.status, answer.header("connection"), answer.closed), (200, Some("close"), true));
    }
    let answer = upload.send_raw("half").await;
    assert_eq!((answer.echo().body(), answer.header("connection")), ("halfhalf", Some("close")));
    upload_h2.write("half", true).await.unwrap();
    assert_eq!(upload_h2.response().await.unwrap().echo().body(), "halfhalf");
    http2.ended().await.unwrap();
    // The edge meets these in the drain: they get a short life, lest their
    // clients come back for each request.
    let mut http1 = Http1::over(Tls::default().shake_hands(unshaken).await.unwrap());
    let mut http2 = Http2::over(Tls::default().alpn(&["h2"]).shake_hands(unshaken_h2).await.unwrap()).await;
    assert_eq!(http1.send(&Request::get("/")).await.header("connection"), Some("keep-alive"));
    for _ in 0..2 {
        assert_eq!(http1.send(&Request::get("/")).await.status, 200);
        assert_eq!(http2.send(&Request::get("/")).await.status, 200);
    }
    http2.ended().await.unwrap();
    drop(http1);
    let exit = gateway.wait_exit(PATIENCE).await;
    assert_eq!((exit.code, served(&exit)), (Some(0), 9), "{exit:?}");
}

#[tokio::test]
async fn a_drain_cuts_what_goes_on_past_its_ceiling_and_writes_it_down() {
    let (_origin, gateway) = start("connections: { max_drain: 1s, max_drain_streams: 1s }").await;
    let events =
        |path: &str| Request::get(path).header("Accept", "text/event-stream").script("sse=1000/50ms");
    let mut http1 = gateway.connect().await;
    http1.write(events("/one").to_http1()).await.unwrap();
    assert_eq!(http1.read_head().await.unwrap().status, 200);
    let http2 = gateway.connect_http2(&Tls::default()).await.unwrap();
    let mut two = http2.start(&events("/two"), true).await.unwrap();
    assert_eq!(two.head().await.unwrap().status, 200);
    let mut socket = WebSocket::open(gateway.connect().await, &Request::get("/three")).await.unwrap();
    let mut idle = gateway.connect().await;
    idle.send(&Request::get("/four")).await;
    let _silent = gateway.connect_tls(&Tls::default()).await.unwrap();

    gateway.signal(libc::SIGTERM);
    let told = Instant::now();
    // Long before it is cut, an HTTP/2 client hears which streams are the last.
    eventually(PATIENCE, || async { http2.is_going_away().await }).await;
    assert!(two.piece().await.unwrap().is_some());
    let exit = gateway.wait_exit(PATIENCE).await;

    assert!((1.0..60.0).contains(&told.elapsed().as_secs_f64()), "{:?}", told.elapsed());
    assert_eq!((exit.code, exit.signal), (Some(0), None), "{exit:?}");
    assert!(http1.read_to_end().await.is_ok_and(|rest| !rest.ends_with(b"0\r\n\r\n")));
    assert!(two.response().await.is_err());
    // It is told that this is the end, and what kind of one.
    assert_eq!(socket.receive().await.unwrap(), Frame::Close(Some(1001)));
    assert!(socket.receive().await.is_err());
    let lines: Vec<serde_json::Value> =
        exit.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4, "{}", exit.stdout);
    for path in ["/one", "/two", "/three"] {
        let line = lines.iter().find(|line| line["path"] == path).unwrap();
        assert_eq!(line["flag"], "cut", "{line}");
    }
}

/// The only ceiling that is reached is that of requests: this test would wait for
/// half an hour otherwise.
#[tokio::test]
async fn streams_go_on_when_requests_have_had_their_time_and_the_last_of_them_is_the_end() {
    let (_origin, gateway) = start(BRIEF_REQUESTS).await;
    let tls = Tls::default().alpn(&["http/1.1"]);
    let mut download = gateway.connect().await;
    let endless = Request::get("/").script("size=1000000000,drip=20ms/1000");
    download.write(endless.to_http1()).await.unwrap();
    download.read_head().await.unwrap();
    let mut events = gateway.connect().await;
    events.write(Request::get("/").script("sse=100000/50ms").to_http1()).await.unwrap();
    events.read_head().await.unwrap();
    let http2 = gateway.connect_http2(&Tls::default()).await.unwrap();
    let call = Request::new("POST", "/calls.Test/BidiStream").header("content-type", "application/grpc");
    let mut call = http2.start(&call, false).await.unwrap();
    let mut sockets = Vec::new();
    for http in [gateway.connect().await, gateway.connect_tls(&tls).await.unwrap()] {
        sockets.push(WebSocket::open(http, &Request::get("/")).await.unwrap());
    }
    let counts = async || {
        let status = gateway.status().await;
        ["connections", "websockets", "streams"].map(|key| status[key].as_u64().unwrap())
    };
    eventually(PATIENCE, || async { counts().await == [5, 2, 2] }).await;

    gateway.signal(libc::SIGTERM);
    download.read_to_end().await.unwrap();
    eventually(PATIENCE, || async { counts().await == [4, 2, 2] }).await;

    for socket in &mut sockets {
        socket.send_text("still here").await.unwrap();
        assert_eq!(socket.receive().await.unwrap(), Frame::Text("still here".into()));
    }
    assert!(!events.read_some().await.unwrap().is_empty());
    call.write(grpc_frame(b"still here"), true).await.unwrap();
    assert_eq!(grpc_messages(&call.response().await.unwrap().body), [b"still here"]);
    // A gRPC call was the last on its connection.
    http2.ended().await.unwrap();
    eventually(PATIENCE, || async { counts().await == [3, 2, 1] }).await;
    let status = gateway.status().await;
    assert_eq!(status["requests_cut_in_seconds"], 0);
    assert!((1_000..1_800).contains(&status["streams_cut_in_seconds"].as_u64().unwrap()), "{status}");
    assert!(gateway.ask(&["status"]).await.stdout.contains("websockets 2  streams 1  requests cut in 0 s"));
    drop((sockets, events));
    let exit = gateway.wait_exit(PATIENCE).await;
    assert_eq!((exit.code, exit.signal), (Some(0), None), "{exit:?}");
    assert!(exit.stderr.contains("drained: connections=0 websockets=0 streams=0"), "{exit:?}");
}

#[tokio::test]
async fn a_reload_before_a_drain_changes_what_it_waits_for() {
    let (_origin, gateway) = start("connections: { max_drain: 300s }").await;
    let mut download = gateway.connect().await;
    download.write(Request::get("/").script("size=1000000000,drip=20ms/1000").to_http1()).await.unwrap();
    download.read_head().await.unwrap();

    gateway.write_config("connections: { max_drain: 1s }");
    assert_eq!(gateway.reload().await.code, Some(0));
    gateway.signal(libc::SIGTERM);
    download.read_to_end().await.unwrap();

    let exit = gateway.wait_exit(PATIENCE).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    // The connection was cut, and not the process ended.
    let line: serde_json::Value = serde_json::from_str(exit.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(line["flag"], "cut", "{line}");
}

#[tokio::test]
async fn what_is_private_goes_on_in_a_drain_and_tells_of_it() {
    let (_origin, gateway) = start("").await;
    let mut open = gateway.connect().await;
    open.write(Request::get("/").script("sse=1000/50ms").to_http1()).await.unwrap();
    open.read_head().await.unwrap();
    assert_eq!(gateway.status().await["draining"], false);

    gateway.signal(libc::SIGTERM);
    eventually(PATIENCE, || async { stream::connect(gateway.plain).await.is_err() }).await;

    // A load balancer resets the connections of a target that turns unhealthy.
    let ready = gateway.readiness("/readyz").await;
    assert_eq!((ready.status, ready.text().as_str()), (200, "ready, draining\n"));
    assert_eq!(gateway.readiness("/livez").await.status, 200);
    let status = gateway.status().await;
    assert_eq!((&status["draining"], &status["connections"]), (&true.into(), &1.into()));
    assert!(gateway.ask(&["status"]).await.stdout.contains("DRAINING"));
    assert_eq!(gateway.metric("tollgate_connections_open", &[("listener", "plain")]).await, 1.0);
    assert!(open.read_some().await.is_ok_and(|events| !events.is_empty()));
    drop(open);
    assert_eq!(gateway.wait_exit(PATIENCE).await.code, Some(0));
    assert!(!gateway.files.path("admin.sock").exists());
}

#[tokio::test]
async fn the_operator_asks_for_a_drain_and_is_told_how_it_went() {
    let (_origin, gateway) = start("").await;
    let mut open = gateway.connect().await;
    open.write(Request::get("/").script("delay=500ms").to_http1()).await.unwrap();
    let in_flight = async || gateway.status().await["upstreams"][0]["endpoints"][0]["in_flight"] == 1;
    eventually(PATIENCE, in_flight).await;

    let (drained, answer) = tokio::join!(gateway.ask(&["drain"]), async {
        let answer = open.read_response().await;
        drop(open);
        answer.unwrap()
    });

    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!((drained.code, drained.stderr.as_str()), (Some(0), ""), "{drained:?}");
    let told = "draining: 1 connection, 0 WebSockets and 0 streams among them; requests at most 300 s, streams at most 1800 s";
    assert_eq!(drained.stdout, format!("{told}\nended\n"));
    assert_eq!(gateway.wait_exit(PATIENCE).await.code, Some(0));
}

/// A process that is too busy to answer as it should, or whose answer breaks off.
#[tokio::test]
async fn a_drain_has_ended_only_when_nobody_listens_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let listening = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let socket = path.clone();
    let busy = std::thread::spawn(move || {
        let body = r#"{"connections":0}"#;
        let begun = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        for answer in [&*begun, "nonsense", "", "HTTP/1.1 503 Busy\r\n\r\n", ""] {
            let mut asked = listening.accept().unwrap().0;
            assert!(asked.read(&mut [0; 1024]).unwrap() > 0);
            asked.write_all(answer.as_bytes()).unwrap();
        }
        std::fs::remove_file(socket).unwrap();
    });

    let told = Gateway::cli(&["drain", "--socket", &path.display().to_string()]).await;

    assert!(!path.exists(), "it says `ended` while somebody listens: {told:?}");
    assert_eq!((told.code, told.stdout.ends_with("\nended\n")), (Some(0), true), "{told:?}");
    busy.join().unwrap();
}

#[tokio::test]
async fn readiness_fails_in_a_drain_only_when_asked_and_who_comes_meanwhile_is_served() {
    let (_origin, gateway) = start("").await;

    let asked = gateway.ask(&["drain", "--fail-readiness", "--accept-for", "2", "--no-wait", "--json"]).await;

    assert_eq!(asked.code, Some(0), "{asked:?}");
    let told: serde_json::Value = serde_json::from_str(&asked.stdout).unwrap();
    assert_eq!((&told["connections"], &told["max_drain_seconds"]), (&0.into(), &300.into()));
    assert_eq!((&told["websockets"], &told["max_drain_streams_seconds"]), (&0.into(), &1800.into()));
    eventually(PATIENCE, || async { gateway.status().await["draining"] == true }).await;
    let ready = gateway.readiness("/readyz").await;
    assert_eq!((ready.status, ready.text().as_str()), (503, "draining\n"));
    assert_eq!(gateway.readiness("/livez").await.status, 200);
    let answer = gateway.get("/").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let again = gateway.ask(&["drain"]).await;
    assert_eq!((again.code, again.stderr.as_str()), (Some(75), "it drains already\n"));
    assert_eq!(gateway.wait_exit(PATIENCE).await.code, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_so_does_an_interrupt() {
    for signals in [&[libc::SIGTERM, libc::SIGTERM][..], &[libc::SIGQUIT, libc::SIGINT], &[libc::SIGINT]] {
        let (_origin, gateway) = start("").await;
        let mut open = gateway.connect().await;
        open.write(Request::get("/").script("sse=1000/50ms").to_http1()).await.unwrap();
        open.read_head().await.unwrap();
        let (last, first) = signals.split_last().unwrap();
        for signal in first {
            gateway.signal(*signal);
            eventually(PATIENCE, || async { gateway.status().await["draining"] == true }).await;
            assert!(open.read_some().await.is_ok_and(|events| !events.is_empty()));
        }

        gateway.signal(*last);
        let told = Instant::now();
        let exit = gateway.wait_exit(PATIENCE).await;

        // Not its ceiling of five minutes; not even the linger of a second.
        assert!(told.elapsed() < Duration::from_secs(20), "{signals:?}: {:?}", told.elapsed());
        assert_eq!((exit.code, exit.signal), (Some(0), None), "{exit:?}");
        assert!(exit.stderr.contains("ending at once"), "{exit:?}");
        assert!(!gateway.files.path("admin.sock").exists());
    }
}

/// How many requests its access log calls served.
fn served(exit: &Exit) -> u64 {
    exit.stdout.lines().filter(|line| line.contains("\"status\":200")).count() as u64
}

/// A gateway in front of one origin, cleartext and TLS.
async fn start(yaml: &str) -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let builder = Gateway::builder().origin("origin", &origin).certificate(&certificate).yaml(yaml);
    (origin, builder.start().await)
}

/// WebSockets need an upstream of HTTP/1, gRPC one of HTTP/2.
const BRIEF_REQUESTS: &str = r#"
    connections: { max_drain: 1s }
    upstreams:
      - { name: origin, endpoints: [{ address: "{origin}" }] }
      - { name: calls, protocol: http2, endpoints: [{ address: "{origin}" }] }
    routes:
      - { name: calls, match: { path: { prefix: /calls.Test } }, to: [{ upstream: calls }] }
      - { name: rest, to: [{ upstream: origin }] }
"#;

const UPLOAD_BEGUN: &str = "POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 8\r\n\r\nhalf";
