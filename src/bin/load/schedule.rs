//! When each request is due.
//!
//! Owns the rhythm: even, decided before the first answer, and never moved by one. A
//! request that could not be sent in time keeps its place, so that waiting counts.

use std::{
    thread,
    time::{Duration, Instant},
};

/// So many requests, evenly spaced; the first is due at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Schedule {
    /// Requests a second; never 0.
    rate: u32,
    /// How many there are.
    pub count: u64,
}

impl Schedule {
    /// As many as are due before `duration` is over.
    pub fn new(rate: u32, duration: Duration) -> Self {
        let rate = rate.max(1);
        let count = (duration.as_nanos() * u128::from(rate)).div_ceil(SECOND);
        Self { rate, count: u64::try_from(count).unwrap_or(u64::MAX) }
    }

    /// When the `nth` is due, from the start; by itself, so that no error adds up.
    pub fn due(&self, nth: u64) -> Duration {
        let nanos = u128::from(nth) * SECOND / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Gives each request away when it is due, those that are overdue at once; ends
    /// early when `give` says that nobody takes any more.
    ///
    /// Blocks its thread: the runtime's timer has steps of a millisecond.
    pub fn keep(&self, began: Instant, mut give: impl FnMut(Instant) -> bool) {
        for nth in 0..self.count {
            let due = began + self.due(nth);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if !give(due) {
                return;
            }
        }
    }
}

const SECOND: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_evenly_spaced_and_those_at_the_end_are_not_due_any_more() {
        let schedule = Schedule::new(4, Duration::from_secs(1));

        let due: Vec<u128> = (0..schedule.count).map(|nth| schedule.due(nth).as_millis()).collect();

        assert_eq!(due, [0, 250, 500, 750]);
        assert_eq!(Schedule::new(3, Duration::from_millis(1001)).count, 4);
    }

    #[test]
    fn an_hour_at_a_rate_that_divides_no_second_ends_at_its_last_nanosecond() {
        let schedule = Schedule::new(7, Duration::from_secs(3600));

        assert_eq!(schedule.count, 25_200);
        assert_eq!(schedule.due(7 * 1800), Duration::from_secs(1800));
        assert_eq!(schedule.due(25_199), Duration::from_nanos(3_599_857_142_857));
    }

    #[test]
    fn none_is_given_before_it_is_due_and_all_are_given_when_late() {
        let schedule = Schedule::new(1000, Duration::from_millis(20));
        let began = Instant::now();
        let mut early = Vec::new();
        schedule.keep(began, |due| {
            early.extend((Instant::now() < due).then_some(due));
            true
        });
        assert!(early.is_empty());

        // A start long ago: each keeps the instant that it was due at.
        let Some(began) = Instant::now().checked_sub(Duration::from_secs(9)) else { return };
        let mut given = Vec::new();
        schedule.keep(began, |due| {
            given.push(due - began);
            true
        });
        assert_eq!(given.len(), 20);
        assert_eq!(given.last(), Some(&Duration::from_millis(19)));
    }

    #[test]
    fn nobody_is_waited_for_once_nobody_takes_any_more() {
        let mut given = 0;

        Schedule::new(1, Duration::from_secs(3600)).keep(Instant::now(), |_| {
            given += 1;
            false
        });

        assert_eq!(given, 1);
    }
}
