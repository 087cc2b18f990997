//! A thousand reloads under load: nobody notices, and nothing is left behind.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::task::JoinSet;

use crate::support::{
    Gateway, Origin, PATIENCE, Request, Response, Tls,
    certs::{self, Issued},
    eventually,
    load::{Asks, Load},
    metrics::Sample,
};

#[tokio::test]
async fn a_thousand_reloads_lose_no_request_and_leak_nothing() {
    let origin = Origin::start().await;
    let authority = certs::authority();
    let pairs = [(); 2].map(|()| certs::server(&authority, &["api.example.com"]));
    let builder = Gateway::builder().origin("origin", &origin).certificate(&pairs[0]);
    let gateway = builder.yaml(&marked("even")).start().await;
    let fds = gateway.open_fds();
    let load = Load::new();
    let plain = Asks::of(gateway.plain, Request::get("/")).sound(is_of_one_configuration);
    let h2 = plain.clone().tls(Tls::default().alpn(&["h2"]));
    let h2 = Asks { address: gateway.tls, ..h2 };
    let often = Duration::from_millis(4);
    let mut clients = JoinSet::new();
    for _ in 0..3 {
        clients.spawn(load.clone().http1(plain.clone().pause(often)));
        clients.spawn(load.clone().fresh(plain.clone().pause(often)));
    }
    clients.spawn(
        load.clone()
            .fresh(Asks { tls: Some(Tls::default().trusting(&authority)), ..h2.clone() }.pause(often)),
    );
    clients.spawn(load.clone().http2(h2.clone().pause(often), 3));

    gateway.write_config(&marked("odd"));
    assert_eq!(gateway.admin("POST", "/reload").await.status, 200);
    assert_eq!(gateway.get("/odd").await.status, 200);
    eventually(PATIENCE, || async { of_odd(&gateway).await.len() > 5 }).await;
    reload(&gateway, &pairs, 199).await;
    let warm = gateway.rss_kib();
    reload(&gateway, &pairs, 800).await;
    let grown = gateway.rss_kib().saturating_sub(warm);
    load.end();
    clients.join_all().await;

    assert_eq!(load.lost(), [""; 0]);
    assert!(load.answered.load(Ordering::Relaxed) > 1_000, "{load:?}");
    assert_eq!(gateway.status().await["generation"], 1_001);
    assert!(grown < 8 << 10, "{grown} KiB more than the {warm} after 200 reloads");
    // Connections to the origin are kept for a second, as configured.
    eventually(PATIENCE, || async { gateway.open_fds() <= fds }).await;
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.metric("tollgate_config_reloads_total", &[("result", "ok")]), 1_001.0);
    assert!(metrics.has("tollgate_requests_total", &[("route", "all")]));
    assert_eq!(of_odd(&gateway).await, [""; 0]);
}

/// Metrics that speak of the route or the upstream `odd`.
async fn of_odd(gateway: &Gateway) -> Vec<String> {
    let metrics = gateway.metrics().await;
    let of_odd = |sample: &&Sample| sample.labels.values().any(|label| label == "odd");
    metrics.all().filter(of_odd).map(|sample| sample.name.clone()).collect()
}

/// So many reloads, each with a renewed certificate, the last one of the even
/// configuration.
async fn reload(gateway: &Gateway, pairs: &[Issued; 2], times: usize) {
    for left in (0..times).rev() {
        gateway.files.pair("tls", &pairs[left % 2]);
        gateway.write_config(&marked(if left % 2 == 0 { "even" } else { "odd" }));
        let told = gateway.admin("POST", "/reload").await;
        assert_eq!(told.status, 200, "{told:?}");
    }
}

/// A configuration that marks requests and answers, and has a route and an
/// upstream of its own.
fn marked(mark: &str) -> String {
    format!(
        r#"
        upstreams:
          - {{ name: origin, endpoints: [{{ address: "{{origin}}" }}], timeouts: {{ idle: 1s }} }}
          - {{ name: {mark}, endpoints: [{{ address: "{{origin}}" }}], timeouts: {{ idle: 1s }} }}
        routes:
          - {{ name: {mark}, match: {{ path: /{mark} }}, to: [{{ upstream: {mark} }}] }}
          - name: all
            to: [{{ upstream: origin }}]
            request_headers: {{ set: [{{ name: x-config, value: {mark} }}] }}
            response_headers: {{ set: [{{ name: x-config, value: {mark} }}] }}
        "#
    )
}

/// Both ways were ruled by the same files.
fn is_of_one_configuration(answer: &Response) -> bool {
    answer.status == 200 && answer.echo().header("x-config") == answer.header("x-config")
}
