//! From single probes to what is held of an endpoint.
//!
//! Pure: a result in, a change out. Always holds: a result that agrees with what
//! is held forgets the ones that did not, so that only probes in a row count.

use super::super::Health;

/// What is held of an endpoint, and how many probes in a row spoke against it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streak {
    health: Health,
    against: u8,
}

/// How many probes in a row it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    /// From unhealthy to healthy.
    pub(super) healthy: u8,
    /// From healthy to unhealthy.
    pub(super) unhealthy: u8,
}

/// What is held from now on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Change {
    pub(super) from: Health,
    pub(super) to: Health,
    /// Probes in a row that made it so.
    pub(super) after: u8,
}

impl Streak {
    /// Goes on from what is held.
    pub(super) fn new(health: Health) -> Self {
        Self { health, against: 0 }
    }

    /// Takes one result in. The first one of an unproven endpoint decides alone,
    /// either way. `None` when nothing changes.
    pub(super) fn note(&mut self, passed: bool, thresholds: Thresholds) -> Option<Change> {
        let (to, needed) = match passed {
            true => (Health::Healthy, thresholds.healthy),
            false => (Health::Unhealthy, thresholds.unhealthy),
        };
        if self.health == to {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        if self.health != Health::Unproven && self.against < needed {
            return None;
        }
        let from = std::mem::replace(&mut self.health, to);
        Some(Change { from, to, after: std::mem::take(&mut self.against) })
    }

    /// What is held.
    pub(super) fn health(&self) -> Health {
        self.health
    }

    /// Whether its next probe is likely to fail, and so to take as long as it may.
    pub(super) fn is_failing(&self) -> bool {
        self.health != Health::Healthy || self.against > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { healthy: 2, unhealthy: 3 };

    /// What is held after each of these results, `+` for passed.
    fn told(from: Health, results: &str) -> String {
        let mut streak = Streak::new(from);
        let letter = |change: Option<Change>| match change.map(|change| change.to) {
            None => '.',
            Some(Health::Healthy) => 'H',
            Some(Health::Unhealthy) => 'U',
            Some(Health::Unproven) => '?',
        };
        results.chars().map(|result| letter(streak.note(result == '+', THRESHOLDS))).collect()
    }

    #[test]
    fn the_first_probe_decides_alone_either_way() {
        assert_eq!(told(Health::Unproven, "+"), "H");
        assert_eq!(told(Health::Unproven, "-"), "U");
    }

    #[test]
    fn it_takes_as_many_in_a_row_as_the_thresholds_say() {
        assert_eq!(told(Health::Healthy, "---"), "..U");
        assert_eq!(told(Health::Unhealthy, "++"), ".H");
        assert_eq!(told(Health::Unproven, "+---++"), "H..U.H");
    }

    #[test]
    fn one_that_agrees_begins_the_count_anew() {
        assert_eq!(told(Health::Healthy, "--+--+---"), "........U");
        assert_eq!(told(Health::Unhealthy, "+-+-++"), ".....H");
    }

    #[test]
    fn a_state_that_lasts_is_told_once() {
        assert_eq!(told(Health::Unhealthy, "-----"), ".....");
        assert_eq!(told(Health::Healthy, "+++"), "...");
    }

    #[test]
    fn a_change_says_how_many_it_took() {
        let mut streak = Streak::new(Health::Healthy);

        let changes: Vec<_> = (0..3).filter_map(|_| streak.note(false, THRESHOLDS)).collect();

        assert_eq!(changes, [Change { from: Health::Healthy, to: Health::Unhealthy, after: 3 }]);
        assert!(streak.is_failing() && streak.health() == Health::Unhealthy);
    }

    #[test]
    fn one_failure_makes_it_failing_and_one_pass_ends_that() {
        let mut streak = Streak::new(Health::Healthy);

        streak.note(false, THRESHOLDS);
        assert!(streak.is_failing());
        streak.note(true, THRESHOLDS);
        assert!(!streak.is_failing());
    }
}
