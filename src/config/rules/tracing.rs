//! Rules for `tracing`.

use super::{At, Rules};
use crate::config::{
    tracing::{OtlpSpec, TracingSpec},
    types::Span,
};

impl Rules for TracingSpec {
    fn check(&self, at: &mut At<'_>) {
        if let Some(otlp) = &self.otlp {
            check_otlp(otlp, at);
        }
    }
}

fn check_otlp(otlp: &OtlpSpec, at: &mut At<'_>) {
    at.range("otlp.queue", otlp.queue, LEAST_QUEUE, 1_000_000);
    at.range("otlp.batch", otlp.batch, 1, 10_000);
    at.range("otlp.interval", otlp.interval, Span::millis(10), Span::secs(60));
    at.range("otlp.timeout", otlp.timeout, Span::millis(10), Span::secs(60));
    if !otlp.endpoint.address().is_loopback() {
        let text = format!(
            "spans go to `{}` for everyone on the way to read; write the address of an agent on this host, as `http://127.0.0.1:4318/v1/traces`",
            otlp.endpoint.address()
        );
        at.warn("otlp.endpoint", text);
    }
}

/// Fewer would not hold the spans of a few requests.
const LEAST_QUEUE: u32 = 64;
