//! What a connection knows of itself: shared by the socket's wrapper, the loop
//! that serves it and the requests that come through it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::HeaderValue;
use tokio::sync::Notify;

use super::{
    pace::Pace,
    streams::{StreamCounts, Streams},
};
use crate::telemetry::metrics::EarlyEnd;

/// One client's connection. Requests find it in their session's digest.
#[derive(Debug)]
pub struct Connection {
    /// The listener's place in the configuration.
    pub listener: usize,
    /// Who is at its other end.
    pub caller: Caller,
    /// The client's address as a header value, for every request's
    /// `X-Forwarded-For`.
    pub client_value: HeaderValue,
    /// When it was accepted.
    pub opened: Instant,
    /// Microseconds after `opened`, plus one, when the header began that is
    /// being waited for; 0 while its first byte has not come.
    head_since: AtomicU64,
    /// The same for the first byte of it: a first header is due before it began.
    first_byte: AtomicU64,
    awaits_head: AtomicBool,
    /// Bytes that came since the header began that is being waited for.
    head_bytes: AtomicUsize,
    requests: AtomicU32,
    /// After which request it is asked to end.
    most_requests: AtomicU32,
    /// Rings when that request came.
    enough: Notify,
    heard: AtomicBool,
    /// The client left an HTTP/2 connection.
    left: AtomicBool,
    /// How long the client may be waited for.
    pace: Pace,
    /// What it carries that may go on for long.
    streams: Streams,
    /// Bytes may have come that belong to a later request.
    overread: AtomicBool,
    /// The gateway found the body of this request to be chunked.
    chunked: AtomicBool,
    /// What follows this request's header is no chunked body.
    bad_chunks: AtomicBool,
    asked_to_end: AtomicBool,
    ended: OnceLock<EarlyEnd>,
}

/// A request's body that is awaited.
pub struct Upload(Arc<Connection>);

impl Drop for Upload {
    fn drop(&mut self) {
        self.0.pace.uploads(-1);
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who connected here: the load balancer, if one stands in between.
    pub peer: SocketAddr,
    /// Who wants something: `peer`, unless a PROXY header names another.
    pub client: SocketAddr,
    /// The VPC endpoint that the client came through (PrivateLink). The client's
    /// address means something only together with it.
    pub vpc_endpoint: Option<Box<str>>,
}

impl Connection {
    /// A connection that was just accepted; its first header is due. What it comes
    /// to carry is counted in `streams`.
    pub fn new(listener: usize, caller: Caller, streams: Arc<StreamCounts>) -> Self {
        Self {
            listener,
            client_value: address_value(caller.client),
            caller,
            opened: Instant::now(),
            head_since: AtomicU64::new(1),
            first_byte: AtomicU64::new(0),
            awaits_head: AtomicBool::new(true),
            head_bytes: AtomicUsize::new(0),
            requests: AtomicU32::new(0),
            most_requests: AtomicU32::new(u32::MAX),
            enough: Notify::new(),
            heard: AtomicBool::new(false),
            left: AtomicBool::new(false),
            pace: Pace::default(),
            streams: Streams::new(streams),
            overread: AtomicBool::new(false),
            chunked: AtomicBool::new(false),
            bad_chunks: AtomicBool::new(false),
            asked_to_end: AtomicBool::new(false),
            ended: OnceLock::new(),
        }
    }

    /// A request's header was read whole: its deadline is off. `length` is how
    /// long it was (HTTP/1): what came beyond it is a body or a later request.
    ///
    /// Returns when its first byte came; `None` in HTTP/2, where requests share
    /// the connection.
    pub fn head_read(&self, length: Option<usize>) -> Option<Instant> {
        let begun = length.and(self.instant_of(&self.first_byte));
        if length.is_some_and(|length| self.head_bytes.load(Ordering::Relaxed) > length) {
            self.note_overread();
        }
        self.awaits_head.store(false, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        if before.saturating_add(1) == self.most_requests.load(Ordering::Relaxed) {
            self.ask_to_end();
            self.enough.notify_one();
        }
        begun
    }

    fn instant_of(&self, micros: &AtomicU64) -> Option<Instant> {
        let since = micros.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.opened + Duration::from_micros(since))
    }

    /// The next request may come; its deadline begins with its first byte.
    pub(super) fn expect_head(&self) {
        self.head_since.store(0, Ordering::Relaxed);
        self.first_byte.store(0, Ordering::Relaxed);
        self.overread.store(false, Ordering::Relaxed);
        self.chunked.store(false, Ordering::Relaxed);
        self.bad_chunks.store(false, Ordering::Relaxed);
        self.awaits_head.store(true, Ordering::Relaxed);
    }

    /// The body of the request is chunked: from now on a read that finds a bad
    /// chunk fails.
    pub fn expect_chunks(&self) {
        self.chunked.store(true, Ordering::Relaxed);
    }

    /// Whether a chunked body is none. Before [`Connection::expect_chunks`] no
    /// body is.
    pub fn has_bad_chunks(&self) -> bool {
        self.is_chunked() && self.bad_chunks.load(Ordering::Relaxed)
    }

    pub(super) fn is_chunked(&self) -> bool {
        self.chunked.load(Ordering::Relaxed)
    }

    /// What follows the header of this request is no chunked body.
    pub(super) fn note_bad_chunks(&self) {
        self.bad_chunks.store(true, Ordering::Relaxed);
    }

