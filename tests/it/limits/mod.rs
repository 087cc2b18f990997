//! Limits against the real binary: how many pass, per what they count, what the
//! others are told, and that nothing stays taken.

mod answers;
mod at_once;
mod costs;
mod divided;
mod fleet;
mod keys;
mod telling;

use std::time::{Duration, Instant};

use tokio::time::{interval, sleep};

use crate::support::{Gateway, Origin, PATIENCE, Request, Response, eventually};

#[tokio::test]
async fn a_burst_at_once_passes_as_far_as_it_goes() {
    let (_origin, gateway) = orders("", "").await;
    let mut clients = Vec::new();
    for _ in 0..25 {
        clients.push(gateway.connect().await);
    }

    let began = Instant::now();
    for client in &mut clients {
        client.write(order().to_http1()).await.unwrap();
    }
    let mut passed = 0;
    for client in &mut clients {
        passed += u32::from(client.read_response().await.unwrap().status == 200);
    }

    // What came back meanwhile passes too.
    let more = began.elapsed().as_millis() / 10;
    assert!((20..=20 + more).contains(&passed.into()), "{passed} of 25, and {more} came back");
}

#[tokio::test]
async fn below_the_rate_all_pass_and_above_it_the_rate_and_the_burst_do() {
    let (_origin, gateway) = orders("", "").await;

    let below = ask_at(&gateway, 50, Duration::from_secs(1)).await;
    assert!(below.iter().all(|asked| asked.passed), "{} asked", below.len());
    // Until the burst is whole again.
    sleep(Duration::from_millis(250)).await;
    let above = ask_at(&gateway, 150, Duration::from_secs(5)).await;

    let passed = above.iter().filter(|asked| asked.passed).count() as f64;
    let expected = f64::from(gcra(&above, 20.0, 100.0));
    let (first, last) = (above.first().unwrap().at, above.last().unwrap().at);
    let most = 20.0 + 100.0 * (last - first).as_secs_f64();
    assert!((passed - expected).abs() <= 1.0 + most / 100.0, "{passed} passed, {expected} expected");
    assert!(passed <= most * 1.01 + 1.0, "{passed} passed, {most} at most");
    assert!(above.len() as f64 > most, "{} asked, {most} may pass", above.len());
    let refused = above.len() as f64 - passed;
    let decided = [("limit", "orders"), ("result", "refused")];
    assert_eq!(gateway.metric("tollgate_limit_decisions_total", &decided).await, refused);
    let lines = async || gateway.access_log().iter().filter(|line| line["limit"] == "orders").count();
    eventually(PATIENCE, || async { lines().await as f64 == refused }).await;
}

#[tokio::test]
async fn who_waits_as_long_as_told_is_admitted() {
    let (_origin, gateway) = started("limits: [{ name: slow, rate: 40/m, burst: 1, global: true }]").await;
    let mut client = gateway.connect().await;
    assert_eq!(client.send(&Request::get("/")).await.status, 200);

    let refused = client.send(&Request::get("/")).await;

    assert_eq!((refused.status, refused.flag().as_str()), (429, "rate_limited"));
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&seconds), "{seconds}");
    // What the client is told to do.
    sleep(Duration::from_secs(seconds)).await;
    assert_eq!(client.send(&Request::get("/")).await.status, 200);
}

#[tokio::test]
async fn who_is_refused_by_one_limit_takes_from_none() {
    let limits =
        "limits: [{ name: wide, rate: 1/h, burst: 5, global: true }, { name: narrow, rate: 1/h, burst: 1 }]
routes:
  - { name: both, match: { path: /both }, limits: [narrow], to: [{ upstream: origin }] }
  - { name: one, to: [{ upstream: origin }] }";
    let (origin, gateway) = started(limits).await;

    assert_eq!(statuses(&gateway, &["/both", "/both", "/both", "/both"]).await, [200, 429, 429, 429]);
    assert_eq!(statuses(&gateway, &["/1", "/1", "/1", "/1", "/1"]).await, [200, 200, 200, 200, 429]);

    let line = gateway.line(|line| line["path"] == "/both" && line["status"] == 429).await;
    assert_eq!((&line["limit"], &line["flag"]), (&"narrow".into(), &"rate_limited".into()), "{line}");
    assert_eq!((&line["route"], line.get("upstream")), (&"both".into(), None), "{line}");
    assert_eq!(origin.requests().await, 5);
}

#[tokio::test]
async fn a_request_can_cost_more_than_another_or_nothing() {
    let costs = "costs: [{ methods: [POST], cost: 3 }, { methods: [HEAD], cost: 0 }]";
    let limits = format!("limits: [{{ name: dear, rate: 1/h, burst: 4, global: true, {costs} }}]");
    let (_origin, gateway) = started(&limits).await;

    assert_eq!(gateway.send(&Request::post("/", "a")).await.status, 200);
    assert_eq!(gateway.send(&Request::post("/", "a")).await.status, 429);
    assert_eq!(statuses(&gateway, &["/", "/"]).await, [200, 429]);
    for _ in 0..9 {
        assert_eq!(gateway.connect().await.send(&Request::head("/")).await.status, 200);
    }
}

#[tokio::test]
async fn a_limit_that_is_tried_out_refuses_nobody_and_says_whom_it_would() {
    let trial = "rate: 1/h, burst: 1, global: true, enforce: false";
    let limits = format!("limits: [{{ name: trial, {trial} }}, {{ name: other, {trial} }}]");
    let (_origin, gateway) = started(&limits).await;

    let answers = [gateway.get("/1").await, gateway.get("/2").await, gateway.get("/3").await];

    assert!(answers.iter().all(|answer| answer.status == 200 && answer.header("ratelimit").is_none()));
    assert_eq!(gateway.line_of(&answers[0]).await.get("would_refuse"), None);
    let line = gateway.line_of(&answers[1]).await;
    assert_eq!(line["would_refuse"], serde_json::json!(["trial", "other"]), "{line}");
    assert_eq!((line.get("limit"), &line["flag"]), (None, &serde_json::Value::Null), "{line}");
    assert_eq!(decisions(&gateway, "trial").await, [1.0, 0.0, 2.0, 0.0, 0.0]);
}

