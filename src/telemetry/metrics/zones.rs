//! What upstreams do in each zone: attempts as they are counted, and at a scrape
//! what their tiers are then.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use prometheus::proto::MetricType;

use super::{
    family::{Family, Sample, Scrape},
    traffic::{AttemptResult, lock},
    watched::Watched,
};
use crate::telemetry::shard::{Sharded, add};

/// Counts the attempts towards one zone's endpoints of one upstream.
pub struct ZoneSeries(Sharded<[AtomicU64; AttemptResult::ALL.len()]>);

impl ZoneSeries {
    /// Counts one attempt that is over.
    #[inline]
    pub fn attempt(&self, result: AttemptResult) {
        let cell = self.0.mine().and_then(|cells| cells.get(result as usize));
        if let Some(cell) = cell {
            add(cell, 1);
        }
    }
}

/// What an upstream is at a scrape.
#[derive(Clone, Debug, Default)]
pub struct UpstreamGauges {
    /// Its name.
    pub upstream: String,
    /// Too few endpoints are in service anywhere.
    pub panic: bool,
    /// Ejections since it is known.
    pub ejections: u64,
    /// The share of its traffic that leaves the nearest tier.
    pub spill: f64,
    /// Requests that wait for room, and those that waited: found some, or gave up.
    /// `None` where nobody waits.
    pub queue: Option<[u64; 3]>,
    /// By zone.
    pub zones: Vec<ZoneGauges>,
}

/// What a zone of an upstream is at a scrape.
#[derive(Clone, Debug, Default)]
pub struct ZoneGauges {
    /// Its name.
    pub zone: String,
    /// Of the upstream's traffic.
    pub share: f64,
    /// What its endpoints of a weight above 0 are, in the word of `state`, and how
    /// many are: each is one thing alone.
    pub endpoints: Vec<(&'static str, u64)>,
}

type UpstreamAndZone = (Box<str>, Box<str>);

/// All series, by name, and how gauges are looked up.
pub(super) struct Zones {
    shards: usize,
    series: Mutex<BTreeMap<UpstreamAndZone, Arc<ZoneSeries>>>,
    pub(super) look: Watched<UpstreamGauges>,
}

impl Zones {
    pub(super) fn new(shards: usize) -> Self {
        Self { shards, series: Mutex::default(), look: Watched::default() }
    }

    pub(super) fn series(&self, upstream: &str, zone: &str) -> Arc<ZoneSeries> {
        let fresh = || Arc::new(ZoneSeries(Sharded::new(self.shards)));
        lock(&self.series).entry((upstream.into(), zone.into())).or_insert_with(fresh).clone()
    }

    pub(super) fn retain(&self, kept: &[(&str, &str)]) {
        let kept: HashSet<_, ahash::RandomState> = kept.iter().copied().collect();
        lock(&self.series).retain(|(upstream, zone), _| kept.contains(&(&**upstream, &**zone)));
    }

    fn attempts(&self) -> Vec<Sample> {
        let series = lock(&self.series);
        let used = series.iter().filter(|(_, series)| series.0.is_used());
        let each = used.flat_map(|((upstream, zone), series)| {
            AttemptResult::ALL.iter().map(move |result| {
                let n = series.0.sum(|cells| cells.get(*result as usize));
                ATTEMPTS.count(&[upstream, zone, result.word()], n)
            })
        });
        each.collect()
    }
}

impl Scrape for Zones {
    const FAMILIES: &'static [Family] =
        &[ATTEMPTS, EJECTIONS, PANIC, SPILL, SHARE, ENDPOINTS, WAITING, WAITED];

    fn scrape(&self) -> Vec<Vec<Sample>> {
        let now = self.look.now();
        let each = |of: &dyn Fn(&UpstreamGauges) -> Sample| now.iter().map(of).collect::<Vec<_>>();
        let zones = || now.iter().flat_map(|u| u.zones.iter().map(|zone| (&*u.upstream, zone)));
        let states = |(upstream, zone)| {
            let zone: &ZoneGauges = zone;
            let count = move |(state, n): &(&str, u64)| ENDPOINTS.count(&[upstream, &zone.zone, state], *n);
            zone.endpoints.iter().map(count)
        };
        let queues = || now.iter().filter_map(|u| Some((&*u.upstream, u.queue?)));
        let waited = |(upstream, [_, served, gave_up]): (&str, [u64; 3])| {
            [("served", served), ("gave_up", gave_up)].map(|(result, n)| WAITED.count(&[upstream, result], n))
        };
        vec![
            self.attempts(),
            each(&|u| EJECTIONS.count(&[&u.upstream], u.ejections)),
            each(&|u| PANIC.count(&[&u.upstream], u64::from(u.panic))),
            each(&|u| SPILL.value(&[&u.upstream], u.spill)),
            zones().map(|(upstream, zone)| SHARE.value(&[upstream, &zone.zone], zone.share)).collect(),
            zones().flat_map(states).collect(),
            queues().map(|(upstream, [waiting, ..])| WAITING.count(&[upstream], waiting)).collect(),
            queues().flat_map(waited).collect(),
        ]
    }
}

const ATTEMPTS: Family = Family {
    name: "tollgate_zone_attempts_total",
    help: "Attempts towards endpoints of a zone, by how they ended; - is no zone.",
    labels: &["upstream", "zone", "result"],
    kind: MetricType::COUNTER,
};
const EJECTIONS: Family = Family {
    name: "tollgate_upstream_ejections_total",
    help: "Endpoints ejected by outlier detection.",
    labels: &["upstream"],
    kind: MetricType::COUNTER,
};
const PANIC: Family = Family {
    name: "tollgate_upstream_panic",
    help: "1 while too few endpoints are in service in every tier.",
    labels: &["upstream"],
    kind: MetricType::GAUGE,
};
const SPILL: Family = Family {
    name: "tollgate_upstream_spill_ratio",
    help: "The share of the traffic that leaves the nearest tier.",
    labels: &["upstream"],
    kind: MetricType::GAUGE,
};
const SHARE: Family = Family {
    name: "tollgate_zone_share_ratio",
    help: "The share of an upstream's traffic that a zone takes.",
    labels: &["upstream", "zone"],
    kind: MetricType::GAUGE,
};
const ENDPOINTS: Family = Family {
    name: "tollgate_zone_endpoints",
    help: "Endpoints of a weight above 0, by what they are; each is one thing alone.",
    labels: &["upstream", "zone", "state"],
    kind: MetricType::GAUGE,
};
const WAITING: Family = Family {
    name: "tollgate_upstream_queue_requests",
    help: "Requests that wait for room at an upstream.",
    labels: &["upstream"],
    kind: MetricType::GAUGE,
};
const WAITED: Family = Family {
    name: "tollgate_upstream_queued_total",
    help: "Requests that waited for room, by how it ended; those that left or took too long gave up.",
    labels: &["upstream", "result"],
    kind: MetricType::COUNTER,
};
