//! A store that fails while requests come: each is answered at once, none with an
//! error, and the fleet is one again within seconds of the store's return.

use super::*;
use crate::support::{certs, port::Port, redis::Redis};

const LIMIT: &str = "rate: 1000/s, burst: 1000";

/// What is done to the store and taken back, while clients ask.
async fn assert_unharmed(gateway: &Gateway, fail: impl AsyncFnOnce(), recover: impl AsyncFnOnce()) {
    comes_up(gateway).await;
    let failing = async {
        fail().await;
        goes_down(gateway).await;
        let while_down = ask_at(gateway, "down", 50, Duration::from_secs(1)).await;
        recover().await;
        let began = Instant::now();
        comes_up(gateway).await;
        (while_down, began.elapsed())
    };
    let (asking, over) = (gateway.connect(), std::cell::Cell::new(false));
    let through = async {
        let (mut client, mut seen) = (asking.await, Seen::default());
        while !over.get() {
            ask(&mut client, "through", &mut seen).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        seen
    };
    let ((while_down, back), through) = tokio::join!(
        async {
            let told = failing.await;
            over.set(true);
            told
        },
        through
    );

    for seen in [&while_down, &through] {
        assert!(seen.refused == 0 && seen.passed > 0 && seen.slowest < AT_ONCE, "{seen:?}");
    }
    assert!(back < Duration::from_secs(15), "back after {back:?}");
    let refused = gateway.metrics().await.refused();
    assert!(refused.is_empty(), "{refused:?}");
}

async fn started(fleet: &str) -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let gateway = gateway(&origin, fleet, LIMIT).await;
    (origin, gateway)
}

#[tokio::test]
async fn a_store_that_is_killed() {
    let redis = Redis::start().await;
    let (_origin, gateway) = started(&redis.section(SLOW)).await;

    assert_unharmed(&gateway, async || redis.kill().await, async || redis.restart().await).await;

    let log = gateway.stderr();
    assert_eq!(log.matches("store of fleet limits does not answer").count(), 1, "{log}");
    assert_eq!(log.matches("store of fleet limits answers").count(), 2, "{log}");
}

#[tokio::test]
async fn a_store_that_hangs() {
    let redis = Redis::start().await;
    let (_origin, gateway) = started(&redis.section(SLOW)).await;

    let hang = async || redis.signal(libc::SIGSTOP);
    assert_unharmed(&gateway, hang, async || redis.signal(libc::SIGCONT)).await;

    let timeouts = [("result", "timeout")];
    assert!(gateway.metric("tollgate_limit_store_exchanges_total", &timeouts).await > 0.0);
}

