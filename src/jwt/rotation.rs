//! Which of a signer's keys signs, and which verifiers are told of.
//!
//! Pure: what is known of the keys and what time it is go in, what each key does
//! comes out. A key's life: it appears in the folder and is *published*; once it was
//! for `publish_for`, or once every verifier fetched it, it is ready, and the newest
//! ready key *signs*, the others are at *rest*; when its file goes away it is *retired*,
//! and published until the last token that it signed has expired.
//!
//! **Where no key is ready, the oldest signs.** On a first start no verifier has any
//! key set: each fetches one before it accepts anything, and finds every key in it, so
//! that any would do. On a new machine among others the oldest is what the others most
//! likely signed with so far. Waiting instead would only refuse the requests
//! meanwhile.
//!
//! **What a restart loses**: since when each key is published, for which the age of its
//! file stands in at the next start, so that an old key signs on and one that was just
//! put there still waits; which verifiers fetched, so that `publish_for` alone counts;
//! and retired keys, whose last tokens a verifier refuses that asks for the key set in
//! the `ttl` after. Who restarts waits that long after taking a file away.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// What time it is, on both clocks: the one that verifiers compare with, which may
/// step, and the one that does not.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For what stands in tokens.
    pub wall: SystemTime,
    /// For how long something was so.
    pub steady: Instant,
}

impl Now {
    /// Both clocks, read.
    pub fn read() -> Self {
        Self { wall: SystemTime::now(), steady: Instant::now() }
    }

    /// Milliseconds since 1970; 0 before.
    pub(super) fn unix_millis(self) -> u64 {
        let since = self.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// What is known of a key.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// The file's name; of keys that appeared together the last is the newest.
    pub name: Arc<str>,
    /// Since when it is published.
    pub since: Instant,
    /// Who fetched it.
    pub fetched_by: BTreeSet<Arc<str>>,
}

/// When a key may sign.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// After it was published for so long.
    pub publish_for: Duration,
    /// Or after all of these fetched it; nobody is not all.
    pub verifiers: Vec<Arc<str>>,
}

/// What a key of the folder does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyState {
    /// Verifiers are told of it, and it does not sign yet.
    Published {
        /// Until it is ready, if nobody fetches it.
        waits: Duration,
        /// Who did not fetch it yet.
        laggards: Vec<Arc<str>>,
    },
    /// It signs.
    Signing,
    /// A newer one signs.
    Resting,
}

impl Terms {
    /// What each key does, in the order given.
    pub fn states(&self, keys: &[Known], now: Instant) -> Vec<KeyState> {
        let signing = self.signing(keys, now);
        let state = |(index, key): (usize, &Known)| {
            let waits = self.waits(key, now);
            match signing == Some(index) {
                true => KeyState::Signing,
                false if waits.is_zero() => KeyState::Resting,
                false => KeyState::Published { waits, laggards: self.laggards(key) },
            }
        };
        keys.iter().enumerate().map(state).collect()
    }

    /// Which key signs; `None` if there is none at all.
    pub fn signing(&self, keys: &[Known], now: Instant) -> Option<usize> {
        let order = |(_, key): &(usize, &Known)| (key.since, key.name.clone());
        let ready =
            keys.iter().enumerate().filter(|(_, key)| self.waits(key, now).is_zero()).max_by_key(order);
        ready.or_else(|| keys.iter().enumerate().min_by_key(order)).map(|(index, _)| index)
    }

    /// When [`signing`](Self::signing) may say something else, if nobody fetches.
    pub fn next_change(&self, keys: &[Known], now: Instant) -> Option<Instant> {
        let waits = keys.iter().map(|key| self.waits(key, now)).filter(|waits| !waits.is_zero());
        waits.min().and_then(|waits| now.checked_add(waits))
    }

    /// How long a key has still to be published; zero if it is ready.
    fn waits(&self, key: &Known, now: Instant) -> Duration {
        if !self.verifiers.is_empty() && self.laggards(key).is_empty() {
            return Duration::ZERO;
        }
        self.publish_for.saturating_sub(now.saturating_duration_since(key.since))
    }

    fn laggards(&self, key: &Known) -> Vec<Arc<str>> {
        self.verifiers.iter().filter(|verifier| !key.fetched_by.contains(*verifier)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(verifiers: &[&str]) -> Terms {
        let verifiers = verifiers.iter().map(|name| Arc::from(*name)).collect();
        Terms { publish_for: Duration::from_secs(600), verifiers }
    }

    fn key(name: &str, since: Instant) -> Known {
        Known { name: name.into(), since, fetched_by: BTreeSet::new() }
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_new_key_is_published_before_it_signs_and_then_the_old_one_rests() {
        let start = Instant::now();
        let (terms, keys) = (terms(&[]), [key("a", start), key("b", start + secs(1000))]);
        let states = |after| terms.states(&keys, start + secs(after));

        let waiting = KeyState::Published { waits: secs(1), laggards: vec![] };
        assert_eq!(states(1599), [KeyState::Signing, waiting]);
        assert_eq!(states(1600), [KeyState::Resting, KeyState::Signing]);
        assert_eq!(terms.next_change(&keys, start + secs(1599)), Some(start + secs(1600)));
        assert_eq!(terms.next_change(&keys, start + secs(1600)), None);
    }

    #[test]
    fn a_key_signs_sooner_once_every_verifier_fetched_it() {
        let start = Instant::now();
        let (terms, mut keys) = (terms(&["x", "y"]), [key("a", start), key("b", start + secs(1000))]);
        let now = start + secs(1001);

        keys[1].fetched_by.insert("x".into());
        let waiting = KeyState::Published { waits: secs(599), laggards: vec!["y".into()] };
        assert_eq!(terms.states(&keys, now), [KeyState::Signing, waiting]);

        keys[1].fetched_by.insert("y".into());
        assert_eq!(terms.states(&keys, now), [KeyState::Resting, KeyState::Signing]);
    }

    #[test]
    fn where_no_key_is_ready_the_oldest_signs_at_once() {
        let now = Instant::now();
        let keys =
            [key("2026-11", now - secs(5)), key("2026-10", now - secs(9)), key("2026-12", now - secs(5))];

        assert_eq!(terms(&[]).signing(&keys, now), Some(1));
        assert_eq!(terms(&[]).signing(&keys[..1], now), Some(0));
        assert_eq!(terms(&[]).signing(&[], now), None);
    }

    #[test]
    fn of_keys_that_appeared_together_the_last_by_name_is_the_newest() {
        let start = Instant::now();
        let keys = [key("2026-12", start), key("2026-11", start)];

        assert_eq!(terms(&[]).signing(&keys, start), Some(1));
        assert_eq!(terms(&[]).signing(&keys, start + secs(600)), Some(0));
    }

    proptest! {
        #[test]
        fn exactly_one_key_signs_and_never_an_unready_one_beside_a_ready_one(
            ages in proptest::collection::vec(0_u64..1200, 1..6), later in 0_u64..1200,
        ) {
            let start = Instant::now() + secs(1200);
            let keys: Vec<_> = ages.iter().map(|age| key("k", start - secs(*age))).collect();
            let (terms, now) = (terms(&[]), start + secs(later));

            let states = terms.states(&keys, now);

            prop_assert_eq!(states.iter().filter(|state| **state == KeyState::Signing).count(), 1);
            let signing = terms.signing(&keys, now).unwrap();
            let any_ready = ages.iter().any(|age| age + later >= 600);
            prop_assert!(!any_ready || ages[signing] + later >= 600);
            if let Some(change) = terms.next_change(&keys, now) {
                prop_assert!(change > now);
            }
        }
    }
}
