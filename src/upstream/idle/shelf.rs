//! What one worker keeps for the next use: under each key a stack, and all of it by age.
//!
//! Owns which is used next (of its key, the one put last: it is the warmest, and the rest
//! may grow old) and which is the oldest. Knows neither what it keeps nor the time. Nothing
//! but [`Shelf::clear`] takes longer the more keys there are, or allocates once it has grown.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    net::SocketAddr,
    time::Instant,
};

/// What something can be used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Key {
    /// Over all that a connection was made with: `reuse_hash` of its peer.
    pub hash: u64,
    /// Where it goes to, beside what is in the hash: should two peers ever have the same
    /// hash, a request still reaches no other host. `None`: no internet address.
    pub address: Option<SocketAddr>,
}

/// What is kept.
pub struct Held<T> {
    /// What it can be used for.
    pub key: Key,
    /// When it was put.
    pub since: Instant,
    /// When it is too old for use; `None` is never.
    pub until: Option<Instant>,
    /// The thing itself.
    pub what: T,
}

/// One worker's.
pub struct Shelf<T> {
    places: Vec<Place<T>>,
    /// Places that hold nothing.
    free: Vec<usize>,
    /// Places by key, the one put last at the end.
    by_key: HashMap<Key, Vec<usize>, ahash::RandomState>,
    oldest: Option<usize>,
    newest: Option<usize>,
}

struct Place<T> {
    held: Option<Held<T>>,
    older: Option<usize>,
    newer: Option<usize>,
}

impl Hash for Key {
    // The address is in the hash already.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl<T> Held<T> {
    /// Whether it is too old for use.
    pub fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        let by_key = HashMap::default();
        Self { places: Vec::new(), free: Vec::new(), by_key, oldest: None, newest: None }
    }
}

impl<T> Shelf<T> {
    /// Keeps it, as the newest.
    pub fn put(&mut self, held: Held<T>) {
        let at = self.free.pop().unwrap_or(self.places.len());
        self.by_key.entry(held.key).or_default().push(at);
        let older = self.newest.replace(at);
        match older.and_then(|older| self.places.get_mut(older)) {
            Some(older) => older.newer = Some(at),
            None => self.oldest = Some(at),
        }
        let place = Place { held: Some(held), older, newer: None };
        match self.places.get_mut(at) {
            Some(free) => *free = place,
            None => self.places.push(place),
        }
    }

    /// The one of a key that was put last. `None`: there is none.
    pub fn take(&mut self, key: &Key) -> Option<Held<T>> {
        let at = self.by_key.get_mut(key)?.pop()?;
        self.remove(at)
    }

    /// When the oldest was put. `None`: nothing is kept.
    pub fn oldest(&self) -> Option<Instant> {
        let place = self.places.get(self.oldest?)?;
        place.held.as_ref().map(|held| held.since)
    }

    /// The oldest of all keys.
    pub fn take_oldest(&mut self) -> Option<Held<T>> {
        self.remove_whole(self.oldest?)
    }

    /// Looks at the places from `from` on, [`AT_ONCE`] of them, and moves what is `gone` to
    /// `into`. Says where to go on; `None`: that was all, and keys of which nothing is kept
    /// are forgotten.
    pub fn clear(
        &mut self,
        from: usize,
        gone: &impl Fn(&Held<T>) -> bool,
        into: &mut Vec<Held<T>>,
    ) -> Option<usize> {
        let end = (from + AT_ONCE).min(self.places.len());
        for at in from..end {
            let held = self.places.get(at).and_then(|place| place.held.as_ref());
            if held.is_some_and(gone) {
                into.extend(self.remove_whole(at));
            }
        }
        let more = (end < self.places.len()).then_some(end);
        if more.is_none() {
            self.by_key.retain(|_, stack| !stack.is_empty());
        }
        more
    }

    /// Out of its key's stack too.
    fn remove_whole(&mut self, at: usize) -> Option<Held<T>> {
        let held = self.remove(at)?;
        if let Some(stack) = self.by_key.get_mut(&held.key) {
            stack.retain(|other| *other != at);
        }
        Some(held)
    }

    /// Out of its place and the order by age; its key's stack is the caller's.
    fn remove(&mut self, at: usize) -> Option<Held<T>> {
        let place = self.places.get_mut(at)?;
        let held = place.held.take()?;
        let (older, newer) = (place.older.take(), place.newer.take());
        match older.and_then(|older| self.places.get_mut(older)) {
            Some(place) => place.newer = newer,
            None => self.oldest = newer,
        }
        match newer.and_then(|newer| self.places.get_mut(newer)) {
            Some(place) => place.older = older,
            None => self.newest = older,
        }
        self.free.push(at);
        Some(held)
    }
}

