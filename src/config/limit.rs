//! `limits`: how fast each key may go, or how much of it at once.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    server::networks,
    types::{ByteSize, ClaimName, FieldName, MethodName, Name, Rate},
};

/// A limit. Exactly one of `rate` and `concurrency` says which kind.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSpec {
    /// Routes, logs and metrics call it by this name.
    pub name: Name,
    /// Per what it counts: for each different value of all these parts together.
    /// Without it everything counts together.
    #[serde(default)]
    pub key: Vec<KeyPartSpec>,
    /// What becomes of a request that lacks a part of the key.
    #[serde(default)]
    pub missing: MissingSpec,
    /// How many requests in how long.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// How many at once, after a pause. Default: one second of `rate`.
    #[serde(default)]
    pub burst: Option<u32>,
    /// What a request takes of `rate`, by its method and its route: the first entry
    /// that holds for it says. Default: 1.
    #[serde(default)]
    pub costs: Vec<CostSpec>,
    /// How many requests may be under way at once.
    #[serde(default)]
    pub concurrency: Option<u32>,
    /// Whether it holds for every route, before the limits that a route names.
    #[serde(default)]
    pub global: bool,
    /// Whether it refuses. A limit that does not counts and logs what it would.
    #[serde(default = "yes")]
    pub enforce: bool,
    /// Whose requests count together.
    #[serde(default)]
    pub scope: ScopeSpec,
    /// How the gateways of a fleet share it. Default: `leased` where `fleet.store` is
    /// written, else `divided`, and `divided` for `concurrency`.
    #[serde(default)]
    pub share: Option<ShareSpec>,
    /// What becomes of a leased limit while the store does not answer.
    #[serde(default)]
    pub on_store_error: OnStoreErrorSpec,
    /// For whom it does not hold.
    #[serde(default)]
    pub exempt: ExemptSpec,
    /// The most that a limit with `rate` takes: 16 bytes a key, and twice that to
    /// have room for all. Beyond it the keys that owe least are forgotten. Of a leased
    /// limit a quarter is for that, and half for what is to be told the store: 192
    /// bytes for each key that is in use between two exchanges.
    #[serde(default = "memory")]
    pub memory: ByteSize,
}

impl LimitSpec {
    /// The burst, as written or by default.
    pub fn burst(&self) -> u32 {
        self.burst.or(self.rate.map(Rate::per_second)).unwrap_or(1)
    }
}

/// A part of a limit's key.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPartSpec {
    /// The client's address; of IPv6 the first 64 bits.
    ClientAddress,
    /// The tenant.
    Tenant,
    /// Who was authenticated, and by what.
    Consumer,
    /// What this claim of the caller's token says.
    Claim(ClaimName),
    /// The value of this header field.
    Header(FieldName),
    /// The value of this cookie.
    Cookie(String),
    /// The value of this query parameter, as it was sent.
    Query(String),
    /// The route.
    Route,
    /// The method.
    Method,
    /// The path as the route writes it, not as the request does.
    PathTemplate,
}

/// What becomes of a request that lacks a part of a limit's key.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingSpec {
    /// The limit does not hold for it.
    Allow,
    /// It is refused.
    Deny,
    /// All that lack the same parts count together: nobody escapes a limit by
    /// leaving out what it counts by.
    #[default]
    Share,
}

/// What some requests take of a limit: those with one of `methods` on one of
/// `routes`. At least one of the two is written; what is not holds for all.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CostSpec {
    /// Those with one of these methods.
    #[serde(default)]
    pub methods: Vec<MethodName>,
    /// Those on one of these routes.
    #[serde(default)]
    pub routes: Vec<Name>,
    /// As much as so many requests; 0 takes nothing and always passes.
    pub cost: u32,
}

/// Whose requests count together.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeSpec {
    /// Those of this gateway: with n gateways n times as many get through.
    #[default]
    Instance,
    /// Those of all gateways of the fleet.
    Fleet,
}

/// How the gateways of a fleet share a limit.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShareSpec {
    /// Each has the same part of it, whatever the others do: a client whose
    /// connections all end at one gateway gets that part alone.
    Divided,
    /// Each may take all that is left, and they settle up in `fleet.store`.
    Leased,
}

/// What becomes of a leased limit while the store does not answer.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnStoreErrorSpec {
    /// It is divided, as with `share: divided`.
    #[default]
    Local,
    /// It does not hold.
    Allow,
    /// It refuses everybody.
    Deny,
}

impl OnStoreErrorSpec {
    /// As it is written and told.
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// For whom a limit does not hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExemptSpec {
    /// Clients with an address in these networks, unless they come through a VPC
    /// endpoint: 10.0.0.5 there is not 10.0.0.5 here.
    #[schemars(with = "Vec<String>")]
    #[serde(deserialize_with = "networks")]
    pub networks: Vec<IpNet>,
    /// These tenants.
    pub tenants: Vec<Name>,
}

fn yes() -> bool {
    true
}

fn memory() -> ByteSize {
    ByteSize::new(16 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> LimitSpec {
        serde_yaml::from_str(text).unwrap()
    }

    #[test]
    fn a_burst_is_a_second_of_the_rate_unless_written() {
        assert_eq!(limit("{ name: a, rate: 100/s }").burst(), 100);
        assert_eq!(limit("{ name: a, rate: 10/h }").burst(), 1);
        assert_eq!(limit("{ name: a, rate: 100/s, burst: 20 }").burst(), 20);
    }
}
