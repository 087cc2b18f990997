//! Which tokens signers gave out.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use prometheus::proto::{Metric, MetricType};

use super::{
    closed_set::closed_set,
    family::{Family, Scrape},
    traffic::lock,
};
use crate::telemetry::shard::{Sharded, add};

/// Counts the tokens of one signer. Prebuilt; recording takes no lock.
pub struct SignerSeries(Sharded<[AtomicU64; TokenResult::ALL.len()]>);

impl SignerSeries {
    /// Counts one token.
    #[inline]
    pub fn record(&self, result: TokenResult) {
        let cell = self.0.mine().and_then(|cells| cells.get(result as usize));
        if let Some(cell) = cell {
            add(cell, 1);
        }
    }
}

closed_set! {
    /// Where a request's token is from.
    pub enum TokenResult {
        /// It was signed for it.
        Fresh = "fresh",
        /// It was signed before, for others with the same claims.
        Cached = "cached",
        /// There is none, and the request was refused.
        Failed = "failed",
    }
}

/// All series, by the signer's name.
pub(super) struct Signing {
    shards: usize,
    series: Mutex<BTreeMap<Box<str>, Arc<SignerSeries>>>,
}

impl Signing {
    pub(super) fn new(shards: usize) -> Self {
        Self { shards, series: Mutex::default() }
    }

    pub(super) fn series(&self, name: &str) -> Arc<SignerSeries> {
        let fresh = || Arc::new(SignerSeries(Sharded::new(self.shards)));
        lock(&self.series).entry(name.into()).or_insert_with(fresh).clone()
    }

    pub(super) fn retain(&self, names: &HashSet<&str>) {
        lock(&self.series).retain(|name, _| names.contains(&**name));
    }
}

impl Scrape for Signing {
    const FAMILIES: &'static [Family] = &[SIGNED];

    fn scrape(&self) -> Vec<Vec<Metric>> {
        let series = lock(&self.series);
        let used = series.iter().filter(|(_, series)| series.0.is_used());
        let each = used.flat_map(|(name, series)| {
            TokenResult::ALL.iter().map(move |result| {
                let n = series.0.sum(|cells| cells.get(*result as usize));
                SIGNED.count(&[name, result.word()], n)
            })
        });
        vec![each.collect()]
    }
}

const SIGNED: Family = Family {
    name: "tollgate_jwt_signed_total",
    help: "Tokens that signers gave requests on their way, by where they are from.",
    labels: &["signer", "result"],
    kind: MetricType::COUNTER,
};
