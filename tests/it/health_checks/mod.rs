//! Active health checks: who gets traffic; `questions` is about how endpoints
//! are asked, `reloads` about what a reload keeps.

mod questions;
mod reloads;

use std::net::SocketAddr;

use crate::support::{Gateway, Origin, PATIENCE, eventually};

#[tokio::test]
async fn an_unhealthy_endpoint_gets_no_traffic_and_comes_back() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let gateway = shop(&[&a, &b], &quick("path: /__origin/health")).await;
    assert_eq!(healths(&gateway).await, ["healthy", "healthy"]);

    b.set_healthy(false).await;
    becomes(&gateway, &["healthy", "unhealthy"]).await;
    let before = b.requests().await;
    all_answered_by(&gateway, "a").await;

    assert_eq!(b.requests().await, before);
    assert_eq!(endpoints(&gateway, "healthy").await, 1.0);
    assert_eq!(endpoints(&gateway, "unhealthy").await, 1.0);
    let table = gateway.ask(&["status"]).await.stdout;
    let row = table.lines().find(|line| line.contains(&b.address.to_string())).unwrap();
    assert!(table.contains(" STATE ") && row.contains(" unhealthy "), "{table}");
    b.set_healthy(true).await;
    becomes(&gateway, &["healthy", "healthy"]).await;
    eventually(PATIENCE, || async { gateway.get("/").await.echo().origin() == "b" }).await;
    assert_eq!(endpoints(&gateway, "healthy").await, 2.0);
    let log = gateway.stderr();
    let address = b.address;
    let told = |line: &str| log.matches(line).count();
    assert_eq!(
        told(&format!("endpoint unhealthy: upstream=shop endpoint={address} after=3 reason=status_503")),
        1,
        "{log}"
    );
    assert_eq!(told(&format!("endpoint healthy: upstream=shop endpoint={address} after=2")), 1, "{log}");
}

#[tokio::test]
async fn who_is_down_at_the_start_gets_not_one_request() {
    let (a, down) = (Origin::named("a").await, Origin::named("down").await);
    down.set_healthy(false).await;
    let dead = Origin::dead();

    let rare = "health_check: { path: /__origin/health, interval: 1h, unhealthy_interval: 1h }, \
                locality: { panic_below: 0% }";
    let gateway = shop(&[&a, &down, &dead], rare).await;
    all_answered_by(&gateway, "a").await;

    assert_eq!(down.requests().await, 0);
    assert_eq!(healths(&gateway).await, ["healthy", "unhealthy", "unhealthy"]);
    let log = gateway.stderr();
    assert!(log.contains("endpoints asked for the first time: healthy=1 unhealthy=2 unproven=0"), "{log}");
    for (origin, reason) in [(&down, "status_503"), (&dead, "refused")] {
        let line = format!("endpoint={} after=1 reason={reason}", origin.address);
        assert!(log.contains(&line), "{line}: {log}");
        let result = reason.trim_end_matches("_503");
        assert_eq!(checks(&gateway, result).await, 1.0, "{result}");
    }
}

#[tokio::test]
async fn a_start_does_not_wait_for_who_never_answers() {
    let (a, silent) = (Origin::named("a").await, Origin::never_accepts());
    let check = "health_check: { path: /__origin/health, interval: 1m, timeout: 1m }";

    let gateway = shop(&[&a, &silent], check).await;
    all_answered_by(&gateway, "a").await;

    assert_eq!(healths(&gateway).await, ["healthy", "unproven"]);
    let log = gateway.stderr();
    assert!(log.contains("healthy=1 unhealthy=0 unproven=1 ") && log.contains("cut=true"), "{log}");
}

#[tokio::test]
async fn with_nobody_healthy_the_answer_is_503() {
    let origin = Origin::start().await;
    let gateway = shop(&[&origin], &quick("path: /__origin/health")).await;

    origin.set_healthy(false).await;
    becomes(&gateway, &["unhealthy"]).await;
    let answer = gateway.get("/").await;

    assert_eq!((answer.status, answer.flag().as_str()), (503, "no_endpoint"));
    assert_eq!(gateway.readiness("/readyz").await.status, 200);
}

#[tokio::test]
async fn upstreams_that_share_an_endpoint_and_a_check_share_its_probes() {
    let origin = Origin::named("a").await;
    let check = quick("path: /__origin/health");
    let one = |name: &str| format!("{{ name: {name}, endpoints: [{{ address: \"{{origin}}\" }}], {check} }}");
    let routes = "routes: [{ name: all, to: [{ upstream: orders }, { upstream: canary }] }]";
    let yaml = format!("upstreams: [{}, {}]\n{routes}", one("orders"), one("canary"));
    let gateway = Gateway::builder().origin("origin", &origin).yaml(&yaml).start().await;

    eventually(PATIENCE, || async { checks(&gateway, "passed").await > 20.0 }).await;

    let asked = origin.stats().await["health_checks"].as_u64().unwrap() as f64;
    let told = checks(&gateway, "passed").await;
    // Each was asked by itself before the start.
    assert!(asked < 0.75 * told, "{asked} probes told {told} times");
    origin.set_healthy(false).await;
    becomes(&gateway, &["unhealthy"]).await;
    assert_eq!(gateway.status().await["upstreams"][1]["endpoints"][0]["health"], "unhealthy");
}

