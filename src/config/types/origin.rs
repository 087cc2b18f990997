//! Which origins of web pages.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{HostPattern, Invalid, text_value};

/// Origins of web pages, as browsers write them in `Origin`: `https://app.example.com`,
/// `https://*.example.com` (one or more labels in front), each with a port where it is
/// not the scheme's own, or `*` (any).
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum OriginPattern {
    /// This origin alone.
    Exact(String),
    /// Every origin of this scheme, `://` at its end, whose host and port end like this,
    /// which begins with its dot.
    #[allow(missing_docs)]
    Wildcard { scheme: String, suffix: String },
    /// Every origin.
    Any,
}

impl OriginPattern {
    /// Whether this origin is one of them. Browsers write it in one way: what is written
    /// in another is none.
    pub fn takes(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(own) => own == origin,
            Self::Wildcard { scheme, suffix } => {
                let host = origin.strip_prefix(scheme.as_str());
                let labels = host.and_then(|host| host.strip_suffix(suffix.as_str()));
                labels.is_some_and(|labels| {
                    let of_host = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
                    !labels.is_empty() && !labels.starts_with('.') && labels.bytes().all(of_host)
                })
            }
        }
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(origin) => f.write_str(origin),
            Self::Wildcard { scheme, suffix } => write!(f, "{scheme}*{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl FromStr for OriginPattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == "*" {
            return Ok(Self::Any);
        }
        read(&text.to_ascii_lowercase()).ok_or_else(|| {
            Invalid::new(format!(
                "`{text}` is no origin; write scheme and host, as `https://app.example.com`, `https://*.example.com` or `http://localhost:3000`, without a path, or `*`"
            ))
        })
    }
}

fn read(text: &str) -> Option<OriginPattern> {
    let (name, rest) = text.split_once("://")?;
    let own_port = match name {
        "http" => ":80",
        "https" => ":443",
        _ => return None,
    };
    let rest = rest.strip_suffix(own_port).unwrap_or(rest);
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse::<u16>().ok().filter(|port| *port > 0)?)
        }
        _ => (rest, 0),
    };
    let port = if port == 0 { String::new() } else { format!(":{port}") };
    let scheme = format!("{name}://");
    match host.parse::<HostPattern>().ok()? {
        HostPattern::Exact(host) => Some(OriginPattern::Exact(format!("{scheme}{host}{port}"))),
        HostPattern::Wildcard(suffix) => {
            Some(OriginPattern::Wildcard { scheme, suffix: format!("{suffix}{port}") })
        }
        HostPattern::Any => None,
    }
}

text_value!(
    OriginPattern,
    r"^(\*|[hH][tT][tT][pP][sS]?://(\*\.)?[A-Za-z0-9_.\[\]:-]+)$",
    "https://app.example.com"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(pattern: &str, origin: &str) -> bool {
        pattern.parse::<OriginPattern>().unwrap().takes(origin)
    }

    #[test]
    fn an_origin_is_taken_whole() {
        assert!(takes("https://app.example.com", "https://app.example.com"));
        assert!(takes("HTTPS://App.Example.com:443", "https://app.example.com"));
        assert!(takes("http://localhost:3000", "http://localhost:3000"));
        assert!(takes("http://[::1]:3000", "http://[::1]:3000"));
        assert!(takes("*", "https://anything"));
        for other in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.test",
            "https://evil.test/https://app.example.com",
            "https://xapp.example.com",
            "null",
            "",
        ] {
            assert!(!takes("https://app.example.com", other), "{other}");
        }
    }

    #[test]
    fn a_wildcard_takes_hosts_below_its_own_and_nothing_that_ends_alike() {
        for good in ["https://a.example.com", "https://a.b-c.example.com"] {
            assert!(takes("https://*.example.com", good), "{good}");
        }
        for bad in [
            "https://example.com",
            "https://.example.com",
            "http://a.example.com",
            "https://evilexample.com",
            "https://evil.test/.example.com",
            "https://evil.test?.example.com",
            "https://user@a.example.com",
            "https://evil.test:80.example.com",
            "https://a.example.com:8443",
            "https://A.example.com",
        ] {
            assert!(!takes("https://*.example.com", bad), "{bad}");
        }
        assert!(takes("https://*.example.com:8443", "https://a.example.com:8443"));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in [
            "",
            "null",
            "example.com",
            "https://",
            "https://*",
            "ftp://a",
            "https://a/b",
            "https://a:0",
            "https://a:x",
            "https://*a.b",
        ] {
            assert!(bad.parse::<OriginPattern>().is_err(), "{bad}");
        }
    }
}
