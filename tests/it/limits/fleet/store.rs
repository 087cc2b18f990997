//! The store itself, as a gateway's thread follows it: every way in, and every way in
//! which it is none.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use boring::x509::X509;
use tollgate::{
    config::fleet::StoreSpec,
    limit::{
        Ask, Clock, FleetLive, Freshness, KeyHash, Lease, Terms, decide,
        store::{Store, StoreSettings, StoreView},
    },
    telemetry::{
        Metrics,
        metrics::{ExchangeResult, StoreSeries},
    },
};

use crate::support::{
    PATIENCE, certs, eventually,
    redis::{Redis, RedisCluster},
};

/// A gateway's end of the store, without the gateway.
struct Follower {
    fleet: Arc<FleetLive>,
    clock: Clock,
    store: Store,
    series: Arc<StoreSeries>,
}

impl Follower {
    fn of(spec: &str, authority: Option<&str>) -> Self {
        let fleet = Arc::<FleetLive>::default();
        let metrics = Metrics::new().unwrap();
        let clock = Clock::new(Instant::now());
        let store = Store::start(fleet.clone(), clock, &metrics).unwrap();
        let follower = Self { fleet, clock, store, series: metrics.store() };
        follower.follow(spec, authority);
        follower
    }

    fn follow(&self, spec: &str, authority: Option<&str>) -> Arc<Lease> {
        let spec: StoreSpec = serde_yaml::from_str(spec).unwrap();
        let authorities = authority.map(|pem| X509::stack_from_pem(pem.as_bytes()).unwrap());
        let settings = StoreSettings::new(&spec, authorities.as_deref()).unwrap();
        let terms = Terms::new(100, Duration::from_secs(1), 20);
        let lease = Arc::new(Lease::new("a".into(), terms, 1 << 20, self.fleet.clone()));
        self.store.follow(Some(Arc::new(settings)), vec![lease.clone()]);
        lease
    }

    fn view(&self) -> StoreView {
        self.store.view().unwrap()
    }

    async fn is_up(&self) {
        eventually(PATIENCE, || async { self.fleet.freshness() == Freshness::Fresh }).await;
        let view = self.view();
        assert_eq!((view.up, view.error), (Some(true), None));
    }

    /// Says why.
    async fn is_down(&self) -> &'static str {
        let seen = std::cell::Cell::new(None);
        let is_down = async || {
            // One look: it may be back at the next.
            let view = self.store.view().filter(|view| view.up == Some(false));
            seen.set(view.and_then(|view| view.error));
            seen.get().is_some()
        };
        eventually(PATIENCE, is_down).await;
        seen.get().unwrap().word()
    }
}

fn spec(redis: &Redis, more: &str) -> String {
    format!("{{ addresses: [\"{}\"], timeout: 2s, exchange_every: 20ms{more} }}", redis.address)
}

fn key(follower: &Follower, number: u64) -> KeyHash {
    let mut hasher = follower.fleet.seeds().hasher();
    hasher.number(number);
    hasher.finish()
}

#[tokio::test]
async fn gateways_see_each_other_and_hash_alike_and_who_is_gone_is_forgotten() {
    let redis = Redis::start().await;
    let first = Follower::of(&spec(&redis, ""), None);
    first.is_up().await;
    let second = Follower::of(&spec(&redis, ""), None);
    second.is_up().await;

    eventually(PATIENCE, || async { first.fleet.gateways() == Some(2) }).await;
    assert!(first.fleet.seeds() == second.fleet.seeds());
    let other = Follower::of(&spec(&redis, ", prefix: other"), None);
    other.is_up().await;
    assert_eq!(other.fleet.gateways(), Some(1));
    assert!(other.fleet.seeds() != first.fleet.seeds());

    drop(second);
    eventually(Duration::from_secs(30), || async { first.fleet.gateways() == Some(1) }).await;
}

