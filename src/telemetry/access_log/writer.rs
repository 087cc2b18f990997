//! The thread that writes the access log.
//!
//! Owns what a failing file means: what was begun is kept and tried again, so
//! that a full disk tears no line, while the queue fills and drops; when the
//! disk has room again, writing goes on by itself.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::sink::Sink;
use crate::telemetry::queue::{Batch, Queue};

/// The writer's state between two looks at the queue.
pub(super) struct Writer {
    queue: Arc<Queue>,
    /// Whether another file of the same name is asked for.
    reopen: Arc<AtomicBool>,
    output: Output<Sink>,
    /// What is being written; empty unless the file fails.
    batch: Batch,
    is_failing: bool,
}

impl Writer {
    pub(super) fn new(queue: Arc<Queue>, reopen: Arc<AtomicBool>, sink: Sink) -> Self {
        let mut batch = Batch::default();
        batch.begin(&sink);
        Self { queue, reopen, output: Output { to: sink, done: 0 }, batch, is_failing: false }
    }

    /// Writes until the queue is closed and empty, or closed and the file fails.
    pub(super) fn run(mut self) {
        loop {
            // Looked at before the last round, so that this empties the queue.
            let closed = self.queue.is_closed();
            if self.reopen.swap(false, Ordering::AcqRel) {
                self.reopen();
            }
            let written = self.round();
            if closed {
                break;
            }
            thread::park_timeout(if written { EVERY } else { RETRY });
        }
        self.give_up();
        self.queue.finish();
    }

    /// Writes everything that waits; false if the file failed.
    fn round(&mut self) -> bool {
        let Self { queue, output, batch, .. } = self;
        let mut outcome = output.write_all(batch);
        if outcome.is_ok() {
            queue.each(batch, |batch| {
                outcome = output.write_all(batch);
                outcome.is_ok()
            });
        }
        self.tell_change(&outcome);
        outcome.is_ok()
    }

    fn reopen(&mut self) {
        match self.output.to.reopened() {
            None => {}
            Some(Ok(sink)) => {
                let torn = self.output.finish_line(&mut self.batch);
                self.queue.drop_lines(torn);
                self.batch.begin(&sink);
                self.output.to = sink;
                log::info!("access log reopened: path={}", self.output.to.name());
            }
            Some(Err(why)) => {
                log::warn!("access log cannot be reopened: path={} error={why}", self.output.to.name());
            }
        }
    }

    /// Says so once when the file begins to fail, and once when it is over.
    fn tell_change(&mut self, outcome: &io::Result<()>) {
        let (path, dropped) = (self.output.to.name(), self.queue.dropped());
        match outcome {
            Err(why) if !self.is_failing => {
                log::warn!("access log cannot be written: path={path} error={why}");
            }
            Ok(()) if self.is_failing => {
                log::info!("access log is written again: path={path} dropped_lines={dropped}");
            }
            _ => {}
        }
        self.is_failing = outcome.is_err();
    }

    /// Counts what is left.
    fn give_up(&mut self) {
        let Self { queue, output, batch, .. } = self;
        queue.drop_lines(output.lines_left(batch));
        *batch = Batch::default();
        queue.each(batch, |batch| {
            queue.drop_lines(batch.lines);
            *batch = Batch::default();
            true
        });
    }
}

impl Batch {
    /// Makes this the first batch of a file: a line that was torn there ends.
    fn begin(&mut self, sink: &Sink) {
        if sink.is_torn() {
            self.bytes.insert(0, b'\n');
        }
    }
}

/// A file, and how far the batch at hand is in it.
struct Output<W> {
    to: W,
    /// Bytes of the batch.
    done: usize,
}

impl<W: io::Write> Output<W> {
    /// Writes what is left of the batch and empties it. After a failure it is
    /// to be called again with the same batch.
    fn write_all(&mut self, batch: &mut Batch) -> io::Result<()> {
        self.write_until(batch.bytes.len(), batch)?;
        self.done = 0;
        batch.empty();
        Ok(())
    }

