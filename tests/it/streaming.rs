//! Bodies that take their time or their space: events, gigabytes, and clients
//! and origins that stop taking bytes.

use std::{cell::Cell, time::Duration};

use boring::sha::Sha256;
use serde_json::Value;
use tokio::time::timeout;

use crate::support::{Gateway, Http1, Origin, PATIENCE, Puppet, Request, Tls, eventually};

#[tokio::test]
async fn events_arrive_as_they_come() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "").await;
    let mut http1 = gateway.connect().await;
    let http2 = gateway.connect_http2(&Tls::default()).await.unwrap();
    // All of them would take a quarter of an hour.
    let request = Request::get("/").header("Accept", "text/event-stream").script("sse=10000/100ms");

    http1.write(request.to_http1()).await.unwrap();
    let head = http1.read_head().await.unwrap();
    let mut seen = Vec::new();
    while !seen.windows(5).any(|five| five == b"id: 3") {
        seen.extend(http1.read_some().await.unwrap());
    }
    let mut exchange = http2.start(&request, true).await.unwrap();
    let mut events = Vec::new();
    while !events.windows(5).any(|five| five == b"id: 3") {
        events.extend(exchange.piece().await.unwrap().unwrap());
    }

    assert_eq!(
        (head.header("content-type"), head.header("content-length")),
        (Some("text/event-stream"), None)
    );
    assert_eq!(exchange.head().await.unwrap().header("content-type"), Some("text/event-stream"));
}

#[tokio::test]
async fn events_outlive_the_read_timeout_when_they_were_asked_for() {
    for protocol in ["http1", "http2"] {
        let origin = Origin::start().await;
        let more = format!("protocol: {protocol}, timeouts: {{ read: 300ms, request: 300ms }}");
        let gateway = https(&origin, &more).await;
        let asked = Request::get("/asked").header("Accept", "text/event-stream").script("sse=3/800ms");
        let unasked = Request::get("/unasked").script("sse=3/800ms");
        let mut http2 = gateway.connect_http2(&Tls::default()).await.unwrap();

        assert!(gateway.send(&asked).await.text().contains("id: 3"));
        assert!(http2.send(&asked).await.text().contains("id: 3"));

        // Without `Accept` nothing says that silence is part of it.
        assert!(gateway.connect().await.try_send(&unasked).await.is_err());
        assert!(http2.try_send(&unasked).await.is_err());
        for line in gateway.access_log() {
            let flag = if line["path"] == "/asked" { Value::Null } else { "upstream_timeout".into() };
            assert_eq!(line["flag"], flag, "{protocol}: {line}");
        }
    }
}

// Else whoever asks for a stream, which costs nothing, holds a place for `stream_idle`.
#[tokio::test]
async fn who_asks_for_a_stream_has_no_more_time_until_there_is_one() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "timeouts: { read: 300ms }").await;
    let mut http2 = gateway.connect_http2(&Tls::default()).await.unwrap();
    let events = Request::get("/events").header("Accept", "text/event-stream");
    let upgrade = Request::post("/upgrade", "body").header("Connection", "upgrade");
    let socket = Request::get("/socket").header("Connection", "upgrade").header("Upgrade", "websocket");
    let call = Request::post("/call", "body").header("Content-Type", "application/grpc");

    for request in [&events, &upgrade.header("Upgrade", "x"), &socket, &call] {
        let answer = gateway.send(&request.clone().script("never_answers")).await;
        assert_eq!((answer.status, answer.flag().as_str()), (504, "upstream_timeout"), "{request:?}");
    }
    for request in [&events, &call.clone().header("te", "trailers")] {
        let answer = http2.send(&request.clone().script("never_answers")).await;
        assert_eq!((answer.status, answer.flag().as_str()), (504, "upstream_timeout"), "{request:?}");
    }
    let pausing = events.script("size=10,chunked,drip=60s/5");
    assert!(gateway.connect().await.try_send(&pausing).await.is_err());
}

