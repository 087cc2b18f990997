//! Keys that are meant to hurt: long ones, and very many.

use super::*;
use crate::support::redis::Redis;

#[tokio::test]
async fn a_key_of_any_length_is_a_few_bytes_in_the_store() {
    let redis = Redis::start().await;
    let origin = Origin::start().await;
    let gateway = gateway(&origin, &redis.section(SLOW), "rate: 1/h, burst: 1").await;
    comes_up(&gateway).await;

    // As long as the gate lets through, and one byte that differs at the end.
    let long = "x".repeat(30 << 10);
    let ask = async |key: &str| gateway.send(&of(key)).await.status;
    assert_eq!((ask(&long).await, ask(&long).await), (200, 429));
    assert_eq!(ask(&format!("{long}y")).await, 200);

    let cells = async || redis.cli(&["KEYS", "{tollgate:shared*}:????????????????"]).await;
    eventually(PATIENCE, || async { cells().await.lines().count() == 2 }).await;
    let cells = cells().await;
    assert!(cells.lines().all(|key| key.len() < 100), "{cells}");
    assert!(!redis.cli(&["KEYS", "*"]).await.contains("xxxx"));
}

#[tokio::test]
async fn many_keys_take_bounded_memory_and_nobodys_time() {
    let redis = Redis::start().await;
    let yaml = format!(
        "{}
limits: [{{ name: shared, key: [{{ header: x-key }}], scope: fleet, global: true, rate: 1/s, burst: 5, memory: 1MiB }}]
routes: [{{ name: all, respond: {{ status: 200 }} }}]",
        redis.section(SLOW)
    );
    let gateway = Gateway::builder().yaml(&yaml).start().await;
    comes_up(&gateway).await;

    let flood = async |client: u32| {
        let (mut http, mut seen) = (gateway.connect().await, Seen::default());
        for nth in 0..KEYS / CLIENTS {
            ask(&mut http, &format!("{client}-{nth}"), &mut seen).await;
        }
        seen
    };
    let floods = futures::future::join_all((0..CLIENTS).map(flood));
    let (floods, polite) = tokio::join!(floods, ask_at(&gateway, "polite", 1, Duration::from_secs(3)));

    assert!(polite.refused == 0 && polite.slowest < AT_ONCE, "{polite:?}");
    assert!(floods.iter().all(|seen| seen.refused == 0 && seen.slowest < AT_ONCE), "{floods:?}");
    let metrics = gateway.metrics().await;
    let keys = metrics.metric("tollgate_limit_ledger_keys", &[("limit", "shared")]);
    assert!(keys <= f64::from(1 << 20) / 100.0, "{keys} keys");
    assert!(is_up(&gateway).await);
    // What was told is forgotten, here and, once it says nothing, in the store.
    let is_told = async || gateway.metric("tollgate_limit_ledger_keys", &[]).await == 0.0;
    eventually(PATIENCE, is_told).await;
    let memory = redis.cli(&["INFO", "memory"]).await;
    let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    assert!(used.trim().parse::<u64>().unwrap() < 64 << 20, "{used}");
}

const KEYS: u32 = 20_000;
const CLIENTS: u32 = 16;
