//! The small values of the configuration: each refuses what is not well-formed
//! and says what to write instead.
//!
//! A value that exists here is well-formed. Nothing here knows a section, a
//! file or another value.

use std::{borrow::Cow, fmt, net::SocketAddr, str::FromStr, time::Duration};

use http::{HeaderName, HeaderValue, Method};
use regex::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

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

/// The name of a thing in the configuration; it stands in logs and metrics.
/// 1 to 63 of `a-z A-Z 0-9 . _ -`, beginning with a letter or digit.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
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
            return Ok(Self(text.to_owned()));
        }
        Err(Invalid::new(format!(
            "`{text}` is not a name; write 1 to 63 letters, digits, `.`, `_` or `-`, beginning with a letter or digit"
        )))
    }
}

text_value!(Name, "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", "orders");

/// A length of time, written with a unit: `500ms`, `30s`, `5m`, `1h`. Never zero.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

impl Span {
    /// So many milliseconds; for the defaults in code.
    pub const fn millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// So many seconds; for the defaults in code.
    pub const fn secs(s: u64) -> Self {
        Self(Duration::from_secs(s))
    }

    /// The time itself.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            _ if ms.is_multiple_of(3_600_000) => write!(f, "{}h", ms / 3_600_000),
            _ if ms.is_multiple_of(60_000) => write!(f, "{}m", ms / 60_000),
            _ if ms.is_multiple_of(1_000) => write!(f, "{}s", ms / 1_000),
            _ => write!(f, "{ms}ms"),
        }
    }
}

impl FromStr for Span {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = text.strip_prefix(digits).unwrap_or_default();
        let ms = match unit {
            "ms" => Some(1),
            "s" => Some(1_000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            _ => None,
        };
        let parsed = digits.parse::<u64>().ok().zip(ms).and_then(|(n, ms)| n.checked_mul(ms));
        match parsed {
            // A year: beyond it is a typing mistake, and timers overflow.
            Some(ms) if ms > 0 && ms <= 31_536_000_000 => Ok(Self::millis(ms)),
            _ => Err(Invalid::new(format!(
                "`{text}` is not a length of time; write a count and a unit (ms, s, m, h), as `500ms` or `30s`"
            ))),
        }
    }
}

text_value!(Span, "^[0-9]+(ms|s|m|h)$", "30s");

/// A number of bytes: `512`, `64KiB`, `10MiB`, `1GiB`. Powers of 1024 only.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(u64);

impl ByteSize {
    /// So many bytes; for the defaults in code.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 >= 1 << shift && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl FromStr for ByteSize {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let shift = match text.strip_prefix(digits).unwrap_or_default() {
            "" | "B" => Some(0),
            "KiB" => Some(10),
            "MiB" => Some(20),
            "GiB" => Some(30),
            _ => None,
        };
        let parsed = digits.parse::<u64>().ok().zip(shift);
        parsed.and_then(|(n, shift)| n.checked_mul(1 << shift)).map(Self).ok_or_else(|| {
            Invalid::new(format!(
                "`{text}` is not a size; write a count and a unit (B, KiB, MiB, GiB), as `10MiB`"
            ))
        })
    }
}

text_value!(ByteSize, "^[0-9]+(B|KiB|MiB|GiB)?$", "10MiB");

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
            (true, false) => Ok(Self::Exact(name.to_owned())),
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
    let bracketed = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    bracketed.is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok())
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

/// A regular expression in the syntax of the `regex` crate: linear time, no
/// look-around. Compiled when it is read.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Regex);

impl Pattern {
    /// The compiled expression.
    pub fn regex(&self) -> &Regex {
        &self.0
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for Pattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // 1 MiB of compiled program: a pattern beyond it is a list in disguise.
        let built = regex::RegexBuilder::new(text).size_limit(1 << 20).dfa_size_limit(1 << 20).build();
        built.map(Self).map_err(|why| {
            let why = why.to_string().lines().last().unwrap_or_default().trim().to_owned();
            Invalid::new(format!(
                "`{text}` is not a pattern ({why}); write a regular expression, as `^/v[0-9]+/`"
            ))
        })
    }
}

