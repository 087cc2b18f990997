//! `authentication[].jwt`: tokens of an identity provider.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::FieldName;

/// Tokens of an identity provider: JSON Web Tokens, signed with keys of a key set.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct JwtSpec {
    /// `iss`: who made the token, as it stands there.
    pub issuer: String,
    /// `aud`: one of these has to be in it; at least one.
    #[serde(default)]
    pub audience: Vec<String>,
    /// The URL of the provider's key set.
    #[serde(default)]
    pub jwks: Option<String>,
    /// A file with the key set, in the place of `jwks`.
    #[serde(default)]
    pub jwks_file: Option<PathBuf>,
    /// The claim that says who asks: limits, rules, logs and signers call the consumer
    /// by it.
    #[serde(default = "subject")]
    pub consumer: String,
    /// The header field that carries the token. In `Authorization` it stands after
    /// `Bearer `.
    #[serde(default = "authorization")]
    pub header: FieldName,
    /// The cookie that carries the token, in the place of `header`.
    #[serde(default)]
    pub cookie: Option<String>,
    /// Whether the upstream gets the token too.
    #[serde(default)]
    pub forward: bool,
}

fn subject() -> String {
    "sub".to_owned()
}

fn authorization() -> FieldName {
    // The literal is well-formed.
    "Authorization".parse().unwrap_or_else(|_| unreachable!())
}
