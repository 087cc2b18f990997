//! Active health checks: who gets traffic, and how endpoints are asked.

use std::net::SocketAddr;

use serde_json::Value;

use crate::support::{
    Gateway, Origin, PATIENCE, Puppet,
    certs::{self, Authority},
    eventually,
};

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

    let rare = "health_check: { path: /__origin/health, interval: 1h, unhealthy_interval: 1h }";
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
async fn a_tcp_check_is_about_connecting_alone() {
    let origin = Origin::named("a").await;
    origin.set_healthy(false).await;
    let gateway = shop(&[&origin], &quick("protocol: tcp")).await;
    assert_eq!(healths(&gateway).await, ["healthy"]);

    origin.stop().await;
    becomes(&gateway, &["unhealthy"]).await;
    assert_eq!(gateway.get("/").await.status, 503);
    let again = Origin::builder().name("again").listen(origin.address).start().await;
    becomes(&gateway, &["healthy"]).await;

    assert_eq!(gateway.get("/").await.echo().origin(), "again");
    assert_eq!(again.stats().await["health_checks"], 0);
    assert!(gateway.stderr().contains("after=3 reason=refused"), "{}", gateway.stderr());
}

#[tokio::test]
async fn a_grpc_check_asks_the_health_service() {
    for service in ["", ", service: orders"] {
        let origin = Origin::named("orders").await;
        let check = quick(&format!("protocol: grpc{service}"));
        let gateway = shop(&[&origin], &format!("protocol: http2, {check}")).await;
        assert_eq!(healths(&gateway).await, ["healthy"], "{service}");

        origin.set_healthy(false).await;
        becomes(&gateway, &["unhealthy"]).await;
        assert!(gateway.stderr().contains("after=3 reason=not_serving\n"), "{}", gateway.stderr());
        origin.set_healthy(true).await;
        becomes(&gateway, &["healthy"]).await;

        assert_eq!(origin.requests().await, 0);
        assert!(origin.stats().await["health_checks"].as_u64() >= Some(6));
    }
}

#[tokio::test]
async fn a_grpc_service_that_nobody_knows_or_no_grpc_at_all_is_unhealthy() {
    let origin = Origin::named("orders").await;
    let nonsense = Puppet::blurts("SSH-2.0-OpenSSH_9.6\r\n").await;

    let unknown = shop(&[&origin], "health_check: { protocol: grpc, service: payments }").await;
    let no_grpc = shop(&[&nonsense.origin], "health_check: { protocol: grpc }").await;

    assert!(unknown.stderr().contains("after=1 reason=not_serving_5"), "{}", unknown.stderr());
    assert!(no_grpc.stderr().contains("after=1 reason=protocol_error"), "{}", no_grpc.stderr());
}

#[tokio::test]
async fn a_check_trusts_whom_traffic_trusts() {
    let authority = certs::authority();
    let certificate = certs::server(&authority, &["orders.internal"]);
    let origin = Origin::builder().tls(&certificate).client_ca(&authority).start().await;
    let client = "client: { chain: gw.pem, key: gw.key }";
    let tls = |ca: &str| format!("tls: {{ server_name: orders.internal, ca: {ca}, {client} }}");

    for protocol in ["http1", "http2", "auto"] {
        for check in ["path: /__origin/health", "protocol: tcp", "protocol: grpc"] {
            let more = |ca: &str| format!("protocol: {protocol}, {}, health_check: {{ {check} }}", tls(ca));
            let trusted = secure_shop(&origin, &authority, &more("ca.pem")).await;
            let distrusted = secure_shop(&origin, &authority, &more("other.pem")).await;

            assert_eq!(healths(&trusted).await, ["healthy"], "{protocol} {check}: {}", trusted.stderr());
            assert_eq!(healths(&distrusted).await, ["unhealthy"], "{protocol} {check}");
            let log = distrusted.stderr();
            assert!(log.contains("after=1 reason=tls"), "{protocol} {check}: {log}");
        }
    }
}

#[tokio::test]
async fn health_may_be_told_at_another_port() {
    let (origin, sidecar) = (Origin::named("a").await, Origin::named("sidecar").await);
    let port = sidecar.address.port();
    let gateway = shop(&[&origin], &quick(&format!("path: /__origin/health, port: {port}"))).await;
    assert_eq!(gateway.get("/").await.echo().origin(), "a");

    sidecar.set_healthy(false).await;
    becomes(&gateway, &["unhealthy"]).await;

    assert_eq!(gateway.get("/").await.status, 503);
    assert_eq!(origin.stats().await["health_checks"], 0);
    assert!(gateway.stderr().contains(&format!("endpoint={} after=3", origin.address)));
}

