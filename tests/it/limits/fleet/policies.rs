//! What holds while the store does not answer: each policy, there and back.

use super::*;
use crate::support::redis::Redis;

struct Held {
    redis: Redis,
    gateway: Gateway,
    _origin: Origin,
}

/// A gateway of two whose store is gone, with a limit of 10 at once.
async fn without_a_store(policy: &str) -> Held {
    let redis = Redis::start().await;
    let fleet = redis.section(SLOW).replace("fleet: {", "fleet: { gateways: 2,");
    let origin = Origin::start().await;
    let gateway = gateway(&origin, &fleet, &format!("rate: 1/h, burst: 10, on_store_error: {policy}")).await;
    comes_up(&gateway).await;
    redis.kill().await;
    goes_down(&gateway).await;
    Held { redis, gateway, _origin: origin }
}

impl Held {
    async fn ask(&self, key: &str, times: u32) -> Seen {
        let (mut client, mut seen) = (self.gateway.connect().await, Seen::default());
        for _ in 0..times {
            ask(&mut client, key, &mut seen).await;
        }
        seen
    }

    async fn decided(&self, result: &str) -> f64 {
        self.gateway
            .metric("tollgate_limit_decisions_total", &[("limit", "shared"), ("result", result)])
            .await
    }

    async fn limits(&self) -> String {
        self.gateway.ask(&["limits"]).await.stdout
    }

    /// Once the store is there, the limit holds as it is written.
    async fn comes_back(&self) {
        self.redis.restart().await;
        comes_up(&self.gateway).await;
        let seen = self.ask("afterwards", 20).await;
        assert_eq!((seen.passed, seen.refused), (10, 10));
        let table = self.limits().await;
        assert!(table.contains("  LEASED\n"), "{table}");
    }
}

#[tokio::test]
async fn local_grants_this_gateways_part() {
    let held = without_a_store("local").await;

    let seen = held.ask("k", 20).await;

    assert_eq!((seen.passed, seen.refused), (5, 15), "{seen:?}");
    let table = held.limits().await;
    assert!(table.contains("  LEASED, STORE DOWN: local\n"), "{table}");
    held.comes_back().await;
}

#[tokio::test]
async fn allow_grants_everything_and_counts_it() {
    let held = without_a_store("allow").await;

    let seen = held.ask("k", 20).await;

    assert_eq!((seen.passed, seen.refused), (20, 0), "{seen:?}");
    assert_eq!(held.decided("store_allowed").await, 20.0);
    held.comes_back().await;
}

#[tokio::test]
async fn deny_refuses_everybody_and_says_when_to_ask_again() {
    let held = without_a_store("deny").await;

    let answer = held.gateway.send(&of("k")).await;

    assert_eq!((answer.status, answer.flag().as_str()), (429, "rate_limited"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(held.decided("store_denied").await, 1.0);
    held.comes_back().await;
}

#[tokio::test]
async fn a_store_that_was_never_asked_is_not_down() {
    let (redis, origin) = (Redis::start().await, Origin::start().await);
    redis.signal(libc::SIGSTOP);
    let fleet = redis.section("timeout: 10s").replace("fleet: {", "fleet: { gateways: 2,");
    let gateway = gateway(&origin, &fleet, "rate: 1/h, burst: 10, on_store_error: deny").await;

    let mut seen = Seen::default();
    let mut client = gateway.connect().await;
    for _ in 0..8 {
        ask(&mut client, "k", &mut seen).await;
    }

    redis.signal(libc::SIGCONT);
    assert_eq!((seen.passed, seen.refused), (5, 3), "{seen:?}");
}
