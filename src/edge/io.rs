//! The wrapper around a connection's bytes.
//!
//! Owns what has to be seen before Pingora parses: the request line that
//! Pingora would repair, a header that never ends, and a chunk that Pingora would
//! forgive. And what has to happen
//! after Pingora lets go: a lingering close, since a close with unread input
//! makes the kernel throw away the end of the last answer (EDGE.md, 3).

use std::{
    fmt,
    io::{Error, ErrorKind, IoSlice, Result},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use async_trait::async_trait;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType, raw_connect::ProxyDigest,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    connection::Connection,
    drain::ConnectionGuard,
    frames::FrameWatch,
    head::{HeadLimits, HeadVerdict, HeadWatch},
    linger::{close, linger},
    pace::Patience,
    websocket::{GOING_AWAY, SocketFrames},
};
use crate::telemetry::metrics::EarlyEnd;

/// A client's connection as Pingora sees it.
pub struct EdgeIo<S: IO + 'static> {
    /// `None` only while it is being dropped.
    inner: Option<S>,
    connection: Arc<Connection>,
    /// Given back last, when the socket is closed.
    guard: Option<ConnectionGuard>,
    head: HeadWatch,
    /// HTTP/2's.
    frames: Option<Box<FrameWatch>>,
    /// A WebSocket's.
    socket: Option<Box<SocketFrames>>,
    patience: Patience,
    refusal: Option<Refusal>,
    peer_closed: bool,
    /// Pingora said the end itself, as it does on HTTP/2.
    half_closed: bool,
}

struct Refusal {
    answer: &'static [u8],
    sent: usize,
}

impl<S: IO + 'static> EdgeIo<S> {
    /// Wraps a connection whose handshake is done.
    pub fn new(inner: S, connection: Arc<Connection>, guard: ConnectionGuard, limits: HeadLimits) -> Self {
        Self {
            inner: Some(inner),
            connection,
            guard: Some(guard),
            head: HeadWatch::new(limits),
            patience: Patience::new(limits.min_rate),
            frames: limits.http2.then(|| Box::new(FrameWatch::new(Instant::now()))),
            socket: None,
            refusal: None,
            peer_closed: false,
            half_closed: false,
        }
    }

    fn inspect(&mut self, new: &[u8]) -> Option<Refusal> {
        self.connection.head_bytes(self.head.bytes() + new.len());
        let refuse = |why, answer| {
            self.connection.end(why);
            Some(Refusal { answer, sent: 0 })
        };
        match self.head.see(new) {
            HeadVerdict::Good { chunks: true } => None,
            HeadVerdict::Good { chunks: false } => {
                self.connection.note_bad_chunks();
                None
            }
            HeadVerdict::TooLarge => refuse(EarlyEnd::HeaderTooLarge, ANSWER_431),
            HeadVerdict::BadLine => refuse(EarlyEnd::BadRequestLine, ANSWER_400),
            HeadVerdict::TargetTooLong => refuse(EarlyEnd::HeaderTooLarge, ANSWER_414),
        }
    }

    /// Puts our own answer in the place of what Pingora's parser is about to say,
    /// which names Pingora, and knows 400 alone.
    fn refuse_for_parser(&mut self) {
        let too_many = self.head.lines() > PINGORA_MAX_FIELDS;
        let (why, answer) = match too_many {
            true => (EarlyEnd::HeaderTooLarge, ANSWER_431),
            false => (EarlyEnd::BadRequest, ANSWER_400),
        };
        self.connection.end(why);
        self.refusal = Some(Refusal { answer, sent: 0 });
    }

    /// Writes the refusal, then fails every read.
    fn poll_refuse(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let closed = Error::from(ErrorKind::InvalidData);
        let (Some(refusal), Some(inner)) = (self.refusal.as_mut(), self.inner.as_mut()) else {
            return Poll::Ready(Err(closed));
        };
        while let Some(rest) = refusal.answer.get(refusal.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *inner).poll_write(cx, rest)) {
                Ok(written) if written > 0 => refusal.sent += written,
                _ => return Poll::Ready(Err(closed)),
            }
        }
        let _ = ready!(Pin::new(inner).poll_flush(cx));
        Poll::Ready(Err(closed))
    }

    fn note_written(&mut self, written: &Result<usize>, bufs: &[IoSlice<'_>]) {
        match (self.frames.as_mut(), written) {
            (Some(frames), Ok(written)) => frames.wrote(*written),
            (Some(_), Err(_)) => self.note_gone(),
            (None, Ok(written)) if self.connection.streams().is_websocket() => {
                let socket = self.socket.get_or_insert_default();
                let mut left = *written;
                for buf in bufs {
                    let taken = left.min(buf.len());
                    socket.push(buf.get(..taken).unwrap_or_default());
                    left -= taken;
                }
            }
            (None, _) => {}
        }
    }

    /// What a WebSocket hears that is cut. Nothing inside of a frame; nor while
    /// bytes wait, of which TLS may have sent some.
    fn farewell(&self) -> &'static [u8] {
        let between = self.socket.as_ref().is_some_and(|socket| socket.may_close());
        let polite = between && self.connection.was_cut() && !self.connection.pace().is_unsent();
        if polite { GOING_AWAY } else { &[] }
    }

    fn note_gone(&self) {
        if self.head.is_http2() {
            self.connection.note_left();
        }
    }

    fn inner(&mut self) -> Result<Pin<&mut S>> {
        self.inner.as_mut().map(Pin::new).ok_or_else(|| ErrorKind::NotConnected.into())
    }
}

