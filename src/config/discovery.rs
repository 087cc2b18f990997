//! `discovery`: how names of endpoints are looked up, and how long what was found
//! counts.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    server::networks,
    types::{Address, Span},
};

/// How names of endpoints are looked up. It rules names alone, not files.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiscoverySpec {
    /// Who is asked, as `10.0.0.2:53`. Default: those of /etc/resolv.conf.
    pub resolvers: Vec<Address>,
    /// How long one look-up may take, with everything that it takes.
    pub timeout: Span,
    /// How long the last good answer serves while none comes.
    pub keep: Span,
    /// Names are looked up again no sooner, whatever their time to live says.
    pub min_ttl: Span,
    /// And no later.
    pub max_ttl: Span,
    /// So many addresses of a name are taken, and no more.
    pub max_addresses: u32,
    /// Networks that answers may be in although no endpoint should be there:
    /// loopback, link-local (the metadata service), multicast, unspecified.
    #[schemars(with = "Vec<String>")]
    #[serde(deserialize_with = "networks")]
    pub allow: Vec<IpNet>,
}

impl Default for DiscoverySpec {
    fn default() -> Self {
        Self {
            resolvers: Vec::new(),
            timeout: Span::secs(2),
            keep: Span::secs(86_400),
            min_ttl: Span::secs(1),
            max_ttl: Span::secs(300),
            max_addresses: 1000,
            allow: Vec::new(),
        }
    }
}
