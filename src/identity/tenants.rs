//! Which tenant a VPC endpoint is of.
//!
//! The table of one snapshot: a request asks once, by one hash look-up, and is
//! ruled by numbers from there on. A request without an endpoint, and a
//! configuration without tenants, cost a comparison.

use std::{collections::HashMap, sync::Arc};

use ahash::RandomState;

use crate::config::{
    Problems, Source, Sourced,
    tenant::{PrivateLinkSpec, TenantIndex, TenantSpec, UnknownEndpoint},
};

/// Whose requests come through a VPC endpoint.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Tenancy {
    /// They come through none.
    #[default]
    Direct,
    /// The endpoint is of no tenant.
    Unknown,
    /// The endpoint is of this one.
    Of(TenantIndex),
}

impl Tenancy {
    /// The tenant, where there is one.
    pub fn tenant(self) -> Option<TenantIndex> {
        match self {
            Self::Of(tenant) => Some(tenant),
            Self::Direct | Self::Unknown => None,
        }
    }
}

/// What is counted by tenant goes by this; it outlives a reload that leaves the
/// tenant its name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TenantKey<'a> {
    /// The tenant of this name.
    Named(&'a str),
    /// Whoever comes through an endpoint of no tenant.
    Endpoint(&'a str),
}

/// The tenants of a snapshot.
#[derive(Debug)]
pub struct Tenants {
    by_endpoint: HashMap<Box<str>, TenantIndex, RandomState>,
    /// In the order of the configuration.
    names: Box<[Arc<str>]>,
    refuses_unknown: bool,
}

impl Tenants {
    /// The tenants of a configuration, whose ids and names are each there once.
    /// What is well-formed and still no good goes to `problems`.
    pub fn build(
        tenants: &[Sourced<TenantSpec>],
        privatelink: &PrivateLinkSpec,
        main: &Source,
        problems: &mut Problems,
    ) -> Self {
        let refuses_unknown = privatelink.unknown_endpoint != Some(UnknownEndpoint::Allow);
        if refuses_unknown && tenants.is_empty() {
            let text = "without `tenants` every endpoint is unknown, and nobody gets in through PrivateLink; name some, or write `allow`";
            problems.warn(&main.key("privatelink").key("unknown_endpoint"), text);
        }
        let ids = tenants.iter().enumerate().flat_map(|(index, tenant)| {
            tenant.spec.vpc_endpoints.iter().map(move |id| (id.as_str().into(), TenantIndex(index)))
        });
        Self {
            by_endpoint: ids.collect(),
            names: tenants.iter().map(|tenant| tenant.spec.name.as_str().into()).collect(),
            refuses_unknown,
        }
    }

    /// Whose requests come through this endpoint, `None` being no endpoint.
    pub fn of(&self, vpc_endpoint: Option<&str>) -> Tenancy {
        let Some(id) = vpc_endpoint else { return Tenancy::Direct };
        self.by_endpoint.get(id).map_or(Tenancy::Unknown, |tenant| Tenancy::Of(*tenant))
    }

    /// Whether such a request gets no further; the caller answers 403.
    pub fn refuse(&self, tenancy: Tenancy) -> bool {
        tenancy == Tenancy::Unknown && self.refuses_unknown
    }

    /// Whose count a connection through this endpoint is in.
    pub fn count_as<'a>(&'a self, vpc_endpoint: &'a str) -> TenantKey<'a> {
        match self.of(Some(vpc_endpoint)).tenant().and_then(|tenant| self.name(tenant)) {
            Some(name) => TenantKey::Named(name),
            None => TenantKey::Endpoint(vpc_endpoint),
        }
    }

    /// What logs and metrics call a tenant.
    pub fn name(&self, tenant: TenantIndex) -> Option<&str> {
        self.names.get(tenant.0).map(|name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn build(tenants: serde_json::Value, unknown: UnknownEndpoint) -> (Tenants, Problems) {
        let specs: Vec<TenantSpec> = serde_json::from_value(tenants).unwrap();
        let main = Source::file("t.yaml");
        let sourced = |(i, spec)| Sourced { source: main.key("tenants").entry(i), spec: Arc::new(spec) };
        let specs: Vec<_> = specs.into_iter().enumerate().map(sourced).collect();
        let mut problems = Problems::default();
        let policy = PrivateLinkSpec { unknown_endpoint: Some(unknown) };
        (Tenants::build(&specs, &policy, &main, &mut problems), problems)
    }

    fn two() -> serde_json::Value {
        json!([
            { "name": "billing", "vpc_endpoints": ["vpce-0123456789abcdef0", "vpce-0a1b2c3d"] },
            { "name": "search", "vpc_endpoints": ["vpce-11111111"] }
        ])
    }

    #[test]
    fn the_endpoints_of_a_tenant_are_counted_together_and_others_alone() {
        let (tenants, _) = build(two(), UnknownEndpoint::Allow);

        assert_eq!(tenants.count_as("vpce-0123456789abcdef0"), tenants.count_as("vpce-0a1b2c3d"));
        assert_ne!(tenants.count_as("vpce-0a1b2c3d"), tenants.count_as("vpce-11111111"));
        assert_ne!(tenants.count_as("vpce-22222222"), tenants.count_as("vpce-33333333"));
        assert_ne!(tenants.count_as("vpce-22222222"), TenantKey::Named("vpce-22222222"));
    }

    #[test]
    fn an_endpoint_names_its_tenant_and_nothing_else_does() {
        let (tenants, problems) = build(two(), UnknownEndpoint::Refuse);
        let name = |id| tenants.of(Some(id)).tenant().and_then(|tenant| tenants.name(tenant));

        assert_eq!(name("vpce-0123456789abcdef0"), Some("billing"));
        assert_eq!(name("vpce-0a1b2c3d"), Some("billing"));
        assert_eq!(name("vpce-11111111"), Some("search"));
        for unknown in ["", "billing", "vpce-0A1B2C3D", "vpce-0a1b2c3", "vpce-0a1b2c3d "] {
            assert_eq!(tenants.of(Some(unknown)), Tenancy::Unknown, "{unknown}");
        }
        assert_eq!(tenants.of(None), Tenancy::Direct);
        assert!(problems.is_empty(), "{problems}");
    }

    #[test]
    fn an_unknown_endpoint_is_refused_or_allowed_and_nobody_else_is() {
        let (refuses, _) = build(two(), UnknownEndpoint::Refuse);
        let (allows, _) = build(two(), UnknownEndpoint::Allow);

        assert!(refuses.refuse(Tenancy::Unknown));
        assert!(!allows.refuse(Tenancy::Unknown));
        for tenants in [refuses, allows] {
            assert!(!tenants.refuse(Tenancy::Direct) && !tenants.refuse(Tenancy::Of(TenantIndex(1))));
        }
    }

    #[test]
    fn to_refuse_the_unknown_where_nobody_is_known_is_pointed_out() {
        let told = |unknown| build(json!([]), unknown).1.to_string();

        let warned = told(UnknownEndpoint::Refuse);
        assert!(
            warned.starts_with("warning: t.yaml: privatelink.unknown_endpoint: without `tenants`"),
            "{warned}"
        );
        assert_eq!(told(UnknownEndpoint::Allow), "");
    }
}
