//! What limits decided, and at a scrape what they hold.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use prometheus::proto::MetricType;

use super::{
    closed_set::closed_set,
    family::{Family, Sample, Scrape},
    traffic::lock,
    watched::Watched,
};
use crate::telemetry::shard::{Sharded, add};

/// Counts the decisions of one limit. Prebuilt; recording takes no lock.
pub struct LimitSeries(Sharded<[AtomicU64; LimitDecision::ALL.len()]>);

impl LimitSeries {
    /// Counts one decision.
    #[inline]
    pub fn record(&self, decision: LimitDecision) {
        let cell = self.0.mine().and_then(|cells| cells.get(decision as usize));
        if let Some(cell) = cell {
            add(cell, 1);
        }
    }
}

closed_set! {
    /// What a limit said of a request that it was asked about.
    pub enum LimitDecision {
        /// The request went on, and took from it.
        Admitted = "admitted",
        /// It refused the request. Where several would, one is counted.
        Refused = "refused",
        /// It only counts, and would have refused.
        WouldRefuse = "would_refuse",
        /// The request lacks a part of the key, and such are refused.
        MissingDenied = "missing_denied",
        /// The limit does not hold for who asks.
        Exempt = "exempt",
        /// The store does not answer, and everybody passes then.
        StoreAllowed = "store_allowed",
        /// The store does not answer, and nobody passes then.
        StoreDenied = "store_denied",
    }
}

/// What a limit holds at a scrape.
#[derive(Clone, Debug)]
pub enum LimitGauges {
    /// How often a rate's limit forgot a key that still owed something.
    Overflowed(String, u64),
    /// How many requests are under way.
    InFlight(String, u64),
    /// What a leased limit spent and could not tell the store, and how many keys it
    /// has to tell of.
    Ledger(String, u64, u64),
    /// How many gateways share what is shared.
    Gateways(u64),
}

/// All series, by name, and how gauges are looked up.
pub(super) struct Limits {
    shards: usize,
    series: Mutex<BTreeMap<Box<str>, Arc<LimitSeries>>>,
    pub(super) look: Watched<LimitGauges>,
}

impl Limits {
    pub(super) fn new(shards: usize) -> Self {
        Self { shards, series: Mutex::default(), look: Watched::default() }
    }

    pub(super) fn series(&self, name: &str) -> Arc<LimitSeries> {
        let fresh = || Arc::new(LimitSeries(Sharded::new(self.shards)));
        lock(&self.series).entry(name.into()).or_insert_with(fresh).clone()
    }

    pub(super) fn retain(&self, names: &HashSet<&str>) {
        lock(&self.series).retain(|name, _| names.contains(&**name));
    }

    /// How often this limit said so.
    pub(super) fn decided(&self, limit: &str, decision: usize) -> u64 {
        lock(&self.series).get(limit).map_or(0, |series| series.0.sum(|cells| cells.get(decision)))
    }

    fn decisions(&self) -> Vec<Sample> {
        let series = lock(&self.series);
        let used = series.iter().filter(|(_, series)| series.0.is_used());
        let each = used.flat_map(|(name, series)| {
            LimitDecision::ALL.iter().map(move |decision| {
                let n = series.0.sum(|cells| cells.get(*decision as usize));
                DECISIONS.count(&[name, decision.word()], n)
            })
        });
        each.collect()
    }
}

impl Scrape for Limits {
    const FAMILIES: &'static [Family] = &[DECISIONS, OVERFLOWED, IN_FLIGHT, UNTOLD, LEDGER_KEYS, GATEWAYS];

    fn scrape(&self) -> Vec<Vec<Sample>> {
        let (mut overflowed, mut in_flight) = (Vec::new(), Vec::new());
        let (mut untold, mut ledger_keys, mut gateways) = (Vec::new(), Vec::new(), Vec::new());
        for gauges in self.look.now() {
            match gauges {
                LimitGauges::Overflowed(limit, n) => overflowed.push(OVERFLOWED.count(&[&limit], n)),
                LimitGauges::InFlight(limit, n) => in_flight.push(IN_FLIGHT.count(&[&limit], n)),
                LimitGauges::Ledger(limit, n, keys) => {
                    untold.push(UNTOLD.count(&[&limit], n));
                    ledger_keys.push(LEDGER_KEYS.count(&[&limit], keys));
                }
                LimitGauges::Gateways(n) => gateways.push(GATEWAYS.count(&[], n)),
            }
        }
        vec![self.decisions(), overflowed, in_flight, untold, ledger_keys, gateways]
    }
}

const DECISIONS: Family = Family {
    name: "tollgate_limit_decisions_total",
    help: "Requests that a limit was asked about, by what it said.",
    labels: &["limit", "result"],
    kind: MetricType::COUNTER,
};
const OVERFLOWED: Family = Family {
    name: "tollgate_limit_overflowed_total",
    help: "Keys that were forgotten while they still owed something: the limit's memory is too small.",
    labels: &["limit"],
    kind: MetricType::COUNTER,
};
const IN_FLIGHT: Family = Family {
    name: "tollgate_limit_in_flight",
    help: "Requests under way that a limit with concurrency counts, of all keys.",
    labels: &["limit"],
    kind: MetricType::GAUGE,
};
const UNTOLD: Family = Family {
    name: "tollgate_limit_untold_total",
    help: "What was spent of a leased limit and not told the store in full: no room, its exchange was lost, or it came too late.",
    labels: &["limit"],
    kind: MetricType::COUNTER,
};
const LEDGER_KEYS: Family = Family {
    name: "tollgate_limit_ledger_keys",
    help: "Keys of a leased limit that have something to tell the store, or had a moment ago.",
    labels: &["limit"],
    kind: MetricType::GAUGE,
};
const GATEWAYS: Family = Family {
    name: "tollgate_limit_gateways",
    help: "Gateways that share the fleet's limits: as configured, else as last seen in the store.",
    labels: &[],
    kind: MetricType::GAUGE,
};
