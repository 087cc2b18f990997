//! The small values of the configuration: each refuses what is not well-formed
//! and says what to write instead.
//!
//! A value that exists here is well-formed. Nothing here knows a section, a
//! file or another value.

mod amount;
mod claim_name;
mod collector_url;
mod endpoint_address;
mod field;
mod http_url;
mod key_digest;
mod list;
mod origin;
mod rate;
mod ratio;
mod san_pattern;
mod secret;
mod server_address;
mod vpc_endpoint;

use std::{
    borrow::Cow,
    fmt,
    net::{Ipv6Addr, SocketAddr},
    str::FromStr,
};

pub use amount::{ByteSize, Percent, Span};
pub use claim_name::{ClaimName, claim_says};
pub use collector_url::CollectorUrl;
pub use endpoint_address::EndpointAddress;
pub use field::{FieldName, FieldValue, MethodName, Pattern};
pub use http_url::HttpUrl;
pub use key_digest::{KeyDigest, MomentOfDay};
pub use list::List;
pub use origin::OriginPattern;
pub use rate::Rate;
pub use ratio::Ratio;
pub use san_pattern::{CertificateNames, SanPattern};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
pub use secret::Secret;
use serde::{Deserialize, Serialize};
pub use server_address::ServerAddress;
pub use vpc_endpoint::VpcEndpointId;

/// What is wrong with a value, in the words that the operator reads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invalid(Cow<'static, str>);

impl Invalid {
    /// A fixed or made-up sentence: what is wrong, then what to write instead.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

/// Makes a newtype that is written as text in the configuration: it reads
/// through `FromStr`, prints through `Display`, and its schema is a string.
macro_rules! text_value {
    ($name:ident, $pattern:expr, $example:expr) => {
        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "examples": [$example] })
            }
        }
    };
}

use text_value;

/// The name of a thing in the configuration; it stands in logs and metrics.
/// 1 to 63 of `a-z A-Z 0-9 . _ -`, beginning with a letter or digit.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Box<str>);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that is well-formed as it stands in the code; for defaults.
    pub(super) fn from_static(name: &'static str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if first && rest && text.len() <= 63 {
            return Ok(Self(text.into()));
        }
        Err(Invalid::new(format!(
            "`{text}` is not a name; write 1 to 63 letters, digits, `.`, `_` or `-`, beginning with a letter or digit"
        )))
    }
}

text_value!(Name, "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", "orders");

/// Which hosts: `api.example.com`, `*.example.com` (one or more labels in
/// front), or `*` (any). Lower case, without port and trailing dot.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostPattern {
    /// This host alone.
    Exact(String),
    /// Every host that ends with this suffix, which begins with its dot.
    Wildcard(String),
    /// Every host.
    Any,
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(suffix) => write!(f, "*{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl FromStr for HostPattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let lower = text.to_ascii_lowercase();
        let host = lower.strip_suffix('.').unwrap_or(&lower);
        let (wild, name) = host.strip_prefix('*').map_or((false, host), |rest| (true, rest));
        let labels = if wild { name.strip_prefix('.') } else { Some(name) };
        let well_formed = labels.is_some_and(is_host_name) || (!wild && is_ip_literal(name));
        match (well_formed, wild) {
            (true, true) => Ok(Self::Wildcard(name.to_owned())),
            (true, false) => Ok(Self::Exact(one_spelling(name))),
            (false, _) => Err(Invalid::new(format!(
                "`{text}` is not a host; write `api.example.com`, `*.example.com` or `*`, without port or path"
            ))),
        }
    }
}

text_value!(
    HostPattern,
    r"^(\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|[0-9.]+|\[[0-9a-fA-F:.]+\])$",
    "api.example.com"
);

fn is_host_name(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn is_ip_literal(text: &str) -> bool {
    ipv6_of(text).is_some()
}

fn ipv6_of(text: &str) -> Option<Ipv6Addr> {
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// IPv6 as RFC 5952 writes it: so the gate writes a request's host.
fn one_spelling(host: &str) -> String {
    ipv6_of(host).map_or_else(|| host.to_owned(), |address| format!("[{address}]"))
}

/// An address that listens or is connected to: an IP address and a port.
/// Names are not resolved here.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(SocketAddr);

impl Address {
    /// The address as the standard library has it.
    pub const fn socket(self) -> SocketAddr {
        self.0
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Address {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.parse().map(Self).map_err(|_| {
            Invalid::new(format!(
                "`{text}` is not an address; write an IP address and a port, as `10.0.1.10:8080` or `[::1]:8080`"
            ))
        })
    }
}

text_value!(Address, r"^(\[[0-9a-fA-F:.]+\]|[0-9.]+):[0-9]+$", "10.0.1.10:8080");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_folded_and_checked() {
        assert_eq!("API.Example.com.".parse(), Ok(HostPattern::Exact("api.example.com".into())));
        assert_eq!("*.a.b".parse(), Ok(HostPattern::Wildcard(".a.b".into())));
        assert_eq!("[0:0::1]".parse(), Ok(HostPattern::Exact("[::1]".into())));
        for bad in ["", "a b", "a,b", "a:80", "http://a", "*a.b", "a..b", "**", "*.", "a/b"] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
    }
}
