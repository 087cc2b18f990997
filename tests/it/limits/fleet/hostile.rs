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
async fn a_hundred_thousand_keys_take_bounded_memory_and_nobodys_time() {
    let redis = Redis::start().await;
    let origin = Origin::start().await;
    let gateway = gateway(&origin, &redis.section(SLOW), "rate: 1/s, burst: 5, memory: 1MiB").await;
    comes_up(&gateway).await;

    let flood = async |part: u32| {
        let (mut http, mut slowest) = (gateway.connect().await, Duration::ZERO);
        for start in (0..KEYS / CLIENTS).step_by(100) {
            let mut bytes = Vec::new();
            for nth in start..start + 100 {
                bytes.extend(of(&format!("flood-{part}-{nth}")).to_http1());
            }
            let at = Instant::now();
            http.write(bytes).await.unwrap();
            for _ in 0..100 {
                let answer = http.read_response().await.unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
            }
            slowest = slowest.max(at.elapsed());
        }
        slowest
    };
    let floods = futures::future::join_all((0..CLIENTS).map(flood));
    let (slowest, polite) = tokio::join!(floods, ask_at(&gateway, "polite", 1, Duration::from_secs(3)));

    assert!(polite.refused == 0 && polite.slowest < AT_ONCE, "{polite:?}");
    assert!(slowest.iter().all(|slowest| *slowest < 4 * AT_ONCE), "{slowest:?}");
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

const KEYS: u32 = 100_000;
const CLIENTS: u32 = 4;