#[tokio::test]
async fn seeds_that_the_store_lost_are_those_that_the_fleet_has() {
    let redis = Redis::start().await;
    let follower = Follower::of(&spec(&redis, ""), None);
    follower.is_up().await;
    let seeds = follower.fleet.seeds();

    redis.cli(&["FLUSHALL"]).await;

    let is_back = async || redis.cli(&["GET", "tollgate:seeds"]).await == seeds.to_string();
    eventually(PATIENCE, is_back).await;
    assert!(follower.fleet.seeds() == seeds);
}

#[tokio::test]
async fn a_store_that_goes_and_comes_back_is_told() {
    let redis = Redis::start().await;
    let follower = Follower::of(&spec(&redis, ""), None);
    follower.is_up().await;

    redis.kill().await;
    let why = follower.is_down().await;
    assert!(["closed", "unreachable"].contains(&why), "{why}");

    let began = Instant::now();
    redis.restart().await;
    follower.is_up().await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_store_that_hangs_is_none() {
    let redis = Redis::start().await;
    let follower = Follower::of(&spec(&redis, "").replace("2s", "300ms"), None);
    follower.is_up().await;

    redis.signal(libc::SIGSTOP);
    assert_eq!(follower.is_down().await, "timeout");

    // Another store is not down before it was asked, and is when it was.
    assert!(follower.fleet.was_asked());
    follower.follow(&spec(&redis, ", prefix: other"), None);
    eventually(PATIENCE, || async { !follower.fleet.was_asked() }).await;
    eventually(PATIENCE, || async { follower.fleet.was_asked() }).await;
    assert_eq!(follower.fleet.freshness(), Freshness::Stale);

    redis.signal(libc::SIGCONT);
    follower.is_up().await;
}

#[tokio::test]
async fn a_store_that_is_full_is_none_and_one_that_has_room_again_is() {
    let redis = Redis::start().await;
    let follower = Follower::of(&spec(&redis, ""), None);
    follower.is_up().await;

    redis.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1"]).await;
    assert_eq!(follower.is_down().await, "full");

    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]).await;
    follower.is_up().await;
}

#[tokio::test]
async fn a_replica_is_none_until_it_is_promoted() {
    let (primary, replica) = (Redis::start().await, Redis::start().await);
    let follower = Follower::of(&spec(&replica, ""), None);
    follower.is_up().await;

    let port = primary.address.port().to_string();
    replica.cli(&["REPLICAOF", "127.0.0.1", &port]).await;
    assert_eq!(follower.is_down().await, "read_only");

    replica.cli(&["REPLICAOF", "NO", "ONE"]).await;
    follower.is_up().await;
}

#[tokio::test]
async fn a_password_is_needed_and_a_reload_brings_the_right_one() {
    let redis = Redis::with_password("hunter2-canary").await;
    let follower = Follower::of(&spec(&redis, ""), None);
    assert_eq!(follower.is_down().await, "unauthorized");
    follower.follow(&spec(&redis, ", password: wrong"), None);
    eventually(PATIENCE, || async { follower.view().up == Some(false) }).await;
    assert_eq!(follower.is_down().await, "unauthorized");

    follower.follow(&spec(&redis, ", password: hunter2-canary"), None);

    follower.is_up().await;
}

#[tokio::test]
async fn a_user_has_to_be_allowed_what_is_asked() {
    let redis = Redis::start().await;
    redis
        .cli(&[
            "ACL",
            "SETUSER",
            "gw",
            "on",
            ">pw",
            "~tollgate:*",
            "~{tollgate:*",
            "+@all",
            "-eval",
            "-evalsha",
        ])
        .await;
    let follower = Follower::of(&spec(&redis, ", username: gw, password: pw"), None);
    assert_eq!(follower.is_down().await, "unauthorized");

    // As the README says.
    redis.cli(&["ACL", "SETUSER", "gw", "-@all", "+eval", "+evalsha", "+get", "+set", "+time"]).await;
    redis.cli(&["ACL", "SETUSER", "gw", "+zadd", "+zcard", "+zremrangebyscore", "+pexpire"]).await;

    follower.is_up().await;
}