#[tokio::test]
async fn a_silence_that_nobody_asked_for_cuts_the_answer() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "timeouts: { read: 300ms }").await;
    let pausing = Request::get("/").script("size=10,chunked,drip=2s/5");
    let mut http2 = gateway.connect_http2(&Tls::default()).await.unwrap();

    let cut = gateway.connect().await.try_send(&pausing).await.unwrap_err();
    let reset = http2.try_send(&pausing).await.unwrap_err();

    assert_eq!(cut.kind(), std::io::ErrorKind::UnexpectedEof, "{cut}");
    assert_eq!((reset.seen.status, reset.seen.body.len(), reset.is_go_away), (200, 5, false), "{reset}");
    eventually(PATIENCE, || async { gateway.access_log().len() == 2 }).await;
    for line in gateway.access_log() {
        assert_eq!(
            (&line["status"], &line["flag"], &line["bytes_out"]),
            (&200.into(), &"upstream_timeout".into(), &5.into()),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_client_that_leaves_its_events_frees_the_upstream() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "").await;
    let request = Request::get("/").header("Accept", "text/event-stream").script("sse=10000/100ms");
    let http2 = gateway.connect_http2(&Tls::default()).await.unwrap();
    let mut http1 = gateway.connect().await;
    http1.write(request.to_http1()).await.unwrap();
    http1.read_some().await.unwrap();
    let mut exchange = http2.start(&request, true).await.unwrap();
    exchange.piece().await.unwrap().unwrap();

    drop(http1);
    exchange.reset(h2::Reason::CANCEL);

    eventually(PATIENCE, || async { origin.stats().await["open_connections"] == 1 }).await;
    eventually(PATIENCE, || async { gateway.access_log().len() == 2 }).await;
    assert!(
        gateway.access_log().iter().all(|line| line["flag"] == "client_gone"),
        "{:?}",
        gateway.access_log()
    );
}

#[tokio::test]
async fn a_gigabyte_down_is_whole_and_not_held() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "").await;
    let memory = Memory::of(&gateway).await;
    let mut client = gateway.connect().await;

    client.write(Request::get("/").script(&format!("size={GIB}")).to_http1()).await.unwrap();
    let head = client.read_head().await.unwrap();
    let mut got = 0;
    while got < GIB {
        got += client.read_some().await.unwrap().len() as u64;
        memory.look();
    }

    assert_eq!((head.header("content-length"), got), (Some(GIB.to_string().as_str()), GIB));
    memory.assert_bounded();
    assert_eq!(client.send(&Request::get("/next")).await.status, 200);
    assert_eq!(gateway.line(|line| line["path"] == "/").await["bytes_out"], GIB);
}

#[tokio::test]
async fn a_gigabyte_up_is_whole_and_not_held() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "").await;
    let memory = Memory::of(&gateway).await;
    let mut client = gateway.connect().await;
    let (mut digest, block) = (Sha256::new(), block());

    client.write(format!("POST / HTTP/1.1\r\nHost: h.test\r\nContent-Length: {GIB}\r\n\r\n")).await.unwrap();
    for nth in 0..GIB as usize / PIECE {
        let piece = piece(&block, nth);
        digest.update(piece);
        client.write(piece).await.unwrap();
        memory.look();
    }
    let echo = client.read_response().await.unwrap().echo();

    assert_eq!(echo.0["body_bytes"], GIB);
    assert_eq!(echo.0["body_sha256"], hex(&digest.finish()));
    memory.assert_bounded();
    assert_eq!(gateway.line(|line| line["path"] == "/").await["bytes_in"], GIB);
}

#[tokio::test]
async fn a_gigabyte_up_over_http2_is_whole_and_not_held() {
    let origin = Origin::start().await;
    let gateway = https(&origin, "").await;
    let memory = Memory::of(&gateway).await;
    let client = gateway.connect_http2(&Tls::default()).await.unwrap();
    let (mut digest, block) = (Sha256::new(), block());

    let mut exchange = client.start(&Request::new("POST", "/"), false).await.unwrap();
    let last = GIB as usize / PIECE - 1;
    for nth in 0..=last {
        let piece = piece(&block, nth);
        digest.update(piece);
        exchange.write(piece.to_vec(), nth == last).await.unwrap();
        memory.look();
    }
    let echo = exchange.response().await.unwrap().echo();

    assert_eq!(echo.0["body_bytes"], GIB);
    assert_eq!(echo.0["body_sha256"], hex(&digest.finish()));
    memory.assert_bounded();
}

