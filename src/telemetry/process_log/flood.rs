//! Keeps one place in the code from flooding the log.
//!
//! An `accept` that fails because file descriptors are used up fails again at
//! once; written out it would fill the disk and hold up whoever logs. Each place
//! may write a burst, then one line a second, and the next line that is written
//! says how many were not.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use log::Record;

/// What every place may write still.
pub(super) struct Flood([Slot; SLOTS]);

/// Places that share a slot by chance are held to one budget.
#[derive(Default)]
struct Slot {
    /// When the budget will be whole again, in milliseconds.
    whole_at_ms: AtomicU64,
    left_out: AtomicU32,
}

/// What is to become of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It is written, after so many from its place that were not.
    Write { left_out: u32 },
    /// It is not.
    LeaveOut,
}

impl Default for Flood {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Slot::default()))
    }
}

impl Flood {
    /// Judges a line from this place, `now` after any fixed moment.
    pub(super) fn admit(&self, place: u64, now: Duration) -> Verdict {
        let Some(slot) = self.0.get(place as usize % SLOTS) else {
            return Verdict::Write { left_out: 0 };
        };
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let take = |whole_at_ms: u64| {
            let then = whole_at_ms.max(now_ms).saturating_add(EVERY_MS);
            (then <= now_ms.saturating_add(BURST * EVERY_MS)).then_some(then)
        };
        match slot.whole_at_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Verdict::Write { left_out: slot.left_out.swap(0, Ordering::Relaxed) },
            Err(_) => {
                slot.left_out.fetch_add(1, Ordering::Relaxed);
                Verdict::LeaveOut
            }
        }
    }
}

/// A number for the place in the code that a record comes from.
pub(super) fn place(record: &Record) -> u64 {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    hasher.hash_one((record.target(), record.file(), record.line()))
}

/// Lines of one place at once: a reload that tells of every endpoint passes.
const BURST: u64 = 100;

/// Then one line in so long.
const EVERY_MS: u64 = 1_000;

/// More than there are places that log.
const SLOTS: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(flood: &Flood, place: u64, lines: usize, now: Duration) -> usize {
        (0..lines).filter(|_| flood.admit(place, now) != Verdict::LeaveOut).count()
    }

    #[test]
    fn a_burst_passes_then_one_line_a_second() {
        let flood = Flood::default();
        let second = Duration::from_secs(1);

        assert_eq!(written(&flood, 7, 10_000, Duration::ZERO), 100);
        let each_second = (1..=60).map(|s| written(&flood, 7, 1_000, second * s));

        assert_eq!(each_second.collect::<Vec<_>>(), [1; 60]);
    }

    #[test]
    fn the_next_line_tells_how_many_were_left_out() {
        let flood = Flood::default();

        written(&flood, 7, 142, Duration::ZERO);

        assert_eq!(flood.admit(7, Duration::from_secs(1)), Verdict::Write { left_out: 42 });
        assert_eq!(flood.admit(7, Duration::from_secs(2)), Verdict::Write { left_out: 0 });
    }

    #[test]
    fn one_place_does_not_silence_another() {
        let flood = Flood::default();

        written(&flood, 7, 1_000, Duration::ZERO);

        assert_eq!(written(&flood, 8, 100, Duration::ZERO), 100);
    }

    #[test]
    fn a_quiet_time_restores_the_burst_and_no_more() {
        let flood = Flood::default();
        written(&flood, 7, 1_000, Duration::ZERO);

        assert_eq!(written(&flood, 7, 1_000, Duration::from_secs(3_600)), 100);
    }

    #[test]
    fn two_lines_of_a_file_are_two_places() {
        let at = |line| place(&Record::builder().target("t").file(Some("f.rs")).line(Some(line)).build());

        assert_eq!(at(1), at(1));
        assert_ne!(at(1), at(2));
    }
}