#[tokio::test]
async fn a_probe_that_drips_is_a_timeout() {
    let stops = Puppet::says("HTTP/1.1 200 OK\r\n").await;
    let drips_body = Origin::script("size=1000,drip=20ms/1").await;
    let whole = Origin::script("size=10,drip=2ms/1").await;
    let check = "health_check: { path: /, timeout: 500ms, interval: 1m, unhealthy_interval: 1m }";

    for (origin, health) in [(&stops.origin, "unhealthy"), (&drips_body, "unhealthy"), (&whole, "healthy")] {
        let gateway = shop(&[origin], check).await;

        assert_eq!(healths(&gateway).await, [health]);
        let timeouts = if health == "unhealthy" { 1.0 } else { 0.0 };
        assert_eq!(checks(&gateway, "timeout").await, timeouts, "{}", gateway.stderr());
        if health == "unhealthy" {
            assert!(gateway.stderr().contains("after=1 reason=timeout"), "{}", gateway.stderr());
        }
    }
}

#[tokio::test]
async fn a_probe_that_was_given_up_leaves_nothing_behind() {
    for more in [
        "health_check: { path: /, ",
        "protocol: http2, health_check: { path: /, ",
        "health_check: { protocol: grpc, ",
        "tls: { server_name: a.test }, health_check: { protocol: tcp, ",
    ] {
        let silent = Puppet::blurts("").await;
        let check = format!("{more} timeout: 300ms, interval: 1h, unhealthy_interval: 1h }}");

        let gateway = shop(&[&silent.origin], &check).await;

        assert!(gateway.stderr().contains("after=1 reason=timeout"), "{more}: {}", gateway.stderr());
        assert_eq!(silent.connections(), 1, "{more}");
        eventually(PATIENCE, || async { silent.open_connections() == 0 }).await;
    }
}

#[tokio::test]
async fn only_the_expected_statuses_pass_and_redirects_are_not_followed() {
    for (script, expect, health) in [
        ("status=204", "", "healthy"),
        ("status=204", ", expect: [200]", "unhealthy"),
        ("status=401", ", expect: [200-299, 401]", "healthy"),
        ("status=302,header=location:/__origin/health", "", "unhealthy"),
        ("early_hints", "", "healthy"),
        ("truncate=3,size=10", "", "unhealthy"),
        ("size=10000000", "", "healthy"),
    ] {
        for protocol in ["http1", "http2"] {
            let origin = Origin::script(script).await;
            let check = format!("protocol: {protocol}, health_check: {{ path: /, interval: 1h{expect} }}");

            let gateway = shop(&[&origin], &check).await;

            assert_eq!(healths(&gateway).await, [health], "{protocol} {script}: {}", gateway.stderr());
        }
    }
}

#[tokio::test]
async fn a_probe_says_who_it_is_and_ends_its_connection() {
    let listener = Listener::open().await;
    let yaml = |more: &str| upstream(&[("endpoint", listener.address)], more);
    let check = "health_check: { path: \"/healthz?full=1\", interval: 1h";

    let plain = Gateway::builder().yaml(&yaml(&format!("{check} }}"))).start().await;
    let named =
        Gateway::builder().yaml(&yaml(&format!("{check}, host: \"shop.test:8443\" }}"))).start().await;

    drop((plain, named));
    let address = listener.address;
    let heads: Vec<_> = listener.seen().into_iter().map(|(_, head)| head).collect();
    assert_eq!(heads.len(), 2);
    for (head, host) in heads.iter().zip([address.to_string(), "shop.test:8443".to_owned()]) {
        let head = head.to_lowercase();
        assert!(head.starts_with("get /healthz?full=1 http/1.1\r\n"), "{head}");
        for line in
            [format!("host: {host}"), "user-agent: tollgate-health".into(), "connection: close".into()]
        {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
        }
    }
}

#[tokio::test]
async fn a_new_endpoint_takes_traffic_after_its_first_passed_probe() {
    let (a, b, c) = (Origin::named("a").await, Origin::named("b").await, Origin::named("c").await);
    let check = quick("path: /__origin/health");
    let gateway = shop(&[&a, &b, &c], &check).await;
    gateway.write_config(&upstream(&[("a", a.address)], &check));
    assert_eq!(gateway.reload().await.code, Some(0));
    b.set_healthy(false).await;
    let before = b.requests().await;

    gateway.write_config(&upstream(&[("a", a.address), ("b", b.address), ("c", c.address)], &check));
    assert_eq!(gateway.reload().await.code, Some(0));

    assert_eq!(healths(&gateway).await, ["healthy", "unhealthy", "healthy"]);
    for _ in 0..30 {
        assert_ne!(gateway.get("/").await.echo().origin(), "b");
    }
    assert_eq!(b.requests().await, before);
    b.set_healthy(true).await;
    eventually(PATIENCE, || async { gateway.get("/").await.echo().origin() == "b" }).await;
}

