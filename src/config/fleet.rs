//! `fleet`: the gateways that count together, and what they count in.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{Name, Secret, ServerAddress, Span};

/// The gateways that count together at limits with `scope: fleet`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FleetSpec {
    /// How many there are; 1 to 10000.
    pub gateways: Option<u32>,
    /// Or a file that lists them, as `fleet.yaml`: an entry of `endpoints` for each,
    /// as in an upstream's `endpoints_file`. Those with a weight above 0 count. It is
    /// watched: what changes in it needs no reload.
    pub gateways_file: Option<PathBuf>,
    /// Where limits with `share: leased` are counted.
    pub store: Option<StoreSpec>,
}

/// A Redis or Valkey in which gateways settle up. No request ever waits for it.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSpec {
    /// Where it answers, as `redis.internal:6379`. Of a cluster, some of its nodes:
    /// the others are found by them.
    pub addresses: Vec<ServerAddress>,
    /// Whether it is a cluster (Redis Cluster; ElastiCache with cluster mode).
    #[serde(default)]
    pub cluster: bool,
    /// TLS towards it; without it the connection is cleartext.
    #[serde(default)]
    pub tls: Option<StoreTlsSpec>,
    /// As whom the gateway logs in. Default: the store's default user.
    #[serde(default)]
    pub username: Option<String>,
    /// With which password, as `${file:/run/secrets/redis}`.
    #[serde(default)]
    pub password: Option<Secret>,
    /// What all of its keys begin with: two fleets in one store have two.
    #[serde(default = "prefix")]
    pub prefix: Name,
    /// How often gateways settle up, in the background; 10ms to 5s. It is how much
    /// later than the store a gateway knows that the fleet is at a limit.
    #[serde(default = "exchange_every")]
    pub exchange_every: Span,
    /// How long that may take each time; 10ms to 10s.
    #[serde(default = "timeout")]
    pub timeout: Span,
}

/// TLS towards the store. Its certificate is always verified.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreTlsSpec {
    /// The authorities that may have signed it, PEM; without it the system's.
    pub ca: Option<PathBuf>,
    /// The name sent as SNI and looked for in the certificate. Default: the host that
    /// is connected to.
    pub server_name: Option<String>,
}

fn prefix() -> Name {
    Name::from_static("tollgate")
}

fn exchange_every() -> Span {
    Span::millis(100)
}

fn timeout() -> Span {
    Span::millis(250)
}
