//! `authentication[].api_keys`: keys that were given out, by their hashes; and what a
//! file of keys says of each.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{FieldName, KeyDigest, MomentOfDay, Name};

/// Keys that were given out. The gateway knows their SHA-256 alone.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeysSpec {
    /// Files of keys, as `tollgate apikey new` writes lines for; at least one. A file
    /// may be a team's own: it is watched, and taken without a reload.
    pub files: Vec<PathBuf>,
    /// The header field that carries a key. In `Authorization` it stands after `Bearer `.
    #[serde(default = "x_api_key")]
    pub header: FieldName,
    /// Whether the upstream gets the key too. Whoever reads the upstream's logs may
    /// then use it.
    #[serde(default)]
    pub forward: bool,
}

fn x_api_key() -> FieldName {
    // The literal is well-formed.
    "X-Api-Key".parse().unwrap_or_else(|_| unreachable!())
}

/// A key that was given out, in a file of keys.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ApiKeySpec {
    /// Whose key it is. Several keys of one consumer count together.
    pub consumer: Name,
    /// The SHA-256 of the key.
    pub sha256: KeyDigest,
    /// Whose tenant's. Through the VPC endpoint of another tenant the key is not good.
    #[serde(default)]
    pub tenant: Option<Name>,
    /// Limits of its own, beside those of the route.
    #[serde(default)]
    pub limits: Vec<Name>,
    /// What it may do.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// From when on it is not good any more.
    #[serde(default)]
    pub expires: Option<MomentOfDay>,
    /// It was taken back; it is refused as one that is known.
    #[serde(default)]
    pub revoked: bool,
}

/// Whether it is a scope of RFC 6749 (3.3).
pub fn is_scope(text: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
    !text.is_empty() && text.bytes().all(allowed)
}
