//! Lines that wait to be written or sent: a buffer for each shard of threads.
//!
//! Lines are rendered straight into the buffers, which the writer swaps for
//! empty ones: nothing is allocated or copied for a line once the buffers have
//! grown. Bounded in lines and in bytes. Does not own what a line is; several that
//! are one thing are taken or dropped together.

use std::{
    iter, mem,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    metrics::IntCounter,
    shard::{self, Padded},
};

/// What requests fill and the writer empties.
pub(super) struct Queue {
    shards: Box<[Padded<Mutex<Batch>>]>,
    /// Of one shard.
    max_lines: AtomicUsize,
    dropped: IntCounter,
    closed: AtomicBool,
    finished: Mutex<bool>,
    finish: Condvar,
}

/// Whole lines.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: usize,
    /// Whether the writer was told that this is half full.
    pub(super) told: bool,
}

impl Batch {
    /// Forgets the lines. The buffer stays as large as the load needs it, and
    /// shrinks by halves once a peak is over.
    pub(super) fn empty(&mut self) {
        let (used, capacity) = (self.bytes.len(), self.bytes.capacity());
        self.lines = 0;
        self.bytes.clear();
        if capacity > KEEP_BYTES && used < capacity / 8 {
            self.bytes.shrink_to(capacity / 2);
        }
    }
}

/// What became of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Push {
    /// It will be written.
    Taken,
    /// It will be written, and the writer should not wait any longer.
    TakenAndHalfFull,
    /// It was counted.
    Dropped,
}

impl Queue {
    /// For so many lines; at least one.
    pub(super) fn new(lines: usize, dropped: IntCounter) -> Self {
        // No more shards than lines, or the bound could not be kept.
        let lines = lines.max(1);
        let shards = shard::shard_count().min(1 << lines.ilog2());
        Self {
            shards: iter::repeat_with(Padded::default).take(shards).collect(),
            max_lines: AtomicUsize::new(lines / shards),
            dropped,
            closed: AtomicBool::new(false),
            finished: Mutex::new(false),
            finish: Condvar::new(),
        }
    }

    /// From now on for so many lines. What waits already stays.
    pub(super) fn resize(&self, lines: usize) {
        self.max_lines.store((lines / self.shards.len()).max(1), Ordering::Relaxed);
    }

    /// Takes so many lines into this thread's shard, or into another one while that is
    /// full or busy. `render` appends them, each with its line feed.
    pub(super) fn push(&self, lines: usize, render: impl FnOnce(&mut Vec<u8>)) -> Push {
        let mine = shard::thread_number();
        let (mut busy, last) = (false, self.shards.len() - 1);
        for nth in 0..self.shards.len() {
            let Some(Padded(shard)) = self.shards.get((mine + nth) & last) else { break };
            match shard.try_lock() {
                Ok(batch) if self.has_room(&batch) => return self.add(batch, lines, render),
                Err(TryLockError::WouldBlock) => busy = true,
                _ => {}
            }
        }
        // Held for no longer than a line takes to render or two pointers to
        // swap, never while a file is written.
        let waited = self.shards.get(mine & last).filter(|_| busy).map(|Padded(shard)| lock(shard));
        match waited.filter(|batch| self.has_room(batch)) {
            Some(batch) => self.add(batch, lines, render),
            None => {
                self.drop_lines(lines);
                Push::Dropped
            }
        }
    }

    // Closed is looked at under the shard's lock: a line is taken either before
    // the writer's last look at the shard, or not at all.
    fn has_room(&self, batch: &Batch) -> bool {
        let max = self.max_lines.load(Ordering::Relaxed);
        let bytes = max.saturating_mul(BYTES_A_LINE);
        batch.lines < max && batch.bytes.len() < bytes && !self.closed.load(Ordering::Acquire)
    }

    fn add(&self, mut batch: MutexGuard<'_, Batch>, lines: usize, render: impl FnOnce(&mut Vec<u8>)) -> Push {
        render(&mut batch.bytes);
        batch.lines += lines;
        let max = self.max_lines.load(Ordering::Relaxed);
        let half =
            batch.lines.saturating_mul(2) >= max || batch.bytes.len() >= max.saturating_mul(BYTES_A_LINE / 2);
        if half && !mem::replace(&mut batch.told, true) { Push::TakenAndHalfFull } else { Push::Taken }
    }

    /// Swaps each shard in turn for the batch, which `with` is to empty; ends
    /// where `with` says false.
    pub(super) fn each(&self, batch: &mut Batch, mut with: impl FnMut(&mut Batch) -> bool) -> bool {
        self.shards.iter().all(|Padded(shard)| {
            batch.told = false;
            mem::swap(&mut *lock(shard), batch);
            batch.lines == 0 || with(batch)
        })
    }

    /// Counts lines that will not be written.
    pub(super) fn drop_lines(&self, lines: usize) {
        self.dropped.inc_by(lines as u64);
    }

    /// How many lines were dropped since the process began.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// Takes no more lines.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Said by the writer when it ends.
    pub(super) fn finish(&self) {
        *lock(&self.finished) = true;
        self.finish.notify_all();
    }

    /// Whether the writer ended before the time was over.
    pub(super) fn wait_until_finished(&self, timeout: Duration) -> bool {
        let waited = self.finish.wait_timeout_while(lock(&self.finished), timeout, |finished| !*finished);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bound in bytes is so many for each line of the bound in lines: above
/// what lines usually have, far below what a hostile client can make of one.
const BYTES_A_LINE: usize = 1_024;

/// A buffer of this size is not worth giving back.
const KEEP_BYTES: usize = 256 << 10;
