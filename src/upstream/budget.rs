//! How many retries an upstream's traffic allows: a share of its requests, and a
//! floor. A service that fails must not be sent twice the load.
//!
//! Two windows of 5 s, the current and the one before, so that a budget is for
//! the last 5 to 10 s and its count costs one addition.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Requests and retries of the last seconds.
#[derive(Debug)]
pub(super) struct Budget {
    born: Instant,
    window: AtomicU64,
    /// By the window's parity: requests and retries.
    counts: [[AtomicU32; 2]; 2],
}

/// How many retries are allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// Of the requests.
    pub(super) share: f64,
    /// A second, in any case.
    pub(super) floor: u32,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self { born: now, window: AtomicU64::new(0), counts: Default::default() }
    }

    /// Counts a request's first attempt.
    pub(super) fn request(&self, now: Instant) {
        let [requests, _] = self.current(now);
        requests.fetch_add(1, Relaxed);
    }

    /// Takes one retry, if one is left.
    pub(super) fn take(&self, allowance: Allowance, now: Instant) -> bool {
        let [_, retries] = self.current(now);
        let sum = |nth: usize| -> f64 {
            self.counts.iter().filter_map(|window| window.get(nth)).map(|c| f64::from(c.load(Relaxed))).sum()
        };
        let floor = f64::from(allowance.floor) * WINDOW.as_secs_f64() * 2.0;
        let left = sum(1) + 1.0 <= (sum(0) * allowance.share).max(floor);
        if left {
            retries.fetch_add(1, Relaxed);
        }
        left
    }

    fn current(&self, now: Instant) -> &[AtomicU32; 2] {
        let window = now.saturating_duration_since(self.born).as_nanos() / WINDOW.as_nanos();
        let window = u64::try_from(window).unwrap_or(u64::MAX);
        let known = self.window.load(Relaxed);
        if window > known && self.window.compare_exchange(known, window, Relaxed, Relaxed).is_ok() {
            let [even, odd] = &self.counts;
            let (this, other) = if window.is_multiple_of(2) { (even, odd) } else { (odd, even) };
            this.iter().for_each(|count| count.store(0, Relaxed));
            if window > known + 1 {
                other.iter().for_each(|count| count.store(0, Relaxed));
            }
        }
        let [even, odd] = &self.counts;
        if window.is_multiple_of(2) { even } else { odd }
    }
}

const WINDOW: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const FIFTH: Allowance = Allowance { share: 0.2, floor: 0 };

    fn taken(budget: &Budget, allowance: Allowance, now: Instant) -> usize {
        (0..10_000).take_while(|_| budget.take(allowance, now)).count()
    }

    #[test]
    fn a_share_of_the_requests_may_be_retries() {
        let now = Instant::now();
        let budget = Budget::new(now);
        (0..1_000).for_each(|_| budget.request(now));

        assert_eq!(taken(&budget, FIFTH, now), 200);
        assert_eq!(taken(&budget, FIFTH, now), 0);
    }

    #[test]
    fn little_traffic_has_its_floor() {
        let now = Instant::now();

        assert_eq!(taken(&Budget::new(now), Allowance { share: 0.2, floor: 3 }, now), 30);
        assert_eq!(taken(&Budget::new(now), FIFTH, now), 0);
    }

    #[test]
    fn what_is_older_than_two_windows_counts_no_more() {
        let start = Instant::now();
        let budget = Budget::new(start);
        (0..1_000).for_each(|_| budget.request(start));
        taken(&budget, FIFTH, start);

        assert_eq!(taken(&budget, FIFTH, start + WINDOW), 0);
        let later = start + WINDOW * 2;
        assert_eq!(taken(&budget, FIFTH, later), 0);
        (0..50).for_each(|_| budget.request(later));
        assert_eq!(taken(&budget, FIFTH, later), 10);
        assert_eq!(taken(&budget, FIFTH, later + WINDOW * 9), 0);
    }
}
