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
    /// Which zone a zone's name is in this account, as `us-east-1a`: names of VPC
    /// endpoints have it in them, and label their addresses by it. With
    /// `zone: imds` that of the own zone is known.
    pub zone_names: Vec<ZoneNameSpec>,
}

impl LocationSpec {
    /// The id of a zone that is called so in this account, if it is written.
    pub fn zone_of(&self, name: &str) -> Option<&Name> {
        self.zone_names.iter().find(|entry| entry.name.as_str() == name).map(|entry| &entry.zone)
    }

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

/// What a zone is called in this account.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneNameSpec {
    /// Its name, as `us-east-1a`.
    pub name: Name,
    /// Its id, as `use1-az1`.
    pub zone: Name,
}

const IMDS: &str = "imds";
