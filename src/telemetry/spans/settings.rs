//! What the sender needs to know of the configuration.

use std::time::Duration;

use super::otlp;
use crate::config::{tracing::OtlpSpec, types::CollectorUrl};

/// How spans are sent.
#[derive(Debug, Eq, PartialEq)]
pub struct SpanSettings {
    /// Where to.
    pub endpoint: CollectorUrl,
    /// Spans that may wait.
    pub queue: usize,
    /// Spans in one message.
    pub batch: usize,
    /// How long they wait for others.
    pub interval: Duration,
    /// How long a message may take.
    pub timeout: Duration,
    /// The beginning of every message: whose spans they are.
    pub head: Vec<u8>,
}

/// Where a gateway runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'a> {
    /// The availability zone's id.
    pub zone: Option<&'a str>,
    /// What the account calls the zone.
    pub zone_name: Option<&'a str>,
    /// The region.
    pub region: Option<&'a str>,
}

impl SpanSettings {
    /// As configured, for a gateway that runs there.
    pub fn new(spec: &OtlpSpec, origin: Origin<'_>) -> Self {
        Self {
            endpoint: spec.endpoint.clone(),
            queue: spec.queue as usize,
            batch: spec.batch as usize,
            interval: spec.interval.duration(),
            timeout: spec.timeout.duration(),
            head: otlp::head(spec.service_name.as_str(), origin),
        }
    }
}
