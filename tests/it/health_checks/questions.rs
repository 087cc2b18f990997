//! How endpoints are asked: protocols, TLS, ports, statuses, deadlines.

use super::{Listener, becomes, checks, healths, quick, shop, upstream};
use crate::support::{
    Gateway, Origin, PATIENCE, Puppet,
    certs::{self, Authority},
    eventually,
};

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