#[tokio::test]
async fn what_probes_found_outlives_a_reload() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    b.set_healthy(false).await;
    let rare = "health_check: { path: /__origin/health, interval: 1h, unhealthy_interval: 1h }";
    let gateway = shop(&[&a, &b], rare).await;
    b.set_healthy(true).await;

    // The check stays, or changes: neither proves anything of an endpoint.
    for check in [rare, "health_check: { path: /else, interval: 1h, unhealthy_interval: 30m }"] {
        let yaml = upstream(&[("a", a.address), ("b", b.address)], check);
        gateway.write_config(&format!("requests: {{ max_body: 1MiB }}\n{yaml}"));
        assert_eq!(gateway.reload().await.code, Some(0));

        assert_eq!(healths(&gateway).await, ["healthy", "unhealthy"]);
        all_answered_by(&gateway, "a").await;
        assert_eq!(b.stats().await["health_checks"], 1);
        assert_eq!(endpoints(&gateway, "unhealthy").await, 1.0);
    }
}

#[tokio::test]
async fn a_removed_endpoint_is_not_asked_again() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let check = quick("path: /__origin/health");
    let gateway = shop(&[&a, &b], &check).await;

    gateway.write_config(&upstream(&[("a", a.address)], &check));
    assert_eq!(gateway.reload().await.code, Some(0));
    let asked = async |origin: &Origin| origin.stats().await["health_checks"].as_u64().unwrap();
    // One may have been on its way.
    let start = asked(&a).await;
    eventually(PATIENCE, || async { asked(&a).await > start + 1 }).await;
    let (of_a, of_b) = (asked(&a).await, asked(&b).await);
    eventually(PATIENCE, || async { asked(&a).await > of_a + 5 }).await;

    assert_eq!(asked(&b).await, of_b);
    assert_eq!(endpoints(&gateway, "healthy").await, 1.0);
}

#[tokio::test]
async fn a_check_that_changes_or_goes_counts_from_the_reload_on() {
    let origin = Origin::named("a").await;
    let gateway = shop(&[&origin], &quick("path: /__origin/health")).await;
    let put = async |more: &str| {
        gateway.write_config(&upstream(&[("a", origin.address)], more));
        assert_eq!(gateway.reload().await.code, Some(0));
    };

    put(&quick("path: /__origin/nothing")).await;
    becomes(&gateway, &["unhealthy"]).await;
    assert_eq!(gateway.get("/").await.status, 503);
    put("").await;
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(gateway.status().await["upstreams"][0]["endpoints"][0]["health"], Value::Null);
    assert!(!gateway.metrics().await.has("tollgate_upstream_endpoints", &[]));
    assert!(!gateway.metrics().await.has("tollgate_health_checks_total", &[]));
    // What the last check left says nothing now.
    put(&quick("path: /__origin/health")).await;

    assert_eq!(healths(&gateway).await, ["healthy"]);
    assert_eq!(gateway.get("/").await.status, 200);
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

async fn secure_shop(origin: &Origin, authority: &Authority, more: &str) -> Gateway {
    let client = certs::client(authority, "gw");
    Gateway::builder()
        .origin("origin", origin)
        .file("ca.pem", &authority.pem().unwrap())
        .file("other.pem", &certs::authority().pem().unwrap())
        .file("gw.pem", &client.chain)
        .key("gw.key", &client.key)
        .yaml(&upstream(&[("a", origin.tls_address.unwrap())], more))
        .start()
        .await
}

fn upstream(addresses: &[(&str, SocketAddr)], more: &str) -> String {
    let endpoint = |(_, address): &(&str, SocketAddr)| format!("{{ address: \"{address}\" }}");
    let endpoints = addresses.iter().map(endpoint).collect::<Vec<_>>().join(", ");
    format!(
        "upstreams: [{{ name: shop, endpoints: [{endpoints}], {more} }}]\nroutes: [{{ name: all, to: [{{ upstream: shop }}] }}]"
    )
}

/// A check that is fast enough for a test, with room for a busy machine.
fn quick(question: &str) -> String {
    format!("health_check: {{ {question}, interval: 500ms, unhealthy_interval: 100ms, timeout: 500ms }}")
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
