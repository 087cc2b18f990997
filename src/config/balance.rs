//! `balance`: which of the endpoints of a tier gets a request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{FieldName, Percent};

/// Which of the endpoints of a tier gets a request.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BalanceSpec {
    /// Of two drawn by weight the one with less under way.
    #[default]
    LeastRequest,
    /// In turn, as often as its weight says, evenly spread.
    RoundRobin,
    /// The same key, the same endpoint, as long as it is in service and not
    /// overloaded. Others keep theirs when one comes or goes.
    ConsistentHash(ConsistentHashSpec),
}

/// What keeps a request on an endpoint.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistentHashSpec {
    /// Whose value is hashed. A request without it goes anywhere.
    pub key: HashKeySpec,
    /// An endpoint with more than this share of the mean load gives its further
    /// requests to the next one. 110% to 1000%.
    #[serde(default = "max_load")]
    pub max_load: Percent,
}

/// What keeps a request on an endpoint.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HashKeySpec {
    /// The value of this header field.
    Header(FieldName),
    /// The value of this cookie.
    Cookie(String),
    /// The client's address; of IPv6 the first 64 bits.
    ClientAddress,
    /// The tenant.
    Tenant,
    /// Who was authenticated.
    Consumer,
}

fn max_load() -> Percent {
    Percent::new(125)
}
