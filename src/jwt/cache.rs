//! Tokens that are used again: for each signer and claims one, for half of its life.
//!
//! A fixed number of places in sets of four; of a full set the token that expires
//! first goes. No lock: a place is swapped whole. It belongs to one key's turn and goes
//! with it, so that no token outlives that. What is kept is compared whole, not
//! by its hash.

use std::{array, sync::Arc};

use ahash::RandomState;
use arc_swap::ArcSwapOption;
use http::HeaderValue;

/// Tokens by their claims.
pub(super) struct Cache {
    sets: Box<[Set]>,
    hasher: RandomState,
}

type Set = [ArcSwapOption<Kept>; WAYS];

struct Kept {
    hash: u64,
    claims: Box<[u8]>,
    value: HeaderValue,
    window: Window,
}

/// When a token may be used: from its making on, until half of its life is over.
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

impl Cache {
    /// With room for [`PLACES`] tokens, whose memory is taken as they come.
    pub fn new() -> Self {
        let set = || array::from_fn(|_| ArcSwapOption::empty());
        Self { sets: (0..PLACES / WAYS).map(|_| set()).collect(), hasher: RandomState::new() }
    }

    /// With room for none.
    pub fn none() -> Self {
        Self { sets: Box::default(), hasher: RandomState::new() }
    }

    /// The token with these claims, if there is one that may be used now
    /// (milliseconds since 1970).
    pub fn get(&self, claims: &[u8], now: u64) -> Option<HeaderValue> {
        self.find(self.hasher.hash_one(claims), claims, now)
    }

    fn find(&self, hash: u64, claims: &[u8], now: u64) -> Option<HeaderValue> {
        for place in self.set(hash)? {
            let place = place.load();
            if let Some(kept) = &*place
                && kept.hash == hash
                && *kept.claims == *claims
            {
                return kept.window.contains(now).then(|| kept.value.clone());
            }
        }
        None
    }

    /// Keeps a token. Of those that would take much memory none is kept.
    pub fn put(&self, claims: Box<[u8]>, value: HeaderValue, window: Window) {
        self.store(self.hasher.hash_one(&*claims), claims, value, window);
    }

    fn store(&self, hash: u64, claims: Box<[u8]>, value: HeaderValue, window: Window) {
        let Some(set) = self.set(hash).filter(|_| claims.len() <= MAX_CLAIMS) else { return };
        // The same claims first, then a free place, then the oldest.
        let rank = |place: &&ArcSwapOption<Kept>| match &*place.load() {
            Some(kept) if kept.hash == hash && kept.claims == claims => 0,
            None => 1,
            Some(kept) => kept.window.until.saturating_add(2),
        };
        if let Some(place) = set.iter().min_by_key(rank) {
            place.store(Some(Arc::new(Kept { hash, claims, value, window })));
        }
    }

    fn set(&self, hash: u64) -> Option<&Set> {
        self.sets.get(hash as usize % self.sets.len().max(1))
    }
}

const WAYS: usize = 4;

/// With 100 clients a second that differ and 15 s of use each, 1500 are alive.
pub(super) const PLACES: usize = 4096;

/// 4096 of them with their tokens, a third longer and more, take 13 MiB.
const MAX_CLAIMS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { from: 1000, until: 2000 };

    fn value(text: &str) -> HeaderValue {
        text.parse().unwrap()
    }

    #[test]
    fn a_token_is_used_inside_its_window_alone() {
        let cache = Cache::new();
        cache.put(b"a"[..].into(), value("t"), WINDOW);

        let found = |now| cache.get(b"a", now).is_some();

        assert_eq!([999, 1000, 1999, 2000].map(found), [false, true, true, false]);
        assert_eq!(cache.get(b"b", 1500), None);
    }

    #[test]
    fn a_newer_token_takes_the_place_of_the_same_claims() {
        let cache = Cache::new();
        cache.put(b"a"[..].into(), value("old"), WINDOW);

        cache.put(b"a"[..].into(), value("new"), Window { until: 3000, ..WINDOW });

        assert_eq!(cache.get(b"a", 2500), Some(value("new")));
    }

    #[test]
    fn claims_with_the_same_hash_are_told_apart() {
        let cache = Cache::new();

        cache.store(7, b"a"[..].into(), value("of a"), WINDOW);
        cache.store(7, b"b"[..].into(), value("of b"), WINDOW);

        let found = |claims| cache.find(7, claims, 1500);
        assert_eq!(found(b"a"), Some(value("of a")));
        assert_eq!(found(b"b"), Some(value("of b")));
        assert_eq!(found(b"c"), None);
    }

    #[test]
    fn memory_is_bounded_and_what_expires_first_goes() {
        let cache = Cache::new();
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
        let cache = Cache::new();
        let long = vec![b'x'; MAX_CLAIMS + 1];

        cache.put(long.clone().into(), value("t"), WINDOW);

        assert_eq!(cache.get(&long, 1500), None);
    }

    #[test]
    fn a_cache_without_room_keeps_nothing() {
        let cache = Cache::none();

        cache.put(b"a"[..].into(), value("t"), WINDOW);

        assert_eq!(cache.get(b"a", 1500), None);
    }
}
