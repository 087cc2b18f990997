//! The counters of tenants' requests, found by index.

use std::sync::Arc;

use crate::{
    config::{Config, tenant::UNKNOWN_TENANT},
    identity::Tenancy,
    telemetry::{Metrics, metrics::TenantSeries},
};

/// The counters of every tenant, and of the unknown together. Without tenants
/// there are none: all endpoints are unknown then.
pub(super) struct TenantSeriesTable {
    unknown: Option<Arc<TenantSeries>>,
    tenants: Vec<Arc<TenantSeries>>,
}

impl TenantSeriesTable {
    pub(super) fn new(config: &Config, metrics: &Metrics) -> Self {
        let tenants: Vec<_> = config.tenants.iter().map(|t| metrics.tenant(t.spec.name.as_str())).collect();
        let unknown = (!tenants.is_empty()).then(|| metrics.tenant(UNKNOWN_TENANT));
        Self { unknown, tenants }
    }

    pub(super) fn of(&self, tenancy: Tenancy) -> Option<&TenantSeries> {
        match tenancy {
            Tenancy::Direct => None,
            Tenancy::Unknown => self.unknown.as_deref(),
            Tenancy::Of(tenant) => self.tenants.get(tenant.0).map(Arc::as_ref),
        }
    }

    pub(super) fn retain(&self, config: &Config, metrics: &Metrics) {
        let unknown = self.unknown.iter().map(|_| UNKNOWN_TENANT);
        let tenants = config.tenants.iter().map(|tenant| tenant.spec.name.as_str());
        metrics.retain_tenants(&tenants.chain(unknown).collect::<Vec<_>>());
    }
}
