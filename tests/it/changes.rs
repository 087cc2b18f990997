//! Everything that can be under way, through 200 reloads and 20 upgrades: no request
//! is lost, no connection refused, and nothing is left of the processes that were.
//!
//! `make loadtest-changes` does the same to nginx and HAProxy.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use crate::support::{
    Gateway, Origin, PATIENCE, Request, Tls, WebSocket, certs, eventually,
    http2::grpc_frame,
    load::{Asks, Load},
    websocket::Frame,
};

#[tokio::test]
async fn two_hundred_reloads_and_twenty_upgrades_lose_nothing() {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let builder = Gateway::builder().origin("origin", &origin).certificate(&certificate);
    let gateway = builder.yaml(&configured(0)).installed().start().await;
    let (first, memory) = (gateway.pid(), gateway.rss_kib());
    let load = Load::new();
    let mut clients = short(&gateway, &load);
    let streams = Streams::start(&gateway, &load).await;
    let answered = || load.answered.load(Ordering::Relaxed);

    for round in 0..UPGRADES {
        for reload in 0..RELOADS / UPGRADES {
            gateway.write_config(&configured(round * 100 + reload));
            let told = gateway.reload().await;
            assert_eq!(told.code, Some(0), "{told:?}");
        }
        let (before, old) = (answered(), gateway.serving_pid().await);
        let told = gateway.upgrade().await;
        assert_eq!(told.code, Some(0), "{told:?}");
        assert_ne!(gateway.serving_pid().await, old);
        // Each process is under way with something when the next one comes.
        eventually(PATIENCE, || async { answered() > before + 50 }).await;
    }
    load.end();
    while clients.join_next().await.is_some() {}
    streams.end().await;

    assert_eq!(load.lost(), [""; 0]);
    assert!(answered() > 5_000, "{}", answered());
    let last = gateway.serving_pid().await;
    eventually(PATIENCE, || async { processes(first) == [last] }).await;
    eventually(PATIENCE, || async { gateway.status().await["connections"] == 0 }).await;
    let now = rss_kib(last);
    assert!(now < memory + (96 << 10), "{memory} KiB, then {now} KiB");
    println!(
        "{} requests on {} connections, {} asked to end, {} told that nobody looked at them",
        answered(),
        load.connections.load(Ordering::Relaxed),
        load.asked_to_end.load(Ordering::Relaxed),
        load.unprocessed.load(Ordering::Relaxed)
    );
}

const RELOADS: usize = 200;
const UPGRADES: usize = 20;

/// Another configuration for each number: routes come and go, one changes.
fn configured(number: usize) -> String {
    format!(
        r#"
        upstreams:
          - {{ name: origin, endpoints: [{{ address: "{{origin}}" }}] }}
          - {{ name: calls, protocol: http2, endpoints: [{{ address: "{{origin}}" }}] }}
        routes:
          - {{ name: all, to: [{{ upstream: origin }}], request_headers: {{ set: [{{ name: x-number, value: "{number}" }}] }} }}
          - {{ name: calls, match: {{ path: /shop.Orders }}, to: [{{ upstream: calls }}] }}
          - {{ name: only-{number}, match: {{ path: /only }}, respond: {{ status: 200 }} }}
        "#
    )
}

/// Clients that ask again and again.
fn short(gateway: &Gateway, load: &Arc<Load>) -> JoinSet<()> {
    let plain = Asks::of(gateway.plain, Request::get("/"));
    let secure = Asks::of(gateway.tls, Request::get("/")).tls(Tls::default());
    let h2 = secure.clone().tls(Tls::default().alpn(&["h2"]));
    let call = Request::new("POST", "/shop.Orders/Unary")
        .header("Content-Type", "application/grpc")
        .header("TE", "trailers")
        .chunks(&[grpc_frame(b"ping")]);
    let calls = Asks::of(gateway.tls, call).tls(Tls::default().alpn(&["h2"]));
    let calls = calls.sound(|answer| answer.trailer("grpc-status") == Some("0"));
    let slow = Asks::of(gateway.plain, Request::get("/slow").script("delay=250ms"));
    let (often, seldom) = (Duration::from_millis(10), Duration::from_millis(900));
    let mut clients = JoinSet::new();
    for asks in [&plain, &secure] {
        for _ in 0..3 {
            clients.spawn(load.clone().http1(asks.clone().pause(often)));
            clients.spawn(load.clone().http1(asks.clone().pause(seldom)));
        }
        clients.spawn(load.clone().fresh(asks.clone().pause(often)));
    }
    for _ in 0..2 {
        clients.spawn(load.clone().http1(slow.clone()));
        clients.spawn(load.clone().http2(h2.clone().pause(often), 3));
        clients.spawn(load.clone().http2(calls.clone().pause(often), 2));
    }
    clients.spawn(load.clone().http2(h2.clone().pause(seldom), 1));
    clients
}

