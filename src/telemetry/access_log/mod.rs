//! The access log: one JSON line for each request, off the request's way.
//!
//! Owns the queue between requests and the file, and the thread that writes.
//! Does not own what a line says. A request never waits for the file: when the
//! queue is full its line is dropped and counted. Every line that was taken is
//! written whole or counted as dropped, and nothing but whole lines is written.

mod sink;
mod writer;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use self::{sink::Sink, writer::Writer};
use super::{
    line::Line,
    metrics::Metrics,
    queue::{Push, Queue},
};
use crate::config::server::AccessLogSpec;

/// The way in. Dropping it lets the writer end without waiting for it.
pub struct AccessLog(Option<Running>);

struct Running {
    queue: Arc<Queue>,
    reopen: Arc<AtomicBool>,
    writer: Thread,
}

impl AccessLog {
    /// Opens the file and starts the writer; with `off` it does neither. The
    /// path is taken as it stands. Fails if the file cannot be opened for
    /// appending or the thread not be started.
    pub fn open(spec: &AccessLogSpec, metrics: &Metrics) -> io::Result<Self> {
        let Some(sink) = Sink::open(&spec.path)? else { return Ok(Self(None)) };
        let queue = Arc::new(Queue::new(spec.queue as usize, metrics.access_log_dropped()));
        let reopen = Arc::<AtomicBool>::default();
        let writer = Writer::new(queue.clone(), reopen.clone(), sink);
        let thread = thread::Builder::new().name("access-log".to_owned()).spawn(move || writer.run())?;
        Ok(Self(Some(Running { queue, reopen, writer: thread.thread().clone() })))
    }

    /// Whether there is anything to write to; if not, no line need be made.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Takes a line, or drops and counts it when the queue is full or closed.
    pub fn write(&self, line: &Line<'_>) {
        let Some(running) = &self.0 else { return };
        if running.queue.push(1, |out| line.render(out)) == Push::TakenAndHalfFull {
            running.writer.unpark();
        }
    }

    /// Goes over to a new file of the same name, after the old one was moved
    /// away. Happens soon, not at once; if the file cannot be opened, the old
    /// one stays in use and a warning says why.
    pub fn reopen(&self) {
        if let Some(running) = &self.0 {
            running.reopen.store(true, Ordering::Release);
            running.writer.unpark();
        }
    }

    /// Takes no more lines and waits until those taken are written, or dropped
    /// since the file refuses them. False if that took longer than `timeout`.
    pub fn close(&self, timeout: Duration) -> bool {
        let Some(running) = &self.0 else { return true };
        running.queue.close();
        running.writer.unpark();
        running.queue.wait_until_finished(timeout)
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.close(Duration::ZERO);
    }
}

#[cfg(test)]
mod tests;
