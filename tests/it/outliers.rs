//! What traffic says of endpoints: who fails is ejected, and comes back.

use std::time::Duration;

use crate::support::{Gateway, Origin, PATIENCE, Request, eventually};

#[tokio::test]
async fn an_endpoint_that_answers_500_to_everything_is_ejected_and_comes_back() {
    let (good, bad) =
        (Origin::named("good").await, Origin::builder().name("bad").script("status=500").start().await);
    // As it was asked for: one error, looked at each second; shorter than a minute.
    let gateway = Gateway::shop(
        &[&good, &bad],
        "outlier_detection: { consecutive_5xx: 1, interval: 1s, base_ejection: 2s }, slow_start: 1s",
    )
    .await;
    eventually(PATIENCE, || async { gateway.get("/").await.status == 500 }).await;

    let seen = bad.requests().await;
    for _ in 0..50 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert_eq!(bad.requests().await, seen);
    let status = gateway.status().await;
    assert!(status["upstreams"][0]["endpoints"][1]["ejected_seconds"].as_f64().unwrap() > 0.0, "{status}");

    bad.set_script("").await;
    eventually(PATIENCE, || async { gateway.get("/").await.status == 200 && bad.requests().await > seen })
        .await;
    let log = gateway.stderr();
    assert_eq!(log.matches("endpoint ejected: upstream=shop").count(), 1, "{log}");
    assert!(
        log.contains("reason=consecutive_5xx for_s=2 nth=1") && log.contains("endpoint is tried again: "),
        "{log}"
    );
}

#[tokio::test]
async fn the_last_endpoint_is_never_ejected() {
    let bad = [Origin::answers(500).await, Origin::answers(500).await];
    let gateway =
        Gateway::shop(&bad.each_ref(), "outlier_detection: { consecutive_5xx: 1, max_ejected: 100% }").await;

    for _ in 0..30 {
        assert_eq!(gateway.get("/").await.status, 500);
    }

    assert_eq!(gateway.metric("tollgate_upstream_ejections_total", &[]).await, 1.0);
    assert_eq!(bad[0].requests().await + bad[1].requests().await, 30);
}

#[tokio::test]
async fn without_outlier_detection_nothing_is_ejected() {
    let (good, bad) = (Origin::start().await, Origin::answers(500).await);
    let gateway = Gateway::shop(&[&good, &bad], "slow_start: 1s").await;

    for _ in 0..60 {
        gateway.get("/").await;
    }

    assert!(bad.requests().await > 10);
    assert_eq!(gateway.metric("tollgate_upstream_ejections_total", &[]).await, 0.0);
}

#[tokio::test]
async fn answers_that_break_off_eject_too() {
    let (good, bad) = (Origin::named("good").await, Origin::script("size=1000,truncate=10").await);
    let gateway = Gateway::shop(&[&good, &bad], "outlier_detection: { consecutive_gateway_errors: 2 }").await;

    eventually(PATIENCE, || async {
        let _ = gateway.connect().await.try_send(&Request::get("/")).await;
        gateway.metric("tollgate_upstream_ejections_total", &[]).await == 1.0
    })
    .await;

    let seen = bad.requests().await;
    for _ in 0..20 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert_eq!(bad.requests().await, seen);
}

#[tokio::test]
async fn a_client_that_leaves_says_nothing_of_the_endpoint() {
    let slow = "delay=300ms,size=8388608";
    let slow = [Origin::script(slow).await, Origin::script(slow).await];
    let gateway =
        Gateway::shop(&slow.each_ref(), "outlier_detection: { consecutive_gateway_errors: 1 }").await;

    for nth in 1..=6 {
        let mut client = gateway.connect().await;
        client.write(Request::get("/").to_http1()).await.unwrap();
        eventually(PATIENCE, || async { slow[0].requests().await + slow[1].requests().await >= nth }).await;
    }

    eventually(PATIENCE, || async { gateway.access_log().len() == 6 }).await;
    assert_eq!(gateway.metric("tollgate_upstream_ejections_total", &[]).await, 0.0);
}

#[tokio::test]
async fn statuses_by_list_are_tried_elsewhere_and_only_where_it_is_safe() {
    let (busy, good) = (Origin::answers(503).await, Origin::named("good").await);
    let gateway = Gateway::shop(&[&busy, &good], "retries: { attempts: 2, on: [503] }").await;

    let mut refused = 0;
    for _ in 0..30 {
        assert_eq!(gateway.get("/").await.status, 200);
        let posted = gateway.send(&Request::post("/", "x")).await.status;
        refused += u32::from(posted == 503);
    }

    assert!((1..30).contains(&refused), "{refused}");
}

#[tokio::test]
async fn a_route_may_allow_every_method_to_be_sent_twice() {
    let (busy, good) = (Origin::answers(503).await, Origin::named("good").await);
    let gateway = Gateway::builder()
        .origin("endpoint0", &busy)
        .origin("endpoint1", &good)
        .yaml(
            r#"
            upstreams: [{ name: shop, endpoints: [{ address: "{endpoint0}" }, { address: "{endpoint1}" }], retries: { on: [503] } }]
            routes: [{ name: all, to: [{ upstream: shop }], retry_non_idempotent: true }]
            "#,
        )
        .start()
        .await;

    for _ in 0..20 {
        let answer = gateway.send(&Request::post("/", "a body")).await;
        assert_eq!((answer.status, answer.echo().body()), (200, "a body"));
    }
    assert!(busy.requests().await > 0);
}

#[tokio::test]
async fn retries_end_with_their_budget() {
    let busy = [Origin::answers(503).await, Origin::answers(503).await];
    let gateway =
        Gateway::shop(&busy.each_ref(), "retries: { attempts: 2, on: [503], budget: 10%, budget_floor: 0 }")
            .await;

    for _ in 0..200 {
        assert_eq!(gateway.get("/").await.status, 503);
    }

    let sent = busy[0].requests().await + busy[1].requests().await;
    assert!((205..=220).contains(&sent), "{sent}");
    assert!(gateway.metric("tollgate_upstream_retries_total", &[("result", "over_budget")]).await > 100.0);
}

#[tokio::test]
async fn a_silent_endpoint_is_given_up_where_a_try_may_take_only_so_long() {
    let (silent, good) = (Origin::never_answers().await, Origin::named("good").await);
    let more = "retries: { attempts: 2, per_try_timeout: 100ms }, outlier_detection: { consecutive_gateway_errors: 3 }";
    let gateway = Gateway::shop(&[&silent, &good], more).await;

    for _ in 0..30 {
        let begun = std::time::Instant::now();
        assert_eq!(gateway.get("/").await.status, 200);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    assert_eq!(silent.requests().await, 3);
}
