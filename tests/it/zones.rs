//! Zones that come and go: where requests go, and that nobody notices.

use std::{
    collections::BTreeMap,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use crate::support::{
    Gateway, Origin, PATIENCE, Request, eventually,
    load::{Asks, Load},
};

#[tokio::test]
async fn the_own_zone_is_preferred_and_a_zone_that_is_killed_costs_no_request() {
    let fleet = Fleet::start([2, 2, 2]).await;
    let gateway = fleet.gateway("z1", "outlier_detection: {}").await;
    assert_eq!(split(&gateway, 60).await, BTreeMap::from([("z1".to_owned(), 60)]));
    let load = Load::new();
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let asks = Asks::of(gateway.plain, Request::get("/")).pause(Duration::from_millis(2));
        clients.spawn(load.clone().http1(asks));
    }

    fleet.kill(0).await;
    eventually(PATIENCE, || async { share(&gateway, "z1").await == 0.0 }).await;
    let answered = load.answered.load(Ordering::Relaxed);
    eventually(PATIENCE, || async { load.answered.load(Ordering::Relaxed) > answered + 200 }).await;
    load.end();
    clients.join_all().await;

    assert_eq!(load.lost(), [""; 0]);
    let split = split(&gateway, 60).await;
    assert!(!split.contains_key("z1") && split.len() == 2, "{split:?}");
    assert_eq!(gateway.metric("tollgate_upstream_ejections_total", &[]).await, 2.0);
    assert_eq!(gateway.metric("tollgate_upstream_spill_ratio", &[]).await, 1.0);
    let ejected = [("zone", "z1"), ("state", "ejected")];
    assert_eq!(gateway.metric("tollgate_zone_endpoints", &ejected).await, 2.0);
    assert!(gateway.metric("tollgate_zone_attempts_total", &[("zone", "z2"), ("result", "ok")]).await > 0.0);
    assert_eq!(gateway.stderr().matches("endpoint ejected: ").count(), 2, "{}", gateway.stderr());
    assert_eq!(fleet.never.requests().await, 0);
}

#[tokio::test]
async fn a_zone_that_comes_back_is_taken_back_in_steps_and_costs_no_request() {
    let fleet = Fleet::start([2, 2, 0]).await;
    let gateway = fleet.gateway("z1", QUICK).await;
    let load = Load::new();
    let mut clients = JoinSet::new();
    for _ in 0..3 {
        let asks = Asks::of(gateway.plain, Request::get("/")).pause(Duration::from_millis(2));
        clients.spawn(load.clone().http1(asks));
    }
    for origin in &fleet.zones[0] {
        origin.set_script("reset_before_header").await;
    }
    eventually(PATIENCE, || async { share(&gateway, "z1").await == 0.0 }).await;

    for origin in &fleet.zones[0] {
        origin.set_script("").await;
    }
    eventually(PATIENCE, || async { (0.01..0.99).contains(&share(&gateway, "z1").await) }).await;
    eventually(PATIENCE, || async { share(&gateway, "z1").await == 1.0 }).await;
    load.end();
    clients.join_all().await;

    assert_eq!(load.lost(), [""; 0]);
    assert_eq!(split(&gateway, 40).await, BTreeMap::from([("z1".to_owned(), 40)]));
    assert!(gateway.stderr().contains("endpoint is tried again: "), "{}", gateway.stderr());
    assert_eq!(fleet.never.requests().await, 0);
}

#[tokio::test]
async fn half_of_the_own_zone_dead_spills_what_is_too_much_for_the_other_half() {
    let fleet = Fleet::start([4, 2, 2]).await;
    let gateway = fleet.gateway("z1", SENSITIVE).await;
    fleet.zones[0][0].stop().await;
    fleet.zones[0][1].stop().await;
    eventually(PATIENCE, || async {
        gateway.get("/").await;
        gateway.metric("tollgate_upstream_ejections_total", &[]).await == 2.0
    })
    .await;

    let split = split(&gateway, 2_400).await;

    let own = f64::from(split["z1"]) / 2_400.0;
    assert!((own - 0.5 / 0.72).abs() < 0.03, "{split:?}");
    assert!((share(&gateway, "z1").await - own).abs() < 0.03, "{split:?}");
    assert!(split["z2"].abs_diff(split["z3"]) < 120, "{split:?}");
    assert_eq!(fleet.never.requests().await, 0);
}

