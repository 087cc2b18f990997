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
//! put there still waits; of several that are all younger than `publish_for`, which
//! appear together then, the oldest signs, by name if they are of one date; which
//! verifiers fetched, so that `publish_for` alone counts; and retired keys, whose last
//! tokens a verifier refuses that asks for the key set in the `ttl` after. Who restarts
//! waits that long after taking a file away. An upgrade loses none of it: the next
//! process is told ([`Remembered`](super::Remembered)).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::config::signer::MOST_INSTANCES;

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
    pub fetched_by: BTreeMap<Arc<str>, Fetches>,
}

/// How often a verifier fetched the key set since a key is in it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Fetches {
    /// So often.
    pub count: u64,
    /// From these addresses; no more than [`MOST_INSTANCES`] are kept.
    pub addresses: BTreeSet<IpAddr>,
}

impl Fetches {
    /// Counts one more.
    pub fn add(&mut self, from: IpAddr) {
        self.count += 1;
        if self.addresses.len() < usize::from(MOST_INSTANCES) {
            self.addresses.insert(from);
        }
    }
}

/// Who fetches the key set.
#[derive(Clone, Debug)]
pub(super) struct Verifier {
    pub name: Arc<str>,
    /// From so many addresses, before all of it has.
    pub instances: usize,
}

/// When a key may sign.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// After it was published for so long.
    pub publish_for: Duration,
    /// Or after all of these fetched it; nobody is not all.
    pub verifiers: Vec<Verifier>,
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

    /// How long the key that signs should still be published first; zero if it is ready.
    pub fn early(&self, keys: &[Known], now: Instant) -> Duration {
        let signing = self.signing(keys, now).and_then(|index| keys.get(index));
        signing.map_or(Duration::ZERO, |key| self.waits(key, now))
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
        let addresses =
            |verifier: &Verifier| key.fetched_by.get(&verifier.name).map_or(0, |told| told.addresses.len());
        let late = self.verifiers.iter().filter(|verifier| addresses(verifier) < verifier.instances);
        late.map(|verifier| verifier.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(verifiers: &[&str]) -> Terms {
        let verifier = |name: &&str| Verifier { name: Arc::from(*name), instances: 1 };
        let verifiers = verifiers.iter().map(verifier).collect();
        Terms { publish_for: Duration::from_secs(600), verifiers }
    }

    fn key(name: &str, since: Instant) -> Known {
        Known { name: name.into(), since, fetched_by: BTreeMap::new() }
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 1, last])
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

        keys[1].fetched_by.entry("x".into()).or_default().add(address(1));
        let waiting = KeyState::Published { waits: secs(599), laggards: vec!["y".into()] };
        assert_eq!(terms.states(&keys, now), [KeyState::Signing, waiting]);

        keys[1].fetched_by.entry("y".into()).or_default().add(address(1));
        assert_eq!(terms.states(&keys, now), [KeyState::Resting, KeyState::Signing]);
    }

    #[test]
    fn a_verifier_of_several_instances_has_fetched_once_each_of_them_did() {
        let start = Instant::now();
        let mut terms = terms(&["x"]);
        terms.verifiers[0].instances = 2;
        let mut keys = [key("a", start), key("b", start + secs(1000))];
        let mut fetch = |last| {
            keys[1].fetched_by.entry("x".into()).or_default().add(address(last));
            terms.signing(&keys, start + secs(1001))
        };

        assert_eq!([fetch(1), fetch(1), fetch(2)], [Some(0), Some(0), Some(1)]);
    }

    #[test]
    fn no_verifier_takes_memory_for_more_addresses_than_may_be_asked_for() {
        let mut fetches = Fetches::default();

        (0..100).for_each(|last| fetches.add(address(last)));

        assert_eq!((fetches.count, fetches.addresses.len()), (100, usize::from(MOST_INSTANCES)));
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
