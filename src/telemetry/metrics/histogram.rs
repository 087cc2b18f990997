//! How long things took, in fixed buckets.
//!
//! Cheaper than the `prometheus` crate's own, which keeps two sets of buckets
//! with a global count and a compare-and-swap loop for a sum in `f64`: here an
//! observation is two additions on a line that is (nearly) the thread's own.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus::proto;

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

    /// The histograms of all shards as one, in seconds.
    pub(super) fn total<T: Default>(
        shards: &Sharded<T>,
        histogram: impl Fn(&T) -> &Self,
    ) -> proto::Histogram {
        let mut count = 0;
        let mut in_bucket = |nth: usize| {
            count += shards.sum(|shard| histogram(shard).buckets.get(nth));
            count
        };
        let bucket = |(nth, bound_us): (usize, &u64)| {
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound_us as f64 / 1e6);
            bucket.set_cumulative_count(in_bucket(nth));
            bucket
        };
        let buckets = BOUNDS_US.iter().enumerate().map(bucket).collect();
        let mut total = proto::Histogram::default();
        total.set_bucket(buckets);
        total.set_sample_count(in_bucket(BOUNDS_US.len()));
        total.set_sample_sum(shards.sum(|shard| Some(&histogram(shard).sum_us)) as f64 / 1e6);
        total
    }
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
    fn buckets_are_told_cumulative_and_the_sum_in_seconds() {
        let shards = Sharded::<Histogram>::new(2);

        for ms in [0, 1, 1, 40, 70_000] {
            shards.mine().unwrap().observe(Duration::from_millis(ms));
        }
        let total = Histogram::total(&shards, |h| h);

        let counts: Vec<_> = total.get_bucket().iter().map(|b| b.cumulative_count()).collect();
        assert_eq!(counts, [1, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4]);
        assert_eq!(total.get_sample_count(), 5);
        assert!((total.get_sample_sum() - 70.042).abs() < 1e-9);
        assert_eq!(total.get_bucket()[0].upper_bound(), 0.0005);
    }

    #[test]
    fn a_duration_beyond_all_reason_does_not_wrap_the_bucket() {
        assert_eq!(micros(Duration::MAX), u64::MAX);
    }
}
