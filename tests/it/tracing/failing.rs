//! Collectors that are not there, too slow, too busy or out of their mind: requests
//! notice nothing, and every span is counted.

use std::time::Duration;

use super::{count, gateway, recording};
use crate::support::{Collector, Gateway, Origin, PATIENCE, Request, collector::Answer, eventually};

/// Waits until so many spans ended so.
async fn counted(gateway: &Gateway, result: &str, spans: f64) {
    eventually(PATIENCE, || async { count(gateway, result).await == spans }).await;
}

#[tokio::test]
async fn a_busy_collector_gets_the_same_spans_again_when_it_says() {
    let origin = Origin::start().await;
    let (collector, gateway) = recording(&origin).await;

    for (nth, status) in
        ["503 Busy\r\nRetry-After: 0", "429 Enough\r\nRetry-After: 1", "502 Bad"].iter().enumerate()
    {
        collector.answer_once(Answer::Status(status));
        let path = format!("/{nth}");
        assert_eq!(gateway.get(&path).await.status, 200);

        assert_eq!(collector.request(&path).await.len(), 2, "{status}");
        assert_eq!(collector.messages(), 2 * (nth + 1), "{status}");
    }

    counted(&gateway, "exported", 6.0).await;
    assert_eq!(count(&gateway, "failed").await, 0.0);
    assert!(gateway.stderr().contains("spans cannot be sent"), "{}", gateway.stderr());
    assert!(gateway.stderr().contains("spans are taken again"), "{}", gateway.stderr());
}

#[tokio::test]
async fn what_a_collector_does_not_want_is_not_sent_again() {
    let origin = Origin::start().await;
    let (collector, gateway) = recording(&origin).await;

    collector.answer(Answer::Status("400 Bad Request"));
    gateway.get("/refused").await;
    counted(&gateway, "rejected", 2.0).await;
    collector.answer(Answer::TakeBut(1));
    gateway.get("/half").await;
    counted(&gateway, "rejected", 3.0).await;
    counted(&gateway, "exported", 1.0).await;

    assert_eq!(collector.messages(), 2);
    assert!(gateway.stderr().contains("spans are not taken"), "{}", gateway.stderr());
}

#[tokio::test]
async fn garbage_is_no_answer_and_after_three_tries_the_spans_are_given_up() {
    let origin = Origin::start().await;
    let (collector, gateway) = recording(&origin).await;

    collector.answer(Answer::Say("220 mail.example.com ESMTP\r\n\r\n"));
    gateway.get("/").await;
    counted(&gateway, "failed", 2.0).await;

    assert_eq!(collector.messages(), 3);
    assert_eq!(count(&gateway, "exported").await, 0.0);
    assert!(gateway.stderr().contains("the answer is no HTTP"), "{}", gateway.stderr());
}

#[tokio::test]
async fn a_dead_or_silent_collector_delays_no_request_and_a_full_queue_is_counted() {
    let origin = Origin::start().await;
    let (silent, dead) = (Collector::start().await, Origin::dead());
    silent.answer(Answer::Nothing);
    for address in [silent.address, dead.address] {
        let tracing = format!(
            "tracing: {{ sampling: {{ ratio: 100% }}, otlp: {{ endpoint: \"http://{address}/v1/traces\", queue: 64, timeout: 1m, interval: 10ms }} }}"
        );
        let gateway = gateway(&origin, &tracing).await;
        let mut client = gateway.connect().await;

        let mut slowest = Duration::ZERO;
        for _ in 0..400 {
            let begun = std::time::Instant::now();
            assert_eq!(client.send(&Request::get("/")).await.status, 200);
            slowest = slowest.max(begun.elapsed());
        }

        // One request that waited for the collector would have waited a minute.
        assert!(slowest < Duration::from_secs(20), "{slowest:?}");
        // 64 wait, and as many are in the sender's hand; a request more where two meet.
        let lost = count(&gateway, "dropped").await + count(&gateway, "failed").await;
        assert!((800.0 - 2.0 * 66.0..=800.0).contains(&lost), "{address}: {lost}");
        assert_eq!(count(&gateway, "exported").await, 0.0);
    }
}

#[tokio::test]
async fn a_collector_that_stops_in_the_middle_is_given_up_in_time() {
    let origin = Origin::start().await;
    let collector = Collector::start().await;
    collector.answer(Answer::Nothing);
    let gateway = gateway(&origin, &collector.tracing_with("ratio: 100%", "timeout: 50ms")).await;

    gateway.get("/").await;

    counted(&gateway, "failed", 2.0).await;
    assert_eq!(collector.messages(), 3);
    assert!(gateway.stderr().contains("no answer in time"), "{}", gateway.stderr());
}
