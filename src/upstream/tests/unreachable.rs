//! Who cannot be reached, where that keeps requests away, and how it ends.

use super::*;

const LOST: Outcome = Outcome::Unreached;

fn lose(upstream: &Upstream, indexes: std::ops::Range<usize>, times: usize, now: Instant) -> Vec<Trial> {
    indexes.flat_map(|index| (0..times).filter_map(move |_| upstream.observe(index, LOST, now))).collect()
}

fn detecting(count: usize, outliers: Value) -> Upstream {
    zones([count, 0, 0], json!({ "outlier_detection": outliers }))
}

#[test]
fn when_nobody_can_be_reached_nobody_is_picked_until_someone_can() {
    let (upstream, now) = (detecting(6, json!({})), Instant::now());

    let trials = lose(&upstream, 0..6, 3, now);

    assert_eq!(upstream.pick(&Tried::default(), 7, now).err(), Some(Unavailable::NoEndpoint));
    assert!(trials.len() == 6 && upstream.is_down(now));
    upstream.observe(2, Outcome::Good, now);
    assert!(picks(&upstream, &Tried::default(), now).iter().all(|index| *index == 2));
}

#[test]
fn the_last_endpoint_fails_fast_and_is_one_again_after_any_answer() {
    let (upstream, now) = (detecting(1, json!({})), Instant::now());
    lose(&upstream, 0..1, 2, now);
    assert!(upstream.pick(&Tried::default(), 7, now).is_ok());

    lose(&upstream, 0..1, 1, now);

    assert_eq!(upstream.pick(&Tried::default(), 7, now).err(), Some(Unavailable::NoEndpoint));
    upstream.observe(0, Outcome::ServerError, now);
    assert!(upstream.pick(&Tried::default(), 7, now).is_ok());
}

#[test]
fn probes_that_fail_keep_nobody_away_whom_traffic_reaches() {
    let (mut upstream, now) = (zones([4, 0, 0], json!({})), Instant::now());
    upstream.probed = true;
    down(&upstream, 0..4);
    assert_eq!(picks(&upstream, &Tried::default(), now).len(), 100_000);

    lose(&upstream, 0..1, 3, now);

    let all = picks(&upstream, &Tried::default(), now);
    assert!(all.len() == 100_000 && all.iter().all(|index| *index != 0));
    assert!((share(&all, 1..2) - 1.0 / 3.0).abs() < 0.01);
}

#[test]
fn where_nothing_watches_each_request_tries_anew() {
    let (upstream, now) = (zones([2, 0, 0], json!({})), Instant::now());

    let trials = lose(&upstream, 0..2, 9, now);

    assert!(trials.is_empty() && upstream.pick(&Tried::default(), 7, now).is_ok());
}

#[test]
fn while_outlier_detection_decides_it_decides_alone() {
    let (upstream, now) = (detecting(4, json!({ "consecutive_gateway_errors": 10 })), Instant::now());

    lose(&upstream, 0..1, 4, now);

    assert!((share(&picks(&upstream, &Tried::default(), now), 0..1) - 0.25).abs() < 0.01);
}

#[tokio::test]
async fn a_trial_ends_with_the_first_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (upstream, now) = (
        upstream(json!({ "endpoints": [{ "address": address.to_string() }], "outlier_detection": {} })),
        Instant::now(),
    );
    let mut trials = lose(&upstream, 0..1, 5, now);
    let only = trials.pop().unwrap();
    assert!(trials.is_empty() && upstream.pick(&Tried::default(), 7, now).is_err());

    only.run().await;

    assert!(upstream.pick(&Tried::default(), 7, now).is_ok());
    assert_eq!(lose(&upstream, 0..1, 3, now).len(), 1);
}

#[tokio::test]
async fn a_trial_ends_with_its_endpoint() {
    let (upstream, now) = (detecting(1, json!({})), Instant::now());
    let trial = lose(&upstream, 0..1, 3, now).pop().unwrap();

    drop(upstream);

    trial.run().await;
}

#[test]
fn nobody_found_yet_is_no_panic_and_nowhere_to_go() {
    let upstream = upstream(json!({ "endpoints": [{ "address": "orders.internal:80" }] }));
    let now = Instant::now();

    assert!(!upstream.view(now).panic);
    assert!(matches!(upstream.pick(&Tried::default(), 0, now), Err(Unavailable::NoEndpoint)));
}