#[tokio::test]
async fn what_leaves_the_own_zone_is_counted_and_whether_it_had_to() {
    let fleet = Fleet::start([4, 2, 0]).await;
    let gateway = fleet.gateway("z1", SENSITIVE).await;
    let count = async |own_zone: &str, more: &[(&str, &str)]| {
        let labels = [&[("upstream", "shop"), ("own_zone", own_zone)], more].concat();
        let name = if more.is_empty() { "requests" } else { "bytes" };
        gateway.metric(&format!("tollgate_upstream_cross_zone_{name}_total"), &labels).await
    };
    let (sent, received) = ([("direction", "sent")], [("direction", "received")]);
    let posted = async |requests: u32| {
        let (mut client, mut left) = (gateway.connect().await, (0.0, 0.0));
        for _ in 0..requests {
            let answer = client.send(&Request::post("/", "a body of 20 bytes.\n")).await;
            assert_eq!(answer.status, 200);
            if answer.echo().origin().starts_with("z2") {
                left = (left.0 + 1.0, left.1 + answer.body.len() as f64);
            }
        }
        left
    };
    assert_eq!(
        (posted(20).await.0, count("in_service", &[]).await, count("none", &[]).await),
        (0.0, 0.0, 0.0)
    );

    // Two of four are gone: some of the share spills.
    fleet.zones[0][0].stop().await;
    fleet.zones[0][1].stop().await;
    eventually(PATIENCE, || async {
        gateway.get("/").await;
        gateway.metric("tollgate_upstream_ejections_total", &[]).await == 2.0
    })
    .await;
    let before = (count("in_service", &[]).await, count("in_service", &received).await);
    let (left, bytes) = posted(200).await;
    assert!((1.0..200.0).contains(&left), "{left}");
    assert_eq!(count("in_service", &[]).await - before.0, left);
    assert_eq!(count("in_service", &sent).await, left * 20.0);
    assert_eq!(count("in_service", &received).await - before.1, bytes);
    assert_eq!(count("none", &[]).await, 0.0);

    fleet.kill(0).await;
    eventually(PATIENCE, || async {
        gateway.get("/").await;
        gateway.metric("tollgate_upstream_ejections_total", &[]).await >= 3.0
            && share(&gateway, "z1").await == 0.0
    })
    .await;
    let (left, before) = (posted(30).await.0, count("in_service", &[]).await);
    assert!(left == 30.0 && count("none", &sent).await == 600.0, "{left}");
    assert_eq!(count("in_service", &[]).await, before);
}

#[tokio::test]
async fn a_zone_that_resets_is_routed_around_at_once() {
    let fleet = Fleet::start([2, 2, 0]).await;
    let gateway = fleet.gateway("z1", SENSITIVE).await;
    let mut client = gateway.connect().await;
    for _ in 0..20 {
        assert_eq!(client.send(&Request::get("/")).await.status, 200);
    }
    for origin in &fleet.zones[0] {
        origin.set_script("reset_before_header").await;
    }

    let begun = Instant::now();
    while share(&gateway, "z1").await > 0.0 {
        assert_eq!(client.send(&Request::get("/")).await.status, 200);
        assert!(begun.elapsed() < PATIENCE);
    }

    let (before, mut sent) = (fleet.requests(0).await, 0);
    for _ in 0..50 {
        sent += u32::from(client.send(&Request::get("/")).await.status == 200);
    }
    assert_eq!((sent, fleet.requests(0).await), (50, before));
}

