//! `tenants` and `privatelink`: who comes through which VPC endpoint, and what
//! becomes of those that nobody knows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Sourced,
    types::{Name, VpcEndpointId},
};

/// Who comes through some VPC endpoints (AWS PrivateLink). The load balancer
/// names the endpoint in its PROXY header; nothing that a client sends counts.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TenantSpec {
    /// Routes, logs and metrics call it by this name.
    pub name: Name,
    /// The ids of its VPC endpoints; at least one. An endpoint is of one tenant.
    pub vpc_endpoints: Vec<VpcEndpointId>,
}

/// What holds for everyone who comes through a VPC endpoint (AWS PrivateLink).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrivateLinkSpec {
    /// What becomes of requests through an endpoint that is of no tenant.
    /// Default: `refuse` when there are tenants, else `allow`.
    pub unknown_endpoint: Option<UnknownEndpoint>,
}

impl PrivateLinkSpec {
    /// With its default filled in. Who names tenants says who may come; who
    /// names none has only unknown endpoints.
    pub(super) fn or_default(self, tenants: &[Sourced<TenantSpec>]) -> Self {
        let default = if tenants.is_empty() { UnknownEndpoint::Allow } else { UnknownEndpoint::Refuse };
        Self { unknown_endpoint: self.unknown_endpoint.or(Some(default)) }
    }
}

/// What becomes of requests through a VPC endpoint that is of no tenant.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownEndpoint {
    /// 403, before any route is looked for.
    Refuse,
    /// They are served as requests of no tenant.
    Allow,
}

/// A tenant's place in [`Config::tenants`](super::Config::tenants): what the
/// rest of a snapshot knows it by.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TenantIndex(pub usize);

/// What metrics call all endpoints of no tenant together; no tenant can have
/// this name.
pub const UNKNOWN_TENANT: &str = "unknown";
