//! How long things took, in fixed buckets.
//!
//! Cheaper than the `prometheus` crate's own, which keeps two sets of buckets
//! with a global count and a compare-and-swap loop for a sum in `f64`: here an
//! observation is two additions on a line that is (nearly) the thread's own.

use std::{sync::atomic::AtomicU64, time::Duration};

use super::latency::Latencies;
use crate::telemetry::shard::{Sharded, add};

/// One shard's observations. In this order, so that the sum is on the cache line of the
/// buckets that most requests fall into.
#[derive(Default)]
#[repr(C)]
pub(super) struct Histogram {
    /// Microseconds: in nanoseconds 10,000 open streams would wrap it in weeks.
    sum_us: AtomicU64,
    /// One for each bound, and one for what is above them all; not cumulative.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
}

impl Histogram {
    /// Counts one observation.
    #[inline]
    pub(super) fn observe(&self, took: Duration) {
        let us = micros(took);
        if let Some(bucket) = self.buckets.get(bucket_of(us)) {
            add(bucket, 1);
        }
        add(&self.sum_us, us);
    }

    /// How many observations of all shards each bucket has.
    pub(super) fn counts<T: Default>(shards: &Sharded<T>, histogram: impl Fn(&T) -> &Self) -> Latencies {
        let count = |nth| shards.sum(|shard| histogram(shard).buckets.get(nth));
        Latencies(std::array::from_fn(count))
    }

    /// The histograms of all shards as one.
    pub(super) fn total<T: Default>(shards: &Sharded<T>, histogram: impl Fn(&T) -> &Self) -> Total {
        let mut all = 0;
        let at_most = Self::counts(shards, &histogram).0.map(|here| {
            all += here;
            all
        });
        Total { at_most, sum_us: shards.sum(|shard| Some(&histogram(shard).sum_us)) }
    }
}

/// What a histogram says at a scrape.
pub(super) struct Total {
    /// How many observations were at most so long, by [`BOUNDS`].
    pub(super) at_most: [u64; BOUNDS.len()],
    /// All of them together, in microseconds.
    pub(super) sum_us: u64,
}

/// Whole microseconds; half a million years and more are all the same.
#[inline]
fn micros(took: Duration) -> u64 {
    took.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(took.subsec_micros()))
}

/// Which bucket: the first whose bound is not below. Counts all bounds rather
/// than searching: the compiler makes it a few vector instructions.
#[inline]
fn bucket_of(us: u64) -> usize {
    BOUNDS_US.iter().map(|bound| usize::from(*bound < us)).sum()
}

/// 0.5 ms to 60 s, in microseconds: fine around what a proxy adds and around
/// what people wait for, coarse up to the default request timeout.
pub(super) const BOUNDS_US: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// The same as a scrape tells them, in seconds, and what is above them all.
pub(super) const BOUNDS: [&str; BOUNDS_US.len() + 1] = [
    "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5",
    "10", "30", "60", "+Inf",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let cases = [(0, 0), (500, 0), (501, 1), (60_000_000, 15), (60_000_001, 16), (u64::MAX, 16)];

        assert_eq!(cases.map(|(us, _)| bucket_of(us)), cases.map(|(_, bucket)| bucket));
        assert!(BOUNDS_US.is_sorted());
    }

    #[test]
    fn buckets_are_told_cumulative() {
        let shards = Sharded::<Histogram>::new(2);

        for ms in [0, 1, 1, 40, 70_000] {
            shards.mine().unwrap().observe(Duration::from_millis(ms));
        }
        let total = Histogram::total(&shards, |h| h);

        assert_eq!(total.at_most, [1, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5]);
        assert_eq!(total.sum_us, 70_042_000);
    }

    #[test]
    fn a_duration_beyond_all_reason_does_not_wrap_the_bucket() {
        assert_eq!(micros(Duration::MAX), u64::MAX);
    }
}
