//! Who waits for room, in which order, and how it ends.

use super::*;

fn narrow(queue: u32) -> Upstream {
    upstream(
        json!({ "endpoints": [{ "address": "10.0.0.1:1" }], "max_in_flight": { "endpoint": 1, "queue": queue } }),
    )
}

fn pick_one(upstream: &Upstream) -> Result<Lease, Unavailable> {
    upstream.pick(&Tried::default(), 7, Instant::now())
}

/// Without a wake it takes a moment, and a test that has none to lose sees it.
async fn is_woken(waiting: &Waiting) -> bool {
    let turn = std::pin::pin!(waiting.turn());
    futures::poll!(turn).is_ready()
}

#[tokio::test]
async fn a_place_that_is_given_back_wakes_the_first_alone() {
    let upstream = narrow(2);
    let held = pick_one(&upstream).unwrap();
    let [first, second] = [upstream.enqueue().unwrap(), upstream.enqueue().unwrap()];
    assert!(!is_woken(&first).await);

    drop(held);

    assert!(is_woken(&first).await && !is_woken(&second).await);
    assert!(first.is_first() && !second.is_first());
    let lease = pick_one(&upstream).unwrap();
    first.served();
    assert!(second.is_first() && is_woken(&second).await);
    assert!(pick_one(&upstream).is_err() && !is_woken(&second).await);
    drop(lease);
    assert!(is_woken(&second).await);
}

#[test]
fn beyond_its_size_nobody_waits_and_who_leaves_frees_the_place() {
    let upstream = narrow(2);
    let [first, second] = [upstream.enqueue().unwrap(), upstream.enqueue().unwrap()];
    assert!(upstream.enqueue().is_none() && upstream.has_queue());

    drop(first);

    assert!(second.is_first());
    let third = upstream.enqueue().unwrap();
    second.served();
    assert!(third.is_first());
    assert_eq!(upstream.queued(), Some(Queued { waiting: 1, served: 1, gave_up: 1 }));
}

#[test]
fn without_a_queue_nobody_waits() {
    let upstream = narrow(0);

    assert!(upstream.enqueue().is_none() && upstream.patience().is_none() && upstream.queued().is_none());
}
