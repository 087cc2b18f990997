//! What a rate limit grants, in the ticks that its cells count in.
//!
//! Owns the arithmetic of GCRA: a key has a time at which it owes nothing any
//! more (`due`); each token moves it on by `interval`, and it may lie at most
//! `depth` ahead of now. Nothing here overflows: a tick is so long that
//! everything fits in [`TICK_BITS`] bits.

use std::time::Duration;

use super::time::Moment;

/// A rate and a burst. Copied freely: what a decision says of a limit stays
/// readable after the limit is gone.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Terms {
    /// Ticks a token; never 0.
    interval: u64,
    /// Ticks of a whole burst.
    depth: u64,
    burst: u32,
    /// A tick is `1 << shift` nanoseconds.
    shift: u32,
}

impl Terms {
    /// `events` in `per`, and `burst` of them at once; 0 counts as 1 in each, and
    /// 584 years a token is the longest.
    ///
    /// The time of a token is rounded down to a tick, so that a limit grants too
    /// much rather than too little: at most 0.1 % up to 1,000,000/s.
    pub fn new(events: u32, per: Duration, burst: u32) -> Self {
        let nanos = (per.as_nanos() / u128::from(events.max(1))).clamp(1, u64::MAX.into());
        let burst = burst.max(1);
        let depth = nanos.saturating_mul(u128::from(burst));
        let shift = (u128::BITS - depth.leading_zeros()).saturating_sub(DEPTH_BITS);
        let interval = u64::try_from(nanos >> shift).unwrap_or(u64::MAX).max(1);
        Self { interval, depth: interval.saturating_mul(burst.into()), burst, shift }
    }

    /// What one of `gateways` grants that share it equally; its burst is rounded up.
    /// In the same ticks: cells stay what they are while the number changes. Where
    /// that has no room for so much (bursts of years), the share is larger.
    pub fn divided(&self, gateways: u32) -> Self {
        let gateways = gateways.max(1);
        let most = (1 << DEPTH_BITS) - 1;
        let burst = self.burst.div_ceil(gateways);
        let interval = self.interval.saturating_mul(gateways.into()).min(most / u64::from(burst));
        Self { interval, depth: interval * u64::from(burst), burst, shift: self.shift }
    }

    /// The most at once.
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// How long it takes to gain one token.
    pub fn interval(&self) -> Duration {
        self.time(self.interval)
    }

    /// What `cost` tokens are in ticks. More than the burst counts as the burst:
    /// it would never pass otherwise.
    pub(super) fn ticks(&self, cost: u32) -> u64 {
        self.interval * u64::from(cost.min(self.burst))
    }

    /// The moment in ticks. Time stands still after 18 years.
    pub(super) fn now(&self, moment: Moment) -> u64 {
        (moment.0 >> self.shift).min(LAST_TICK)
    }

    /// Whether something that reaches so far beyond now is too much.
    pub(super) fn exceeds(&self, ahead: u64) -> bool {
        ahead > self.depth
    }

    /// Ticks until something that reaches so far beyond now is not too much.
    pub(super) fn wait(&self, ahead: u64) -> u64 {
        ahead.saturating_sub(self.depth)
    }

    /// The tokens left to a key that lies so far ahead.
    pub(super) fn remaining(&self, ahead: u64) -> u32 {
        let left = self.depth.saturating_sub(ahead) / self.interval;
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// As [`remaining`](Self::remaining), with what the next token has already.
    pub(super) fn left(&self, ahead: u64) -> f64 {
        self.depth.saturating_sub(ahead) as f64 / self.interval as f64
    }

    /// So many ticks are not longer than this.
    pub(super) fn ticks_in(&self, time: Duration) -> u64 {
        u64::try_from(time.as_nanos() >> self.shift).unwrap_or(u64::MAX)
    }

    /// The length of some ticks.
    pub(super) fn time(&self, ticks: u64) -> Duration {
        let nanos = u128::from(ticks) << self.shift;
        let (secs, rest) = (nanos / NANOS, nanos % NANOS);
        Duration::new(u64::try_from(secs).unwrap_or(u64::MAX), u32::try_from(rest).unwrap_or(0))
    }
}

/// No tick that is counted anywhere has more bits.
pub(super) const TICK_BITS: u32 = 60;

/// The last of them.
pub(super) const END: u64 = (1 << TICK_BITS) - 1;

/// A burst is at most so long, so that it fits behind the last moment.
const DEPTH_BITS: u32 = TICK_BITS - 2;
const LAST_TICK: u64 = (1 << (TICK_BITS - 1)) - 1;
const NANOS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn usual_rates_count_in_nanoseconds() {
        let terms = Terms::new(100, Duration::from_secs(1), 20);

        assert_eq!((terms.interval, terms.depth, terms.shift), (10_000_000, 200_000_000, 0));
    }

    #[test]
    fn a_limit_never_grants_less_than_it_says_and_at_most_a_thousandth_more() {
        for (events, per) in [(1, DAY), (7, DAY), (999_999, Duration::from_secs(1)), (u32::MAX, 100 * DAY)] {
            for burst in [1, 20, 1_000_000, u32::MAX] {
                let terms = Terms::new(events, per, burst);

                let exact = per.as_secs_f64() / f64::from(events);
                let granted = terms.interval().as_secs_f64();
                assert!(granted <= exact * 1.000_001, "{events} {burst}: {granted}");
                assert!(granted >= exact * 0.999, "{events} {burst}: {granted}");
            }
        }
    }

    #[test]
    fn everything_fits_in_the_ticks_that_there_are() {
        for events in [0, 1, u32::MAX] {
            for per in [Duration::ZERO, DAY, Duration::MAX] {
                for burst in [0, 1, u32::MAX] {
                    let terms = Terms::new(events, per, burst);

                    let furthest = terms.now(Moment(u64::MAX)) + terms.ticks(u32::MAX);
                    assert!(terms.interval >= 1 && terms.depth < 1 << DEPTH_BITS, "{terms:?}");
                    assert!(furthest + terms.depth < 1 << TICK_BITS, "{terms:?}");
                }
            }
        }
    }

    #[test]
    fn gateways_that_share_a_limit_grant_it_together_in_the_same_ticks() {
        let whole = Terms::new(100, Duration::from_secs(1), 20);

        let third = whole.divided(3);

        assert_eq!((third.interval, third.burst, third.shift), (30_000_000, 7, whole.shift));
        assert_eq!((whole.divided(1), whole.divided(0)), (whole, whole));
        assert_eq!(whole.divided(10_000).burst, 1);
        for widest in [Terms::new(1, Duration::MAX, u32::MAX), Terms::new(1, DAY, u32::MAX)] {
            let divided = widest.divided(u32::MAX);
            assert!(divided.interval >= 1 && divided.depth < 1 << DEPTH_BITS, "{divided:?}");
        }
    }

    #[test]
    fn a_cost_above_the_burst_is_the_burst() {
        let terms = Terms::new(100, Duration::from_secs(1), 20);

        assert_eq!(terms.ticks(21), terms.ticks(20));
        assert_eq!(terms.ticks(u32::MAX), terms.depth);
    }
}
