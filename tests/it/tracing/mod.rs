//! Spans: what of a request goes to a collector, and what upstreams are told.
//!
//! `spans` is what is in them, `sampling` who is recorded, `failing` what collectors do
//! wrong, `changes` a reload and the end of the process, `proto` what OpenTelemetry's own
//! types say of it.

mod changes;
mod failing;
mod proto;
mod sampling;
mod spans;

use crate::support::{Collector, Gateway, Origin};

/// In front of an origin, with a section `tracing`.
async fn gateway(origin: &Origin, tracing: &str) -> Gateway {
    Gateway::builder().origin("origin", origin).yaml(tracing).start().await
}

/// How many spans ended so.
async fn count(gateway: &Gateway, result: &str) -> f64 {
    gateway.metric("tollgate_trace_spans_total", &[("result", result)]).await
}

/// In front of an origin, with everything recorded.
async fn recording(origin: &Origin) -> (Collector, Gateway) {
    let collector = Collector::start().await;
    let gateway = gateway(origin, &collector.tracing()).await;
    (collector, gateway)
}