impl<S: IO + 'static> AsyncRead for EdgeIo<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        if this.refusal.is_some() {
            return this.poll_refuse(cx);
        }
        if this.connection.is_too_slow() {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        let Poll::Ready(read) = this.inner()?.poll_read(cx, buf) else {
            this.patience.wait(this.connection.pace(), cx.waker(), Instant::now);
            return Poll::Pending;
        };
        this.patience.came(buf.filled().len() - before, this.connection.pace(), Instant::now);
        let new = buf.filled().get(before..).unwrap_or_default();
        if let Some(Err(flood)) = this.frames.as_mut().map(|frames| frames.push(new, Instant::now)) {
            log::debug!("http/2 flood: frame={} client={}", flood.0, this.connection.caller.client);
            this.connection.end(EarlyEnd::FrameFlood);
            buf.set_filled(before);
            return Poll::Ready(Err(ErrorKind::InvalidData.into()));
        }
        if this.frames.as_ref().is_some_and(|frames| frames.leaves()) {
            this.connection.note_left();
        }
        if new.is_empty() || read.is_err() {
            this.peer_closed = true;
            this.note_gone();
        } else if this.connection.awaits_head() {
            this.refusal = this.inspect(new);
            if this.refusal.is_some() {
                buf.set_filled(before);
                return this.poll_refuse(cx);
            }
        } else {
            this.head.reset();
            this.connection.note_overread();
            if this.connection.is_chunked() && !this.head.see_body(new) {
                // The gateway finds out why when Pingora tells it of the error.
                this.connection.note_bad_chunks();
                buf.set_filled(before);
                return Poll::Ready(Err(ErrorKind::InvalidData.into()));
            }
        }
        Poll::Ready(read)
    }
}

impl<S: IO + 'static> AsyncWrite for EdgeIo<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        if this.refusal.is_none() && this.connection.awaits_head() && !this.head.is_http2() {
            // No request was read, so this answers none: the parser refuses.
            this.refuse_for_parser();
        }
        if this.refusal.is_some() {
            // An error too: nobody is left to tell.
            let _ = ready!(this.poll_refuse(cx));
            return Poll::Ready(Ok(buf.len()));
        }
        if this.head.bytes() > 0 {
            // An answer begins: the next bytes that come are another request's.
            this.head.reset();
        }
        let written = this.inner()?.poll_write(cx, buf);
        this.connection.pace().note_unsent(written.is_pending());
        let written = ready!(written);
        this.note_written(&written, &[IoSlice::new(buf)]);
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let flushed = this.inner()?.poll_flush(cx);
        this.connection.pace().note_unsent(flushed.is_pending());
        let flushed = ready!(flushed);
        if flushed.is_err() {
            this.note_gone();
        }
        Poll::Ready(flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let done = ready!(this.inner()?.poll_shutdown(cx));
        this.half_closed = true;
        Poll::Ready(done)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let this = self.get_mut();
        let written = this.inner()?.poll_write_vectored(cx, bufs);
        this.connection.pace().note_unsent(written.is_pending());
        let written = ready!(written);
        this.note_written(&written, bufs);
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}

impl<S: IO + 'static> Drop for EdgeIo<S> {
    fn drop(&mut self) {
        let (Some(io), guard) = (self.inner.take(), self.guard.take()) else { return };
        let farewell = self.farewell();
        // Nothing is under way to who says too little: whoever drips would only
        // get more time.
        let late = matches!(
            self.connection.ended(),
            Some(EarlyEnd::HeaderTimeout | EarlyEnd::IdleTimeout | EarlyEnd::ReadTooSlow)
        );
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !self.peer_closed && !late => {
                drop(runtime.spawn(linger(io, guard, farewell, self.half_closed)))
            }
            _ => close(io, guard),
        }
    }
}

#[async_trait]
impl<S: IO + 'static> Shutdown for EdgeIo<S> {
    async fn shutdown(&mut self) {
        if let Some(inner) = self.inner.as_mut() {
            Shutdown::shutdown(inner).await;
        }
    }
}

impl<S: IO + 'static> UniqueID for EdgeIo<S> {
    fn id(&self) -> UniqueIDType {
        self.inner.as_ref().map_or(0, UniqueID::id)
    }
}

impl<S: IO + 'static> Ssl for EdgeIo<S> {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.as_ref()?.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.as_ref()?.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.as_ref()?.selected_alpn_proto()
    }
}

impl<S: IO + 'static> GetTimingDigest for EdgeIo<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        // Nobody asks for it, and each request would allocate two lists.
        Vec::new()
    }
}

impl<S: IO + 'static> GetProxyDigest for EdgeIo<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.as_ref()?.get_proxy_digest()
    }
}

impl<S: IO + 'static> GetSocketDigest for EdgeIo<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.as_ref()?.get_socket_digest()
    }
}

impl<S: IO + 'static> Peek for EdgeIo<S> {}

impl<S: IO + 'static> fmt::Debug for EdgeIo<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EdgeIo({})", self.connection.caller.client)
    }
}

/// Its parser gives up at one more.
const PINGORA_MAX_FIELDS: usize = 256;

const ANSWER_400: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n";
const ANSWER_414: &[u8] =
    b"HTTP/1.1 414 URI Too Long\r\nConnection: close\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n";
const ANSWER_431: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n";
