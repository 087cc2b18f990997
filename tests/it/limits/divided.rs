//! Limits that the gateways of a fleet divide: each has its part, and what was
//! counted stays while the number of gateways changes.

use std::time::Duration;

use super::{ask_at, gcra, orders, started, statuses};
use crate::support::{Gateway, Http1, Origin, PATIENCE, Request, eventually};

#[tokio::test]
async fn two_gateways_admit_together_what_the_fleet_may() {
    let fleet = "fleet: { gateways: 2 }";
    let ((_one, first), (_two, second)) = tokio::join!(orders_of(fleet), orders_of(fleet));

    let long = Duration::from_secs(3);
    let (first, second) = tokio::join!(ask_at(&first, 80, long), ask_at(&second, 80, long));

    let passed = |asked: &[super::Asked]| asked.iter().filter(|asked| asked.passed).count() as f64;
    for asked in [&first, &second] {
        let (passed, expected) = (passed(asked), f64::from(gcra(asked, 10.0, 50.0)));
        assert!((passed - expected).abs() <= 3.0, "{passed} passed, {expected} expected");
    }
    let ends = [&first, &second].map(|asked| (asked[0].at, asked[asked.len() - 1].at));
    let whole = ends[0].1.max(ends[1].1) - ends[0].0.min(ends[1].0);
    let most = (20.0 + 100.0 * whole.as_secs_f64()) * 1.01 + 1.0;
    let together = passed(&first) + passed(&second);
    assert!(together <= most, "{together} passed, {most} may");
}

#[tokio::test]
async fn a_gateway_has_its_part_of_the_burst_and_says_so() {
    let (_origin, gateway) = started(&tens("fleet: { gateways: 4 }")).await;

    let first = gateway.get("/").await;

    // Three of ten, rounded up, which come back in 24 of 60 minutes four times as
    // slowly.
    assert_eq!(first.header("ratelimit-policy"), Some("\"tens\";q=3;w=7200"));
    assert_eq!(first.header("ratelimit"), Some("\"tens\";r=2;t=2400"));
    assert_eq!(statuses(&gateway, &["/", "/", "/"]).await, [200, 200, 429]);
}

#[tokio::test]
async fn a_file_says_how_many_gateways_there_are_and_no_change_empties_a_count() {
    let (_origin, gateway) = by_file(TWO).await;
    assert_eq!(most(&gateway).await, 4);
    // Each takes two of the eight hours that a gateway of two may be ahead.
    assert_eq!(statuses(&gateway, &["/", "/", "/"]).await, [200, 200, 200]);

    gateway.files.write(FILE, "endpoints: [{ address: 10.0.0.1:1 }, { address: 10.0.0.2:1, weight: 0 }]");
    comes_to(&gateway, 8).await;
    assert!(gateway.stderr().contains("another number of gateways: before=2 now=1"), "{}", gateway.stderr());
    assert_eq!(statuses(&gateway, &["/"]).await, [200]);
    gateway.files.write(FILE, TWO);
    comes_to(&gateway, 4).await;
    assert_eq!(statuses(&gateway, &["/"]).await, [429]);
    gateway.files.write(FILE, "endpoints: [{ address: 10.0.0.2:1 }]");
    comes_to(&gateway, 8).await;

    assert_eq!(statuses(&gateway, &["/", "/"]).await, [200, 429]);
}

#[tokio::test]
async fn a_file_that_is_rubbish_or_gone_changes_nothing() {
    let (_origin, gateway) = by_file(TWO).await;

    for (bad, word) in [
        ("endpoints: [{ address: 10.0.0.1:1 }, {", "bad_file"),
        ("endpoints: []", "empty"),
        ("endpoints: [{ address: \"${env:HOME}\" }]", "bad_file"),
        ("3", "bad_file"),
    ] {
        gateway.files.write(FILE, bad);
        let told =
            format!("fleet=gateways source={} reason={word} kept=2", gateway.files.path(FILE).display());
        eventually(PATIENCE, || async { gateway.stderr().contains(&told) }).await;
        assert_eq!(most(&gateway).await, 4, "{bad}");
    }
    std::fs::remove_file(gateway.files.path(FILE)).unwrap();
    eventually(PATIENCE, || async { gateway.stderr().contains("reason=missing_file") }).await;
    assert_eq!(most(&gateway).await, 4);
    assert_eq!(gateway.reload().await.code, Some(0));
    assert_eq!(most(&gateway).await, 4, "a reload knows it too");
    assert_eq!(gateway.metric("tollgate_discovery_stale", &[("upstream", "-")]).await, 1.0);

    gateway.files.write(FILE, "endpoints: [{ address: 10.0.0.1:1 }]");
    comes_to(&gateway, 8).await;
}

