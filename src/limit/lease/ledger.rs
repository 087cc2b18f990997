//! What was spent on each key of a lease and not told yet, and what the last exchange
//! said of it.
//!
//! Owns the entries, their ceiling and their order. Always holds: an entry is in its
//! page's queue exactly once; a page is locked for one key, or for [`SLICE`] of them.

use std::{
    collections::{HashMap, VecDeque},
    hash::BuildHasherDefault,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use super::entry::Entry;
use crate::limit::{concurrency::AsItIs, key::KeyHash};

/// The entries of a lease.
pub(super) struct Ledger {
    pages: Box<[Page]>,
    /// How many entries a page has room for.
    room: usize,
    untold: AtomicU64,
    /// The page that the next cut begins with.
    turn: AtomicUsize,
}

/// On lines of its own, as the keys that meet here are chance.
#[repr(align(128))]
#[derive(Default)]
struct Page(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    of: HashMap<KeyHash, Entry, BuildHasherDefault<AsItIs>>,
    /// Those that waited longest first.
    queue: VecDeque<KeyHash>,
}

/// What becomes of an entry that was looked at.
pub(super) enum Fate {
    Keep,
    Remove,
}

impl Ledger {
    /// Room for as many keys as fit in `memory` bytes, and for one a page at least.
    pub(super) fn new(memory: usize) -> Self {
        let keys = memory / KEY;
        let pages = (keys / KEYS_A_PAGE).clamp(PAGES, MOST_PAGES);
        Self {
            pages: (0..pages).map(|_| Page::default()).collect(),
            room: (keys / pages).max(1),
            untold: AtomicU64::new(0),
            turn: AtomicUsize::new(0),
        }
    }

    /// Does something to the entry of a key, a new one if it has none; without room
    /// for that, nothing, which is counted. Nobody else is at the entry meanwhile.
    pub(super) fn note(&self, key: KeyHash, note: impl FnOnce(&mut Entry)) {
        let Some(mut entries) = self.page(key) else { return };
        if !entries.of.contains_key(&key) && entries.of.len() >= self.room {
            drop(entries);
            return self.count_untold();
        }
        let Entries { of, queue } = &mut *entries;
        note(of.entry(key).or_insert_with(|| {
            queue.push_back(key);
            Entry::default()
        }));
    }

    /// Does something with the entry of a key, if it has one.
    pub(super) fn look(&self, key: KeyHash, look: impl FnOnce(Option<&mut Entry>)) {
        if let Some(mut entries) = self.page(key) {
            look(entries.of.get_mut(&key));
        }
    }

    /// Visits each entry once, those of a page first that waited longest, until `visit`
    /// has had enough: then it says `None`, and the next call begins with the next page,
    /// so that none waits for a full one.
    pub(super) fn visit(&self, mut visit: impl FnMut(KeyHash, &mut Entry) -> Option<Fate>) {
        let first = self.turn.load(Relaxed) % self.pages.len();
        for (index, page) in self.pages.iter().enumerate().cycle().skip(first).take(self.pages.len()) {
            self.turn.store(index + 1, Relaxed);
            if page.visit(&mut visit).is_none() {
                return;
            }
        }
    }

    pub(super) fn keys(&self) -> usize {
        self.pages.iter().map(|page| page.locked().of.len()).sum()
    }

    pub(super) fn untold(&self) -> u64 {
        self.untold.load(Relaxed)
    }

    pub(super) fn count_untold(&self) {
        self.untold.fetch_add(1, Relaxed);
    }

    fn page(&self, key: KeyHash) -> Option<MutexGuard<'_, Entries>> {
        // From the middle: the map goes by both ends.
        let page = usize::try_from(key.tag() >> 24).unwrap_or(0) % self.pages.len();
        self.pages.get(page).map(Page::locked)
    }
}

impl Page {
    fn locked(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn visit(&self, visit: &mut impl FnMut(KeyHash, &mut Entry) -> Option<Fate>) -> Option<()> {
        let mut left = self.locked().queue.len();
        while left > 0 {
            let mut entries = self.locked();
            let slice = left.min(SLICE);
            (0..slice).try_for_each(|_| entries.visit_first(visit))?;
            left -= slice;
            entries.shrink();
        }
        Some(())
    }
}

impl Entries {
    fn visit_first(&mut self, visit: &mut impl FnMut(KeyHash, &mut Entry) -> Option<Fate>) -> Option<()> {
        let Some(key) = self.queue.front().copied() else { return Some(()) };
        let fate = self.of.get_mut(&key).map_or(Some(Fate::Remove), |entry| visit(key, entry))?;
        self.queue.pop_front();
        match fate {
            Fate::Keep => self.queue.push_back(key),
            Fate::Remove => drop(self.of.remove(&key)),
        }
        Some(())
    }

    /// Gives back what a flood of keys took, once it is over.
    fn shrink(&mut self) {
        if self.of.capacity() > 64 && self.of.capacity() / 8 > self.of.len() {
            self.of.shrink_to(self.of.len() * 2);
            self.queue.shrink_to(self.of.len() * 2);
        }
    }
}

/// What a key takes at most, in a map that has just grown, with its place in the
/// queue.
const KEY: usize = 192;
const KEYS_A_PAGE: usize = 2_048;
const PAGES: usize = 64;
const MOST_PAGES: usize = 1 << 14;

/// So many at once, while a request may be waiting for the page.
const SLICE: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn key(n: u64) -> KeyHash {
        KeyHash::from_tag((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).unwrap()
    }

    fn visited(ledger: &Ledger, most: usize) -> Vec<KeyHash> {
        let mut keys = Vec::new();
        ledger.visit(|key, _| {
            (keys.len() < most).then(|| {
                keys.push(key);
                Fate::Keep
            })
        });
        keys
    }

    #[test]
    fn every_key_has_its_turn_however_few_are_visited_at_once() {
        let ledger = Ledger::new(1 << 20);
        (0..1_000).for_each(|n| ledger.note(key(n), |_| {}));

        let seen: HashSet<_> = (0..400).flat_map(|_| visited(&ledger, 10)).collect();

        assert_eq!(seen.len(), 1_000);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_what_is_removed_makes_room() {
        let ledger = Ledger::new(0);
        let (one, other) =
            (key(1), (2..).map(key).find(|k| k.tag() >> 24 & 63 == key(1).tag() >> 24 & 63).unwrap());

        ledger.note(one, |_| {});
        ledger.note(other, |_| {});
        assert_eq!((ledger.keys(), ledger.untold()), (1, 1));

        ledger.visit(|_, _| Some(Fate::Remove));
        ledger.note(other, |_| {});
        assert_eq!((ledger.keys(), ledger.untold()), (1, 1));
    }

    #[test]
    fn a_ceiling_is_what_is_taken() {
        assert!((size_of::<(KeyHash, Entry)>() + 1) * 16 / 7 + 16 <= KEY);
    }
}
