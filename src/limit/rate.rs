//! A rate limit: a rate and a burst for each key, in a table of bounded size.
//!
//! Owns the cells and their ceiling. Does not own which limits hold for a request
//! (`decide`) or what a key is made of (`key`).
//!
//! Always holds: a key whose requests all fit the rate and the burst is never
//! refused. A key above them gets not one token beyond, as long as its sets have
//! room for all of their keys that owe something. Where they have not, the key that
//! owes least is forgotten, and gets at most that much again; `overflowed` counts
//! how often.

use std::{
    alloc::{Layout, alloc_zeroed, handle_alloc_error},
    iter, ptr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    cell::{Draw, Drawn, Set},
    key::KeyHash,
    room::Room,
    terms::Terms,
    time::Moment,
    verdict::Standing,
};

/// A rate and a burst for each key.
pub struct RateLimit {
    terms: Terms,
    sets: Box<[Cells]>,
    /// Who puts a key into a set holds the lock that the set shares with others.
    claims: [Mutex<()>; CLAIMS],
    overflowed: AtomicU64,
}

type Cells = Set<AtomicU64, WAYS>;

impl RateLimit {
    /// A limit that takes at most `memory` bytes, and at least one set of cells. The
    /// memory is asked for at once and used as keys come: pages that no key was in
    /// cost nothing. What the system refuses is done without:
    /// [`capacity`](Self::capacity) tells.
    pub fn new(terms: Terms, memory: usize) -> Self {
        let sets = (memory / size_of::<Cells>()).max(1);
        let claims = [const { Mutex::new(()) }; CLAIMS];
        Self { terms, sets: empty(sets), claims, overflowed: AtomicU64::new(0) }
    }

    /// What it grants altogether; a share of it asks by other terms, in the same ticks.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// How many keys have room, if their hashes spread evenly: 16 bytes each.
    pub fn capacity(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// How often a key was forgotten that still owed something.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Relaxed)
    }

    /// How a key stands, without taking anything.
    pub fn standing(&self, key: KeyHash, now: Moment) -> Standing {
        Standing { limit: 0, terms: self.terms, ahead: self.ahead(key, now) }
    }

    /// How many keys owe something now. Reads the whole table, as
    /// [`busiest`](Self::busiest).
    pub fn live(&self, now: Moment) -> usize {
        let now = self.terms.now(now);
        self.sets.iter().flat_map(Set::keys).filter(|(_, due)| *due > now).count()
    }

    /// The keys that owe most now, most first: at most `count`. Reads the whole
    /// table: for operators, not for requests.
    pub fn busiest(&self, count: usize, now: Moment) -> Vec<(KeyHash, Standing)> {
        let now = self.terms.now(now);
        let all = self.sets.iter().flat_map(Set::keys);
        let mut live: Vec<_> = all.filter(|(_, due)| *due > now).map(|(key, due)| (due - now, key)).collect();
        live.sort_unstable_by(|a, b| b.cmp(a));
        live.truncate(count);
        let told = live.into_iter().filter_map(|(ahead, key)| {
            Some((KeyHash::from_tag(key)?, Standing { limit: 0, terms: self.terms, ahead }))
        });
        told.collect()
    }

    /// How far ahead of now a key is, in ticks.
    pub(super) fn ahead(&self, key: KeyHash, now: Moment) -> u64 {
        let due = self.room(key).and_then(|(room, _)| room.due(key.tag()));
        due.unwrap_or(0).saturating_sub(self.terms.now(now))
    }

    /// Takes `cost` tokens by these terms if all of them are there; none are always
    /// there. In [`terms`](Self::terms), or a share of them.
    pub(super) fn draw(&self, terms: &Terms, key: KeyHash, cost: u32, now: Moment) -> Drawn {
        let ticks = terms.ticks(cost);
        if ticks == 0 {
            return Drawn { granted: true, ahead: self.ahead(key, now), evicted: false };
        }
        let draw = Draw { terms, now: terms.now(now), ticks };
        let Some((room, places)) = self.room(key) else {
            return Drawn { granted: true, ahead: ticks, evicted: false };
        };
        let drawn = room.draw(key.tag(), draw, || self.claim(places));
        if drawn.evicted {
            self.overflowed.fetch_add(1, Relaxed);
        }
        drawn
    }

    /// Gives `cost` tokens back that were drawn by these terms.
    pub(super) fn give_back(&self, terms: &Terms, key: KeyHash, cost: u32) {
        let ticks = terms.ticks(cost);
        self.put(key, |due| due.saturating_sub(ticks));
    }

    /// Changes the tick at which a key owes nothing any more, unless it has no cell.
    pub(super) fn put(&self, key: KeyHash, change: impl Fn(u64) -> u64) {
        if let Some((room, places)) = self.room(key) {
            room.put(key.tag(), change, || self.claim(places));
        }
    }

    /// The sets that a key can be in, and which they are.
    fn room(&self, key: KeyHash) -> Option<(Room<'_, AtomicU64, WAYS>, [usize; 2])> {
        // By different halves of its hash.
        let places @ [home, spare] = [self.place(key.tag())?, self.place(key.tag().rotate_left(32))?];
        let spare = if home == spare { None } else { self.sets.get(spare) };
        Some((Room { home: self.sets.get(home)?, spare }, places))
    }

    fn place(&self, hash: u64) -> Option<usize> {
        // The upper half of the product is below the number of sets, whatever that
        // is: no division, and no power of two.
        usize::try_from((u128::from(hash) * self.sets.len() as u128) >> u64::BITS).ok()
    }

    /// Locks two sets, in an order that is the same for everybody.
    fn claim(&self, places: [usize; 2]) -> [Option<MutexGuard<'_, ()>>; 2] {
        let [a, b] = places.map(|place| place % CLAIMS);
        let lock =
            |place: usize| Some(self.claims.get(place)?.lock().unwrap_or_else(PoisonError::into_inner));
        [lock(a.min(b)), if a == b { None } else { lock(a.max(b)) }]
    }
}

/// Sets without a key in them: so many, or half of it and so on if the system has
/// no memory for more. A reload must not end the process.
fn empty(count: usize) -> Box<[Cells]> {
    let mut halves = iter::successors(Some(count), |count| (*count > 1).then_some(count / 2));
    halves.find_map(zeroed).unwrap_or_else(|| handle_alloc_error(Layout::new::<Cells>()))
}

/// From the allocator as zeros, and not written: a ceiling of 64 MiB must not make
/// 64 MiB resident before there are keys.
fn zeroed(count: usize) -> Option<Box<[Cells]>> {
    let layout = Layout::array::<Cells>(count).ok().filter(|layout| layout.size() > 0)?;
    // SAFETY: the layout has a size.
    let memory = unsafe { alloc_zeroed(layout) }.cast::<Cells>();
    if memory.is_null() {
        return None;
    }
    let sets = ptr::slice_from_raw_parts_mut(memory, count);
    // SAFETY: allocated here with the layout of this slice; a set is made of
    // `AtomicU64` alone, for which zeros are a value.
    Some(unsafe { Box::from_raw(sets) })
}

/// Cells a set: with two sets a key enough that a table filled to half does not
/// overflow, and still only two lines of cache.
const WAYS: usize = 8;

/// Locks for newcomers, so many that two of them seldom meet.
const CLAIMS: usize = 256;

#[cfg(test)]
mod tests;
