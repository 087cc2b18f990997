//! `upstreams[].health_check`: how the gateway asks endpoints whether they can
//! serve.

use std::{borrow::Cow, fmt, ops::RangeInclusive, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, Visitor},
};

use super::types::{Invalid, Span};

/// How endpoints are asked whether they can serve. Only an endpoint that passed
/// takes traffic: a new one after its first passed probe.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthCheckSpec {
    /// What a probe speaks.
    pub protocol: ProbeProtocol,
    /// `http`: the path that is asked with GET, query and all. Has to be written:
    /// a guess that is wrong would take every endpoint out.
    pub path: Option<String>,
    /// `http` and `grpc`: the Host that is asked for. Default: the name in `tls`,
    /// else the address that is asked.
    pub host: Option<String>,
    /// `http`: the statuses that pass. Redirects are not followed.
    pub expect: Vec<StatusRange>,
    /// `grpc`: the service that is asked for; empty is the whole server.
    pub service: Option<String>,
    /// The port that is asked, with the same TLS. Default: the endpoint's.
    pub port: Option<u16>,
    /// From one probe of an endpoint to the next, give or take a tenth.
    pub interval: Span,
    /// The same while it is unhealthy. At most `interval`.
    pub unhealthy_interval: Span,
    /// For the whole of a probe: connecting, TLS, header and body. At most
    /// `interval`.
    pub timeout: Span,
    /// Probes that have to pass one after the other until an unhealthy endpoint
    /// is healthy. The first probe of an endpoint decides alone.
    pub healthy_after: u8,
    /// Probes that have to fail one after the other until a healthy endpoint is
    /// unhealthy.
    pub unhealthy_after: u8,
}

impl Default for HealthCheckSpec {
    fn default() -> Self {
        Self {
            protocol: ProbeProtocol::default(),
            path: None,
            host: None,
            expect: vec![StatusRange { first: 200, last: 299 }],
            service: None,
            port: None,
            interval: Span::secs(2),
            unhealthy_interval: Span::secs(1),
            timeout: Span::secs(1),
            healthy_after: 2,
            unhealthy_after: 3,
        }
    }
}

/// What a probe speaks.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeProtocol {
    /// A GET, by the `protocol` of the upstream.
    #[default]
    Http,
    /// A connection, and with `tls` its handshake.
    Tcp,
    /// `grpc.health.v1.Health/Check` over HTTP/2.
    Grpc,
}

/// Statuses of HTTP: one, as `204`, or a range, as `200-299`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

impl StatusRange {
    /// Whether it has this status.
    pub fn contains(self, status: u16) -> bool {
        RangeInclusive::new(self.first, self.last).contains(&status)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl FromStr for StatusRange {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|status| digits && (200..=599).contains(status))
        };
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(Invalid::new(format!(
                "`{text}` is not a status; write one from 200 to 599, as `204`, or a range, as `200-299`"
            ))),
        }
    }
}

// By hand: YAML reads `204` as a number and `200-299` as text.
impl<'de> Deserialize<'de> for StatusRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatusVisitor)
    }
}

struct StatusVisitor;

impl Visitor<'_> for StatusVisitor {
    type Value = StatusRange;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status as `204`, or a range as `200-299`")
    }

    fn visit_u64<E: Error>(self, status: u64) -> Result<StatusRange, E> {
        self.visit_str(&status.to_string())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<StatusRange, E> {
        text.parse().map_err(E::custom)
    }
}

impl Serialize for StatusRange {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.first == self.last {
            true => serializer.serialize_u16(self.first),
            false => serializer.collect_str(self),
        }
    }
}

impl JsonSchema for StatusRange {
    fn schema_name() -> Cow<'static, str> {
        "StatusRange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "One status, or a range of them.",
            "anyOf": [
                { "type": "integer", "minimum": 200, "maximum": 599 },
                { "type": "string", "pattern": "^[2-5][0-9][0-9](-[2-5][0-9][0-9])?$" },
            ],
            "examples": [204, "200-299"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_or_a_range_and_prints_as_it_reads() {
        for text in ["204", "200-299", "200-599"] {
            assert_eq!(text.parse::<StatusRange>().unwrap().to_string(), text);
        }
        let range: StatusRange = "200-204".parse().unwrap();

        assert!(range.contains(200) && range.contains(204) && !range.contains(205) && !range.contains(199));
    }

    #[test]
    fn what_is_no_status_says_what_to_write() {
        for bad in ["", "2xx", "99", "100", "600", "299-200", "200-", "-204", "200-299-300", "+20", "0200"] {
            let why = bad.parse::<StatusRange>().unwrap_err().to_string();

            assert!(why.contains("as `204`, or a range"), "{bad}: {why}");
        }
    }
}