/// Places that are looked at under one lock: some 10 µs when all are out of the cache.
const AT_ONCE: usize = 128;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn key(hash: u64, port: u16) -> Key {
        Key { hash, address: Some(([127, 0, 0, 1], port).into()) }
    }

    fn held(key: Key, since: Instant, what: u32) -> Held<u32> {
        Held { key, since, until: Some(since + Duration::from_secs(60)), what }
    }

    fn what(held: Option<Held<u32>>) -> Option<u32> {
        held.map(|held| held.what)
    }

    fn clear(shelf: &mut Shelf<u32>, is_gone: &impl Fn(&Held<u32>) -> bool, gone: &mut Vec<Held<u32>>) {
        let mut from = Some(0);
        while let Some(next) = from {
            from = shelf.clear(next, is_gone, gone);
        }
    }

    #[test]
    fn the_last_of_its_own_key_comes_first() {
        let (now, mut shelf) = (Instant::now(), Shelf::default());
        for (hash, what) in [(1, 10), (2, 20), (1, 11)] {
            shelf.put(held(key(hash, 80), now, what));
        }

        assert_eq!(what(shelf.take(&key(1, 80))), Some(11));
        assert_eq!(what(shelf.take(&key(1, 80))), Some(10));
        assert_eq!(what(shelf.take(&key(1, 80))), None);
        assert_eq!(what(shelf.take(&key(2, 80))), Some(20));
    }

    #[test]
    fn the_same_hash_of_another_address_is_another_key() {
        let mut shelf = Shelf::default();
        shelf.put(held(key(1, 80), Instant::now(), 10));

        assert_eq!(what(shelf.take(&key(1, 81))), None);
        assert_eq!(what(shelf.take(&Key { hash: 1, address: None })), None);
        assert_eq!(what(shelf.take(&key(1, 80))), Some(10));
    }

    #[test]
    fn something_is_over_at_its_time_and_not_before() {
        let now = Instant::now();
        let held = held(key(1, 80), now, 10);

        assert!(!held.is_over(now + Duration::from_millis(59_999)));
        assert!(held.is_over(now + Duration::from_secs(60)));
        assert!(!Held { until: None, ..held }.is_over(now + Duration::from_secs(1 << 30)));
    }

    #[test]
    fn nothing_is_remembered_of_keys_that_are_gone() {
        let (now, mut shelf, mut gone) = (Instant::now(), Shelf::default(), Vec::new());
        for hash in 0..1000 {
            shelf.put(held(key(hash, 80), now, 0));
        }

        clear(&mut shelf, &|held| held.is_over(now + Duration::from_secs(60)), &mut gone);

        assert_eq!((gone.len(), shelf.by_key.len(), shelf.free.len()), (1000, 0, 1000));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u64),
        Take(u64),
        Oldest,
        Clear(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..4_u64).prop_map(Step::Put),
            3 => (0..4_u64).prop_map(Step::Take),
            1 => Just(Step::Oldest),
            1 => (1..5_u32).prop_map(Step::Clear),
        ]
    }

    proptest! {
        /// Beside a list of all that is kept, in the order in which it was put.
        #[test]
        fn it_does_as_a_list_would(steps in proptest::collection::vec(step(), 0..200)) {
            let (begun, mut shelf, mut list) = (Instant::now(), Shelf::default(), Vec::<(u64, u32)>::new());
            let at = |nth: u32| begun + Duration::from_secs(nth.into());
            for (nth, step) in (0..).zip(steps) {
                match step {
                    Step::Put(hash) => {
                        shelf.put(held(key(hash, 80), at(nth), nth));
                        list.push((hash, nth));
                    }
                    Step::Take(hash) => {
                        let place = list.iter().rposition(|(other, _)| *other == hash);
                        let expected = place.map(|place| list.remove(place).1);
                        prop_assert_eq!(what(shelf.take(&key(hash, 80))), expected);
                    }
                    Step::Oldest => {
                        let expected = (!list.is_empty()).then(|| list.remove(0).1);
                        prop_assert_eq!(what(shelf.take_oldest()), expected);
                    }
                    Step::Clear(every) => {
                        let mut gone = Vec::new();
                        clear(&mut shelf, &|held| held.what % every == 0, &mut gone);
                        let mut gone: Vec<_> = gone.into_iter().map(|held| held.what).collect();
                        gone.sort_unstable();
                        let expected: Vec<_> = list.extract_if(.., |(_, what)| *what % every == 0).collect();
                        prop_assert_eq!(gone, expected.into_iter().map(|(_, what)| what).collect::<Vec<_>>());
                    }
                }
                prop_assert_eq!(shelf.oldest(), list.first().map(|(_, nth)| at(*nth)));
                prop_assert_eq!(shelf.places.len() - shelf.free.len(), list.len());
            }
        }
    }
}
