//! What was made or found for some bytes, and holds for a while: a signer's token for
//! its claims, what is known of a client's token.
//!
//! A fixed number of places in sets of four; of a full set what ends first goes. No
//! lock: a place is swapped whole. What is kept is compared whole, not by its hash,
//! which nobody outside knows the key of: two that differ are never taken for one, and
//! what is compared byte by byte has a hash of 64 bits in common already.

use std::{array, sync::Arc};

use ahash::RandomState;
use arc_swap::ArcSwapOption;

/// Values by the bytes that they were made for.
pub(super) struct Cache<V> {
    sets: Box<[Set<V>]>,
    hasher: RandomState,
    /// No longer ones are kept.
    most_bytes: usize,
}

type Set<V> = [ArcSwapOption<Kept<V>>; WAYS];

struct Kept<V> {
    hash: u64,
    key: Box<[u8]>,
    value: V,
    window: Window,
}

/// When a value may be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Window {
    /// Milliseconds since 1970.
    pub from: u64,
    /// The same; not inside any more.
    pub until: u64,
}

impl Window {
    /// A clock that was put back is before it: then `iat` lies ahead of verifiers too.
    fn contains(self, now: u64) -> bool {
        (self.from..self.until).contains(&now)
    }
}

impl<V: Clone> Cache<V> {
    /// With room for about so many values, whose memory is taken as they come, each for
    /// so many bytes at the most.
    pub fn new(places: usize, most_bytes: usize) -> Self {
        let set = || array::from_fn(|_| ArcSwapOption::empty());
        let sets = (0..places.div_ceil(WAYS)).map(|_| set()).collect();
        Self { sets, hasher: RandomState::new(), most_bytes }
    }

    /// With room for none.
    pub fn none() -> Self {
        Self::new(0, 0)
    }

    /// The value for these bytes, if there is one that may be used now (milliseconds
    /// since 1970).
    pub fn get(&self, key: &[u8], now: u64) -> Option<V> {
        self.find(self.hasher.hash_one(key), key, now)
    }

    fn find(&self, hash: u64, key: &[u8], now: u64) -> Option<V> {
        for place in self.set(hash)? {
            let place = place.load();
            if let Some(kept) = &*place
                && kept.hash == hash
                && *kept.key == *key
            {
                return kept.window.contains(now).then(|| kept.value.clone());
            }
        }
        None
    }

    /// Keeps a value. For bytes that would take much memory none is kept.
    pub fn put(&self, key: Box<[u8]>, value: V, window: Window) {
        self.store(self.hasher.hash_one(&*key), key, value, window);
    }

    fn store(&self, hash: u64, key: Box<[u8]>, value: V, window: Window) {
        let Some(set) = self.set(hash).filter(|_| key.len() <= self.most_bytes) else { return };
        // The same bytes first, then a free place, then the oldest.
        let rank = |place: &&ArcSwapOption<Kept<V>>| match &*place.load() {
            Some(kept) if kept.hash == hash && kept.key == key => 0,
            None => 1,
            Some(kept) => kept.window.until.saturating_add(2),
        };
        if let Some(place) = set.iter().min_by_key(rank) {
            place.store(Some(Arc::new(Kept { hash, key, value, window })));
        }
    }

    fn set(&self, hash: u64) -> Option<&Set<V>> {
        self.sets.get(hash as usize % self.sets.len().max(1))
    }
}

const WAYS: usize = 4;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const PLACES: usize = 4096;
    const MAX_CLAIMS: usize = 1024;

    fn cache() -> Cache<HeaderValue> {
        Cache::new(PLACES, MAX_CLAIMS)
    }

    const WINDOW: Window = Window { from: 1000, until: 2000 };

    fn value(text: &str) -> HeaderValue {
        text.parse().unwrap()
    }

    #[test]
    fn a_token_is_used_inside_its_window_alone() {
        let cache = cache();
        cache.put(b"a"[..].into(), value("t"), WINDOW);

        let found = |now| cache.get(b"a", now).is_some();

        assert_eq!([999, 1000, 1999, 2000].map(found), [false, true, true, false]);
        assert_eq!(cache.get(b"b", 1500), None);
    }

    #[test]
    fn a_newer_token_takes_the_place_of_the_same_claims() {
        let cache = cache();
        cache.put(b"a"[..].into(), value("old"), WINDOW);

        cache.put(b"a"[..].into(), value("new"), Window { until: 3000, ..WINDOW });

        assert_eq!(cache.get(b"a", 2500), Some(value("new")));
    }

    #[test]
    fn claims_with_the_same_hash_are_told_apart() {
        let cache = cache();

        cache.store(7, b"a"[..].into(), value("of a"), WINDOW);
        cache.store(7, b"b"[..].into(), value("of b"), WINDOW);

        let found = |claims| cache.find(7, claims, 1500);
        assert_eq!(found(b"a"), Some(value("of a")));
        assert_eq!(found(b"b"), Some(value("of b")));
        assert_eq!(found(b"c"), None);
    }

    #[test]
    fn memory_is_bounded_and_what_expires_first_goes() {
        let cache = cache();
        for n in 0..4 * PLACES as u64 {
            cache.put(n.to_be_bytes()[..].into(), value("t"), Window { from: 0, until: 10 + n });
        }

        let kept =
            |range: std::ops::Range<u64>| range.filter(|n| cache.get(&n.to_be_bytes(), 5).is_some()).count();

        assert!(kept(0..4 * PLACES as u64) <= PLACES);
        assert!(kept(4 * PLACES as u64 - 100..4 * PLACES as u64) > 90);
    }

    #[test]
    fn claims_that_would_take_much_memory_are_not_kept() {
        let cache = cache();
        let long = vec![b'x'; MAX_CLAIMS + 1];

        cache.put(long.clone().into(), value("t"), WINDOW);

        assert_eq!(cache.get(&long, 1500), None);
    }

    #[test]
    fn a_cache_without_room_keeps_nothing() {
        let cache = Cache::<HeaderValue>::none();

        cache.put(b"a"[..].into(), value("t"), WINDOW);

        assert_eq!(cache.get(b"a", 1500), None);
    }
}