#[tokio::test]
async fn a_store_that_is_full() {
    let redis = Redis::start().await;
    let (_origin, gateway) = started(&redis.section(SLOW)).await;

    let fill = async || {
        drop(redis.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1"]).await)
    };
    let empty = async || drop(redis.cli(&["CONFIG", "SET", "maxmemory", "0"]).await);
    assert_unharmed(&gateway, fill, empty).await;

    assert!(gateway.metric("tollgate_limit_store_exchanges_total", &[("result", "full")]).await > 0.0);
}

#[tokio::test]
async fn a_store_that_becomes_a_replica_and_is_promoted() {
    let (other, redis) = (Redis::start().await, Redis::start().await);
    let (_origin, gateway) = started(&redis.section(SLOW)).await;

    let port = other.address.port().to_string();
    let demote = async || drop(redis.cli(&["REPLICAOF", "127.0.0.1", &port]).await);
    let promote = async || drop(redis.cli(&["REPLICAOF", "NO", "ONE"]).await);
    assert_unharmed(&gateway, demote, promote).await;

    assert!(gateway.metric("tollgate_limit_store_exchanges_total", &[("result", "read_only")]).await > 0.0);
}

#[tokio::test]
async fn a_store_that_fails_over_to_its_replica() {
    let (primary, replica) = (Redis::start().await, Redis::start().await);
    let port = primary.address.port().to_string();
    replica.cli(&["REPLICAOF", "127.0.0.1", &port]).await;
    // As a managed store's name that stands for another node then: a link between.
    let (_origin, gateway) = started(&primary.section(SLOW)).await;
    comes_up(&gateway).await;
    assert_eq!(ask_at(&gateway, "k", 100, Duration::from_secs(1)).await.refused, 0);

    primary.kill().await;
    goes_down(&gateway).await;
    replica.cli(&["REPLICAOF", "NO", "ONE"]).await;
    gateway.write_config(&format!(
        "{}\nlimits: [{{ name: shared, key: [{{ header: x-key }}], global: true, scope: fleet, {LIMIT} }}]",
        replica.section(SLOW)
    ));
    assert_eq!(gateway.reload().await.code, Some(0));
    comes_up(&gateway).await;

    let seen = ask_at(&gateway, "k", 100, Duration::from_secs(1)).await;
    assert!(seen.refused == 0 && seen.slowest < AT_ONCE, "{seen:?}");
    assert!(!gateway.stderr().contains("counts from zero"), "{}", gateway.stderr());
    assert!(!gateway.stderr().contains("begin afresh"), "{}", gateway.stderr());
}

#[tokio::test]
async fn scripts_that_are_forgotten_under_load() {
    let redis = Redis::start().await;
    let (_origin, gateway) = started(&redis.section(SLOW)).await;
    comes_up(&gateway).await;
    let flush = async {
        for _ in 0..10 {
            redis.cli(&["SCRIPT", "FLUSH"]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };

    let (seen, ()) = tokio::join!(ask_at(&gateway, "k", 100, Duration::from_secs(2)), flush);

    assert!(seen.refused == 0 && seen.slowest < AT_ONCE, "{seen:?}");
    let metrics = gateway.metrics().await;
    let all = metrics.metric("tollgate_limit_store_exchanges_total", &[]);
    assert_eq!(metrics.metric("tollgate_limit_store_exchanges_total", &[("result", "ok")]), all);
    assert!(is_up(&gateway).await);
}

#[tokio::test]
async fn a_store_that_was_never_there_holds_up_nothing() {
    let nobody = Port::reserve();
    let fleet = format!("fleet: {{ gateways: 2, store: {{ addresses: [\"{}\"] }} }}", nobody.address);
    let began = Instant::now();
    let (_origin, gateway) = started(&fleet).await;

    let seen = ask_at(&gateway, "k", 50, Duration::from_secs(1)).await;

    assert!(seen.refused == 0 && seen.slowest < AT_ONCE, "{seen:?}");
    assert!(began.elapsed() < PATIENCE);
    eventually(PATIENCE, || async { gateway.stderr().contains("does not answer") }).await;
    let status = gateway.ask(&["status"]).await.stdout;
    let line = format!("store  {}  down ", nobody.address);
    assert!(status.contains("fleet  2 gateways\n") && status.contains(&line), "{status}");
    assert!(status.contains("last error unreachable\n"), "{status}");
}

#[tokio::test]
async fn a_password_is_told_to_nobody_right_or_wrong() {
    let redis = Redis::with_password("canary-right").await;
    let (_origin, gateway) = started(&redis.section("password: canary-wrong")).await;
    let refused = [("result", "unauthorized")];
    let is_refused = async || gateway.metric("tollgate_limit_store_exchanges_total", &refused).await > 1.0;
    eventually(PATIENCE, is_refused).await;
    let mut told = Vec::new();
    let look = async |told: &mut Vec<String>| {
        for words in [
            &["status"][..],
            &["status", "--json"],
            &["status", "--config"],
            &["limits"],
            &["limits", "--json"],
        ] {
            told.push(gateway.ask(words).await.stdout);
        }
        told.push(gateway.stderr());
    };
    look(&mut told).await;

    gateway.write_config(&format!(
        "{}\nlimits: [{{ name: shared, global: true, scope: fleet, rate: 1000/s }}]",
        redis.section("password: canary-right")
    ));
    told.push(format!("{:?}", gateway.reload().await));
    comes_up(&gateway).await;
    look(&mut told).await;
    gateway.write_config(&format!("{}\nlimits: 1", redis.section("password: canary-right, timeout: never")));
    told.push(format!("{:?}", gateway.reload().await));

    assert_eq!(gateway.get("/").await.status, 200);
    let leaks: Vec<_> = told.iter().filter(|text| text.contains("canary")).collect();
    assert!(leaks.is_empty(), "{leaks:?}");
}

#[tokio::test]
async fn with_tls_the_right_authority_is_needed() {
    let authority = certs::authority();
    let pem = authority.pem().unwrap();
    let redis = Redis::with_tls(&certs::server(&authority, &["redis.internal"]), &pem).await;
    let fleet = redis.section("timeout: 5s, tls: { ca: ca.pem, server_name: redis.internal }");
    let yaml = format!("{fleet}\nlimits: [{{ name: shared, global: true, scope: fleet, {LIMIT} }}]");
    let origin = Origin::start().await;
    let wrong = certs::authority().pem().unwrap();
    let gateway =
        Gateway::builder().origin("origin", &origin).yaml(&yaml).file("ca.pem", &wrong).start().await;
    let refused =
        async || gateway.metric("tollgate_limit_store_exchanges_total", &[("result", "tls")]).await > 1.0;
    eventually(PATIENCE, refused).await;
    assert_eq!(gateway.get("/").await.status, 200);

    // The file alone changes.
    gateway.files.write("ca.pem", &pem);
    assert_eq!(gateway.reload().await.code, Some(0));
    comes_up(&gateway).await;
    assert_eq!(gateway.get("/").await.status, 200);

    gateway.files.write("ca.pem", "nothing");
    let told = gateway.reload().await;
    assert!(told.code == Some(78) && told.stderr.contains("fleet.store.tls.ca: "), "{told:?}");
    assert!(is_up(&gateway).await);
}
