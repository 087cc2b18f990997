//! A reload, and the end of the process.

use super::{count, gateway};
use crate::support::{Collector, Origin, PATIENCE, Request, collector::Answer, eventually};

#[tokio::test]
async fn a_reload_moves_spans_that_wait_to_the_new_collector() {
    let origin = Origin::start().await;
    let (old, new) = (Collector::start().await, Collector::start().await);
    old.answer(Answer::Status("503 Busy\r\nRetry-After: 30"));
    let gateway = gateway(&origin, &old.tracing()).await;
    gateway.get("/before").await;
    eventually(PATIENCE, || async { old.messages() == 1 }).await;

    gateway.write_config(&new.tracing());
    assert_eq!(gateway.reload().await.code, Some(0));
    gateway.get("/after").await;

    for path in ["/before", "/after"] {
        assert_eq!(new.request(path).await.len(), 2, "{path}");
    }
    assert_eq!(old.messages(), 1);
    eventually(PATIENCE, || async { count(&gateway, "exported").await == 4.0 }).await;
}

#[tokio::test]
async fn a_reload_begins_and_ends_recording() {
    let origin = Origin::start().await;
    let collector = Collector::start().await;
    let gateway = gateway(&origin, "").await;
    gateway.get("/early").await;

    gateway.write_config(&collector.tracing());
    assert_eq!(gateway.reload().await.code, Some(0));
    gateway.get("/recorded").await;
    collector.request("/recorded").await;
    // Begun while it is recorded, and over when no other is.
    let mut under_way = gateway.connect().await;
    under_way.write(Request::get("/under-way").script("delay=400ms").to_http1()).await.unwrap();
    eventually(PATIENCE, || async { origin.requests().await == 3 }).await;
    gateway.write_config("");
    assert_eq!(gateway.reload().await.code, Some(0));
    gateway.get("/late").await;
    assert_eq!(under_way.read_response().await.unwrap().status, 200);

    assert_eq!(collector.request("/under-way").await.len(), 2);
    assert_eq!(collector.spans().len(), 4);
}

#[tokio::test]
async fn the_end_of_the_process_sends_what_waits() {
    let origin = Origin::start().await;
    let collector = Collector::start().await;
    let tracing = collector.tracing_with("ratio: 100%", "").replace("interval: 10ms", "interval: 1m");
    let gateway = gateway(&origin, &tracing).await;
    gateway.get("/last").await;
    gateway.line(|line| line["path"] == "/last").await;

    gateway.signal(libc::SIGTERM);
    let exit = gateway.wait_exit(PATIENCE).await;

    assert_eq!(exit.code, Some(0));
    assert_eq!(collector.request("/last").await.len(), 2);
}

#[tokio::test]
async fn a_collector_that_is_silent_holds_up_no_end() {
    let origin = Origin::start().await;
    let collector = Collector::start().await;
    collector.answer(Answer::Nothing);
    let gateway = gateway(&origin, &collector.tracing_with("ratio: 100%", "timeout: 1m")).await;
    gateway.get("/").await;
    eventually(PATIENCE, || async { collector.messages() == 1 }).await;

    gateway.signal(libc::SIGTERM);
    let exit = gateway.wait_exit(PATIENCE).await;

    assert_eq!(exit.code, Some(0));
    assert!(exit.stderr.contains("spans are lost"), "{}", exit.stderr);
}
