//! Which tokens signers gave out.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus::proto::{Metric, MetricType};

use super::{
    closed_set::closed_set,
    family::{Family, Scrape},
    traffic::lock,
};
use crate::telemetry::shard::{Sharded, add};

/// Counts the tokens of one signer. Prebuilt; recording takes no lock.
pub struct SignerSeries {
    tokens: Sharded<[AtomicU64; TokenResult::ALL.len()]>,
    held: AtomicU64,
}

impl SignerSeries {
    /// Counts one token.
    #[inline]
    pub fn record(&self, result: TokenResult) {
        let cell = self.tokens.mine().and_then(|cells| cells.get(result as usize));
        if let Some(cell) = cell {
            add(cell, 1);
        }
    }
}

/// Bytes of a request's body that are held until it goes on; counted as long as this
/// lives.
pub struct HeldBytes {
    series: Arc<SignerSeries>,
    bytes: u64,
}

impl HeldBytes {
    /// None yet.
    pub fn none(series: Arc<SignerSeries>) -> Self {
        Self { series, bytes: 0 }
    }

    /// Counts so many more, unless all requests of the signer would hold more than
    /// `most`: false then.
    #[must_use]
    pub fn add(&mut self, bytes: u64, most: u64) -> bool {
        let before = self.series.held.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        before.saturating_add(bytes) <= most
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.series.held.fetch_sub(self.bytes, Ordering::Relaxed);
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
        let fresh = || Arc::new(SignerSeries { tokens: Sharded::new(self.shards), held: AtomicU64::new(0) });
        lock(&self.series).entry(name.into()).or_insert_with(fresh).clone()
    }

    pub(super) fn retain(&self, names: &HashSet<&str>) {
        lock(&self.series).retain(|name, _| names.contains(&**name));
    }
}

impl Scrape for Signing {
    const FAMILIES: &'static [Family] = &[SIGNED, HELD];

    fn scrape(&self) -> Vec<Vec<Metric>> {
        let series = lock(&self.series);
        let used = series.iter().filter(|(_, series)| series.tokens.is_used());
        let each = used.flat_map(|(name, series)| {
            TokenResult::ALL.iter().map(move |result| {
                let n = series.tokens.sum(|cells| cells.get(*result as usize));
                SIGNED.count(&[name, result.word()], n)
            })
        });
        let held = series.iter().map(|(name, s)| HELD.count(&[name], s.held.load(Ordering::Relaxed)));
        vec![each.collect(), held.collect()]
    }
}

const SIGNED: Family = Family {
    name: "tollgate_jwt_signed_total",
    help: "Tokens that signers gave requests on their way, by where they are from.",
    labels: &["signer", "result"],
    kind: MetricType::COUNTER,
};
const HELD: Family = Family {
    name: "tollgate_jwt_held_body_bytes",
    help: "Bytes of requests' bodies that are held because their hash goes in front of them.",
    labels: &["signer"],
    kind: MetricType::GAUGE,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_bytes_are_counted_until_they_are_gone_and_no_more_than_the_most_are() {
        let series = Signing::new(1).series("a");
        let (mut one, mut two) = (HeldBytes::none(series.clone()), HeldBytes::none(series.clone()));

        assert!(one.add(60, 100) && one.add(40, 100));
        assert!(!two.add(1, 100));
        drop((one, two));

        assert_eq!(series.held.load(Ordering::Relaxed), 0);
    }
}