/// What goes on from the first process to the last change.
struct Streams(Vec<JoinHandle<()>>);

impl Streams {
    async fn start(gateway: &Gateway, load: &Arc<Load>) -> Self {
        let (one, two) = (load.clone(), load.clone());
        let socket = WebSocket::open(gateway.connect().await, &Request::get("/socket")).await.unwrap();
        let call = Request::new("POST", "/shop.Orders/BidiStream")
            .header("Content-Type", "application/grpc")
            .header("TE", "trailers");
        let http2 = gateway.connect_http2(&Tls::default()).await.unwrap();
        let exchange = http2.start(&call, false).await.unwrap();
        let mut download = gateway.connect_tls(&Tls::default()).await.unwrap();
        download.write(Request::get("/").script(&format!("size={GIB}")).to_http1()).await.unwrap();
        let mut upload = gateway.connect().await;
        let head = format!("POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: {}\r\n\r\n", 1 << 20);
        upload.write(head).await.unwrap();

        let downloads = async move {
            assert_eq!(download.read_head().await.unwrap().status, 200);
            let mut got = 0;
            while got < GIB {
                let piece = download.read_some().await.unwrap();
                assert!(!piece.is_empty(), "the download ended after {got} bytes");
                let before = got;
                got += piece.len() as u64;
                if before / (32 << 20) != got / (32 << 20) {
                    sleep(Duration::from_millis(700)).await;
                }
            }
        };
        let uploads = async move {
            for _ in 0..64 {
                upload.write(vec![b'x'; 16 << 10]).await.unwrap();
                sleep(Duration::from_millis(400)).await;
            }
            assert_eq!(upload.read_response().await.unwrap().echo().0["body_bytes"], 1 << 20);
        };
        Self(vec![
            tokio::spawn(echoes(socket, one)),
            tokio::spawn(messages(exchange, two)),
            tokio::spawn(downloads),
            tokio::spawn(uploads),
        ])
    }

    /// Each has come to its own end.
    async fn end(self) {
        for stream in self.0 {
            stream.await.unwrap();
        }
    }
}

async fn echoes(mut socket: WebSocket, load: Arc<Load>) {
    while !load.is_over() {
        socket.send_text("are you there?").await.unwrap();
        assert_eq!(socket.receive().await.unwrap(), Frame::Text("are you there?".to_owned()));
        sleep(Duration::from_millis(50)).await;
    }
    socket.close(1000).await.unwrap();
    assert_eq!(socket.receive().await.unwrap(), Frame::Close(Some(1000)));
}

async fn messages(mut call: crate::support::http2::Exchange, load: Arc<Load>) {
    while !load.is_over() {
        let message = grpc_frame(b"are you there?");
        call.write(message.clone(), false).await.unwrap();
        let mut back = Vec::new();
        while back.len() < message.len() {
            back.extend(call.piece().await.unwrap().expect("the call goes on"));
        }
        assert_eq!(back, message);
        sleep(Duration::from_millis(50)).await;
    }
    call.write("", true).await.unwrap();
    assert_eq!(call.response().await.unwrap().trailer("grpc-status"), Some("0"));
}

/// The processes of this group.
fn processes(group: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    let mut found: Vec<_> = numbers.filter(|pid| is_of(*pid, group)).collect();
    found.sort_unstable();
    found
}

fn is_of(pid: u32, group: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let mut fields = rest.split_whitespace();
    fields.next() != Some("Z") && fields.nth(1) == Some(&group.to_string())
}

fn rss_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

const GIB: u64 = 1 << 30;
