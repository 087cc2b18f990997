//! The thread that sends spans.
//!
//! Owns what a failing collector means: a message is tried three times, with growing
//! pauses or those that the collector asks for; then its spans are counted as failed and
//! the next message has its turn. Meanwhile the queue fills, drops and counts.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    otlp,
    post::{self, Outcome},
    settings::SpanSettings,
};
use crate::telemetry::{
    metrics::{IntCounter, Metrics, SpanResult},
    queue::{Batch, Queue},
};

/// The sender's state between two looks at the queue.
pub(super) struct Sender {
    queue: Arc<Queue>,
    settings: Arc<Mutex<Option<Arc<SpanSettings>>>>,
    exported: IntCounter,
    rejected: IntCounter,
    failed: IntCounter,
    /// What was told of how it goes.
    told: Told,
}

/// Whether collectors take what is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Told {
    Well,
    /// Nobody takes it.
    Failing,
    /// The collector does not want it, or not all of it.
    Rejected,
}

impl Sender {
    pub(super) fn new(
        queue: Arc<Queue>,
        settings: Arc<Mutex<Option<Arc<SpanSettings>>>>,
        metrics: &Metrics,
    ) -> Self {
        Self {
            queue,
            settings,
            exported: metrics.trace_spans(SpanResult::Exported),
            rejected: metrics.trace_spans(SpanResult::Rejected),
            failed: metrics.trace_spans(SpanResult::Failed),
            told: Told::Well,
        }
    }

    /// Sends until the queue is closed and empty, or closed and the collector fails.
    pub(super) fn run(mut self) {
        loop {
            // Looked at before the last round, so that this empties the queue.
            let closed = self.queue.is_closed();
            self.round();
            if closed {
                break;
            }
            thread::park_timeout(self.settings().map_or(UNKNOWN, |settings| settings.interval));
        }
        self.queue.finish();
    }

    fn settings(&self) -> Option<Arc<SpanSettings>> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends everything that waits.
    fn round(&mut self) {
        let (mut batch, mut spans) = (Batch::default(), Batch::default());
        self.queue.each(&mut batch, |batch| {
            spans.bytes.extend_from_slice(&batch.bytes);
            spans.lines += batch.lines;
            batch.empty();
            true
        });
        let mut rest = spans.bytes.as_slice();
        while !rest.is_empty() {
            // Asked for anew each time: what waited goes where it is to go now.
            let Some(settings) = self.settings() else { return };
            let (message, count, after) = message(&settings, rest);
            rest = after;
            self.send(&message, count);
        }
    }

    /// Sends one message, as often as it takes, and counts what became of it.
    fn send(&mut self, message: &Message, count: u64) {
        let mut tries = 0;
        loop {
            tries += 1;
            let Some(settings) = self.settings() else { return };
            let why = match post::post(&settings.endpoint, &message.with_head(&settings), settings.timeout) {
                Ok(Outcome::Taken(lost, why)) => return self.taken(count, lost.min(count), &why),
                Ok(Outcome::Refused(status)) => return self.refused(count, status),
                Ok(Outcome::Later(status, wait)) => (format!("status {status}"), wait),
                Err(why) => (why.to_string(), None),
            };
            self.tell(Told::Failing, &why.0);
            if tries >= MOST_TRIES || self.queue.is_closed() {
                self.failed.inc_by(count);
                return;
            }
            self.pause(why.1.unwrap_or(FIRST_PAUSE * tries * tries).min(LONGEST_PAUSE));
        }
    }

    fn taken(&mut self, count: u64, lost: u64, why: &str) {
        self.exported.inc_by(count - lost);
        if lost == 0 {
            return self.tell(Told::Well, "");
        }
        self.rejected.inc_by(lost);
        self.tell(Told::Rejected, why);
    }

    fn refused(&mut self, count: u64, status: u16) {
        self.rejected.inc_by(count);
        self.tell(Told::Rejected, &format!("status {status}"));
    }

    /// Says so once when it changes.
    fn tell(&mut self, now: Told, why: &str) {
        if mem::replace(&mut self.told, now) == now {
            return;
        }
        let endpoint = self.settings().map(|settings| settings.endpoint.to_string()).unwrap_or_default();
        match now {
            Told::Well => log::info!("spans are taken again: endpoint={endpoint}"),
            Told::Failing => log::warn!("spans cannot be sent: endpoint={endpoint} error={why:?}"),
            Told::Rejected => log::warn!("spans are not taken: endpoint={endpoint} answer={why:?}"),
        }
    }

    /// Waits, but not for a process that ends, nor for a collector that is no longer the one.
    fn pause(&self, long: Duration) {
        let (end, before) = (Instant::now() + long, self.settings());
        while !self.queue.is_closed() && self.settings() == before {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left.min(LOOK_EVERY));
        }
    }
}

/// Spans with commas between them.
struct Message(Vec<u8>);

impl Message {
    fn with_head(&self, settings: &SpanSettings) -> Vec<u8> {
        [&settings.head, &self.0, otlp::TAIL].concat()
    }
}

/// The first spans of these lines, as many as one message has; how many; and what is left.
fn message<'l>(settings: &SpanSettings, lines: &'l [u8]) -> (Message, u64, &'l [u8]) {
    let (mut body, mut count, mut rest) = (Vec::new(), 0, lines);
    while count < settings.batch as u64
        && let Some(end) = memchr::memchr(b'\n', rest)
        && let Some((line, after)) = rest.split_at_checked(end)
    {
        if count > 0 {
            body.push(b',');
        }
        body.extend_from_slice(line);
        rest = after.get(1..).unwrap_or_default();
        count += 1;
    }
    (Message(body), count, rest)
}

/// Until there are settings.
const UNKNOWN: Duration = Duration::from_secs(1);

const MOST_TRIES: u32 = 3;
/// The second pause is four times as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Whatever a collector asks for: spans that are older are of no use.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Whether there is another collector is looked at this often while one fails.
const LOOK_EVERY: Duration = Duration::from_millis(200);
