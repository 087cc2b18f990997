//! A shelf for each worker, and one bound for all of them.
//!
//! Owns who looks where: a worker puts on its own shelf and takes from it first, so that
//! workers wait for each other only where one would have to connect anew. Never holds two
//! locks, nor one while something is closed: what has to go is given to the caller.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use super::shelf::{Held, Key, Shelf};
use crate::telemetry::shard::{Padded, thread_number};

/// All that is kept.
pub struct Shelves<T> {
    shelves: Box<[Padded<Mutex<Shelf<T>>>]>,
    kept: AtomicUsize,
    most: usize,
}

impl<T> Shelves<T> {
    /// Room for `most`, of as many workers.
    pub fn new(workers: usize, most: usize) -> Self {
        let shelves = (0..workers.max(1)).map(|_| Padded::default()).collect();
        Self { shelves, kept: AtomicUsize::new(0), most }
    }

    /// Keeps it. Where that is too much the oldest of all goes, to the caller.
    pub fn put(&self, held: Held<T>) -> Option<Held<T>> {
        // Counted first: who takes it at once counts it off.
        let kept = self.kept.fetch_add(1, Ordering::Relaxed) + 1;
        self.lock(thread_number())?.put(held);
        if kept > self.most { self.take_oldest() } else { None }
    }

    /// The one of a key that this worker put last, else another's. `None`: there is none.
    pub fn take(&self, key: &Key) -> Option<Held<T>> {
        let own = thread_number();
        let held = (own..own + self.shelves.len()).find_map(|of| self.lock(of)?.take(key))?;
        self.kept.fetch_sub(1, Ordering::Relaxed);
        Some(held)
    }

    /// All that is `gone`.
    pub fn clear(&self, gone: impl Fn(&Held<T>) -> bool) -> Vec<Held<T>> {
        let mut all = Vec::new();
        for of in 0..self.shelves.len() {
            let mut from = Some(0);
            while let Some(next) = from {
                let before = all.len();
                from = self.lock(of).and_then(|mut shelf| shelf.clear(next, &gone, &mut all));
                // At once: for what is gone nobody's oldest has to go.
                self.kept.fetch_sub(all.len() - before, Ordering::Relaxed);
            }
        }
        all
    }

    fn take_oldest(&self) -> Option<Held<T>> {
        let ages = (0..self.shelves.len()).filter_map(|of| Some((self.lock(of)?.oldest()?, of)));
        let (_, of) = ages.min()?;
        let held = self.lock(of)?.take_oldest()?;
        self.kept.fetch_sub(1, Ordering::Relaxed);
        Some(held)
    }

    /// `None` never happens: there is a shelf.
    fn lock(&self, of: usize) -> Option<MutexGuard<'_, Shelf<T>>> {
        let shelf = self.shelves.get(of % self.shelves.len())?;
        Some(shelf.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        collections::BTreeSet,
        sync::atomic::AtomicBool,
        thread,
        time::{Duration, Instant},
    };

    use super::*;

    fn held(hash: u64, since: Instant, what: u32) -> Held<u32> {
        Held { key: Key { hash, address: None }, since, until: None, what }
    }

    #[test]
    fn what_another_worker_put_can_be_used() {
        let shelves = Shelves::new(4, 10);
        thread::scope(|scope| {
            scope.spawn(|| shelves.put(held(1, Instant::now(), 7)));
        });

        let taken = shelves.take(&Key { hash: 1, address: None });

        assert_eq!(taken.map(|held| held.what), Some(7));
    }

    #[test]
    fn above_the_bound_the_oldest_of_all_goes_whoever_put_it() {
        let (begun, shelves) = (Instant::now(), Shelves::new(4, 3));
        let put = |nth: u32| {
            let put = || shelves.put(held(nth.into(), begun + Duration::from_secs(nth.into()), nth));
            let gone = thread::scope(|scope| scope.spawn(put).join().unwrap());
            gone.map(|held| held.what)
        };

        let gone: Vec<_> = (0..6).map(put).collect();

        assert_eq!(gone, [None, None, None, Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn what_is_cleared_away_counts_no_more_before_the_next_shelf_is_looked_at() {
        let shelves = Shelves::new(2, 10);
        for of in 0..2 {
            shelves.lock(of).unwrap().put(held(1, Instant::now(), 7));
        }
        shelves.kept.store(2, Ordering::Relaxed);
        let seen = RefCell::new(Vec::new());

        shelves.clear(|_| {
            seen.borrow_mut().push(shelves.kept.load(Ordering::Relaxed));
            true
        });

        assert_eq!((seen.into_inner(), shelves.kept.into_inner()), (vec![2, 1], 0));
    }

    /// Eight threads, each with things of its own in hand, put and take at random; another
    /// clears some away and one looks for the oldest. Whatever there is, is once.
    #[test]
    fn nothing_is_lost_or_had_twice_whoever_comes_between() {
        const EACH: u32 = 40;
        let (shelves, end) = (Shelves::new(3, 100), AtomicBool::new(false));
        let work = |first: u32| {
            let mut hand: Vec<u32> = (first..first + EACH).collect();
            for _ in 0..20_000 {
                let hash = fastrand::u64(0..5);
                let back = match fastrand::bool() {
                    true => hand.pop().and_then(|what| shelves.put(held(hash, Instant::now(), what))),
                    false => shelves.take(&Key { hash, address: None }),
                };
                hand.extend(back.map(|held| held.what));
            }
            hand
        };
        let clear = || {
            let mut all = Vec::new();
            while !end.load(Ordering::Relaxed) {
                let gone = shelves.clear(|held| held.what % 7 == 0);
                all.extend(gone.into_iter().map(|held| held.what));
            }
            all
        };

        let mut found: Vec<u32> = thread::scope(|scope| {
            let clearing = scope.spawn(clear);
            let working: Vec<_> = (0..8).map(|nth| scope.spawn(move || work(nth * EACH))).collect();
            let hands: Vec<u32> = working.into_iter().flat_map(|one| one.join().unwrap()).collect();
            end.store(true, Ordering::Relaxed);
            hands.into_iter().chain(clearing.join().unwrap()).collect()
        });
        let left = shelves.clear(|_| true);

        assert!(left.len() <= 100, "{}", left.len());
        assert_eq!(shelves.kept.load(Ordering::Relaxed), 0);
        found.extend(left.into_iter().map(|held| held.what));
        assert_eq!(found.len(), 8 * EACH as usize);
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>().len(), 8 * EACH as usize);
    }
}