#[tokio::test]
async fn a_reload_keeps_the_counts_of_what_stays_and_says_what_begins_afresh() {
    let limits = |changed: &str| {
        format!(
            "limits:
  - {{ name: stays, rate: 1/h, burst: 1 }}
  - {{ name: moves, rate: {changed}, burst: 1 }}
routes:
  - {{ name: a, match: {{ path: /stays }}, limits: [stays], to: [{{ upstream: origin }}] }}
  - {{ name: b, match: {{ path: /moves }}, limits: [moves], to: [{{ upstream: origin }}] }}"
        )
    };
    let (_origin, gateway) = started(&limits("1/h")).await;
    assert_eq!(statuses(&gateway, &["/stays", "/moves", "/stays", "/moves"]).await, [200, 200, 429, 429]);

    gateway.write_config(&limits("2/h"));
    let told = gateway.reload().await;

    let lines: Vec<_> = told.stdout.lines().collect();
    let afresh = "afresh: limit moves counts from zero";
    let changes: Vec<_> = lines.iter().filter(|line| line.contains("limit ")).collect();
    assert_eq!(changes.len(), 2, "{told:?}");
    assert_eq!((*changes[0], *changes[1]), ("changed: limit moves (rate)", afresh));
    assert!(gateway.stderr().contains("limit counts from zero: limit=moves"), "{}", gateway.stderr());
    assert_eq!(statuses(&gateway, &["/stays", "/moves", "/moves"]).await, [429, 200, 429]);

    gateway.write_config("routes: [{ name: all, to: [{ upstream: origin }] }]");
    assert_eq!(gateway.reload().await.code, Some(0));
    assert_eq!(statuses(&gateway, &["/stays", "/moves"]).await, [200, 200]);
    assert!(!gateway.metrics().await.has("tollgate_limit_decisions_total", &[]));
}

#[tokio::test]
async fn many_keys_at_once_are_forgotten_and_counted_and_nobody_is_refused_for_it() {
    let limits =
        "limits: [{ name: small, key: [{ header: x-id }], rate: 1/h, burst: 1, memory: 4KiB, global: true }]";
    let (_origin, gateway) = started(limits).await;
    let mut client = gateway.connect().await;

    for id in 0..400 {
        let answer = client.send(&Request::get("/").header("x-id", &id.to_string())).await;
        assert_eq!(answer.status, 200, "{id}");
    }

    let overflowed = gateway.metric("tollgate_limit_overflowed_total", &[("limit", "small")]).await;
    assert!((400.0 - 256.0..400.0).contains(&overflowed), "{overflowed}");
}

/// The scenario: 100/s with a burst of 20 on `POST /orders`; more sections, and more
/// keys of the limit.
async fn orders(more: &str, of_limit: &str) -> (Origin, Gateway) {
    started(&format!(
        "limits: [{{ name: orders, rate: 100/s, burst: 20{of_limit} }}]
routes:
  - {{ name: orders, match: {{ path: /orders, methods: [POST] }}, limits: [orders], to: [{{ upstream: origin }}] }}
{more}"
    ))
    .await
}

fn order() -> Request {
    Request::post("/orders", "a book")
}

struct Asked {
    at: Instant,
    passed: bool,
}

/// Orders so many a second; late ones follow at once.
async fn ask_at(gateway: &Gateway, per_second: u32, long: Duration) -> Vec<Asked> {
    let mut client = gateway.connect().await;
    let mut clock = interval(Duration::from_secs(1) / per_second);
    let mut asked = Vec::new();
    let began = Instant::now();
    while began.elapsed() < long {
        clock.tick().await;
        let at = Instant::now();
        let answer = client.send(&order()).await;
        assert!([200, 429].contains(&answer.status), "{answer:?}");
        asked.push(Asked { at, passed: answer.status == 200 });
    }
    asked
}

/// How many of these pass by the book: a bucket of a burst that gains a rate a second.
fn gcra(asked: &[Asked], burst: f64, rate: f64) -> u32 {
    let (mut tokens, mut last, mut passed) = (burst, asked[0].at, 0);
    for one in asked {
        tokens = (tokens + rate * (one.at - last).as_secs_f64()).min(burst);
        last = one.at;
        if tokens >= 1.0 {
            tokens -= 1.0;
            passed += 1;
        }
    }
    passed
}

/// In front of one origin.
async fn started(yaml: &str) -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let gateway = Gateway::builder().origin("origin", &origin).yaml(yaml).start().await;
    (origin, gateway)
}

async fn statuses(gateway: &Gateway, targets: &[&str]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for target in targets {
        statuses.push(gateway.get(target).await.status);
    }
    statuses
}

/// Admitted, refused, would refuse, missing denied, exempt.
async fn decisions(gateway: &Gateway, limit: &str) -> [f64; 5] {
    let metrics = gateway.metrics().await;
    ["admitted", "refused", "would_refuse", "missing_denied", "exempt"].map(|result| {
        metrics.metric("tollgate_limit_decisions_total", &[("limit", limit), ("result", result)])
    })
}

/// Whether it was refused, by a limit.
fn is_refused(answer: &Response) -> bool {
    match answer.status {
        200 => false,
        429 => true,
        other => panic!("{other}: {answer:?}"),
    }
}
