//! Where a key of a rate limit can be: in its home set, or, as long as that is full
//! of others that owe something, in a spare one.
//!
//! Owns in which of the two it is looked for and put. With one set a key, of a
//! million keys in 40 bytes each every sixtieth finds eight others there; with two
//! nobody does. Most keys are at home, where they are found first.
//!
//! Always holds: a key is in one of them at most, for who puts it there holds the
//! locks of both.

use super::cell::{Draw, Drawn, Set, Word};

/// The sets that a key can be in.
pub(super) struct Room<'a, W, const WAYS: usize> {
    pub(super) home: &'a Set<W, WAYS>,
    /// Another one; `None` where there is none.
    pub(super) spare: Option<&'a Set<W, WAYS>>,
}

impl<W: Word, const WAYS: usize> Room<'_, W, WAYS> {
    /// Decides for a key, wherever it is, and makes room for a new one. `lock` locks
    /// both sets.
    pub(super) fn draw<G>(&self, tag: u64, draw: Draw<'_>, lock: impl FnOnce() -> G) -> Drawn {
        match self.take(tag, draw) {
            Some(drawn) => drawn,
            None => self.draw_locked(tag, draw, lock),
        }
    }

    #[cold]
    fn draw_locked<G>(&self, tag: u64, draw: Draw<'_>, lock: impl FnOnce() -> G) -> Drawn {
        let fresh = Drawn { granted: true, ahead: draw.ticks, evicted: false };
        let _guard = lock();
        match self.take(tag, draw) {
            Some(drawn) => drawn,
            None => Drawn { evicted: self.emptier(draw.now).claim(tag, draw), ..fresh },
        }
    }

    fn take(&self, tag: u64, draw: Draw<'_>) -> Option<Drawn> {
        self.home.take(tag, draw).or_else(|| self.spare?.take(tag, draw))
    }

    /// Home, if there is room; else the one that has room first.
    fn emptier(&self, now: u64) -> &Set<W, WAYS> {
        let full_until = self.home.full_until();
        match self.spare {
            Some(spare) if full_until > now && spare.full_until() < full_until => spare,
            _ => self.home,
        }
    }

    /// When the key owes nothing any more; nothing of one that has no cell.
    pub(super) fn due(&self, tag: u64) -> Option<u64> {
        self.home.due(tag).or_else(|| self.spare?.due(tag))
    }

    /// Changes when a key owes nothing any more, unless it lost its cell meanwhile.
    pub(super) fn put<G>(&self, tag: u64, change: impl Fn(u64) -> u64, lock: impl FnOnce() -> G) {
        if !self.try_put(tag, &change) {
            // Perhaps somebody was about to claim its cell, and did not.
            let _guard = lock();
            self.try_put(tag, &change);
        }
    }

    fn try_put(&self, tag: u64, change: impl Fn(u64) -> u64) -> bool {
        self.home.put(tag, &change) || self.spare.is_some_and(|spare| spare.put(tag, &change))
    }
}
