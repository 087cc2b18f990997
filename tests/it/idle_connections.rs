//! Thousands of connections that wait: what they cost, and that nobody else is
//! served worse for it.
//!
//! 2,000 by default; `TOLLGATE_IT_IDLE=10000` for the figure in the README, which
//! takes `ulimit -n 20400`. Both ends of a connection are on this machine, in two
//! processes.

use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::Instant;

use crate::support::{
    Gateway, Http1, Http2, Origin, PATIENCE, Request, Tls, certs, eventually, request::HOST,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_idle_tls_connections_are_held_cheaply_and_let_go() {
    let (_origin, gateway) = start().await;
    // What one connection needs once for all is not counted.
    drop(open(&gateway, 64).await);
    let before = settled(&gateway, 0.0).await;

    let mut held = open(&gateway, count()).await;
    let with_all = settled(&gateway, count() as f64).await;
    let slowest = assert_served_beside(&gateway, &mut held).await;
    drop(held);
    let after = settled(&gateway, 0.0).await;
    let again = open(&gateway, count()).await;
    let second = settled(&gateway, count() as f64).await;

    let each = (with_all - before) as f64 / count() as f64;
    println!("idle TLS 1.3 connections after one HTTP/1 request: {} held, {each:.1} KiB each", count());
    println!(
        "RSS: {before} KiB, {with_all} held, {after} let go, {second} held again; slowest beside {slowest:?}"
    );
    assert!(each <= 48.0, "{each:.1} KiB each");
    assert!(second as f64 <= with_all as f64 * 1.15, "{with_all} KiB became {second} for as many");
    assert_eq!(again.len(), count());
    assert_eq!(gateway.metric("tollgate_connections_total", &[]).await, (64 + 2 * count() + 50) as f64);
    assert!(!gateway.stderr().contains("level=error"), "{}", gateway.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_http_2_connections_are_held_cheaply_too() {
    let (_origin, gateway) = start().await;
    let connect = |_| async {
        let mut client = gateway.connect_http2(&Tls::default()).await.unwrap();
        assert_eq!(client.send(&Request::get("/").script("body=ok")).await.status, 200);
        client
    };
    drop(stream::iter(0..64).map(connect).buffer_unordered(AT_ONCE).collect::<Vec<Http2>>().await);
    let before = settled(&gateway, 0.0).await;

    let held: Vec<Http2> = stream::iter(0..500).map(connect).buffer_unordered(AT_ONCE).collect().await;

    let each = (settled(&gateway, 500.0).await - before) as f64 / 500.0;
    println!("idle HTTP/2 connections after one request: {} held, {each:.1} KiB each", held.len());
    assert!(each <= 80.0, "{each:.1} KiB each");
}

/// Connections that have each served one request.
async fn open(gateway: &Gateway, connections: usize) -> Vec<Http1> {
    let connect = |_| async {
        let mut client = gateway.connect_tls(&Tls::default().alpn(&["http/1.1"])).await.unwrap();
        assert_eq!(client.send(&Request::get("/").script("body=ok")).await.text(), "ok");
        client
    };
    stream::iter(0..connections).map(connect).buffer_unordered(AT_ONCE).collect().await
}

/// New clients and those that waited get normal answers; the slowest of them.
async fn assert_served_beside(gateway: &Gateway, held: &mut [Http1]) -> Duration {
    let mut slowest = Duration::ZERO;
    let step = held.len() / 50;
    for waited in held.iter_mut().step_by(step).take(50) {
        let began = Instant::now();
        let mut new = gateway.connect_tls(&Tls::default()).await.unwrap();
        assert_eq!(new.send(&Request::get("/new")).await.echo().target(), "/new");
        assert_eq!(waited.send(&Request::get("/waited")).await.echo().target(), "/waited");
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

/// The gateway's memory in KiB, once it has so many connections and no more
/// changes.
async fn settled(gateway: &Gateway, connections: f64) -> u64 {
    let open = || async { gateway.metric("tollgate_connections_open", &[]).await };
    eventually(PATIENCE * 3, || async { open().await == connections }).await;
    let mut last = 0;
    eventually(PATIENCE, || {
        let now = gateway.rss_kib();
        let same = now.abs_diff(last) < 64;
        last = now;
        async move { same.then_some(now) }
    })
    .await
}

fn count() -> usize {
    std::env::var("TOLLGATE_IT_IDLE").map_or(2_000, |count| count.parse().unwrap())
}

async fn start() -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &[HOST]);
    let builder = Gateway::builder().origin("origin", &origin).certificate(&certificate);
    // All of them come from one address.
    (origin, builder.yaml("connections: { max_per_client: 20000 }\n").start().await)
}

/// Handshakes under way at a time.
const AT_ONCE: usize = 64;
