//! Spans of recorded requests, and the way to a collector (OTLP over HTTP, as JSON).
//!
//! `sampling` says which requests are recorded, `caller` reads and writes the fields that
//! join spans to a trace, `recording` is what is noted of one request, `otlp` and `attributes` how it
//! is written, `sender` the thread that sends it, by `post`. Does not own when anything of a
//! request begins and ends: the gateway says that.
//!
//! Always holds: a request that is not recorded costs a branch, and none waits for a
//! collector. Spans that a queue took are sent, or counted as not sent; a full queue
//! drops and counts.
//!
//! The JSON is written by hand because it is smaller so: `opentelemetry-proto` with
//! `prost` is eleven crates more for one message of which a dozen fields are used, and would
//! have each span built twice, as an object and as bytes. Here it is bytes at once, in
//! buffers that are used again, as the access log's are. Types made from OpenTelemetry's
//! own `.proto` files read what comes out in a test (`make test-otlp`).

mod attributes;
pub mod caller;
mod otlp;
mod post;
mod recording;
mod sampling;
mod sender;
mod settings;

use std::{
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread::{self, Thread},
    time::Duration,
};

pub use otlp::RequestSpans;
pub use recording::{Attempt, Recording, Target};
pub use sampling::{Sampler, Share};
use sender::Sender;
pub use settings::{Origin, SpanSettings};

use super::{
    metrics::{Metrics, SpanResult},
    queue::{Push, Queue},
};

/// The way to the collector; one for the process. It has a thread from the first time
/// that spans are wanted.
pub struct SpanExporter {
    metrics: Arc<Metrics>,
    running: OnceLock<Running>,
    settings: Arc<Mutex<Option<Arc<SpanSettings>>>>,
}

struct Running {
    queue: Arc<Queue>,
    sender: Thread,
}

impl SpanExporter {
    /// Nothing is recorded yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, running: OnceLock::new(), settings: Arc::default() }
    }

    /// Sends spans so from now on, those that wait too. With `None` what waits, and what
    /// requests under way record, goes where it went until now. Nobody else may call this
    /// at the same time.
    pub fn follow(&self, settings: Option<Arc<SpanSettings>>) {
        let Some(settings) = settings else { return };
        let spans = settings.queue;
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = Some(settings);
        if let Some(running) = self.running.get() {
            running.queue.resize(spans);
        } else if let Err(why) = self.start(spans) {
            log::error!("spans are not exported, no thread to be had: error={why}");
        }
    }

    fn start(&self, spans: usize) -> io::Result<()> {
        let queue = Arc::new(Queue::new(spans, self.metrics.trace_spans(SpanResult::Dropped)));
        let sender = Sender::new(queue.clone(), self.settings.clone(), &self.metrics);
        let thread = thread::Builder::new().name("spans".to_owned()).spawn(move || sender.run())?;
        // Nobody else set it: only one may follow at a time.
        let _ = self.running.set(Running { queue, sender: thread.thread().clone() });
        Ok(())
    }

    /// Takes the spans of a request, or drops and counts them when the queue is full or
    /// closed.
    pub fn export(&self, request: &RequestSpans<'_>) {
        let Some(running) = self.running.get() else { return };
        if running.queue.push(request.count(), |out| request.render(out)) == Push::TakenAndHalfFull {
            running.sender.unpark();
        }
    }

    /// Takes no more spans and waits until those taken are sent, or given up. False if
    /// that took longer than `timeout`.
    pub fn close(&self, timeout: Duration) -> bool {
        let Some(running) = self.running.get() else { return true };
        running.queue.close();
        running.sender.unpark();
        running.queue.wait_until_finished(timeout)
    }
}

impl Drop for SpanExporter {
    fn drop(&mut self) {
        self.close(Duration::ZERO);
    }
}
