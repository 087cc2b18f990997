//! What `tollgate simulate` says is what traffic then does.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    support::{Gateway, Origin, PATIENCE, Request, eventually},
    zones::Fleet,
};

#[tokio::test]
async fn all_healthy_splits_as_simulated_by_each_balance() {
    let fleet = Fleet::start([3, 1, 0]).await;
    let hash = "balance: { consistent_hash: { key: { header: x-user } } }";
    for balance in ["balance: least_request", "balance: round_robin", hash] {
        let gateway = fleet.gateway("z1", &format!("{balance}, {PROBED}")).await;

        let told = simulate(&gateway, &[]).await;

        agrees(&gateway, &told, balance).await;
    }
}

#[tokio::test]
async fn uneven_weights_split_as_simulated() {
    let (heavy, light, never) =
        (Origin::named("heavy").await, Origin::named("light").await, Origin::named("never").await);
    let gateway = Gateway::builder()
        .origin("heavy", &heavy)
        .origin("light", &light)
        .origin("never", &never)
        .yaml(
            r#"
            upstreams:
              - name: shop
                endpoints: [{ address: "{heavy}", weight: 5 }, { address: "{light}", weight: 2 }, { address: "{never}", weight: 0 }]
            routes: [{ name: all, to: [{ upstream: shop }] }]
            "#,
        )
        .start()
        .await;

    let told = simulate(&gateway, &[]).await;

    agrees(&gateway, &told, "weights").await;
    assert_eq!((&told["endpoints"][2]["after"], never.requests().await), (&0.0.into(), 0));
}

#[tokio::test]
async fn half_of_the_own_zone_and_then_all_of_it_fail_as_simulated() {
    let fleet = Fleet::start([4, 2, 2]).await;
    let gateway = fleet.gateway("z1", PROBED).await;
    let address = |nth: usize| fleet.zones[0][nth].address.to_string();
    let half = simulate(&gateway, &["--endpoint-down", &address(0), "--endpoint-down", &address(1)]).await;
    let whole = simulate(&gateway, &["--zone-down", "z1"]).await;

    fleet.zones[0][0].stop().await;
    fleet.zones[0][1].stop().await;
    unhealthy(&gateway, 2.0).await;
    agrees(&gateway, &half, "half of the own zone").await;
    fleet.kill(0).await;
    unhealthy(&gateway, 4.0).await;
    agrees(&gateway, &whole, "the own zone").await;

    assert!((half["after"]["spill"].as_f64().unwrap() - 0.3056).abs() < 0.001, "{half}");
    assert_eq!((&whole["after"]["spill"], fleet.never.requests().await), (&1.0.into(), 0));
    // Now it is so: before and after are the same.
    let now = simulate(&gateway, &[]).await;
    assert_eq!((&now["before"]["spill"], &now["endpoints"][1]["state"]), (&1.0.into(), &"unhealthy".into()));
}

#[tokio::test]
async fn a_zone_found_dead_by_traffic_alone_fails_as_simulated() {
    let fleet = Fleet::start([2, 2, 2]).await;
    let ejects = "outlier_detection: { consecutive_gateway_errors: 3, base_ejection: 5m }, retries: { attempts: 3, budget: 100%, budget_floor: 1000 }";
    let gateway = fleet.gateway("z1", ejects).await;
    let told = simulate(&gateway, &["--zone-down", "z1"]).await;

    fleet.kill(0).await;
    eventually(PATIENCE, || async {
        gateway.get("/").await;
        gateway.metric("tollgate_upstream_ejections_total", &[]).await == 2.0
    })
    .await;

    agrees(&gateway, &told, "ejected").await;
}

#[tokio::test]
async fn a_region_fails_as_simulated() {
    let (near, far, farther) =
        (Origin::named("near").await, Origin::named("far").await, Origin::named("farther").await);
    let gateway = Gateway::builder()
        .origin("near", &near)
        .origin("far", &far)
        .origin("farther", &farther)
        .yaml(&format!(
            r#"
            location: {{ zone: z1, region: east }}
            upstreams:
              - name: shop
                endpoints: [{{ address: "{{near}}", zone: z1 }}, {{ address: "{{far}}", zone: w1, region: west }}, {{ address: "{{farther}}", zone: w2, region: west, weight: 3 }}]
                {}
            routes: [{{ name: all, to: [{{ upstream: shop }}] }}]
            "#,
            "health_check: { path: /__origin/health, interval: 500ms, unhealthy_interval: 500ms, timeout: 500ms, unhealthy_after: 2 }"
        ))
        .start()
        .await;
    let told = simulate(&gateway, &["--region-down", "east"]).await;

    near.stop().await;
    unhealthy(&gateway, 1.0).await;

    agrees(&gateway, &told, "region").await;
    assert_eq!(told["after"]["region_spill"], 1.0);
}

#[tokio::test]
async fn a_drain_splits_as_simulated() {
    let fleet = Fleet::start([2, 3, 1]).await;
    let gateway = fleet.gateway("z1", PROBED).await;
    let told = simulate(&gateway, &["--zone-drain", "z1"]).await;

    assert_eq!(gateway.ask(&["zone", "drain", "z1"]).await.code, Some(0));

    agrees(&gateway, &told, "drain").await;
}

