//! Who is recorded, and what the others are told.

use super::{count, gateway};
use crate::support::{Collector, Gateway, Origin, PATIENCE, Request, eventually};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const ROOT: &str = "Root=1-67891233-abcdef012345678912345678";
const TRUSTED: &str = "forwarded: { trusted: [127.0.0.0/8], fields: [traceparent, x-amzn-trace-id] }";

/// Nothing is recorded but what a caller decides, whose word counts as written.
async fn by_flag(origin: &Origin, parent: &str, sections: &str) -> (Collector, Gateway) {
    let collector = Collector::start().await;
    let tracing = collector.tracing_with(&format!("ratio: 0%, parent: {parent}"), "");
    let gateway = gateway(origin, &format!("{tracing}\n{sections}")).await;
    (collector, gateway)
}

#[tokio::test]
async fn the_flag_of_a_trusted_proxy_decides() {
    let origin = Origin::start().await;
    let (collector, gateway) = by_flag(&origin, "trusted", TRUSTED).await;

    let get = |path: &str, flags: &str| {
        Request::get(path).header("traceparent", &format!("00-{TRACE}-{CALLER}-{flags}"))
    };
    let unsampled = gateway.send(&get("/no", "02")).await.echo();
    let amazon = format!("{ROOT};Parent={CALLER};Sampled=1");
    gateway.send(&Request::get("/amazon").header("x-amzn-trace-id", &amazon)).await;
    gateway.send(&get("/yes", "03")).await;

    let by_traceparent = collector.request("/yes").await;
    let by_amazon = collector.request("/amazon").await;
    assert_eq!((&*by_traceparent[0].trace_id, &*by_traceparent[0].parent), (TRACE, CALLER));
    let told = (&*by_amazon[0].trace_id, &*by_amazon[0].parent);
    assert_eq!(told, ("67891233abcdef012345678912345678", CALLER));
    // Both came later and are there; this one never was.
    assert!(!collector.spans().iter().any(|span| span.kind == 2 && span.get("url.path") == "/no"));
    assert_eq!(unsampled.lines("traceparent"), [format!("00-{TRACE}-{CALLER}-02")]);
    assert_eq!(count(&gateway, "exported").await, 4.0);
}

#[tokio::test]
async fn a_stranger_s_flag_counts_neither_here_nor_behind() {
    let origin = Origin::start().await;
    for (parent, sections) in [("trusted", ""), ("never", TRUSTED)] {
        let (collector, gateway) = by_flag(&origin, parent, sections).await;

        let request = Request::get("/")
            .header("traceparent", &format!("00-{TRACE}-{CALLER}-01"))
            .header("tracestate", "vendor=1")
            .header(
                "x-amzn-trace-id",
                &format!("Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent={CALLER};Sampled=1"),
            );
        let echo = gateway.send(&request).await.echo();

        assert_eq!(echo.lines("traceparent"), [format!("00-{TRACE}-{CALLER}-00")]);
        assert_eq!(echo.lines("tracestate"), ["vendor=1"]);
        let amazon = format!("Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent={CALLER};Sampled=0");
        assert_eq!(echo.lines("x-amzn-trace-id"), [amazon]);
        gateway.signal(libc::SIGTERM);
        gateway.wait_exit(PATIENCE).await;
        assert_eq!(collector.messages(), 0);
    }
}

#[tokio::test]
async fn everyone_s_flag_counts_where_it_is_so_written() {
    let origin = Origin::start().await;
    let (collector, gateway) = by_flag(&origin, "always", "").await;

    gateway.send(&Request::get("/").header("traceparent", &format!("00-{TRACE}-{CALLER}-01"))).await;

    assert_eq!(collector.request("/").await.len(), 2);
}

#[tokio::test]
async fn two_gateways_record_the_same_traces() {
    let origin = Origin::start().await;
    let collectors = [Collector::start().await, Collector::start().await];
    let tracing = collectors.each_ref().map(|collector| collector.tracing_with("ratio: 50%", ""));
    let (one, other) = tokio::join!(gateway(&origin, &tracing[0]), gateway(&origin, &tracing[1]));
    let (mut one, mut other) = (one.connect().await, other.connect().await);

    let mut expected = Vec::new();
    for nth in 0..64_u64 {
        // Every fourth of the random numbers' upper byte.
        let trace = format!("67891233abcdef0123{:02x}000000000000", nth * 4);
        let request = Request::get("/").header("traceparent", &format!("00-{trace}-{CALLER}-00"));
        one.send(&request).await;
        other.send(&request).await;
        if nth * 4 >= 0x80 {
            expected.push(trace);
        }
    }

    for collector in &collectors {
        eventually(PATIENCE, || async { collector.spans().len() >= 64 }).await;
        let mut traces: Vec<_> =
            collector.spans().into_iter().filter(|span| span.kind == 2).map(|span| span.trace_id).collect();
        traces.sort();
        assert_eq!(traces, expected);
    }
}

#[tokio::test]
async fn a_route_has_a_ratio_of_its_own_and_what_is_not_recorded_is_left_as_it_was() {
    let origin = Origin::start().await;
    let collector = Collector::start().await;
    let yaml = format!(
        "{}\n\
         routes:\n\
         - {{ name: pay, match: {{ path: /pay }}, to: [{{ upstream: origin }}], trace_ratio: 100% }}\n\
         - {{ name: all, to: [{{ upstream: origin }}] }}",
        collector.tracing_with("ratio: 0%", "")
    );
    let gateway = gateway(&origin, &yaml).await;

    let left = gateway.get("/other").await.echo();
    let recorded = gateway.get("/pay").await.echo();

    let spans = collector.request("/pay").await;
    assert_eq!((spans.len(), spans[0].get("http.route")), (2, "pay"));
    // An id that X-Ray takes: its first eight digits are the time.
    let seconds = u64::from_str_radix(&spans[0].trace_id[..8], 16).unwrap();
    assert!(seconds.abs_diff(spans[0].begin / 1_000_000_000) <= 1, "{spans:?}");
    assert!(spans[0].parent.is_empty(), "{spans:?}");
    assert!(recorded.header("traceparent").unwrap().ends_with(&format!("{}-03", spans[1].id)));
    // Undecided: the service behind begins its own.
    assert_eq!(left.lines("traceparent").len(), 0);
    assert!(!left.header("x-amzn-trace-id").unwrap().contains("Sampled"));
    assert_eq!(count(&gateway, "exported").await, 2.0);
}

#[tokio::test]
async fn without_otlp_nothing_is_different_from_before() {
    let origin = Origin::start().await;
    let gateway = gateway(&origin, "tracing: { sampling: { ratio: 100%, parent: always } }").await;

    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let amazon = format!("Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent={CALLER};Sampled=1");
    let request = Request::get("/").header("traceparent", &traceparent).header("x-amzn-trace-id", &amazon);
    let echo = gateway.send(&request).await.echo();

    assert_eq!(echo.lines("traceparent"), [traceparent]);
    assert_eq!(echo.lines("x-amzn-trace-id"), [amazon]);
    assert!(!gateway.metrics().await.has("tollgate_trace_spans_total", &[]));
}
