//! What outlives ordinary requests: WebSockets, event streams and gRPC calls.
//!
//! Owns how many connections carry one, and when a connection that was asked to
//! end has had its time. Does not own which request is one: the gateway says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::sleep_until};

use super::{app::Limits, connection::Connection};

/// What a request became that may go on for long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StreamKind {
    /// The connection is one WebSocket from here on.
    WebSocket,
    /// Server-sent events, or a gRPC call: over HTTP/2 one of many.
    Stream,
}

/// The connections of the process that carry something long.
#[derive(Debug, Default)]
pub struct StreamCounts {
    websockets: AtomicUsize,
    streams: AtomicUsize,
}

impl StreamCounts {
    /// Connections that became WebSockets.
    pub fn websockets(&self) -> usize {
        self.websockets.load(Ordering::Relaxed)
    }

    /// Connections with at least one other stream.
    pub fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    fn of(&self, kind: StreamKind) -> &AtomicUsize {
        match kind {
            StreamKind::WebSocket => &self.websockets,
            StreamKind::Stream => &self.streams,
        }
    }
}

/// What of it one connection carries.
#[derive(Debug)]
pub(super) struct Streams {
    under_way: AtomicU32,
    is_websocket: AtomicBool,
    /// Rings when none is left.
    ended: Notify,
    all: Arc<StreamCounts>,
}

impl Streams {
    /// None yet, counted in `all`.
    pub fn new(all: Arc<StreamCounts>) -> Self {
        Self { under_way: AtomicU32::new(0), is_websocket: AtomicBool::new(false), ended: Notify::new(), all }
    }

    /// Whether what is written from here on is an answer that switches protocols,
    /// then frames.
    pub fn is_websocket(&self) -> bool {
        self.is_websocket.load(Ordering::Relaxed)
    }

    /// Whether one is under way.
    pub fn any(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }

    /// Waits until one connection that was asked to end has had its time.
    pub async fn had_their_time(&self, limits: &Limits) {
        let mut ceiling = Ceiling::new(limits, Instant::now());
        loop {
            let now = Instant::now();
            let end = ceiling.end(now, self.any());
            if now >= end {
                return;
            }
            tokio::select! {
                () = sleep_until(end.into()) => {}
                () = self.ended.notified() => {}
            }
        }
    }
}

/// A stream that is under way until this is dropped.
pub struct StreamGuard {
    connection: Arc<Connection>,
    kind: StreamKind,
}

impl StreamGuard {
    /// The connection carries one more.
    pub fn new(connection: &Arc<Connection>, kind: StreamKind) -> Self {
        let streams = connection.streams();
        if kind == StreamKind::WebSocket {
            streams.is_websocket.store(true, Ordering::Relaxed);
        }
        if streams.under_way.fetch_add(1, Ordering::Relaxed) == 0 {
            streams.all.of(kind).fetch_add(1, Ordering::Relaxed);
        }
        Self { connection: connection.clone(), kind }
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let streams = self.connection.streams();
        if streams.under_way.fetch_sub(1, Ordering::Relaxed) == 1 {
            streams.all.of(self.kind).fetch_sub(1, Ordering::Relaxed);
            streams.ended.notify_one();
        }
    }
}

/// When what was asked to end is cut: `max_drain` after it was asked, and while
/// it carries streams `max_drain_streams` after that. After the last stream the
/// connection has `max_drain` once more, within the latter.
#[derive(Clone, Copy, Debug)]
pub struct Ceiling {
    asked: Instant,
    /// When streams were seen last.
    streamed: Instant,
    requests: Duration,
    streams: Duration,
}

impl Ceiling {
    /// For what was asked at `now`.
    pub fn new(limits: &Limits, now: Instant) -> Self {
        Self::of(limits.max_drain, limits.max_drain_streams, now)
    }

    /// The same with times of one's own; `streams` is no less than `requests`.
    pub fn of(requests: Duration, streams: Duration, now: Instant) -> Self {
        Self { asked: now, streamed: now, requests, streams }
    }

    /// When it is cut, as it looks at `now`.
    pub fn end(&mut self, now: Instant, has_streams: bool) -> Instant {
        let last = self.asked + self.streams;
        if has_streams {
            self.streamed = now;
            return last;
        }
        last.min(self.streamed + self.requests)
    }

    /// How long requests and streams have at `now`, at most.
    pub fn left(&self, now: Instant) -> (Duration, Duration) {
        let left = |most: Duration| (self.asked + most).saturating_duration_since(now);
        (left(self.requests), left(self.streams))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Caller;

    const SECOND: Duration = Duration::from_secs(1);

    fn ceiling(asked: Instant) -> Ceiling {
        Ceiling::of(10 * SECOND, 60 * SECOND, asked)
    }

    fn carrying(all: &Arc<StreamCounts>) -> Arc<Connection> {
        Arc::new(Connection::new(0, Caller::direct("127.0.0.1:1".parse().unwrap()), all.clone()))
    }

    #[test]
    fn requests_have_their_time_and_streams_more() {
        let asked = Instant::now();

        assert_eq!(ceiling(asked).end(asked, false), asked + 10 * SECOND);
        assert_eq!(ceiling(asked).end(asked, true), asked + 60 * SECOND);
        let left = ceiling(asked).left(asked + 15 * SECOND);
        assert_eq!(left, (Duration::ZERO, 45 * SECOND));
    }

    #[test]
    fn after_its_last_stream_a_connection_has_time_to_end_within_that_of_streams() {
        let asked = Instant::now();
        let mut ceiling = ceiling(asked);

        ceiling.end(asked + 30 * SECOND, true);
        assert_eq!(ceiling.end(asked + 31 * SECOND, false), asked + 40 * SECOND);

        ceiling.end(asked + 55 * SECOND, true);
        assert_eq!(ceiling.end(asked + 56 * SECOND, false), asked + 60 * SECOND);
    }

    #[test]
    fn a_connection_counts_once_however_many_streams_it_carries() {
        let all = Arc::new(StreamCounts::default());
        let (http2, socket) = (carrying(&all), carrying(&all));

        let first = StreamGuard::new(&http2, StreamKind::Stream);
        let second = StreamGuard::new(&http2, StreamKind::Stream);
        let third = StreamGuard::new(&socket, StreamKind::WebSocket);
        assert_eq!((all.streams(), all.websockets()), (1, 1));
        drop(first);
        assert!(http2.streams().any() && !http2.streams().is_websocket());
        assert!(socket.streams().is_websocket());

        drop((second, third));

        assert_eq!((all.streams(), all.websockets()), (0, 0));
        assert!(!http2.streams().any());
    }
}