    /// Notes that a read may reach beyond this request.
    pub(super) fn note_overread(&self) {
        self.overread.store(true, Ordering::Relaxed);
    }

    /// Whether any read of this request may reach beyond it.
    pub(super) fn may_be_overread(&self) -> bool {
        self.overread.load(Ordering::Relaxed)
    }

    pub(super) fn awaits_head(&self) -> bool {
        self.awaits_head.load(Ordering::Relaxed)
    }

    /// Bytes came while a header is awaited, `all` of them by now; the first one
    /// starts the deadline.
    pub(super) fn head_bytes(&self, all: usize) {
        self.heard.store(true, Ordering::Relaxed);
        self.head_bytes.store(all, Ordering::Relaxed);
        if self.first_byte.load(Ordering::Relaxed) != 0 {
            return;
        }
        let micros = u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX - 1);
        self.first_byte.store(micros + 1, Ordering::Relaxed);
        if self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_since.store(micros + 1, Ordering::Relaxed);
        }
    }

    /// How long the header that is awaited has been on its way; `None` while
    /// none is.
    pub(super) fn head_age(&self, now: Instant) -> Option<Duration> {
        let begun = self.instant_of(&self.head_since)?;
        self.awaits_head().then(|| now.saturating_duration_since(begun))
    }

    /// Whether a request was served and nothing of the next has come. An
    /// HTTP/2 connection never is: Pingora ends idle ones itself.
    pub(super) fn is_idle(&self) -> bool {
        self.awaits_head() && self.head_since.load(Ordering::Relaxed) == 0
    }

    /// The next answer whose header is written is the last one.
    pub(super) fn ask_to_end(&self) {
        self.asked_to_end.store(true, Ordering::Relaxed);
    }

    /// Whether it has to end because of its age or a drain. Pingora only knows
    /// when a request begins.
    pub fn is_asked_to_end(&self) -> bool {
        self.asked_to_end.load(Ordering::Relaxed)
    }

    /// Requests whose header was read.
    pub fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// So many requests may come; with the last the connection is asked to end.
    pub(super) fn allow_requests(&self, most: u32) {
        self.most_requests.store(most, Ordering::Relaxed);
    }

    /// Waits until as many requests came as may.
    pub(super) async fn enough(&self) {
        self.enough.notified().await;
    }

    /// The client left an HTTP/2 connection.
    pub(super) fn note_left(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// Whether the client left without having asked anything: browsers connect
    /// ahead of need, and say hello.
    pub(super) fn was_probe(&self) -> bool {
        self.requests() == 0 && (!self.heard() || self.left.load(Ordering::Relaxed))
    }

    /// How fast the client sends and takes.
    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// What it carries that may go on for long.
    pub(super) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// A request's body is awaited until the guard is dropped: meanwhile the
    /// client may not be too slow.
    pub fn expect_body(self: &Arc<Self>) -> Upload {
        self.pace.uploads(1);
        Upload(self.clone())
    }

    /// Whether the client sent a body too slowly; reads fail from then on.
    pub fn is_too_slow(&self) -> bool {
        self.ended() == Some(EarlyEnd::BodyTooSlow)
    }

    /// Whether any byte came after the handshake.
    pub(super) fn heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    /// Notes why the connection ends early; the first reason stays.
    pub fn end(&self, why: EarlyEnd) {
        let _ = self.ended.set(why);
    }

    /// Whether the gateway ended it with requests under way.
    pub fn was_cut(&self) -> bool {
        matches!(
            self.ended(),
            Some(EarlyEnd::MaxAgeCut | EarlyEnd::MaxRequestsCut | EarlyEnd::DrainCut | EarlyEnd::ReadTooSlow)
        )
    }

    pub(super) fn ended(&self) -> Option<EarlyEnd> {
        self.ended.get().copied()
    }
}

impl Caller {
    /// Who connected is who asks.
    pub fn direct(peer: SocketAddr) -> Self {
        Self { peer, client: peer, vpc_endpoint: None }
    }
}

fn address_value(client: SocketAddr) -> HeaderValue {
    // An address is always a header value; an empty one would only lose it.
    HeaderValue::try_from(client.ip().to_canonical().to_string())
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted() -> Connection {
        Connection::new(0, Caller::direct("127.0.0.1:1".parse().unwrap()), Arc::default())
    }

    #[test]
    fn the_first_header_is_due_from_the_start_and_later_ones_from_their_first_byte() {
        let connection = accepted();
        let later = connection.opened + Duration::from_secs(5);
        assert!(connection.head_age(later).is_some_and(|age| age >= Duration::from_secs(4)));

        connection.head_read(None);
        assert_eq!(connection.head_age(later), None);

        connection.expect_head();
        assert_eq!(connection.head_age(later), None);
        connection.head_bytes(1);
        assert!(connection.head_age(later).is_some());
    }

    #[test]
    fn what_came_beyond_a_header_is_overread() {
        let connection = accepted();

        connection.head_bytes(100);
        connection.head_read(Some(100));
        assert!(!connection.may_be_overread());
        connection.expect_head();
        connection.head_bytes(101);
        connection.head_read(Some(100));

        assert!(connection.may_be_overread());
    }

    #[test]
    fn the_first_reason_stays() {
        let connection = accepted();

        connection.end(EarlyEnd::HeaderTimeout);
        connection.end(EarlyEnd::MaxAgeCut);

        assert_eq!(connection.ended(), Some(EarlyEnd::HeaderTimeout));
    }
}
