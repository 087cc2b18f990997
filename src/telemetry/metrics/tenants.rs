//! Whose requests there were, by tenant.
//!
//! A family of its own: as a label of the requests of each route it would
//! multiply those series by the tenants.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use prometheus::proto::MetricType;

use super::{
    family::{Family, Sample, Scrape},
    traffic::{STATUSES, class, lock},
};
use crate::telemetry::shard::{Sharded, add};

/// Counts the requests of one tenant. Prebuilt; recording takes no lock.
pub struct TenantSeries(Sharded<[AtomicU64; STATUSES.len()]>);

impl TenantSeries {
    /// Counts one request that is over: the status that was sent, 0 when the
    /// client left before one was.
    #[inline]
    pub fn record(&self, status: u16) {
        let requests = self.0.mine().and_then(|cells| cells.get(class(status)));
        if let Some(requests) = requests {
            add(requests, 1);
        }
    }
}

/// All series, by name. Snapshots being built and scrapes take the lock,
/// requests never.
pub(super) struct Tenants {
    shards: usize,
    series: Mutex<BTreeMap<Box<str>, Arc<TenantSeries>>>,
}

impl Tenants {
    pub(super) fn new(shards: usize) -> Self {
        Self { shards, series: Mutex::default() }
    }

    pub(super) fn series(&self, name: &str) -> Arc<TenantSeries> {
        let fresh = || Arc::new(TenantSeries(Sharded::new(self.shards)));
        lock(&self.series).entry(name.into()).or_insert_with(fresh).clone()
    }

    pub(super) fn retain(&self, names: &[&str]) {
        let names: HashSet<_> = names.iter().copied().collect();
        lock(&self.series).retain(|name, _| names.contains(&**name));
    }
}

impl Scrape for Tenants {
    const FAMILIES: &'static [Family] = &[REQUESTS];

    fn scrape(&self) -> Vec<Vec<Sample>> {
        let series = lock(&self.series);
        let used = series.iter().filter(|(_, series)| series.0.is_used());
        let each = used.flat_map(|(name, series)| {
            let status = |(nth, status): (usize, &&str)| {
                REQUESTS.count(&[name, status], series.0.sum(|cells| cells.get(nth)))
            };
            STATUSES.iter().enumerate().map(status).collect::<Vec<_>>()
        });
        vec![each.collect()]
    }
}

const REQUESTS: Family = Family {
    name: "tollgate_tenant_requests_total",
    help: "Requests that are over and came through a VPC endpoint, by whose it is and class of the status sent.",
    labels: &["tenant", "status"],
    kind: MetricType::COUNTER,
};
