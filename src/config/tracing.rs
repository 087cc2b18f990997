//! `tracing`: what is done for traces, and where the gateway's own part of them goes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{CollectorUrl, Name, Ratio, Span};

/// What is done for traces. A well-formed `traceparent` and `X-Amzn-Trace-Id`
/// always go on, and a missing `X-Amzn-Trace-Id` is made.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TracingSpec {
    /// What a request without a `traceparent` gets, unless it is recorded.
    pub traceparent: Traceparent,
    /// Which requests are recorded, where `otlp` says where to.
    pub sampling: SamplingSpec,
    /// Where spans go; without it the gateway records none.
    pub otlp: Option<OtlpSpec>,
}

/// What a request without a well-formed `traceparent` gets. One cannot say
/// "undecided": unsampled switches tracing off in services that follow their
/// caller (OpenTelemetry's default), sampled records everything.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Traceparent {
    /// None: the service behind begins the trace.
    #[default]
    Keep,
    /// One that is not recorded.
    MakeUnsampled,
    /// One that is recorded.
    MakeSampled,
}

/// Which requests are recorded. Decided once for a request, from its trace's id: all
/// gateways with the same ratio record the same traces.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingSpec {
    /// The share of traces about which no caller decides.
    pub ratio: Ratio,
    /// Whose sampled flag decides instead, in `traceparent` or else in
    /// `X-Amzn-Trace-Id`.
    pub parent: ParentFlag,
}

impl Default for SamplingSpec {
    fn default() -> Self {
        Self { ratio: Ratio::percent(5), parent: ParentFlag::Trusted }
    }
}

/// Whose sampled flag decides whether a request is recorded.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParentFlag {
    /// That of the proxies in `forwarded.trusted`, for the fields that
    /// `forwarded.fields` has.
    Trusted,
    /// Everyone's: only where every client is one's own.
    Always,
    /// Nobody's.
    Never,
}

/// A collector of OpenTelemetry's that takes spans by OTLP over HTTP, as JSON. No request
/// ever waits for it.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OtlpSpec {
    /// Where it takes them, as `http://127.0.0.1:4318/v1/traces`. Cleartext: an agent
    /// on this host is meant, which sends them on.
    pub endpoint: CollectorUrl,
    /// What traces call this gateway.
    #[serde(default = "service_name")]
    pub service_name: Name,
    /// Spans that wait to be sent, 64 to 1000000; beyond it they are dropped and counted.
    #[serde(default = "queue")]
    pub queue: u32,
    /// Spans sent at once, 1 to 10000.
    #[serde(default = "batch")]
    pub batch: u32,
    /// How long a span may wait for others before it is sent; 10ms to 1m.
    #[serde(default = "interval")]
    pub interval: Span,
    /// How long sending may take each time; 10ms to 1m.
    #[serde(default = "timeout")]
    pub timeout: Span,
}

fn service_name() -> Name {
    Name::from_static("tollgate")
}

fn queue() -> u32 {
    8_192
}

fn batch() -> u32 {
    512
}

fn interval() -> Span {
    Span::secs(1)
}

fn timeout() -> Span {
    Span::secs(5)
}