    fn write_until(&mut self, end: usize, batch: &Batch) -> io::Result<()> {
        while let Some(rest) = batch.bytes.get(self.done..end).filter(|rest| !rest.is_empty()) {
            match self.to.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.done += n,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// Ends the line that was begun, since the rest of the batch goes to another
    /// file. If it cannot be ended it is left out; says how many lines that is.
    fn finish_line(&mut self, batch: &mut Batch) -> usize {
        let begun = batch.bytes.get(..self.done).and_then(<[u8]>::last).is_some_and(|byte| *byte != b'\n');
        let rest = batch.bytes.get(self.done..).unwrap_or_default();
        let end =
            rest.iter().position(|byte| *byte == b'\n').map_or(batch.bytes.len(), |at| self.done + at + 1);
        let torn = begun && self.write_until(end, batch).is_err();
        if begun {
            self.done = end;
        }
        batch.lines = self.lines_left(batch);
        batch.bytes.drain(..self.done);
        self.done = 0;
        usize::from(torn)
    }

    /// How many lines of the batch are not whole in the file.
    fn lines_left(&self, batch: &Batch) -> usize {
        if self.done == 0 {
            return batch.lines;
        }
        let rest = batch.bytes.get(self.done..).unwrap_or_default();
        rest.iter().filter(|byte| **byte == b'\n').count()
    }
}

/// How long a line may wait while there are few: one wake-up for many lines
/// instead of one each.
const EVERY: Duration = Duration::from_millis(50);

/// Until a file that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, fs, os::unix::fs::symlink};

    use super::*;
    use crate::telemetry::Metrics;

    /// Takes so many bytes at each call; `None` is a full disk.
    struct Disk {
        takes: VecDeque<Option<usize>>,
        has: Vec<u8>,
    }

    impl io::Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.takes.pop_front().unwrap_or(Some(usize::MAX)) {
                None => Err(io::ErrorKind::StorageFull.into()),
                Some(room) => {
                    let taken = room.min(bytes.len());
                    self.has.extend_from_slice(&bytes[..taken]);
                    Ok(taken)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn disk(takes: &[Option<usize>]) -> Output<Disk> {
        Output { to: Disk { takes: takes.iter().copied().collect(), has: Vec::new() }, done: 0 }
    }

    fn batch(lines: &[u8]) -> Batch {
        let count = lines.iter().filter(|b| **b == b'\n').count();
        Batch { bytes: lines.to_vec(), lines: count, told: false }
    }

    #[test]
    fn a_disk_that_fills_up_in_a_line_gets_the_rest_of_it_later() {
        let mut output = disk(&[Some(3), Some(4), None, None, Some(1)]);
        let mut lines = batch(b"first\nsecond\nthird\n");

        assert!(output.write_all(&mut lines).is_err());
        assert_eq!(output.to.has, b"first\ns");
        assert_eq!(output.lines_left(&lines), 2);
        assert!(output.write_all(&mut lines).is_err());
        assert!(output.write_all(&mut lines).is_ok());

        assert_eq!(output.to.has, b"first\nsecond\nthird\n");
        assert_eq!((output.lines_left(&lines), lines.bytes.len()), (0, 0));
    }

    #[test]
    fn a_disk_that_takes_nothing_and_says_so_without_an_error_fails_too() {
        let mut output = disk(&[Some(0)]);

        assert!(output.write_all(&mut batch(b"x\n")).is_err());
    }

    #[test]
    fn a_line_that_was_begun_is_ended_in_its_own_file() {
        let mut output = disk(&[Some(7), None]);
        let mut lines = batch(b"first\nsecond\nthird\n");
        assert!(output.write_all(&mut lines).is_err());

        let torn = output.finish_line(&mut lines);

        assert_eq!(torn, 0);
        assert_eq!(output.to.has, b"first\nsecond\n");
        assert_eq!((&*lines.bytes, lines.lines, output.done), (&b"third\n"[..], 1, 0));
    }

    #[test]
    fn a_line_that_cannot_be_ended_is_counted_and_the_next_file_begins_with_a_whole_one() {
        let mut output = disk(&[Some(7), None, Some(1), None]);
        let mut lines = batch(b"first\nsecond\nthird\n");
        assert!(output.write_all(&mut lines).is_err());

        let torn = output.finish_line(&mut lines);

        assert_eq!(torn, 1);
        assert_eq!((&*lines.bytes, lines.lines, output.done), (&b"third\n"[..], 1, 0));
    }

    #[test]
    fn a_failure_between_two_lines_moves_both_to_the_next_file() {
        let mut output = disk(&[Some(6), None]);
        let mut lines = batch(b"first\nsecond\nthird\n");
        assert!(output.write_all(&mut lines).is_err());

        assert_eq!(output.finish_line(&mut lines), 0);

        assert_eq!(output.to.has, b"first\n");
        assert_eq!((&*lines.bytes, lines.lines), (&b"second\nthird\n"[..], 2));
    }

    #[test]
    fn a_new_file_begins_with_a_whole_line_and_the_torn_one_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let (path, good) = (folder.path().join("access.log"), folder.path().join("good.log"));
        symlink("/dev/full", &path).unwrap();
        let metrics = Metrics::new().unwrap();
        let queue = Arc::new(Queue::new(10, metrics.access_log_dropped()));
        let mut writer =
            Writer::new(queue, Arc::default(), Sink::open(path.to_str().unwrap()).unwrap().unwrap());
        writer.batch = batch(b"first\nsecond\nthird\n");
        writer.output.done = 8;

        assert!(!writer.round());
        fs::remove_file(&path).unwrap();
        symlink(&good, &path).unwrap();
        writer.reopen();
        assert!(writer.round());

        assert_eq!(fs::read_to_string(&good).unwrap(), "third\n");
        assert_eq!(metrics.access_log_dropped().get(), 1);
    }

    #[test]
    fn a_buffer_shrinks_after_a_peak_and_not_under_load() {
        let mut lines = Batch { bytes: Vec::with_capacity(4 << 20), lines: 0, told: false };

        lines.bytes.resize(1 << 20, b'x');
        lines.empty();
        assert_eq!(lines.bytes.capacity(), 4 << 20);
        (0..10).for_each(|_| lines.empty());

        assert!((128 << 10..=256 << 10).contains(&lines.bytes.capacity()));
    }
}
