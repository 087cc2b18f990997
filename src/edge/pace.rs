//! How long a client may be waited for: who sends a body byte by byte, or takes
//! an answer so, holds a place that others need.
//!
//! Patience is a budget of time: it begins with a grace, is spent only while the
//! gateway waits for the client, and every byte earns some back. Whoever is silent
//! because nobody asks (an endpoint that takes slowly, events that are rare)
//! spends none. Owns no timer: the connection's watch looks from time to time.

use std::{
    sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering},
    task::Waker,
    time::{Duration, Instant},
};

use futures::task::AtomicWaker;

/// What the watch of a connection sees of its pace.
#[derive(Debug)]
pub(super) struct Pace {
    begun: Instant,
    /// Bodies that are awaited.
    uploads: AtomicI32,
    /// When the patience with a body ends, in microseconds after `begun`; 0 while
    /// nothing is waited for.
    until: AtomicU64,
    /// Whoever waits for a body.
    reader: AtomicWaker,
    /// Bytes wait to be taken.
    unsent: AtomicBool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            uploads: AtomicI32::new(0),
            until: AtomicU64::new(0),
            reader: AtomicWaker::new(),
            unsent: AtomicBool::new(false),
        }
    }
}

impl Pace {
    /// So many more bodies are awaited.
    pub fn uploads(&self, more: i32) {
        self.uploads.fetch_add(more, Ordering::Relaxed);
    }

    /// How many bodies are awaited, of which so many have not come to their end.
    fn awaited(&self, open: u32) -> u32 {
        u32::try_from(self.uploads.load(Ordering::Relaxed)).unwrap_or(0).min(open)
    }

    /// Whether the patience with a body has ended.
    pub fn is_over(&self, now: Instant) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        until != 0 && self.awaited(u32::MAX) > 0 && self.micros(now) >= until
    }

    /// Wakes whoever waits for a body.
    pub fn wake_reader(&self) {
        self.reader.wake();
    }

    /// Whether bytes wait to be taken.
    pub fn is_unsent(&self) -> bool {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Notes whether bytes wait to be taken.
    pub fn note_unsent(&self, unsent: bool) {
        // A load is cheaper than a store that other cores must see.
        if self.is_unsent() != unsent {
            self.unsent.store(unsent, Ordering::Relaxed);
        }
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.begun).as_micros()).unwrap_or(u64::MAX)
    }
}

/// How slow a client may be.
#[derive(Clone, Copy, Debug)]
pub struct MinRate {
    /// Bytes a second; 0 asks for nothing.
    pub bytes: u64,
    /// The patience with each body before its first byte.
    pub grace: Duration,
}

/// What the reader of a connection's bodies knows of its patience with them.
pub(super) struct Patience {
    rate: MinRate,
    left: Duration,
    /// How many are waited for.
    bodies: u32,
    waits_since: Option<Instant>,
}

impl Patience {
    /// With the bodies of one connection: each of them has to come at the rate, so
    /// that a fast one does not pay for a hundred that stand still.
    pub fn new(rate: MinRate) -> Self {
        Self { rate, left: rate.grace, bodies: 0, waits_since: None }
    }

    /// The client is waited for. `open` is how many bodies it may have begun and not
    /// ended: one that has come whole waits for us.
    pub fn wait(&mut self, open: u32, pace: &Pace, waker: &Waker, now: impl Fn() -> Instant) {
        if self.rate.bytes == 0 {
            return;
        }
        self.bodies = pace.awaited(open);
        if self.bodies == 0 {
            self.left = self.rate.grace;
            return;
        }
        pace.reader.register(waker);
        if self.waits_since.is_none() {
            let now = now();
            self.waits_since = Some(now);
            pace.until.store(pace.micros(now + self.left).max(1), Ordering::Relaxed);
        }
    }