#[tokio::test]
async fn a_zone_that_takes_no_connections_is_routed_around() {
    let mut fleet = Fleet::start([0, 2, 0]).await;
    fleet.zones[0] = vec![Origin::never_accepts(), Origin::never_accepts()];
    let gateway = fleet.gateway("z1", "outlier_detection: {}").await;
    let load = Load::new();
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let asks = Asks::of(gateway.plain, Request::get("/")).pause(Duration::from_millis(2));
        clients.spawn(load.clone().http1(asks));
    }

    eventually(PATIENCE, || async { share(&gateway, "z1").await == 0.0 }).await;
    load.end();
    clients.join_all().await;

    assert_eq!(load.lost(), [""; 0]);
    // The first round: the others wait for nothing any more.
    let attempts = gateway.metric("tollgate_zone_attempts_total", &[("zone", "z1")]).await;
    assert!((3.0..=24.0).contains(&attempts), "{attempts}");
}

#[tokio::test]
async fn everything_down_is_answered_at_once_and_never_by_weight_0() {
    let fleet = Fleet::start([2, 2, 0]).await;
    let gateway = fleet.gateway("z1", "outlier_detection: {}").await;
    fleet.kill(0).await;
    fleet.kill(1).await;
    down(&gateway).await;

    let (mut client, mut took) = (gateway.connect().await, Vec::new());
    for _ in 0..40 {
        let begun = Instant::now();
        let answer = client.send(&Request::get("/")).await;
        took.push(begun.elapsed());
        assert_eq!((answer.status, answer.flag().as_str()), (503, "no_endpoint"));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    took.sort_unstable();
    assert!(took[took.len() / 2] < Duration::from_millis(10), "{took:?}");
    assert_eq!(fleet.never.requests().await, 0);

    // Ejected or not: who can be reached serves.
    let address = fleet.zones[1][0].address;
    let _back = Origin::builder().name("z2.0").zone("z2").listen(address).start().await;
    eventually(PATIENCE, || async { gateway.get("/").await.status == 200 }).await;
    assert_eq!(split(&gateway, 20).await, BTreeMap::from([("z2".to_owned(), 20)]));
    assert!(gateway.stderr().contains("endpoint is reached again: "), "{}", gateway.stderr());
}

#[tokio::test]
async fn where_nothing_answers_at_all_requests_pile_up_nowhere() {
    let mut fleet = Fleet::start([0, 0, 0]).await;
    fleet.zones[0] = vec![Origin::never_accepts(), Origin::never_accepts()];
    let gateway = fleet.gateway("z1", "outlier_detection: {}").await;

    down(&gateway).await;

    let before = gateway.metric("tollgate_zone_attempts_total", &[]).await;
    for _ in 0..40 {
        assert_eq!(gateway.get("/").await.status, 503);
    }
    assert_eq!(gateway.metric("tollgate_zone_attempts_total", &[]).await, before);
}

#[tokio::test]
async fn probes_that_fail_where_traffic_does_not_cost_no_request() {
    let fleet = Fleet::start([2, 2, 0]).await;
    let probes = "health_check: { path: /__origin/health, interval: 500ms, unhealthy_interval: 500ms, timeout: 500ms, unhealthy_after: 1 }, outlier_detection: {}";
    let gateway = fleet.gateway("z1", probes).await;
    for origin in fleet.zones.iter().flatten() {
        origin.set_healthy(false).await;
    }
    let panics = async || gateway.metric("tollgate_upstream_panic", &[]).await == 1.0;
    eventually(PATIENCE, || async { panics().await }).await;

    let all = split(&gateway, 400).await;

    assert!(all.len() == 2 && panics().await, "{all:?}");
    // One that is gone as well takes nothing any more, and costs nothing.
    fleet.zones[0][0].stop().await;
    split(&gateway, 200).await;
    let refused = [("result", "connect_error")];
    assert_eq!(gateway.metric("tollgate_upstream_attempts_total", &refused).await, 3.0);
}

#[tokio::test]
async fn panic_fails_fast_where_it_is_told_to() {
    let fleet = Fleet::start([3, 0, 0]).await;
    let more = "locality: { panic_below: 90%, on_panic: fail }, outlier_detection: { consecutive_5xx: 1 }";
    let gateway = fleet.gateway("z1", more).await;
    assert_eq!(gateway.get("/").await.status, 200);

    gateway.send(&Request::get("/").script("status=500")).await;
    let begun = Instant::now();
    let answer = gateway.get("/").await;

    assert_eq!((answer.status, answer.flag().as_str()), (503, "no_endpoint"));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(gateway.metric("tollgate_upstream_panic", &[("upstream", "shop")]).await, 1.0);
    assert_eq!(gateway.stderr().matches("upstream panics: ").count(), 1, "{}", gateway.stderr());
    let shown = gateway.ask(&["status"]).await.stdout;
    assert!(shown.contains("PANIC") && shown.contains("own zone"), "{shown}");
}

#[tokio::test]
async fn a_retry_goes_to_another_zone_first() {
    let fleet = Fleet::start([3, 1, 0]).await;
    let gateway = fleet.gateway("z1", "retries: { attempts: 2, on: [503] }").await;
    for origin in &fleet.zones[0] {
        origin.set_script("status=503").await;
    }

    let split = split(&gateway, 30).await;

    assert_eq!(split, BTreeMap::from([("z2".to_owned(), 30)]));
    assert_eq!(fleet.requests(0).await, 30);
    assert_eq!(gateway.metric("tollgate_upstream_retries_total", &[("result", "sent")]).await, 30.0);
}

#[tokio::test]
async fn other_regions_serve_when_the_own_one_is_gone() {
    let (near, far) = (Origin::named("near").await, Origin::named("far").await);
    let gateway = Gateway::builder()
        .origin("near", &near)
        .origin("far", &far)
        .yaml(
            r#"
            location: { zone: z1, region: east }
            upstreams:
              - name: shop
                endpoints: [{ address: "{near}", zone: z2, region: east }, { address: "{far}", zone: z1, region: west }]
                outlier_detection: { consecutive_gateway_errors: 1 }
            routes: [{ name: all, to: [{ upstream: shop }] }]
            "#,
        )
        .start()
        .await;
    for _ in 0..10 {
        assert_eq!(gateway.get("/").await.echo().origin(), "near");
    }

    near.stop().await;

    for _ in 0..20 {
        assert_eq!(gateway.get("/").await.echo().origin(), "far");
    }
    assert_eq!(gateway.status().await["upstreams"][0]["tiers"][1]["tier"], "west");
}

#[tokio::test]
async fn a_hundred_reloads_keep_what_is_known_and_lose_nothing() {
    let fleet = Fleet::start([2, 2, 0]).await;
    let gateway = fleet.gateway("z1", SENSITIVE).await;
    fleet.kill(0).await;
    eventually(PATIENCE, || async {
        assert_eq!(gateway.get("/").await.status, 200);
        share(&gateway, "z1").await == 0.0
    })
    .await;
    let load = Load::new();
    let mut clients = JoinSet::new();
    for _ in 0..3 {
        let asks = Asks::of(gateway.plain, Request::get("/")).pause(Duration::from_millis(2));
        clients.spawn(load.clone().http1(asks));
    }

    for nth in 0..100 {
        gateway.write_config(
            &fleet.config("z1", &format!("{SENSITIVE}, max_in_flight: {{ upstream: {} }}", 1_000 + nth)),
        );
        assert_eq!(gateway.admin("POST", "/reload").await.status, 200);
    }
    load.end();
    clients.join_all().await;

    assert_eq!(load.lost(), [""; 0]);
    assert_eq!(share(&gateway, "z1").await, 0.0);
    assert_eq!(gateway.metric("tollgate_upstream_ejections_total", &[]).await, 2.0);
    assert_eq!(fleet.never.requests().await, 0);
}

#[tokio::test]
async fn beyond_what_may_be_in_flight_the_answer_is_503_at_once() {
    let fleet = Fleet::start([1, 0, 0]).await;
    let gateway = fleet.gateway("z1", "max_in_flight: { endpoint: 1 }").await;
    let mut slow = gateway.connect().await;
    slow.write(Request::get("/").script("delay=1s").to_http1()).await.unwrap();
    eventually(PATIENCE, || async { fleet.requests(0).await == 1 }).await;

    let answer = gateway.get("/").await;

    assert_eq!((answer.status, answer.flag().as_str()), (503, "overloaded"));
    assert_eq!(slow.read_response().await.unwrap().status, 200);
    eventually(PATIENCE, || async { gateway.get("/").await.status == 200 }).await;
}

#[tokio::test]
async fn the_same_key_stays_on_its_endpoint() {
    let fleet = Fleet::start([4, 0, 0]).await;
    let gateway = fleet.gateway("z1", "balance: { consistent_hash: { key: { header: x-user } } }").await;
    let mut homes = BTreeMap::new();

    for nth in 0..200 {
        let user = format!("user-{}", nth % 20);
        let connection =
            gateway.send(&Request::get("/").header("x-user", &user)).await.echo().origin().to_owned();
        let home = homes.entry(user).or_insert_with(|| connection.clone());
        assert_eq!(*home, connection);
    }

    let used: std::collections::BTreeSet<_> = homes.values().collect();
    assert!(used.len() > 1, "{homes:?}");
}

#[tokio::test]
async fn several_zones_that_nothing_watches_are_warned_of() {
    let text = |more: &str| {
        format!(
            "listeners: [{{ name: a, address: \"127.0.0.1:1\" }}]\nreadiness: {{ address: \"127.0.0.1:2\" }}\nupstreams: [{{ name: u, endpoints: [{{ address: \"10.0.0.1:1\", zone: z1 }}, {{ address: \"10.0.0.1:2\", zone: z2 }}]{more} }}]\n"
        )
    };

    let (without, with) =
        (Gateway::check(&text("")).await, Gateway::check(&text(", outlier_detection: {}")).await);

    assert!(
        without.code == Some(0) && without.stderr.contains("nothing tells whether its zones work"),
        "{without:?}"
    );
    assert_eq!((with.code, with.stderr.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn the_instance_says_which_zone_is_the_own_one() {
    let (here, there) = (Origin::named("here").await, Origin::named("there").await);
    let text = r#"
        location: { zone: imds }
        upstreams:
          - name: shop
            endpoints: [{ address: "{there}", zone: use1-az1 }, { address: "{here}", zone: use1-az4 }]
            outlier_detection: {}
        routes: [{ name: all, to: [{ upstream: shop }] }]
        "#;
    let builder = || Gateway::builder().origin("here", &here).origin("there", &there).yaml(text);
    let (endpoint, _service) = metadata_service().await;

    let gateway = builder().env(METADATA, &endpoint).start().await;
    for _ in 0..10 {
        assert_eq!(gateway.get("/").await.echo().origin(), "here");
    }
    assert_eq!(gateway.status().await["zone"], "use1-az4");

    // Absent, it keeps nobody from starting.
    let nobody = format!("http://{}", Origin::dead().address);
    let gateway = builder().env(METADATA, &nobody).start().await;
    assert_eq!(
        (gateway.get("/").await.status, &gateway.status().await["zone"]),
        (200, &serde_json::Value::Null)
    );
    assert!(gateway.stderr().contains("location unknown"), "{}", gateway.stderr());
}

/// The metadata service of an instance in `use1-az4`; it wants its token.
async fn metadata_service() -> (String, JoinSet<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let mut task = JoinSet::new();
    task.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..read]).to_lowercase();
            let knows = request.contains("x-aws-ec2-metadata-token: t0ken\r\n");
            let body = match request.split(' ').nth(1) {
                Some("/latest/api/token") if request.starts_with("put") => "t0ken",
                Some("/latest/meta-data/placement/availability-zone-id") if knows => "use1-az4",
                Some("/latest/meta-data/placement/region") if knows => "us-east-1",
                _ => "",
            };
            let status = if body.is_empty() { "401 Unauthorized" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (endpoint, task)
}

const METADATA: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";

/// Origins in up to three zones, and one of weight 0 in the gateway's own.
pub(crate) struct Fleet {
    pub(crate) zones: [Vec<Origin>; 3],
    pub(crate) never: Origin,
}

impl Fleet {
    pub(crate) async fn start(counts: [usize; 3]) -> Self {
        let mut zones: [Vec<Origin>; 3] = Default::default();
        for (nth, (zone, count)) in zones.iter_mut().zip(counts).enumerate() {
            for index in 0..count {
                let zone_name = format!("z{}", nth + 1);
                let origin = Origin::builder().name(&format!("{zone_name}.{index}")).zone(&zone_name);
                zone.push(origin.start().await);
            }
        }
        Self { zones, never: Origin::named("never").await }
    }

    pub(crate) async fn gateway(&self, zone: &str, more: &str) -> Gateway {
        let mut builder = Gateway::builder().origin("never", &self.never);
        for (zone, origins) in self.zones.iter().enumerate() {
            for (nth, origin) in origins.iter().enumerate() {
                builder = builder.origin(&format!("z{}_{nth}", zone + 1), origin);
            }
        }
        builder.yaml(&self.config(zone, more)).start().await
    }

    pub(crate) fn config(&self, zone: &str, more: &str) -> String {
        let mut endpoints = vec!["{ address: \"{never}\", zone: z1, weight: 0 }".to_owned()];
        for (zone, origins) in self.zones.iter().enumerate() {
            let name = |nth| format!("{{ address: \"{{z{0}_{nth}}}\", zone: z{0} }}", zone + 1);
            endpoints.extend((0..origins.len()).map(name));
        }
        format!(
            "location: {{ zone: {zone} }}\nupstreams: [{{ name: shop, endpoints: [{}], {more} }}]\nroutes: [{{ name: all, to: [{{ upstream: shop }}] }}]\n",
            endpoints.join(", ")
        )
    }

    pub(crate) async fn kill(&self, zone: usize) {
        for origin in &self.zones[zone] {
            origin.stop().await;
        }
    }

    pub(crate) async fn requests(&self, zone: usize) -> u64 {
        let mut sum = 0;
        for origin in &self.zones[zone] {
            sum += origin.requests().await;
        }
        sum
    }
}

/// Where so many requests went, by zone; all of them were answered.
pub(crate) async fn split(gateway: &Gateway, requests: u32) -> BTreeMap<String, u32> {
    let mut client = gateway.connect().await;
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        let answer = client.send(&Request::get("/")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let zone = answer.echo().origin().split('.').next().unwrap().to_owned();
        *counts.entry(zone).or_insert(0) += 1;
    }
    counts
}

/// Until the gateway says at once that nobody can be reached.
async fn down(gateway: &Gateway) {
    let line = async || {
        let answer = gateway.get("/").await;
        gateway.line_of(&answer).await["attempts"].clone()
    };
    eventually(PATIENCE, || async { line().await == 0 }).await;
}

/// The share of the traffic that a zone is to take now.
pub(crate) async fn share(gateway: &Gateway, zone: &str) -> f64 {
    gateway.metric("tollgate_zone_share_ratio", &[("zone", zone)]).await
}

/// Ejects at the third failure, for longer than a test takes.
const SENSITIVE: &str = "outlier_detection: { consecutive_gateway_errors: 3, base_ejection: 5m }, retries: { attempts: 3, budget: 100%, budget_floor: 1000 }";

/// Ejects for a moment, and takes back within two seconds.
const QUICK: &str = "outlier_detection: { consecutive_gateway_errors: 2, base_ejection: 500ms, max_ejection: 500ms }, locality: { hold_down: 200ms }, slow_start: 2s, retries: { attempts: 3, budget: 100%, budget_floor: 1000 }";
