//! Names at a start and in reloads.

use std::time::{Duration, Instant};

use super::{endpoints, fleet, hosts, upstream};
use crate::support::{Gateway, Origin, PATIENCE, dns::Dns, eventually};

#[tokio::test]
async fn with_dns_dead_at_the_start_others_are_served_and_the_name_comes_later() {
    let [a] = fleet(["a"]).await;
    let other = Origin::named("other").await;
    let dns = Dns::start("").await;
    dns.signal(libc::SIGSTOP);
    let port = a.address.port();
    let yaml = format!(
        "{}upstreams:\n  - {{ name: orders, endpoints: [{{ address: \"orders.internal:{port}\" }}] }}\n  \
         - {{ name: other, endpoints: [{{ address: \"{{other}}\" }}] }}\n\
         routes:\n  - {{ name: orders, match: {{ path: /orders }}, to: [{{ upstream: orders }}] }}\n  \
         - {{ name: rest, to: [{{ upstream: other }}] }}",
        dns.section("")
    );

    let gateway = Gateway::builder().origin("other", &other).yaml(&yaml).start().await;

    assert_eq!(gateway.get("/").await.echo().origin(), "other");
    let began = Instant::now();
    for _ in 0..20 {
        let answer = gateway.get("/orders").await;
        assert_eq!((answer.status, answer.flag().as_str()), (503, "no_endpoint"));
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let log = gateway.stderr();
    assert!(log.contains("endpoints not found: upstream=orders source=orders.internal:"), "{log}");
    dns.signal(libc::SIGCONT);
    dns.set(&hosts(&[&a]));
    eventually(PATIENCE, || async { gateway.get("/orders").await.status == 200 }).await;
}

#[tokio::test]
async fn a_reload_with_names_of_a_silent_resolver_is_done_within_its_bound() {
    let [a] = fleet(["a"]).await;
    let dns = Dns::start(&hosts(&[&a])).await;
    let slow = dns.section("").replace("timeout: 1s", "timeout: 20s");
    let yaml = format!("{slow}{}", upstream(&a, ""));
    let gateway = Gateway::builder().origin("a", &a).yaml(&yaml).start().await;
    dns.signal(libc::SIGSTOP);

    let new = yaml.replace(
        "address: \"orders.internal",
        "address: \"new.internal:80\" }, { address: \"orders.internal",
    );
    gateway.write_config(&new);
    let began = Instant::now();
    assert_eq!(gateway.reload().await.code, Some(0));

    // 3 s, and what a busy machine adds.
    assert!((2..8).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(gateway.stderr().contains("endpoints not found yet: upstream=orders source=new.internal:80"));
    assert_eq!(endpoints(&gateway).await, [a.address]);
    // What is known or was tried holds nobody up again.
    let began = Instant::now();
    assert_eq!(gateway.reload().await.code, Some(0));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(gateway.get("/").await.status, 200);
}

#[tokio::test]
async fn upstreams_share_names_and_a_reload_adds_and_removes_them() {
    let [a, b] = fleet(["a", "b"]).await;
    let port = a.address.port();
    let dns =
        Dns::start(&format!("{} orders.internal\n{} spare.internal", a.address.ip(), b.address.ip())).await;
    let upstreams = |names: &[(&str, &str)]| {
        let one = |(upstream, name): &(&str, &str)| {
            format!("  - {{ name: {upstream}, endpoints: [{{ address: \"{name}.internal:{port}\" }}] }}\n")
        };
        let list: String = names.iter().map(one).collect();
        let routes = names.iter().map(|(upstream, _)| {
            format!("  - {{ name: {upstream}, match: {{ path: /{upstream} }}, to: [{{ upstream: {upstream} }}] }}\n")
        });
        format!("{}upstreams:\n{list}routes:\n{}", dns.section(""), routes.collect::<String>())
    };
    let first = upstreams(&[("one", "orders"), ("two", "orders")]);
    let gateway = Gateway::builder().origin("a", &a).origin("b", &b).yaml(&first).start().await;
    for path in ["/one", "/two"] {
        assert_eq!(gateway.get(path).await.echo().origin(), "a");
    }
    let changes = gateway.stderr();
    assert!(
        changes.contains("changed: upstream=one") && changes.contains("changed: upstream=two"),
        "{changes}"
    );

    gateway.write_config(&upstreams(&[("two", "spare"), ("three", "orders")]));
    assert_eq!(gateway.reload().await.code, Some(0));

    assert_eq!(gateway.get("/two").await.echo().origin(), "b");
    assert_eq!(gateway.get("/three").await.echo().origin(), "a");
    let metrics = gateway.metrics().await;
    let of = |upstream| metrics.has("tollgate_discovery_lookups_total", &[("upstream", upstream)]);
    assert_eq!([of("one"), of("two"), of("three")], [false, true, true]);
    // The name that is still followed is the one that changes.
    dns.set(&format!("{} orders.internal\n{} spare.internal", b.address.ip(), b.address.ip()));
    eventually(PATIENCE, || async { gateway.get("/three").await.echo().origin() == "b" }).await;
}
