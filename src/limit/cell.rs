//! One set of cells of a rate limit: who is where, and how far ahead each is.
//!
//! A cell is two words: `tag` says whose it is (0: nobody's), `due` holds the tick
//! at which that key owes nothing any more, and an epoch of 4 bits. Taking is
//! lock-free. Only who holds the set's lock puts a key into it, so that no key is
//! in a set twice. Which sets a key can be in is `room`'s.
//!
//! Always holds: a change of `due` is a change for the key that `tag` named when
//! it was made. Who takes reads `due`, then `tag`, then exchanges exactly the `due`
//! that it read (or, to refuse, sees that it still stands). Who claims a cell
//! empties `tag`, then exchanges `due` with the next epoch, then writes the new
//! `tag`. So an exchange that began for the old key meets another epoch and fails,
//! and one that came first makes the claim fail, which puts the tag back.
//!
//! What is left to chance: the epoch comes round after 16 claims of one cell. A
//! thread would have to sleep between two instructions for so long, and the new
//! key to stand at the very tick that the old one did; then one key is charged
//! what another took.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use super::terms::{END, TICK_BITS, Terms};

/// Some cells, in two lines of cache.
#[repr(align(128))]
pub(super) struct Set<W, const WAYS: usize> {
    cells: [Cell<W>; WAYS],
}

struct Cell<W> {
    tag: W,
    due: W,
}

/// What a decision wants of a key.
#[derive(Clone, Copy)]
pub(super) struct Draw<'a> {
    pub(super) terms: &'a Terms,
    /// In ticks, as everything here.
    pub(super) now: u64,
    /// Not more than the terms allow at once.
    pub(super) ticks: u64,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Drawn {
    pub(super) granted: bool,
    /// How far ahead of now the key is with it, granted or not.
    pub(super) ahead: u64,
    /// A key that still owed something had to make room.
    pub(super) evicted: bool,
}

impl<W: Word, const WAYS: usize> Set<W, WAYS> {
    /// Decides for a key that is here.
    pub(super) fn take(&self, tag: u64, draw: Draw<'_>) -> Option<Drawn> {
        self.cells.iter().filter(|cell| cell.tag.peek() == tag).find_map(|cell| cell.take(tag, draw))
    }

    /// Gives the cell that is due first to a key that has none. Whether its owner
    /// still owed something. The caller holds the lock.
    pub(super) fn claim(&self, tag: u64, draw: Draw<'_>) -> bool {
        loop {
            let words = self.cells.iter().map(|cell| (cell.due.load(), cell));
            let Some((word, cell)) = words.min_by_key(|(word, _)| *word) else { return true };
            let before = cell.tag.load();
            cell.tag.store(NOBODY);
            let claimed = cell.due.replace(word, pack(draw.now + draw.ticks, word.wrapping_add(1)));
            cell.tag.store(if claimed { tag } else { before });
            if claimed {
                return due(word) > draw.now;
            }
        }
    }

    /// When the key owes nothing any more; nothing of one that has no cell.
    pub(super) fn due(&self, tag: u64) -> Option<u64> {
        self.cells.iter().filter(|cell| cell.tag.peek() == tag).find_map(|cell| cell.due(tag))
    }

    /// When the first of its cells is due, or was: until then it is full.
    pub(super) fn full_until(&self) -> u64 {
        self.cells.iter().map(|cell| due(cell.due.load())).min().unwrap_or(0)
    }

    /// Changes when a key owes nothing any more. Whether it is here.
    pub(super) fn put(&self, tag: u64, change: impl Fn(u64) -> u64) -> bool {
        self.cells.iter().any(|cell| cell.put(tag, &change))
    }

    /// Every key that is in the set, and when it owes nothing any more.
    pub(super) fn keys(&self) -> impl Iterator<Item = (u64, u64)> {
        let tags = self.cells.iter().map(|cell| cell.tag.load()).filter(|tag| *tag != NOBODY);
        tags.filter_map(|tag| Some((tag, self.due(tag)?)))
    }
}

impl<W: Word> Cell<W> {
    /// `None` if the cell is not of this key, or not any more.
    fn take(&self, tag: u64, draw: Draw<'_>) -> Option<Drawn> {
        loop {
            let word = self.due.load();
            if self.tag.load() != tag {
                return None;
            }
            let reach = due(word).max(draw.now) + draw.ticks;
            let ahead = reach - draw.now;
            let granted = !draw.terms.exceeds(ahead);
            let stands = match granted {
                true => self.due.replace(word, pack(reach, word)),
                false => self.due.load() == word,
            };
            if stands {
                return Some(Drawn { granted, ahead, evicted: false });
            }
        }
    }

    fn due(&self, tag: u64) -> Option<u64> {
        loop {
            let word = self.due.load();
            if self.tag.load() != tag {
                return None;
            }
            if self.due.load() == word {
                return Some(due(word));
            }
        }
    }

    fn put(&self, tag: u64, change: impl Fn(u64) -> u64) -> bool {
        loop {
            let word = self.due.load();
            if self.tag.load() != tag {
                return false;
            }
            if self.due.replace(word, pack(change(due(word)).min(END), word)) {
                return true;
            }
        }
    }
}

/// A word that threads share: of the standard library, or of the model checker.
pub(super) trait Word {
    /// Sees at least all that was done before what it reads was written.
    fn load(&self) -> u64;
    /// A glance: what is read is looked at again before it counts.
    fn peek(&self) -> u64;
    fn store(&self, value: u64);
    /// Whether `old` was there, and `new` is now.
    fn replace(&self, old: u64, new: u64) -> bool;
}

/// The orderings, once: what the model checker looks at is what runs.
macro_rules! word {
    ($atomic:ty) => {
        impl Word for $atomic {
            fn load(&self) -> u64 {
                self.load(Acquire)
            }

            fn peek(&self) -> u64 {
                self.load(Relaxed)
            }

            fn store(&self, value: u64) {
                self.store(value, Release);
            }

            fn replace(&self, old: u64, new: u64) -> bool {
                self.compare_exchange(old, new, AcqRel, Relaxed).is_ok()
            }
        }
    };
}

word!(AtomicU64);

/// A tick, with the epoch of another word.
fn pack(ticks: u64, epoch: u64) -> u64 {
    ticks << EPOCH_BITS | epoch & EPOCH
}

fn due(word: u64) -> u64 {
    word >> EPOCH_BITS
}

/// The tag of no key.
const NOBODY: u64 = 0;
const EPOCH_BITS: u32 = u64::BITS - TICK_BITS;
const EPOCH: u64 = (1 << EPOCH_BITS) - 1;

#[cfg(test)]
mod tests;
