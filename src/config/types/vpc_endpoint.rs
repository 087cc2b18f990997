//! The id of a VPC endpoint.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Invalid, text_value};

/// The id of a VPC endpoint, as AWS gives it to who makes one: `vpce-` and 17
/// hex digits in lower case (8 in old accounts). Load balancers send it so: any
/// other spelling would never be met.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct VpcEndpointId(String);

impl VpcEndpointId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VpcEndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for VpcEndpointId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let is_hex = |digits: &str| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let digits = text.strip_prefix("vpce-").filter(|digits| matches!(digits.len(), 8 | 17));
        if digits.is_some_and(is_hex) {
            return Ok(Self(text.to_owned()));
        }
        if text.starts_with("vpce-svc-") {
            return Err(Invalid::new(format!(
                "`{text}` is an endpoint service, which is your side; write the tenant's endpoint, as `{EXAMPLE}`"
            )));
        }
        Err(Invalid::new(format!(
            "`{text}` is not the id of a VPC endpoint; write `vpce-` and its 17 (or 8) hex digits in lower case, as `{EXAMPLE}`"
        )))
    }
}

text_value!(VpcEndpointId, "^vpce-([0-9a-f]{8}|[0-9a-f]{17})$", EXAMPLE);

const EXAMPLE: &str = "vpce-0123456789abcdef0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_vpce_and_8_or_17_hex_digits_in_lower_case() {
        for good in ["vpce-0123456789abcdef0", "vpce-0a1b2c3d"] {
            assert_eq!(good.parse::<VpcEndpointId>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "vpce-",
            "billing",
            "0123456789abcdef0",
            "vpce-0123456789ABCDEF0",
            "VPCE-0123456789abcdef0",
            "vpce-0123456789abcdef",
            "vpce-0123456789abcdef01",
            "vpce-0123456789abcdeg0",
            " vpce-0a1b2c3d",
            "vpce-0a1b2c3d\n",
        ] {
            assert!(bad.parse::<VpcEndpointId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_service_is_told_from_the_endpoint() {
        let why = "vpce-svc-0123456789abcdef0".parse::<VpcEndpointId>().unwrap_err().to_string();

        assert!(why.contains("is an endpoint service"), "{why}");
    }
}
