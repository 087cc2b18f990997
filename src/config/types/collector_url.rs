//! [`CollectorUrl`]: where a collector takes spans.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Invalid, ServerAddress, text_value};

/// Where a collector takes spans: `http://127.0.0.1:4318/v1/traces`, with its port and its
/// path, and with nobody's name in it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct CollectorUrl {
    address: ServerAddress,
    path: String,
}

impl CollectorUrl {
    /// Whom to connect to.
    pub fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// What to ask there; begins with a slash, visible ASCII alone.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for CollectorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}{}", self.address, self.path)
    }
}

impl FromStr for CollectorUrl {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let rest = text.strip_prefix(SCHEME).filter(|rest| rest.bytes().all(|b| b.is_ascii_graphic()));
        let parts = rest.and_then(|rest| rest.split_at_checked(rest.find('/')?));
        let parsed = parts
            .filter(|(_, path)| !path.contains('#'))
            .and_then(|(address, path)| Some(Self { address: address.parse().ok()?, path: path.to_owned() }));
        // Not told as it was written: a password may stand in it.
        parsed.ok_or_else(|| {
            Invalid::new(
                "this is not where a collector takes spans; write `http://`, a host, a port and a path, as `http://127.0.0.1:4318/v1/traces`",
            )
        })
    }
}

text_value!(
    CollectorUrl,
    r"^http://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):[0-9]+/[!-~]*$",
    "http://127.0.0.1:4318/v1/traces"
);

const SCHEME: &str = "http://";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_has_a_host_a_port_and_a_path() {
        for text in ["http://127.0.0.1:4318/v1/traces", "http://[::1]:4318/", "http://otel.internal:80/a?b=c"]
        {
            assert_eq!(text.parse::<CollectorUrl>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "127.0.0.1:4318",
            "https://127.0.0.1:4318/v1/traces",
            "http://127.0.0.1/v1/traces",
            "http://127.0.0.1:4318",
            "http://127.0.0.1:0/v1/traces",
            "http://me:secret@127.0.0.1:4318/v1/traces",
            "http://127.0.0.1:4318/v1 traces",
            "http://127.0.0.1:4318/v1\r\ntraces",
            "http://127.0.0.1:4318/#",
        ] {
            let why = bad.parse::<CollectorUrl>().unwrap_err().to_string();
            assert!(!why.contains("secret"), "{bad}: {why}");
        }
    }
}