#[tokio::test]
async fn a_store_that_lets_in_and_reckons_nothing_is_none() {
    let redis = Redis::start().await;
    redis.cli(&["ACL", "SETUSER", "gw", "on", ">pw", "+@all", "~tollgate:*", "~{tollgate:*}:probe"]).await;
    let spec = spec(&redis, ", username: gw, password: pw");
    let follower = Follower::of(&spec, None);
    let lease = follower.follow(&spec, None);
    follower.is_up().await;

    let goes_down = async || {
        lease.spend(key(&follower, 1), 1, follower.clock.at(Instant::now()));
        follower.view().up == Some(false)
    };
    eventually(PATIENCE, goes_down).await;
    assert!(lease.untold() >= 1, "{}", lease.untold());

    // It lets in again each time, and is none until it reckons.
    let since = follower.view().since;
    let failed = follower.series.count(ExchangeResult::Unauthorized);
    let fails_on = async || follower.series.count(ExchangeResult::Unauthorized) >= failed + 3;
    eventually(PATIENCE, fails_on).await;
    let view = follower.view();
    let error = view.error.map(|error| error.word());
    assert_eq!((view.up, view.since, error), (Some(false), since, Some("unauthorized")));

    redis.cli(&["ACL", "SETUSER", "gw", "~{tollgate:*"]).await;
    follower.is_up().await;
}

#[tokio::test]
async fn what_somebody_else_wrote_harms_no_key() {
    let redis = Redis::start().await;
    let follower = Follower::of(&spec(&redis, ""), None);
    let lease = follower.follow(&spec(&redis, ""), None);
    follower.is_up().await;
    let cells = async || redis.cli(&["KEYS", "{tollgate:a:*}:????????????????"]).await;
    lease.spend(key(&follower, 1), 1, follower.clock.at(Instant::now()));
    eventually(PATIENCE, || async { !cells().await.is_empty() }).await;
    let cell = cells().await;

    for written in ["1 99999999999999999999", &"9 ".repeat(9), &format!("{0} {0}", "9".repeat(400))] {
        redis.cli(&["SET", &cell, written]).await;
        lease.spend(key(&follower, 1), 1, follower.clock.at(Instant::now()));
        eventually(PATIENCE, || async { redis.cli(&["GET", &cell]).await != written }).await;
        eventually(PATIENCE, || async { lease.keys() == 0 }).await;
    }

    assert_eq!(follower.series.count(ExchangeResult::Broken), 0);
    assert_eq!((follower.view().up, lease.untold()), (Some(true), 0));
}

#[tokio::test]
async fn seeds_that_are_none_are_named_as_what_is_wrong() {
    let redis = Redis::start().await;
    redis.cli(&["SET", "tollgate:seeds", "nonsense"]).await;
    let follower = Follower::of(&spec(&redis, ""), None);
    assert_eq!(follower.is_down().await, "seeds");

    redis.cli(&["DEL", "tollgate:seeds"]).await;

    follower.is_up().await;
}

#[tokio::test]
async fn scripts_that_the_store_forgot_are_told_again() {
    let redis = Redis::start().await;
    let follower = Follower::of(&spec(&redis, ""), None);
    follower.is_up().await;
    let calls = async || {
        redis
            .cli(&[
                "ZSCORE",
                "tollgate:gateways",
                &redis.cli(&["ZRANGE", "tollgate:gateways", "0", "0"]).await,
            ])
            .await
    };
    let before = calls().await;

    redis.cli(&["SCRIPT", "FLUSH"]).await;

    eventually(PATIENCE, || async { calls().await != before }).await;
    assert_eq!(follower.view().up, Some(true));
}

