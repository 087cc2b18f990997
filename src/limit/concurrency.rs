//! A concurrency limit: how many requests of a key may be under way at once.
//!
//! Always holds: the count of a key is exact, and never above what was asked for. A key
//! takes memory only while a request of it is under way, so that there is no
//! ceiling to configure: connections and their streams have theirs.
//!
//! Not `pingora_limits::inflight::Inflight`: that is a sketch of 4 × 8,192 counts,
//! and keys that meet others in all four are told too much. With one request under
//! way for each key it counts two or more for 0.2 % of 2,000 keys, 5 % of 5,000 and
//! 25 % of 10,000, and would refuse them.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasherDefault, Hasher},
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::key::KeyHash;

/// How many requests of a key are under way. How many may be is who asks to say: a
/// share of a limit changes, and what is under way does not.
pub struct ConcurrencyLimit {
    shards: [Shard; SHARDS],
}

/// On lines of its own: two keys must not wait for each other's cache line.
#[repr(align(128))]
#[derive(Default)]
struct Shard(Mutex<Counts>);

type Counts = HashMap<KeyHash, u32, BuildHasherDefault<AsItIs>>;

impl Default for ConcurrencyLimit {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Shard::default()) }
    }
}

impl ConcurrencyLimit {
    /// One more of a key, until the permit is dropped. `None` if `most` are under way.
    pub fn enter(self: &Arc<Self>, key: KeyHash, most: NonZeroU32) -> Option<Permit> {
        let mut counts = self.counts(key)?;
        match counts.entry(key) {
            Entry::Vacant(new) => drop(new.insert(1)),
            Entry::Occupied(mut count) if *count.get() < most.get() => *count.get_mut() += 1,
            Entry::Occupied(_) => return None,
        }
        Some(Permit { limit: self.clone(), key })
    }

    /// How many of a key are under way.
    pub fn under_way(&self, key: KeyHash) -> u32 {
        self.counts(key).and_then(|counts| counts.get(&key).copied()).unwrap_or(0)
    }

    /// How many are under way, of all keys.
    pub fn in_flight(&self) -> u64 {
        self.shards.iter().map(|shard| shard.counts().values().copied().map(u64::from).sum::<u64>()).sum()
    }

    /// The keys of which most are under way, most first: at most `count`.
    pub fn busiest(&self, count: usize) -> Vec<(KeyHash, u32)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(shard.counts().iter().map(|(key, count)| (*key, *count)));
        }
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(count);
        all
    }

    fn leave(&self, key: KeyHash) {
        let Some(mut counts) = self.counts(key) else { return };
        if let Entry::Occupied(mut count) = counts.entry(key) {
            match *count.get() {
                0 | 1 => drop(count.remove()),
                several => *count.get_mut() = several - 1,
            }
        }
    }

    fn counts(&self, key: KeyHash) -> Option<MutexGuard<'_, Counts>> {
        // From the middle: the map goes by both ends.
        let shard = usize::try_from(key.tag() >> 24).unwrap_or(0) % SHARDS;
        self.shards.get(shard).map(Shard::counts)
    }
}

impl Shard {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request of a key that is under way, until this is dropped.
#[must_use = "the request is over as soon as its permit is dropped"]
pub struct Permit {
    limit: Arc<ConcurrencyLimit>,
    key: KeyHash,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limit.leave(self.key);
    }
}

/// A key is a hash already.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = self.0.rotate_left(5) ^ value;
    }
}

const SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::limit::key::KeySeeds;

    fn keys(count: u32) -> Vec<KeyHash> {
        let seeds = KeySeeds::random();
        let key = |i: u32| {
            let mut hasher = seeds.hasher();
            hasher.number(i.into());
            hasher.finish()
        };
        (0..count).map(key).collect()
    }

    struct Limited(Arc<ConcurrencyLimit>, NonZeroU32);

    impl Limited {
        fn enter(&self, key: KeyHash) -> Option<Permit> {
            self.0.enter(key, self.1)
        }
    }

    fn limit(most: u32) -> Limited {
        Limited(Arc::default(), NonZeroU32::new(most).unwrap())
    }

    #[test]
    fn a_key_gets_as_many_permits_as_there_are_and_one_back_for_each_dropped() {
        let (limit, keys) = (limit(2), keys(2));
        let held = [limit.enter(keys[0]).unwrap(), limit.enter(keys[0]).unwrap()];

        assert!(limit.enter(keys[0]).is_none());
        assert!(limit.enter(keys[1]).is_some());
        assert_eq!(limit.0.busiest(5), [(keys[0], 2)]);

        drop(held);
        assert_eq!(limit.0.under_way(keys[0]), 0);
        assert!(limit.enter(keys[0]).is_some());
    }

    #[test]
    fn ten_thousand_keys_at_once_do_not_disturb_each_other() {
        let (limit, keys) = (limit(1), keys(10_000));

        let held: Vec<_> = keys.iter().filter_map(|key| limit.enter(*key)).collect();

        assert_eq!(held.len(), keys.len());
        assert!(keys.iter().all(|key| limit.enter(*key).is_none()));
        drop(held);
        assert!(limit.0.shards.iter().all(|shard| shard.counts().is_empty()));
    }

    #[test]
    fn threads_never_hold_more_than_the_limit_together() {
        let (limit, key) = (limit(3), keys(1)[0]);
        let work = || {
            let mut entered = 0;
            while entered < 2_000 {
                let Some(permit) = limit.enter(key) else { continue };
                assert!((1..=3).contains(&limit.0.under_way(key)));
                entered += 1;
                drop(permit);
            }
        };

        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));

        assert_eq!(limit.0.under_way(key), 0);
    }

    #[test]
    fn a_panic_gives_its_permit_back() {
        let (limit, key) = (limit(1), keys(1)[0]);
        let held = Limited(limit.0.clone(), limit.1);

        let ended = thread::spawn(move || {
            let _permit = held.enter(key).unwrap();
            std::panic::resume_unwind(Box::new(()));
        });

        assert!(ended.join().is_err());
        assert!(limit.enter(key).is_some());
    }
}