#[tokio::test]
async fn a_probe_is_no_request() {
    let origin = Origin::named("a").await;
    let gateway = shop(&[&origin], &quick("path: /")).await;

    eventually(PATIENCE, || async { checks(&gateway, "passed").await > 5.0 }).await;

    assert!(origin.requests().await > 5, "they did arrive");
    let metrics = gateway.metrics().await;
    for name in ["tollgate_requests_total", "tollgate_upstream_attempts_total", "tollgate_rejections_total"] {
        assert_eq!(metrics.metric(name, &[]), 0.0, "{name}");
    }
    assert_eq!(gateway.access_log().len(), 0);
    assert_eq!(gateway.status().await["upstreams"][0]["endpoints"][0]["in_flight"], 0);
}

#[tokio::test]
async fn probes_of_many_endpoints_are_spread_over_the_interval() {
    let mut listeners = Vec::new();
    for _ in 0..50 {
        listeners.push(Listener::open().await);
    }
    let addresses: Vec<_> = listeners.iter().map(|listener| ("many", listener.address)).collect();
    let check = "health_check: { path: /, interval: 1s, unhealthy_interval: 1s, timeout: 1s }";

    let gateway = Gateway::builder().yaml(&upstream(&addresses, check)).start().await;
    let rounds = || listeners.iter().map(|listener| listener.seen().len()).min().unwrap();
    eventually(PATIENCE, || async { rounds() >= 3 }).await;

    assert_eq!(endpoints(&gateway, "healthy").await, 50.0);
    // The first was before the start, all at once; the second is where each
    // belongs in the interval.
    let mut second: Vec<_> = listeners.iter().map(|listener| listener.seen()[1].0).collect();
    second.sort();
    let mut tenths = [0; 10];
    for at in &second {
        tenths[usize::try_from((*at - second[0]).as_millis() / 100).unwrap().min(9)] += 1;
    }
    assert!(tenths.iter().all(|count| *count <= 20), "{tenths:?}");
    assert!(tenths.iter().filter(|count| **count > 0).count() >= 6, "{tenths:?}");
}

/// A gateway with the upstream `shop` of these origins, told of as `more`.
async fn shop(origins: &[&Origin], more: &str) -> Gateway {
    let addresses: Vec<_> = origins.iter().map(|origin| ("origin", origin.address)).collect();
    let builder = Gateway::builder().yaml(&upstream(&addresses, more));
    // The gateway keeps them alive.
    let names = (0..).map(|nth| format!("origin{nth}"));
    let builder = names.zip(origins).fold(builder, |builder, (name, origin)| builder.origin(&name, origin));
    builder.start().await
}

fn upstream(addresses: &[(&str, SocketAddr)], more: &str) -> String {
    let endpoint = |(_, address): &(&str, SocketAddr)| format!("{{ address: \"{address}\" }}");
    let endpoints = addresses.iter().map(endpoint).collect::<Vec<_>>().join(", ");
    format!(
        "upstreams: [{{ name: shop, endpoints: [{endpoints}], {more} }}]\nroutes: [{{ name: all, to: [{{ upstream: shop }}] }}]"
    )
}

/// A check that is fast enough for a test, with room for a busy machine. Without
/// panic, which would send to the unhealthy too.
fn quick(question: &str) -> String {
    format!(
        "health_check: {{ {question}, interval: 500ms, unhealthy_interval: 100ms, timeout: 500ms }}, \
         locality: {{ panic_below: 0% }}"
    )
}

/// Of the first upstream, in the order of the configuration.
async fn healths(gateway: &Gateway) -> Vec<String> {
    let status = gateway.status().await;
    let endpoints = status["upstreams"][0]["endpoints"].as_array().unwrap().clone();
    endpoints.iter().map(|endpoint| endpoint["health"].as_str().unwrap().to_owned()).collect()
}

async fn becomes(gateway: &Gateway, wanted: &[&str]) {
    eventually(PATIENCE, || async { healths(gateway).await == wanted }).await;
}

async fn all_answered_by(gateway: &Gateway, name: &str) {
    for _ in 0..30 {
        assert_eq!(gateway.get("/").await.echo().origin(), name);
    }
}

async fn endpoints(gateway: &Gateway, state: &str) -> f64 {
    gateway.metric("tollgate_upstream_endpoints", &[("state", state)]).await
}

async fn checks(gateway: &Gateway, result: &str) -> f64 {
    gateway.metric("tollgate_health_checks_total", &[("result", result)]).await
}

/// Says 200 to every first request of a connection, and keeps it with its time.
struct Listener {
    address: SocketAddr,
    seen: std::sync::Arc<std::sync::Mutex<Vec<Seen>>>,
    _task: tokio::task::JoinSet<()>,
}

type Seen = (std::time::Instant, String);

impl Listener {
    async fn open() -> Self {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let sees = seen.clone();
        let mut task = tokio::task::JoinSet::new();
        task.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut head, now) = (vec![0; 4096], std::time::Instant::now());
                let read = stream.read(&mut head).await.unwrap_or_default();
                sees.lock().unwrap().push((now, String::from_utf8_lossy(&head[..read]).into_owned()));
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        });
        Self { address, seen, _task: task }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}