#[tokio::test]
async fn while_there_was_no_file_yet_a_gateway_counts_as_the_only_one() {
    let origin = Origin::start().await;
    let builder = Gateway::builder().origin("origin", &origin).yaml(&eights(BY_FILE));
    let missing = builder.check(&[]).await;
    builder.files.write(FILE, "endpoints:\n- { address: 10.0.0.1:1 }\n- { adress: 10.0.0.2:1 }\n");
    let bad = builder.check(&[]).await;
    std::fs::remove_file(builder.files.path(FILE)).unwrap();

    assert_eq!(missing.code, Some(0), "{missing:?}");
    assert!(missing.stderr.contains("fleet.gateways_file: there is no"), "{missing:?}");
    assert_eq!(bad.code, Some(78), "{bad:?}");
    assert!(bad.stderr.contains("gateways.yaml:3: endpoints[1].adress"), "{bad:?}");
    let gateway = builder.start().await;
    assert_eq!(most(&gateway).await, 8);
    gateway.files.write(FILE, TWO);
    comes_to(&gateway, 4).await;
}

#[tokio::test]
async fn a_reload_that_changes_the_number_keeps_what_was_counted() {
    let (_origin, gateway) = started(&eights("fleet: { gateways: 2 }")).await;
    assert_eq!(statuses(&gateway, &["/", "/", "/"]).await, [200, 200, 200]);

    gateway.write_config(&eights("fleet: { gateways: 1 }"));
    let told = gateway.reload().await;

    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stdout.contains("changed: fleet") && !told.stdout.contains("afresh"), "{told:?}");
    assert_eq!(statuses(&gateway, &["/", "/", "/"]).await, [200, 200, 429]);
    gateway.write_config(&eights("fleet: { gateways: 8 }"));
    assert_eq!(gateway.reload().await.code, Some(0));
    assert_eq!(most(&gateway).await, 1);
    assert_eq!(statuses(&gateway, &["/"]).await, [429]);
    // Alone it counts all of the limit, with what it counted as one of the fleet.
    gateway.write_config(&eights("").replace("scope: fleet", "scope: instance"));
    let told = gateway.reload().await;
    assert!(told.code == Some(0) && !told.stdout.contains("afresh"), "{told:?}");
    assert_eq!((most(&gateway).await, statuses(&gateway, &["/"]).await), (8, vec![429]));
}

#[tokio::test]
async fn what_is_under_way_is_divided_too_and_stays_counted() {
    let limit = |gateways: u32| {
        format!(
            "fleet: {{ gateways: {gateways} }}\nlimits: [{{ name: at-once, concurrency: 4, scope: fleet, global: true }}]"
        )
    };
    let (_origin, gateway) = started(&limit(2)).await;
    let in_flight = async |count: f64| {
        let limit = [("limit", "at-once")];
        eventually(PATIENCE, || async { gateway.metric("tollgate_limit_in_flight", &limit).await == count })
            .await;
    };
    let _held = [stays(&gateway).await, stays(&gateway).await];
    in_flight(2.0).await;
    assert_eq!(gateway.get("/").await.flag(), "concurrency_limited");

    gateway.write_config(&limit(1));
    assert_eq!(gateway.reload().await.code, Some(0));

    let third = stays(&gateway).await;
    in_flight(3.0).await;
    assert_eq!(gateway.get("/").await.status, 200);
    gateway.write_config(&limit(2));
    assert_eq!(gateway.reload().await.code, Some(0));
    assert_eq!(gateway.get("/").await.status, 429);
    third.reset();
    in_flight(2.0).await;
    assert_eq!(gateway.get("/").await.status, 429);
}

async fn orders_of(fleet: &str) -> (Origin, Gateway) {
    orders(fleet, ", scope: fleet").await
}

/// A burst of 10, and 10 in two hours.
fn tens(fleet: &str) -> String {
    format!("{fleet}\nlimits: [{{ name: tens, rate: 6/h, burst: 10, scope: fleet, global: true }}]")
}

/// A burst of 8, each of which takes an hour to come back.
fn eights(fleet: &str) -> String {
    format!("{fleet}\nlimits: [{{ name: eights, rate: 1/h, burst: 8, scope: fleet, global: true }}]")
}

/// `eights`, with as many gateways as this file lists.
async fn by_file(file: &str) -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let builder = Gateway::builder().origin("origin", &origin).file(FILE, file);
    (origin, builder.yaml(&eights(BY_FILE)).start().await)
}

/// The most that the only limit grants at once now; takes nothing.
async fn most(gateway: &Gateway) -> u64 {
    let told = gateway.ask(&["explain", "--json", "--host", "a.test"]).await;
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap_or_else(|_| panic!("{told:?}"));
    told["limits"][0]["most"].as_u64().unwrap_or_else(|| panic!("{told}"))
}

async fn comes_to(gateway: &Gateway, wanted: u64) {
    eventually(PATIENCE, || async { most(gateway).await == wanted }).await;
}

/// A request that is under way until this is dropped.
async fn stays(gateway: &Gateway) -> Http1 {
    let mut client = gateway.connect().await;
    client.write(Request::get("/").script("never_answers").to_http1()).await.unwrap();
    client
}

const FILE: &str = "gateways.yaml";
const BY_FILE: &str = "fleet: { gateways_file: gateways.yaml }";
const TWO: &str = "endpoints: [{ address: 10.0.0.1:1 }, { address: 10.0.0.2:1 }]";
