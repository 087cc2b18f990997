//! What a reload keeps of health, and what it asks anew.

use serde_json::Value;

use super::{all_answered_by, becomes, endpoints, healths, quick, shop, upstream};
use crate::support::{Origin, PATIENCE, eventually};

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
