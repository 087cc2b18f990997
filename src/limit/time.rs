//! The time that limits count in: nanoseconds since the process began.
//!
//! Monotonic only: what the wall clock does changes no limit. Does not read a
//! clock: an instant is an argument.

use std::time::Instant;

/// Turns instants into moments. One for the whole process: a moment of another
/// clock means nothing to a limit.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    birth: Instant,
}

impl Clock {
    /// A clock that shows 0 at `now`.
    pub fn new(now: Instant) -> Self {
        Self { birth: now }
    }

    /// The moment of an instant; 0 for everything before this clock began.
    pub fn at(&self, now: Instant) -> Moment {
        let since = now.saturating_duration_since(self.birth);
        Moment(since.as_secs().saturating_mul(1_000_000_000).saturating_add(since.subsec_nanos().into()))
    }
}

/// A point in time as limits count it: nanoseconds of the process's [`Clock`].
///
/// Read the clock right before the decision. A moment that lies some time behind
/// one that was decided with already is judged as if the key had so much time
/// less: it can be refused for that. Whoever will not have that asks again, with the
/// moment that it is by then, before refusing.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Moment(pub(super) u64);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moment_is_the_time_since_the_clock_began() {
        let birth = Instant::now();
        let clock = Clock::new(birth + Duration::from_secs(1));

        assert_eq!(clock.at(birth), Moment(0));
        assert_eq!(clock.at(birth + Duration::from_millis(2_500)), Moment(1_500_000_000));
    }
}
