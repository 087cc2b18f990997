//! What an upstream does when some of its endpoints fail: `locality`,
//! `outlier_detection`, `retries`, `max_in_flight`.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::types::{Percent, Span};

/// How traffic is shared between zones and regions. Tiers by distance: the own
/// zone, the other zones of the region, other regions in the order written. A
/// tier takes `healthy share / spill_below` of what the nearer ones left, at
/// most all of it.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalitySpec {
    /// A tier with at least this share of its weight in service takes
    /// everything; below it some goes to the next tier. 72% leaves 1.4 times the
    /// load to each endpoint that is left.
    pub spill_below: Percent,
    /// With less than this share in service in every tier, `on_panic` decides;
    /// 0% never.
    pub panic_below: Percent,
    /// What then becomes of requests.
    pub on_panic: OnPanic,
    /// A tier that lost endpoints gets no more traffic back before it has lost
    /// none for so long: what flaps does not flap the traffic.
    pub hold_down: Span,
}

impl Default for LocalitySpec {
    fn default() -> Self {
        Self {
            spill_below: Percent::new(72),
            panic_below: Percent::new(50),
            on_panic: OnPanic::Spread,
            hold_down: Span::secs(5),
        }
    }
}

/// What becomes of requests when too few endpoints are in service anywhere.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnPanic {
    /// They go to all endpoints, also to those that look dead: few that are
    /// left would be crushed, and what says that all are dead may be wrong.
    #[default]
    Spread,
    /// 503 at once.
    Fail,
}

/// What traffic itself says of endpoints. One that fails is ejected: it gets no
/// requests for a while, and then few at first.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutlierDetectionSpec {
    /// So many answers of 500 and above or failures of the connection, one after
    /// the other, eject; 0 never.
    pub consecutive_5xx: u32,
    /// So many failures of the connection, or answers 502, 503 and 504, one
    /// after the other, eject; 0 never.
    pub consecutive_gateway_errors: u32,
    /// Ejects whose share of good answers is far below the others'.
    pub success_rate: Option<SuccessRateSpec>,
    /// How often `success_rate` looks, and at which span of time.
    pub interval: Span,
    /// How long the first ejection lasts; the nth in a row n times as long.
    pub base_ejection: Span,
    /// No ejection is longer.
    pub max_ejection: Span,
    /// At most this share of the endpoints is ejected at a time; one always may
    /// be, and the last one in service never is.
    pub max_ejected: Percent,
}

impl Default for OutlierDetectionSpec {
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            consecutive_gateway_errors: 3,
            success_rate: None,
            interval: Span::secs(10),
            base_ejection: Span::secs(30),
            max_ejection: Span::secs(300),
            max_ejected: Percent::new(50),
        }
    }
}

/// When an endpoint's share of good answers is far below the others'.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SuccessRateSpec {
    /// Endpoints with fewer requests in an interval are not judged.
    pub requests: u32,
    /// With fewer endpoints to judge nobody is.
    pub endpoints: u32,
    /// Ejects what is this many tenths of a standard deviation below the mean.
    pub deviation_tenths: u32,
}

impl Default for SuccessRateSpec {
    fn default() -> Self {
        Self { requests: 100, endpoints: 5, deviation_tenths: 19 }
    }
}

/// How often a request is tried, on which endpoints.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetriesSpec {
    /// Attempts in all, 1 to 3, each at another endpoint, in another zone first.
    pub attempts: u8,
    /// What is tried again: `connect` (no connection was made; every method),
    /// `reset` (the connection was lost before an answer; idempotent methods),
    /// and statuses from 500 to 599 (idempotent methods).
    pub on: Vec<RetryOn>,
    /// Retries are at most this share of the requests of the last 10 s, so that
    /// a service that fails is not sent twice the load. Attempts that did not
    /// reach their host do not count: they were no load.
    pub budget: Percent,
    /// So many retries a second are allowed in any case: a share of little
    /// traffic is nothing.
    pub budget_floor: u32,
    /// An endpoint that is silent for so long is given up while attempts are
    /// left, for requests that may be tried again. Counts between two reads of
    /// an answer too. Without it silence is never tried again.
    pub per_try_timeout: Option<Span>,
}

impl Default for RetriesSpec {
    fn default() -> Self {
        Self {
            attempts: 2,
            on: vec![RetryOn::Connect, RetryOn::Reset],
            budget: Percent::new(20),
            budget_floor: 10,
            per_try_timeout: None,
        }
    }
}

/// What is tried again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetryOn {
    /// No connection was made.
    Connect,
    /// The connection was lost before an answer.
    Reset,
    /// The endpoint answered with this status, 500 to 599.
    Status(u16),
}

impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Reset => f.write_str("reset"),
            Self::Status(status) => status.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for RetryOn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RetryOnVisitor)
    }
}

struct RetryOnVisitor;

impl de::Visitor<'_> for RetryOnVisitor {
    type Value = RetryOn;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`connect`, `reset` or a status from 500 to 599")
    }

    fn visit_u64<E: de::Error>(self, status: u64) -> Result<RetryOn, E> {
        let server = u16::try_from(status).ok().filter(|status| (500..=599).contains(status));
        server.map(RetryOn::Status).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(status), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RetryOn, E> {
        match text {
            "connect" => Ok(RetryOn::Connect),
            "reset" => Ok(RetryOn::Reset),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

impl Serialize for RetryOn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Status(status) => serializer.serialize_u16(*status),
            word => serializer.collect_str(word),
        }
    }
}

impl JsonSchema for RetryOn {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RetryOn".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "enum": ["connect", "reset"] },
            { "type": "integer", "minimum": 500, "maximum": 599 }
        ] })
    }
}

/// How many requests may be under way; beyond it the answer is 503, at once unless
/// some may wait.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaxInFlightSpec {
    /// To all endpoints together. Default: any number.
    pub upstream: Option<u32>,
    /// To each endpoint. Default: any number.
    pub endpoint: Option<u32>,
    /// So many more wait, first come, first served; 0 is nobody.
    pub queue: u32,
    /// The longest that one waits; then 503. Within `timeouts.request`.
    pub queue_timeout: Span,
}

impl Default for MaxInFlightSpec {
    fn default() -> Self {
        Self { upstream: None, endpoint: None, queue: 0, queue_timeout: Span::secs(1) }
    }
}
