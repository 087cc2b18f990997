//! Which tokens signers gave out.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::Hash,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use ahash::RandomState;
use prometheus::proto::MetricType;

use super::{
    closed_set::closed_set,
    family::{Family, Sample, Scrape},
    traffic::lock,
};
use crate::telemetry::shard::{Sharded, add};

/// Counts the tokens of one signer. Prebuilt; recording takes no lock.
pub struct SignerSeries {
    tokens: Sharded<[AtomicU64; TokenResult::ALL.len()]>,
    held: AtomicU64,
    /// How many of them each holder has; who has none is not in it.
    holders: Mutex<HashMap<u64, u64>>,
    hasher: RandomState,
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
    holder: u64,
    bytes: u64,
}

/// How many bytes may be held for a signer.
#[derive(Clone, Copy, Debug)]
pub struct MostHeld {
    /// By all requests together.
    pub all: u64,
    /// By those of one holder.
    pub each: u64,
}

impl HeldBytes {
    /// None yet, for whoever this is: of the same holder all are counted together.
    pub fn none(series: Arc<SignerSeries>, holder: impl Hash) -> Self {
        // Under a seed of its own, so that nobody can choose with whom they are counted.
        let holder = series.hasher.hash_one(holder);
        Self { series, holder, bytes: 0 }
    }

    /// Counts so many more; false if that is more than may be held.
    #[must_use]
    pub fn add(&mut self, bytes: u64, most: MostHeld) -> bool {
        if bytes == 0 {
            return true;
        }
        let before = self.series.held.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        let mut holders = lock(&self.series.holders);
        let own = holders.entry(self.holder).or_default();
        *own += bytes;
        before.saturating_add(bytes) <= most.all && *own <= most.each
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        self.series.held.fetch_sub(self.bytes, Ordering::Relaxed);
        let mut holders = lock(&self.series.holders);
        if let Some(own) = holders.get_mut(&self.holder) {
            *own = own.saturating_sub(self.bytes);
            if *own == 0 {
                holders.remove(&self.holder);
            }
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
        let fresh = || {
            let tokens = Sharded::new(self.shards);
            let (held, holders, hasher) = Default::default();
            Arc::new(SignerSeries { tokens, held, holders, hasher })
        };
        lock(&self.series).entry(name.into()).or_insert_with(fresh).clone()
    }

    pub(super) fn retain(&self, names: &HashSet<&str>) {
        lock(&self.series).retain(|name, _| names.contains(&**name));
    }
}

impl Scrape for Signing {
    const FAMILIES: &'static [Family] = &[SIGNED, HELD];

    fn scrape(&self) -> Vec<Vec<Sample>> {
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
        let (mut one, mut two) = (HeldBytes::none(series.clone(), 1), HeldBytes::none(series.clone(), 2));
        let most = MostHeld { all: 100, each: 100 };

        assert!(one.add(60, most) && one.add(40, most));
        assert!(!two.add(1, most));
        drop((one, two));

        assert_eq!(series.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn who_holds_their_share_leaves_the_rest_to_others_and_is_forgotten_afterwards() {
        let series = Signing::new(1).series("a");
        let of = |holder: &str| HeldBytes::none(series.clone(), holder);
        let (mut one, mut again, mut other) = (of("greedy"), of("greedy"), of("other"));
        let most = MostHeld { all: 100, each: 50 };

        assert!(one.add(30, most) && again.add(20, most));
        assert!(!again.add(1, most));
        assert!(other.add(49, most));
        drop(again);
        assert!(one.add(20, most));
        drop((one, other));

        assert!(lock(&series.holders).is_empty());
    }
}