#[tokio::test]
async fn assertions_decide_the_exit_code() {
    let fleet = Fleet::start([2, 2, 0]).await;
    let gateway = fleet.gateway("z1", PROBED).await;
    let ask = async |expressions: &[&str]| {
        let given: Vec<_> = expressions.iter().flat_map(|text| ["--assert", text]).collect();
        gateway.ask(&[&["simulate", "--zone-down", "z1"], &given[..]].concat()).await
    };

    let (holds, breaks) =
        (ask(&["max_share<=50%", "panic==0"]).await, ask(&["max_share<=50%", "spill < 0.3"]).await);
    let unclear = ask(&["max_shar<1"]).await;

    assert_eq!(
        (holds.code, breaks.code, unclear.code),
        (Some(0), Some(1), Some(2)),
        "{holds:?} {breaks:?} {unclear:?}"
    );
    assert_eq!(breaks.stderr, "does not hold: shop: spill < 0.3, it is 1\n");
    assert!(unclear.stderr.contains("write one of: max_share, max_zone_share"), "{unclear:?}");
    assert!(holds.stdout.lines().all(|line| line.len() <= 100), "{}", holds.stdout);
    for (flag, name) in [
        ("--zone-down", "z9"),
        ("--region-down", "x"),
        ("--endpoint-down", "10.0.0.1:1"),
        ("--upstream", "shops"),
        ("--from-zone", "z8"),
    ] {
        let unknown = gateway.ask(&["simulate", flag, name]).await;
        assert!(unknown.code == Some(2) && unknown.stderr.contains(&format!("`{name}`; ")), "{unknown:?}");
    }
}

#[tokio::test]
async fn a_file_is_asked_without_a_gateway() {
    let text = r#"
        location: { zone: z1 }
        upstreams:
          - name: shop
            endpoints: [{ address: "shop.internal:80", zone: z1 }, { address: "127.0.0.1:1", zone: z2 }, { address: "127.0.0.1:2", zone: z2 }]
            outlier_detection: {}
        routes: [{ name: all, to: [{ upstream: shop }] }]
        "#;
    let files = Gateway::builder().yaml(text).files;
    files.write_main(text);
    let main = files.main().display().to_string();
    let ask = async |more: &[&str]| {
        Gateway::cli(&[&["simulate", "--config", &main, "--rps", "1000"], more].concat()).await
    };

    let (named, moved) =
        (ask(&["--endpoint-down", "shop.internal:80"]).await, ask(&["--from-zone", "z2", "--json"]).await);

    assert!(
        named.code == Some(0) && named.stdout.contains("names in DNS are not looked up here (1)"),
        "{named:?}"
    );
    assert!(
        named.stdout.lines().any(|line| line.contains("shop.internal:80") && line.ends_with("0.0 down")),
        "{named:?}"
    );
    let moved: Value = serde_json::from_str(&moved.stdout).unwrap();
    let moved = &moved["report"]["upstreams"][0];
    assert_eq!(
        (&moved["endpoints"][0]["after"], &moved["endpoints"][1]["rps"]),
        (&0.0.into(), &500.0.into())
    );
    assert_eq!(Gateway::cli(&["simulate", "--config", "/nowhere"]).await.code, Some(78));
    assert_eq!(Gateway::cli(&["simulate", "--socket", "/nowhere"]).await.code, Some(75));
}

/// What the running gateway says of its only upstream.
async fn simulate(gateway: &Gateway, more: &[&str]) -> Value {
    let told = gateway.ask(&[&["simulate", "--json"], more].concat()).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    let upstream = told["report"]["upstreams"][0].clone();
    assert!(upstream["drawn_off"].as_f64().unwrap() < 0.01, "{upstream}");
    upstream
}

/// Asks so often that each share is known to a point, and compares.
async fn agrees(gateway: &Gateway, told: &Value, case: &str) {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut client = gateway.connect().await;
    for nth in 0..REQUESTS {
        let answer = client.send(&Request::get("/").header("x-user", &format!("user-{nth}"))).await;
        assert_eq!(answer.status, 200, "{case}: {answer:?}");
        *counts.entry(answer.echo().origin().to_owned()).or_default() += 1;
    }
    let mut measured: Vec<_> = counts.values().map(|n| f64::from(*n) / f64::from(REQUESTS)).collect();
    let mut wanted: Vec<_> = told["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["after"].as_f64().unwrap())
        .filter(|s| *s > 0.0)
        .collect();
    measured.sort_by(f64::total_cmp);
    wanted.sort_by(f64::total_cmp);
    assert_eq!(measured.len(), wanted.len(), "{case}: {measured:?} {told}");
    for (measured, wanted) in measured.iter().zip(&wanted) {
        // A point, and what chance adds to so few requests.
        let bound = 0.01 + 3.0 * (wanted * (1.0 - wanted) / f64::from(REQUESTS)).sqrt();
        assert!((measured - wanted).abs() < bound, "{case}: {measured}, not {wanted}: {counts:?} {told}");
    }
}

async fn unhealthy(gateway: &Gateway, endpoints: f64) {
    let state = [("state", "unhealthy")];
    eventually(PATIENCE, || async {
        gateway.metric("tollgate_upstream_endpoints", &state).await == endpoints
    })
    .await;
}

const REQUESTS: u32 = 2_400;

/// Knows within a moment who is gone.
const PROBED: &str = "health_check: { path: /__origin/health, interval: 500ms, unhealthy_interval: 500ms, timeout: 500ms, unhealthy_after: 2 }";
