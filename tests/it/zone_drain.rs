//! Zones that an operator takes out by hand: nobody notices, nothing goes there,
//! and what would crush the rest is refused.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::task::JoinSet;

use crate::{
    support::{
        Gateway, PATIENCE, Request, eventually,
        load::{Asks, Load},
    },
    zones::{Fleet, share, split},
};

#[tokio::test]
async fn a_zone_is_drained_under_load_and_comes_back_in_steps() {
    let fleet = Fleet::start([2, 2, 2]).await;
    let gateway = fleet.gateway("z1", QUICK).await;
    let (load, clients) = clients(&gateway);
    answers(&load, 50).await;

    let drained = gateway.ask(&["zone", "drain", "z1"]).await;
    answers(&load, 50).await;
    let before = fleet.requests(0).await;
    answers(&load, 500).await;

    assert_eq!(drained.code, Some(0), "{drained:?}");
    assert!(drained.stdout.contains("shop: 4 endpoints left in service, 66.7% of its weight"), "{drained:?}");
    assert!(before > 0 && fleet.requests(0).await == before);
    let endpoints = [("zone", "z1"), ("state", "drained")];
    assert_eq!(gateway.metric("tollgate_zone_endpoints", &endpoints).await, 2.0);
    let restored = gateway.ask(&["zone", "restore", "z1"]).await;
    assert_eq!(restored.code, Some(0), "{restored:?}");
    eventually(PATIENCE, || async { (0.01..0.99).contains(&share(&gateway, "z1").await) }).await;
    eventually(PATIENCE, || async { share(&gateway, "z1").await == 1.0 }).await;
    load.end();
    clients.join_all().await;
    assert_eq!(load.lost(), [""; 0]);
    assert!(fleet.requests(0).await > before && fleet.never.requests().await == 0);
    let log = gateway.stderr();
    assert!(log.contains("zone drained by hand: zone=z1 forced=false upstreams=shop endpoints=2"), "{log}");
    assert!(log.contains("zone restored by hand: zone=z1 upstreams=shop"), "{log}");
}

#[tokio::test]
async fn a_drained_zone_stays_out_over_reloads_and_is_shown() {
    let fleet = Fleet::start([2, 2, 2]).await;
    let gateway = fleet.gateway("z1", QUICK).await;
    assert_eq!(gateway.ask(&["zone", "drain", "z2"]).await.code, Some(0));
    assert_eq!(gateway.ask(&["zone", "drain", "z2"]).await.stdout, "z2 is drained already\n");

    gateway.write_config(&fleet.config("z2", QUICK));
    assert_eq!(gateway.reload().await.code, Some(0));

    let counts = split(&gateway, 100).await;
    assert!(!counts.contains_key("z2") && counts.len() == 2, "{counts:?}");
    let listed = gateway.ask(&["zone", "list"]).await.stdout;
    let row = |zone: &str| {
        listed.lines().find(|line| line.starts_with(zone)).unwrap().split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(row("z2*"), ["z2*", "shop", "2", "0", "0", "0", "2", "0.0%"]);
    assert_eq!(row("z1")[..7], ["z1", "shop", "2", "2", "0", "0", "0"]);
    let shown = gateway.ask(&["status"]).await.stdout;
    assert!(shown.contains("drained zones z2") && shown.matches(" drained ").count() >= 2, "{shown}");
    let restored = gateway.ask(&["zone", "restore", "z2"]).await;
    assert!(restored.stdout.starts_with("z2 is back"), "{restored:?}");
    assert_eq!(gateway.ask(&["zone", "restore", "z2"]).await.stdout, "z2 is not drained\n");
}

#[tokio::test]
async fn what_would_crush_the_rest_is_refused_unless_forced_and_holds_in_panic() {
    let fleet = Fleet::start([3, 1, 0]).await;
    let gateway = fleet.gateway("z1", SENSITIVE).await;

    let refused = gateway.ask(&["zone", "drain", "z1"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("shop: 25% of its weight in the region would be left in service, `panic_below` is 50%"),
        "{refused:?}"
    );
    assert_eq!(split(&gateway, 20).await, BTreeMap::from([("z1".to_owned(), 20)]));

    let forced = gateway.ask(&["zone", "drain", "z1", "--force"]).await;
    assert!(forced.code == Some(0) && forced.stdout.contains("OVERLOADED"), "{forced:?}");
    assert_eq!(split(&gateway, 20).await, BTreeMap::from([("z2".to_owned(), 20)]));
    let last = gateway.ask(&["zone", "drain", "z2"]).await;
    assert!(
        last.code == Some(1) && last.stderr.contains("shop: no endpoint would be left in service"),
        "{last:?}"
    );

    // Panic takes every endpoint but those that were taken out.
    let before = fleet.requests(0).await;
    fleet.zones[1][0].set_healthy(false).await;
    eventually(PATIENCE, || async { gateway.metric("tollgate_upstream_panic", &[]).await == 1.0 }).await;
    assert_eq!(split(&gateway, 100).await, BTreeMap::from([("z2".to_owned(), 100)]));
    assert_eq!((fleet.requests(0).await, fleet.never.requests().await), (before, 0));
}

#[tokio::test]
async fn an_unknown_zone_is_refused_and_the_known_ones_are_named() {
    let fleet = Fleet::start([1, 1, 0]).await;
    let gateway = fleet.gateway("z1", "outlier_detection: {}").await;

    let unknown = gateway.ask(&["zone", "drain", "zz1"]).await;
    let nobody = Gateway::cli(&["zone", "list", "--socket", "/nowhere"]).await;

    assert_eq!((unknown.code, nobody.code), (Some(2), Some(75)), "{unknown:?} {nobody:?}");
    assert!(
        unknown.stderr.contains("there is no zone `zz1`; did you mean `z1`? Known: z1, z2"),
        "{unknown:?}"
    );
    for path in ["/zone/drain", "/zone/drain?zone=z1&all", "/zone/restore?zone=z1&force", "/simulate?zone"] {
        assert_eq!(gateway.admin("POST", path).await.status, 400, "{path}");
    }
}

fn clients(gateway: &Gateway) -> (Arc<Load>, JoinSet<()>) {
    let (load, mut clients) = (Load::new(), JoinSet::new());
    for _ in 0..4 {
        let asks = Asks::of(gateway.plain, Request::get("/")).pause(Duration::from_millis(2));
        clients.spawn(load.clone().http1(asks));
    }
    (load, clients)
}

/// Waits for so many more.
async fn answers(load: &Load, more: u64) {
    let before = load.answered.load(Ordering::Relaxed);
    eventually(PATIENCE, || async { load.answered.load(Ordering::Relaxed) > before + more }).await;
}

/// Takes back within two seconds.
const QUICK: &str = "outlier_detection: {}, locality: { hold_down: 200ms }, slow_start: 2s";

/// Knows within a moment who is unhealthy.
const SENSITIVE: &str = "health_check: { path: /__origin/health, interval: 500ms, unhealthy_interval: 500ms, timeout: 500ms, unhealthy_after: 2 }";