#[tokio::test]
async fn a_certificate_has_to_come_from_the_right_authority_and_be_for_the_right_name() {
    let authority = certs::authority();
    let pem = authority.pem().unwrap();
    let redis = Redis::with_tls(&certs::server(&authority, &["redis.internal"]), &pem).await;
    let follower = Follower::of(&spec(&redis, ", tls: { server_name: redis.internal }"), Some(&pem));
    follower.is_up().await;

    let other = certs::authority().pem().unwrap();
    let wrong = Follower::of(&spec(&redis, ", tls: { server_name: redis.internal }"), Some(&other));
    assert_eq!(wrong.is_down().await, "tls");
    let named = Follower::of(&spec(&redis, ", tls: { server_name: other.internal }"), Some(&pem));
    assert_eq!(named.is_down().await, "tls");
    let unnamed = Follower::of(&spec(&redis, ", tls: {}"), Some(&pem));
    assert_eq!(unnamed.is_down().await, "tls");
    let system = Follower::of(&spec(&redis, ", tls: { server_name: redis.internal }"), None);
    assert_eq!(system.is_down().await, "tls");
    let plain = Follower::of(&spec(&redis, ""), None);
    assert!(["closed", "broken"].contains(&plain.is_down().await), "{:?}", plain.view());
}

#[tokio::test]
async fn a_cluster_is_found_by_one_of_its_nodes() {
    let cluster = RedisCluster::start().await;
    let follower = Follower::of(&spec(&cluster.nodes[0], ", cluster: true"), None);
    follower.is_up().await;

    // Probes lie in every bucket of the limit, for some seconds.
    let mut keys = Vec::new();
    for node in &cluster.nodes {
        keys.push(node.cli(&["DBSIZE"]).await.parse::<u32>().unwrap());
    }
    assert!(keys.iter().all(|count| *count > 0) && keys.iter().sum::<u32>() >= 16, "{keys:?}");
    cluster.nodes[2].signal(libc::SIGSTOP);
    follower.is_down().await;
    cluster.nodes[2].signal(libc::SIGCONT);
    follower.is_up().await;
}

#[tokio::test]
async fn nobody_at_the_address_is_told() {
    let nobody = crate::support::port::Port::reserve();
    let spec = format!("{{ addresses: [\"{}\"] }}", nobody.address);
    let follower = Follower::of(&spec, None);
    assert_eq!(follower.is_down().await, "unreachable");
    follower.follow(&spec.replace("}", ", cluster: true }"), None);
    eventually(PATIENCE, || async { follower.view().up == Some(false) }).await;
    assert_eq!(follower.is_down().await, "unreachable");
    follower.follow("{ addresses: [\"no-such-host.invalid:6379\"], timeout: 5s }", None);
    eventually(PATIENCE, || async { follower.view().up == Some(false) }).await;
    assert_eq!(follower.is_down().await, "unreachable");
}

#[tokio::test]
async fn a_hundred_thousand_keys_in_a_moment_are_told_as_far_as_there_is_room() {
    let redis = Redis::start().await;
    let follower = Follower::of(&spec(&redis, ""), None);
    let lease = follower.follow(&spec(&redis, ""), None);
    follower.is_up().await;

    let began = Instant::now();
    for number in 0..100_000 {
        let (key, now) = (key(&follower, number), follower.clock.at(Instant::now()));
        let ask = Ask { limit: lease.cells(), terms: lease.terms(), key, cost: 1 };
        assert!(decide(&[ask], now).unwrap().is_admitted());
        lease.spend(key, 1, now);
    }
    let took = began.elapsed();
    let keys = lease.keys();

    // A request notes it in microseconds, whatever the store does.
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(keys <= (1 << 20) / 100, "{keys} keys");
    assert!(lease.untold() > 0);
    eventually(PATIENCE, || async { lease.keys() == 0 }).await;
    assert_eq!(follower.view().up, Some(true));
    let told = redis.cli(&["DBSIZE"]).await.parse::<u64>().unwrap();
    assert!(told > 1_000, "{told} told");
}
