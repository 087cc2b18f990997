//! When which probe is due.
//!
//! Pure: time and draws are arguments. Always holds: endpoints that begin
//! together are spread over their whole interval, and who comes late is not
//! probed twice for it.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

/// What is due when, by the numbers of targets.
#[derive(Default)]
pub(super) struct Schedule(BinaryHeap<Reverse<(Instant, u64)>>);

impl Schedule {
    /// This target is due then.
    pub(super) fn put(&mut self, at: Instant, target: u64) {
        self.0.push(Reverse((at, target)));
    }

    /// Takes out a target that is due, the one that waits longest first.
    pub(super) fn due(&mut self, now: Instant) -> Option<u64> {
        let Reverse((at, target)) = *self.0.peek()?;
        (at <= now).then(|| {
            self.0.pop();
            target
        })
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// Forgets every other target.
    pub(super) fn retain(&mut self, keeps: impl Fn(u64) -> bool) {
        self.0.retain(|Reverse((_, target))| keeps(*target));
    }
}

/// When an endpoint's first probe is due: its hash says where in the interval.
pub(super) fn first(now: Instant, interval: Duration, hash: u64) -> Instant {
    // The upper half of the hash is as good as the whole.
    now + interval.mul_f64((hash >> 32) as f64 / f64::from(u32::MAX))
}

/// When the next probe is due: an interval after the last one was, give or take
/// a tenth, as `draw` (0 to 1) says. When that is past, since probes had to wait
/// or the process stood still, it is somewhere in the interval's second half
/// from now on, so that those who waited together part again.
pub(super) fn next(was_due: Instant, now: Instant, interval: Duration, draw: f64) -> Instant {
    let next = was_due + interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * draw);
    if next > now { next } else { now + interval.mul_f64(0.5 + draw / 2.0) }
}

/// Ten gateways that were started by one command do not probe in step for long.
const JITTER: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    #[test]
    fn what_waits_longest_comes_first_and_nothing_before_its_time() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        for (after, target) in [(3, 30), (1, 10), (2, 20)] {
            schedule.put(now + Duration::from_secs(after), target);
        }

        let two_seconds = now + Duration::from_secs(2);

        assert_eq!(schedule.next(), Some(now + Duration::from_secs(1)));
        assert_eq!([schedule.due(two_seconds), schedule.due(two_seconds)], [Some(10), Some(20)]);
        assert_eq!(schedule.due(two_seconds), None);
        assert_eq!(schedule.next(), Some(now + Duration::from_secs(3)));
    }

    #[test]
    fn forgotten_targets_are_not_due() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        (0..10).for_each(|target| schedule.put(now, target));

        schedule.retain(|target| target == 7);

        assert_eq!([schedule.due(now), schedule.due(now)], [Some(7), None]);
    }

    #[test]
    fn ten_thousand_that_begin_together_fill_every_tenth_of_the_interval() {
        let now = Instant::now();
        let mut random = fastrand::Rng::with_seed(7);
        let mut tenths = [0; 10];

        for _ in 0..10_000 {
            let after = first(now, INTERVAL, random.u64(..)) - now;
            tenths[(after.as_secs_f64() as usize).min(9)] += 1;
        }

        assert!(tenths.iter().all(|count| (850..1150).contains(count)), "{tenths:?}");
    }

    #[test]
    fn the_next_is_an_interval_later_give_or_take_a_tenth() {
        let due = Instant::now();
        let now = due + Duration::from_millis(20);
        let after = |draw| (next(due, now, INTERVAL, draw) - due).as_secs_f64();

        assert!((after(0.0) - 9.0).abs() < 1e-6);
        assert!((after(0.5) - 10.0).abs() < 1e-6);
        assert!((after(1.0) - 11.0).abs() < 1e-6);
    }

    #[test]
    fn after_a_standstill_nobody_is_due_at_once_and_all_part_again() {
        let due = Instant::now();
        let now = due + Duration::from_secs(3600);
        let after = |draw| (next(due, now, INTERVAL, draw) - now).as_secs_f64();

        assert!((after(0.0) - 5.0).abs() < 1e-6);
        assert!((after(1.0) - 10.0).abs() < 1e-6);
    }
}