#[tokio::test]
async fn a_client_that_stops_reading_stops_its_origin_and_nobody_else() {
    const SIZE: u64 = 256 << 20;
    let (puppet, origin) = (Puppet::pours(SIZE).await, Origin::start().await);
    let gateway = Gateway::builder()
        .origin("large", &puppet.origin)
        .origin("small", &origin)
        .yaml(
            r#"
            routes:
              - { name: large, match: { path: /large }, to: [{ upstream: large }] }
              - { name: small, to: [{ upstream: small }] }
            "#,
        )
        .start()
        .await;
    let memory = Memory::of(&gateway).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = gateway.connect().await;
        client.write(Request::get("/large").to_http1()).await.unwrap();
        client.read_exactly(64 * 1024).await.unwrap();
        clients.push(client);
    }

    let stopped_at = standstill(&puppet).await;

    // What four times three sockets may hold, and far from all.
    assert!(stopped_at < SIZE / 2, "{stopped_at}");
    memory.look();
    memory.assert_bounded();
    for _ in 0..20 {
        assert_eq!(gateway.get("/other").await.status, 200);
    }
    assert!(puppet.written() < SIZE / 2, "still {stopped_at}: {}", puppet.written());
    let mut got = 64 * 1024;
    while puppet.written() < 4 * SIZE {
        match timeout(Duration::from_millis(100), clients[0].read_some()).await {
            Ok(piece) => got += piece.unwrap().len() as u64,
            Err(_) => break,
        }
    }
    assert!(got > SIZE, "the reader that goes on gets all of it: {got}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_for_too_long_is_cut() {
    let puppet = Puppet::pours(GIB).await;
    let gateway = Gateway::builder()
        .origin("large", &puppet.origin)
        .yaml("connections: { write: 500ms }")
        .start()
        .await;
    let mut client = gateway.connect().await;

    client.write(Request::get("/").to_http1()).await.unwrap();
    client.read_exactly(1000).await.unwrap();

    let line = gateway.line(|line| line["path"] == "/").await;
    assert_eq!((&line["status"], &line["flag"]), (&200.into(), &"client_gone".into()), "{line}");
    assert!(line["bytes_out"].as_u64().unwrap() < GIB / 2, "{line}");
}

#[tokio::test]
async fn an_origin_that_stops_reading_stops_its_client() {
    let origin = Origin::script("never_reads,never_answers").await;
    let gateway = https(&origin, "timeouts: { write: 1s, read: 1s }").await;
    let memory = Memory::of(&gateway).await;
    let mut client = gateway.connect().await;
    let block = block();

    client.write(format!("POST / HTTP/1.1\r\nHost: h.test\r\nContent-Length: {GIB}\r\n\r\n")).await.unwrap();
    let mut taken = 0;
    while let Ok(written) = timeout(Duration::from_millis(500), client.write(piece(&block, 0))).await {
        written.unwrap();
        taken += PIECE as u64;
        assert!(taken < GIB / 2, "the gateway takes what its upstream does not");
        memory.look();
    }
    memory.assert_bounded();
    let answer = client.read_response().await.unwrap();

    assert_eq!((answer.status, answer.flag().as_str(), answer.closed), (504, "upstream_timeout", true));
}

/// In front of one origin, with a TLS listener, room for large bodies, and more
/// of the upstream's keys.
async fn https(origin: &Origin, more: &str) -> Gateway {
    Gateway::https(origin, more, "requests: { max_body: 2GiB }").await
}

/// The memory of a gateway, from its first request on.
struct Memory<'a> {
    gateway: &'a Gateway,
    before: u64,
    most: Cell<u64>,
    looks: Cell<u64>,
}

impl<'a> Memory<'a> {
    async fn of(gateway: &'a Gateway) -> Self {
        Http1::open(gateway.plain).await.send(&Request::get("/__origin/stats")).await;
        Self { gateway, before: gateway.rss_kib(), most: Cell::new(0), looks: Cell::new(0) }
    }

    /// Looks now and then: reading `/proc` for every piece would take longer
    /// than the piece.
    fn look(&self) {
        if self.looks.replace(self.looks.get() + 1).is_multiple_of(64) {
            self.most.set(self.most.get().max(self.gateway.rss_kib()));
        }
    }

    fn assert_bounded(&self) {
        let grown = self.most.get().saturating_sub(self.before);
        assert!(self.most.get() > 0 && grown < 32 * 1024, "grown by {grown} KiB from {} KiB", self.before);
    }
}

/// Waits until no byte goes out any more; how many had gone.
async fn standstill(puppet: &Puppet) -> u64 {
    let (last, still) = (Cell::new(0), Cell::new(0));
    eventually(PATIENCE, || async {
        still.set(if last.replace(puppet.written()) == puppet.written() { still.get() + 1 } else { 0 });
        // Looks are 5 ms apart.
        still.get() > 60 && last.get() > 0
    })
    .await;
    last.get()
}

/// Bytes in which no piece is like another.
fn block() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut block = vec![0; 2 * PIECE];
    random.fill(&mut block);
    block
}

fn piece(block: &[u8], nth: usize) -> &[u8] {
    let start = nth * 7919 % PIECE;
    &block[start..start + PIECE]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const GIB: u64 = 1 << 30;
const PIECE: usize = 256 * 1024;
