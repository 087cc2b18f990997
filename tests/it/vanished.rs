//! Hosts that are gone while their connections are open: nobody says so, and
//! nobody acknowledges.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::task::JoinSet;

use crate::support::{
    Gateway, Origin, PATIENCE, Request, eventually,
    load::{Asks, Load},
    vanish::Vanishing,
};

#[tokio::test]
async fn a_zone_that_vanishes_is_routed_around_and_costs_no_idempotent_request() {
    for (gone, protocol) in [(Vanishing::http1().await, "http1"), (Vanishing::http2().await, "http2")] {
        let other = Origin::start().await;
        let gateway = in_zones(&gone, &other, &format!("protocol: {protocol}, {PATIENT}")).await;
        let load = Load::new();
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let asks = Asks::of(gateway.plain, Request::get("/")).pause(Duration::from_millis(2));
            clients.spawn(load.clone().http1(asks));
        }
        eventually(PATIENCE, || async { gone.requests() > 50 }).await;
        assert_eq!(other.requests().await, 0);

        gone.vanish();
        let share = async || gateway.metric("tollgate_zone_share_ratio", &[("zone", "z1")]).await;
        eventually(PATIENCE, || async { share().await == 0.0 }).await;
        let answered = load.answered.load(Ordering::Relaxed);
        eventually(PATIENCE, || async { load.answered.load(Ordering::Relaxed) > answered + 50 }).await;
        load.end();
        clients.join_all().await;

        assert_eq!(load.lost(), [""; 0], "{protocol}");
        let timed_out = [("zone", "z1"), ("result", "timeout")];
        assert!(gateway.metric("tollgate_zone_attempts_total", &timed_out).await > 0.0, "{protocol}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_before_is_noticed_too() {
    let (gone, other) = (Vanishing::silent().await, Origin::start().await);
    let gateway = in_zones(&gone, &other, PATIENT).await;
    let mut client = gateway.connect().await;
    client.write(Request::get("/").to_http1()).await.unwrap();
    eventually(PATIENCE, || async { gone.requests() == 1 }).await;

    gone.vanish();

    assert_eq!(client.read_response().await.unwrap().status, 200);
}

#[tokio::test]
async fn who_may_not_be_sent_twice_is_told_that_it_took_too_long() {
    let (gone, other) = (Vanishing::http1().await, Origin::start().await);
    let gateway = in_zones(&gone, &other, PATIENT).await;
    let mut client = gateway.connect().await;
    assert_eq!(client.send(&Request::post("/", "")).await.status, 200);

    gone.vanish();

    let answer = client.send(&Request::post("/", "")).await;
    assert_eq!((answer.status, answer.flag().as_str()), (504, "upstream_timeout"));
    assert_eq!(other.requests().await, 0);
}

#[tokio::test]
async fn a_slow_service_is_no_host_that_is_gone() {
    let more = "timeouts: { unacknowledged: 250ms }, retries: { attempts: 1 }";
    let (origin, late) = (Origin::start().await, Vanishing::late(Duration::from_secs(2)).await);
    let upstream = |name: &str, address| {
        format!("{{ name: {name}, endpoints: [{{ address: \"{address}\" }}], {more} }}")
    };
    let upstreams = [upstream("origin", origin.address), upstream("late", late.address)].join(", ");
    let routes = "[{ name: late, match: { path: /late }, to: [{ upstream: late }] }, { name: all, to: [{ upstream: origin }] }]";
    let gateway =
        Gateway::builder().yaml(&format!("upstreams: [{upstreams}]\nroutes: {routes}")).start().await;

    // Longer than the host is asked, and longer than what was sent goes unread.
    let slow = gateway.send(&Request::get("/").script("delay=3s")).await;
    let unread = gateway.send(&Request::post("/late", "x".repeat(8 << 20))).await;

    assert_eq!((slow.status, unread.status), (200, 200));
}

/// In front of one in the own zone, and of another.
async fn in_zones(gone: &Vanishing, other: &Origin, more: &str) -> Gateway {
    let upstream = format!(
        "{{ name: shop, endpoints: [{{ address: \"{}\", zone: z1 }}, {{ address: \"{{other}}\", zone: z2 }}], {more} }}",
        gone.address
    );
    Gateway::builder()
        .origin("other", other)
        .yaml(&format!(
            "location: {{ zone: z1 }}\nupstreams: [{upstream}]\nroutes: [{{ name: all, to: [{{ upstream: shop }}] }}]"
        ))
        .start()
        .await
}

/// With silence alone nothing would be noticed within a test.
const PATIENT: &str = "timeouts: { read: 5m }, outlier_detection: {}";