text_value!(Pattern, ".*", "^/v[0-9]+/users/([^/]+)$");

/// The name of a header field: an RFC 9110 token without underscore, which
/// many servers read as a dash.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldName(HeaderName);

impl FieldName {
    /// The name in lower case, as the `http` crate has it.
    pub fn header(&self) -> &HeaderName {
        &self.0
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for FieldName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let name = HeaderName::from_str(text).ok().filter(|_| !text.contains('_'));
        name.map(Self).ok_or_else(|| {
            Invalid::new(format!(
                "`{text}` is not a header name; write letters, digits and dashes, as `x-request-tier`"
            ))
        })
    }
}

text_value!(FieldName, "^[A-Za-z0-9!#$%&'*+.^`|~-]+$", "x-request-tier");

/// The value of a header field: visible ASCII, space and tab; no line breaks.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldValue(HeaderValue);

impl FieldValue {
    /// The value as the `http` crate has it.
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

impl FromStr for FieldValue {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let visible = text.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b));
        let value = HeaderValue::from_str(text).ok().filter(|_| visible && text.trim() == text);
        value.map(Self).ok_or_else(|| {
            Invalid::new("not a header value; write visible ASCII on one line, without space at either end")
        })
    }
}

text_value!(FieldValue, r"^([!-~]([\t -~]*[!-~])?)?$", "gold");

/// A request method: upper-case letters and dashes, at most 32. `CONNECT` and
/// `TRACE` cannot be named: the gateway never forwards them.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct MethodName(Method);

impl MethodName {
    /// The method as the `http` crate has it.
    pub fn method(&self) -> &Method {
        &self.0
    }
}

impl From<Method> for MethodName {
    fn from(method: Method) -> Self {
        Self(method)
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for MethodName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let shape =
            (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        let method = Method::from_bytes(text.as_bytes()).ok();
        let method = method.filter(|m| shape && *m != Method::CONNECT && *m != Method::TRACE);
        method.map(Self).ok_or_else(|| {
            Invalid::new(format!(
                "`{text}` is not a method that can be forwarded; write upper case, as `GET` or `POST`"
            ))
        })
    }
}

text_value!(MethodName, "^[A-Z-]{1,32}$", "POST");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_reads_and_prints_alike() {
        for text in ["500ms", "30s", "5m", "1h", "90s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_span_without_unit_or_of_zero_says_what_to_write() {
        for text in ["5", "0s", "s", "-1s", "1d", "99999999999h"] {
            let why = text.parse::<Span>().unwrap_err().to_string();

            assert!(why.contains("write a count and a unit"), "{why}");
        }
    }

    #[test]
    fn a_size_is_in_powers_of_1024() {
        assert_eq!("64KiB".parse::<ByteSize>().unwrap().bytes(), 65_536);
        assert_eq!(ByteSize::new(10 << 20).to_string(), "10MiB");
        assert!("64KB".parse::<ByteSize>().is_err());
    }

    #[test]
    fn hosts_are_folded_and_checked() {
        assert_eq!("API.Example.com.".parse(), Ok(HostPattern::Exact("api.example.com".into())));
        assert_eq!("*.a.b".parse(), Ok(HostPattern::Wildcard(".a.b".into())));
        assert_eq!("[::1]".parse(), Ok(HostPattern::Exact("[::1]".into())));
        for bad in ["", "a b", "a,b", "a:80", "http://a", "*a.b", "a..b", "**", "*.", "a/b"] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_header_name_with_an_underscore_is_refused() {
        assert!("x_tier".parse::<FieldName>().is_err());
        assert!("x-tier".parse::<FieldName>().is_ok());
    }

    #[test]
    fn connect_and_trace_cannot_be_named() {
        assert!("CONNECT".parse::<MethodName>().is_err());
        assert!("TRACE".parse::<MethodName>().is_err());
        assert!("get".parse::<MethodName>().is_err());
        assert!("PROPFIND".parse::<MethodName>().is_ok());
    }
}
