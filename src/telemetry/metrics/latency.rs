//! How long requests took, for people: percentiles from the histograms that a scrape reads.
//!
//! Owns the reckoning. It is as fine as the buckets: inside one, times are taken to be
//! spread evenly, as `histogram_quantile` of Prometheus does.

use std::time::Duration;

use super::histogram::BOUNDS_US;

/// How many requests took how long, by bucket.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Latencies(pub(super) [u64; BOUNDS_US.len() + 1]);

impl Latencies {
    /// Those that came after `before`. Of a route that is gone since then, none.
    pub fn since(&self, before: &Self) -> Self {
        let each = |nth| self.of(nth).saturating_sub(before.of(nth));
        Self(std::array::from_fn(each))
    }

    /// Whether all of `before` are among these: a route that is gone took its own along.
    pub fn include(&self, before: &Self) -> bool {
        (0..self.0.len()).all(|nth| self.of(nth) >= before.of(nth))
    }

    /// These and others together.
    pub(super) fn and(&self, others: &Self) -> Self {
        Self(std::array::from_fn(|nth| self.of(nth) + others.of(nth)))
    }

    /// How many requests.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// What this share of them did not exceed, from 0 to 1; a minute at most. `None` of
    /// no requests.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = share * self.count() as f64;
        let (mut below, mut lower) = (0.0, 0);
        for (count, upper) in self.0.iter().zip(BOUNDS_US) {
            let here = *count as f64;
            if here > 0.0 && below + here >= rank {
                let inside = (rank - below) / here * (upper - lower) as f64;
                return Some(Duration::from_micros(lower + inside as u64));
            }
            (below, lower) = (below + here, upper);
        }
        (self.count() > 0).then_some(Duration::from_micros(lower))
    }

    fn of(&self, nth: usize) -> u64 {
        self.0.get(nth).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(counts: &[(usize, u64)]) -> Latencies {
        let mut all = Latencies::default();
        counts.iter().for_each(|(nth, count)| all.0[*nth] = *count);
        all
    }

    fn micros(latencies: &Latencies, share: f64) -> u64 {
        u64::try_from(latencies.quantile(share).unwrap().as_micros()).unwrap()
    }

    #[test]
    fn a_percentile_is_between_the_bounds_of_its_bucket() {
        // 90 of up to 0.5 ms, 9 of 2.5 to 5 ms, 1 of more than a minute.
        let all = latencies(&[(0, 90), (3, 9), (16, 1)]);

        assert_eq!(micros(&all, 0.5), 277);
        assert_eq!(micros(&all, 0.9), 500);
        assert_eq!(micros(&all, 0.99), 5_000);
        assert_eq!(micros(&all, 1.0), 60_000_000);
    }

    #[test]
    fn what_was_before_is_not_in_it_and_what_is_gone_is_none() {
        let (before, after) = (latencies(&[(0, 5), (2, 9)]), latencies(&[(0, 7)]));

        let since = after.since(&before);

        assert_eq!((since.count(), since.quantile(1.0)), (2, Some(Duration::from_micros(500))));
        assert_eq!(before.since(&before).quantile(0.5), None);
        assert!(before.include(&before) && !after.include(&before));
    }
}