    /// Something came, so many bytes of bodies.
    pub fn came(&mut self, bytes: usize, pace: &Pace, now: impl Fn() -> Instant) {
        let Some(since) = self.waits_since.take() else { return };
        let spent = now().saturating_duration_since(since);
        let rate = self.rate.bytes.max(1).saturating_mul(self.bodies.max(1).into());
        let earned = Duration::from_secs_f64(bytes as f64 / rate as f64);
        self.left = (self.left.saturating_sub(spent) + earned).min(self.rate.grace + MOST_EARNED);
        pace.until.store(0, Ordering::Relaxed);
    }
}

/// Above the grace: a client that sent much may be silent for as long as
/// `connections.read` lets it by default, and no fast start pays for hours.
const MOST_EARNED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: MinRate = MinRate { bytes: 100, grace: Duration::from_secs(10) };

    /// Sends so many bytes every so many seconds; after how many it is cut.
    fn cut_after(bytes: usize, every: u64) -> Option<u64> {
        cut_among(1, bytes, every)
    }

    /// The same of so many bodies.
    fn cut_among(bodies: i32, bytes: usize, every: u64) -> Option<u64> {
        let (pace, mut patience) = (Pace::default(), Patience::new(RATE));
        pace.uploads(bodies);
        for second in 0..600 {
            let now = pace.begun + Duration::from_secs(second);
            if pace.is_over(now) {
                return Some(second);
            }
            if second > 0 && second % every == 0 {
                patience.came(bytes, &pace, || now);
            }
            patience.wait(u32::MAX, &pace, Waker::noop(), || now);
        }
        None
    }

    #[test]
    fn who_sends_less_than_the_rate_is_cut_when_the_grace_is_spent() {
        assert_eq!(cut_after(0, 1_000), Some(10));
        assert!(cut_after(1, 5).is_some_and(|second| (10..12).contains(&second)));
        assert!(cut_after(50, 1).is_some_and(|second| (19..22).contains(&second)));
    }

    #[test]
    fn who_sends_more_than_the_rate_is_not() {
        assert_eq!(cut_after(150, 1), None);
        assert_eq!(cut_after(1_000, 8), None);
    }

    #[test]
    fn one_body_does_not_pay_for_others() {
        assert_eq!(cut_among(10, 1_500, 1), None);
        assert!(cut_among(10, 500, 1).is_some_and(|second| (19..22).contains(&second)));
    }

    #[test]
    fn a_body_that_has_come_whole_is_not_waited_for() {
        let (pace, mut patience) = (Pace::default(), Patience::new(RATE));
        pace.uploads(1);

        patience.wait(0, &pace, Waker::noop(), || pace.begun);

        assert!(!pace.is_over(pace.begun + Duration::from_secs(3600)));
    }

    #[test]
    fn a_fast_start_does_not_pay_for_ever() {
        let (pace, mut patience) = (Pace::default(), Patience::new(RATE));
        pace.uploads(1);
        patience.wait(1, &pace, Waker::noop(), || pace.begun);
        patience.came(10 << 20, &pace, || pace.begun);

        patience.wait(1, &pace, Waker::noop(), || pace.begun);

        assert!(!pace.is_over(pace.begun + Duration::from_secs(69)));
        assert!(pace.is_over(pace.begun + Duration::from_secs(70)));
    }

    #[test]
    fn nothing_is_spent_while_nobody_waits() {
        let (pace, mut patience) = (Pace::default(), Patience::new(RATE));
        let later = pace.begun + Duration::from_secs(3600);

        patience.wait(1, &pace, Waker::noop(), || pace.begun);
        assert!(!pace.is_over(later), "no body is awaited");
        pace.uploads(1);
        assert!(!pace.is_over(later), "nobody waits");
        patience.wait(1, &pace, Waker::noop(), || pace.begun);
        assert!(pace.is_over(later));
        patience.came(0, &pace, || pace.begun);

        assert!(!pace.is_over(later), "something came");
    }
}
