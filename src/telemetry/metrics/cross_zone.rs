//! Attempts that leave the gateway's own zone, and their bytes: what the cloud
//! charges for, and whether it had to be.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use prometheus::proto::MetricType;

use super::{
    closed_set::closed_set,
    family::{Family, Sample, Scrape},
    traffic::lock,
};
use crate::telemetry::shard::{Sharded, add};

/// Counts the attempts of one upstream that went to an endpoint of another zone.
pub struct CrossZoneSeries(Sharded<[Cells; OwnZone::ALL.len()]>);

#[derive(Default)]
struct Cells {
    requests: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl CrossZoneSeries {
    /// Counts one attempt that is over: what the own zone had when its endpoint
    /// was picked, and the bytes of both bodies.
    #[inline]
    pub fn record(&self, own_zone: OwnZone, sent: u64, received: u64) {
        let cells = self.0.mine().and_then(|cells| cells.get(own_zone as usize));
        if let Some(cells) = cells {
            add(&cells.requests, 1);
            add(&cells.sent, sent);
            add(&cells.received, received);
        }
    }
}

closed_set! {
    /// What the gateway's own zone had while an attempt went to another.
    pub enum OwnZone {
        /// An endpoint in service: the request left because of shares, a key, a
        /// failed attempt or too many in flight.
        InService = "in_service",
        /// No endpoint in service.
        None = "none",
    }
}

/// All series, by upstream.
pub(super) struct CrossZone {
    shards: usize,
    series: Mutex<BTreeMap<Box<str>, Arc<CrossZoneSeries>>>,
}

impl CrossZone {
    pub(super) fn new(shards: usize) -> Self {
        Self { shards, series: Mutex::default() }
    }

    pub(super) fn series(&self, upstream: &str) -> Arc<CrossZoneSeries> {
        let fresh = || Arc::new(CrossZoneSeries(Sharded::new(self.shards)));
        lock(&self.series).entry(upstream.into()).or_insert_with(fresh).clone()
    }

    pub(super) fn retain(&self, upstreams: &HashSet<&str>) {
        lock(&self.series).retain(|upstream, _| upstreams.contains(&**upstream));
    }
}

impl Scrape for CrossZone {
    const FAMILIES: &'static [Family] = &[REQUESTS, BYTES];

    fn scrape(&self) -> Vec<Vec<Sample>> {
        let (mut requests, mut bytes) = (Vec::new(), Vec::new());
        let series = lock(&self.series);
        for (upstream, series) in series.iter().filter(|(_, series)| series.0.is_used()) {
            for own_zone in OwnZone::ALL {
                let sum =
                    |of: fn(&Cells) -> &AtomicU64| series.0.sum(|cells| cells.get(own_zone as usize).map(of));
                let word = own_zone.word();
                requests.push(REQUESTS.count(&[upstream, word], sum(|cells| &cells.requests)));
                bytes.push(BYTES.count(&[upstream, word, "sent"], sum(|cells| &cells.sent)));
                bytes.push(BYTES.count(&[upstream, word, "received"], sum(|cells| &cells.received)));
            }
        }
        vec![requests, bytes]
    }
}

const REQUESTS: Family = Family {
    name: "tollgate_upstream_cross_zone_requests_total",
    help: "Attempts of requests, failed ones too, that went to an endpoint of another zone, by what the own zone had in service.",
    labels: &["upstream", "own_zone"],
    kind: MetricType::COUNTER,
};
const BYTES: Family = Family {
    name: "tollgate_upstream_cross_zone_bytes_total",
    help: "Bytes of bodies sent to endpoints of other zones and received from them.",
    labels: &["upstream", "own_zone", "direction"],
    kind: MetricType::COUNTER,
};
