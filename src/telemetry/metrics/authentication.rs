//! What ways of authentication said of requests.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use prometheus::proto::MetricType;

use super::{
    family::{Family, Sample, Scrape},
    traffic::lock,
};
use crate::telemetry::shard::{Sharded, add};

/// Counts what one way of authentication said. Prebuilt; recording takes no lock.
pub struct AuthenticatorSeries {
    words: Box<[&'static str]>,
    counts: Sharded<[AtomicU64; MOST_WORDS]>,
}

impl AuthenticatorSeries {
    /// Counts the outcome at this place among its words.
    #[inline]
    pub fn record(&self, place: usize) {
        let cell = self.counts.mine().and_then(|cells| cells.get(place));
        if let Some(cell) = cell {
            add(cell, 1);
        }
    }
}

/// All series, by the name of the way of authentication.
pub(super) struct Authentication {
    shards: usize,
    series: Mutex<BTreeMap<Box<str>, Arc<AuthenticatorSeries>>>,
}

impl Authentication {
    pub(super) fn new(shards: usize) -> Self {
        Self { shards, series: Mutex::default() }
    }

    pub(super) fn series(&self, name: &str, words: &[&'static str]) -> Arc<AuthenticatorSeries> {
        let fresh =
            || Arc::new(AuthenticatorSeries { words: words.into(), counts: Sharded::new(self.shards) });
        lock(&self.series).entry(name.into()).or_insert_with(fresh).clone()
    }

    pub(super) fn retain(&self, names: &HashSet<&str>) {
        lock(&self.series).retain(|name, _| names.contains(&**name));
    }
}

impl Scrape for Authentication {
    const FAMILIES: &'static [Family] = &[OUTCOMES];

    fn scrape(&self) -> Vec<Vec<Sample>> {
        let series = lock(&self.series);
        let each = series.iter().filter(|(_, series)| series.counts.is_used()).flat_map(|(name, series)| {
            series.words.iter().enumerate().map(move |(place, word)| {
                OUTCOMES.count(&[name, word], series.counts.sum(|cells| cells.get(place)))
            })
        });
        vec![each.collect()]
    }
}

/// As many words as there may be.
const MOST_WORDS: usize = 32;

const OUTCOMES: Family = Family {
    name: "tollgate_authentications_total",
    help: "What a way of authentication said of requests: vouched, nothing (was presented to it), foreign \
           (it was given out by others), or why what was presented is not good.",
    kind: MetricType::COUNTER,
    labels: &["authenticator", "outcome"],
};
