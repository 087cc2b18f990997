//! `location`: where this gateway runs, by which upstreams tell near from far.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::Name;

/// Where this gateway runs. Without it every zone is as near as the other.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocationSpec {
    /// The availability zone's id, as `use1-az1` (names differ between accounts),
    /// or `imds`: what the instance's metadata service says at start-up.
    pub zone: Option<Name>,
    /// The region; with `zone: imds` what the metadata service says.
    pub region: Option<Name>,
    /// How many gateways there are in each zone. The own zone then takes no more
    /// than the gateways here can send it without crushing it.
    pub gateways_per_zone: Vec<GatewaysSpec>,
}

impl LocationSpec {
    /// Whether the instance's metadata service is asked.
    pub fn asks_imds(&self) -> bool {
        self.zone.as_ref().is_some_and(|zone| zone.as_str() == IMDS)
    }
}

/// How many gateways there are in a zone.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GatewaysSpec {
    /// The availability zone's id.
    pub zone: Name,
    /// How many; at least 1.
    pub gateways: u32,
}

const IMDS: &str = "imds";
