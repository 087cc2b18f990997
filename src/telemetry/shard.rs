//! Cells that many threads add to: each thread has its own shard, a reader
//! sums them up.
//!
//! Owns which shard is a thread's. Does not own what the cells mean. One cache
//! line that every core writes to costs more than the request's own work once
//! there are many cores; a shard is written by few.

use std::{
    iter,
    sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

/// One `T` for each shard, made at the first use: what is configured but never
/// used costs a few bytes.
pub(super) struct Sharded<T> {
    count: usize,
    shards: OnceLock<Box<[Padded<T>]>>,
}

impl<T: Default> Sharded<T> {
    /// Nothing yet, for `count` shards; see [`shard_count`].
    pub(super) const fn new(count: usize) -> Self {
        Self { count, shards: OnceLock::new() }
    }

    /// This thread's shard. `None` never happens with a count of at least 1.
    #[inline]
    pub(super) fn mine(&self) -> Option<&T> {
        let shards = self.shards.get_or_init(|| {
            let fresh = iter::repeat_with(Padded::default);
            fresh.take(self.count.next_power_of_two()).collect()
        });
        shards.get(thread_number() & (shards.len() - 1)).map(|shard| &shard.0)
    }

    /// Whether any thread ever had a shard.
    pub(super) fn is_used(&self) -> bool {
        self.shards.get().is_some()
    }

    /// Each shard; none before the first use.
    pub(super) fn each(&self) -> impl Iterator<Item = &T> {
        self.shards.get().into_iter().flatten().map(|shard| &shard.0)
    }

    /// The sum of one cell over all shards.
    pub(super) fn sum(&self, cell: impl Fn(&T) -> Option<&AtomicU64>) -> u64 {
        let values = self.each().filter_map(cell).map(|cell| cell.load(Ordering::Relaxed));
        values.fold(0, u64::wrapping_add)
    }
}

/// A value that shares no cache line with its neighbours. 128 bytes: x86
/// fetches lines in pairs.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

/// Adds to a cell. Nothing is ordered by it, and nothing is written where that changes
/// nothing: most requests have no body.
#[inline]
pub(super) fn add(cell: &AtomicU64, n: u64) {
    if n > 0 {
        cell.fetch_add(n, Ordering::Relaxed);
    }
}

/// How many shards this machine is worth: a power of two, at most [`MAX`].
pub(super) fn shard_count() -> usize {
    thread::available_parallelism().map_or(1, usize::from).next_power_of_two().min(MAX)
}

/// This thread's number, counted up as threads first ask.
#[inline]
pub(crate) fn thread_number() -> usize {
    // A process-wide counter, since it numbers what is process-wide: threads.
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

/// Beyond it memory grows faster than contention falls: 8 threads on one line
/// are still far from saturating it at one write for each request.
const MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_thread_added_is_in_the_sum() {
        let cells = Sharded::<AtomicU64>::new(4);

        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| (0..1_000).for_each(|_| add(cells.mine().unwrap(), 1)));
            }
        });

        assert_eq!(cells.sum(|cell| Some(cell)), 16_000);
        assert_eq!(cells.each().count(), 4);
    }

    #[test]
    fn nothing_is_made_before_the_first_use() {
        let cells = Sharded::<AtomicU64>::new(8);

        assert!(!cells.is_used());
        assert_eq!(cells.sum(|cell| Some(cell)), 0);

        cells.mine();

        assert!(cells.is_used());
    }

    #[test]
    fn a_thread_keeps_its_number_and_shares_it_with_no_other() {
        let here = thread_number();

        let there = thread::spawn(thread_number).join().unwrap();

        assert_eq!(thread_number(), here);
        assert_ne!(there, here);
    }

    #[test]
    fn shards_share_no_pair_of_cache_lines() {
        assert_eq!(size_of::<Padded<[AtomicU64; 26]>>(), 256);
        assert_eq!(align_of::<Padded<AtomicU64>>(), 128);
    }
}
