//! `authentication[].api_keys`: keys that were given out, by their hashes.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::FieldName;

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
