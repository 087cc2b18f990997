//! The wrapper around a connection's bytes.
//!
//! Owns what has to be seen before Pingora parses: the request line that
//! Pingora would repair, a header that never ends, and a chunk that Pingora would
//! forgive. And what has to happen
//! after Pingora lets go: a lingering close, since a close with unread input
//! makes the kernel throw away the end of the last answer (EDGE.md, 3).

mod passed_on;

use std::{
    io::{Error, ErrorKind, IoSlice, Result},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use pingora::protocols::IO;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    connection::Connection,
    drain::ConnectionGuard,
    frames::FrameWatch,
    gather::Gather,
    head::{HeadLimits, HeadVerdict, HeadWatch},
    linger::{close, linger},
    nudge::Doze,
    pace::Patience,
    refusal::{Answer, Refusal},
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
    /// Sleeps while the client says nothing.
    hears: Doze,
    gather: Gather,
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

impl<S: IO + 'static> EdgeIo<S> {
    /// Wraps a connection whose handshake is done.
    pub fn new(inner: S, connection: Arc<Connection>, guard: ConnectionGuard, limits: HeadLimits) -> Self {
        Self {
            hears: Doze::default(),
            gather: Gather::default(),
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
            Some(Refusal::new(answer))
        };
        match self.head.see(new) {
            HeadVerdict::Good { chunks: true } => None,
            HeadVerdict::Good { chunks: false } => {
                self.connection.note_bad_chunks();
                None
            }
            HeadVerdict::TooLarge => refuse(EarlyEnd::HeaderTooLarge, Answer::HeaderTooLarge),
            HeadVerdict::BadLine => refuse(EarlyEnd::BadRequestLine, Answer::BadRequest),
            HeadVerdict::TargetTooLong => refuse(EarlyEnd::HeaderTooLarge, Answer::TargetTooLong),
        }
    }

    /// Puts our own answer in the place of what Pingora's parser is about to say,
    /// which names Pingora, and knows 400 alone.
    fn refuse_for_parser(&mut self) {
        let too_many = self.head.lines() > PINGORA_MAX_FIELDS;
        let (why, answer) = match too_many {
            true => (EarlyEnd::HeaderTooLarge, Answer::HeaderTooLarge),
            false => (EarlyEnd::BadRequest, Answer::BadRequest),
        };
        self.connection.end(why);
        self.refusal = Some(Refusal::new(answer));
    }

    /// Writes the refusal, then fails every read.
    fn poll_refuse(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let closed = Error::from(ErrorKind::InvalidData);
        let (Some(refusal), Some(inner)) = (self.refusal.as_mut(), self.inner.as_mut()) else {
            return Poll::Ready(Err(closed));
        };
        let _ = ready!(refusal.poll_say(inner, cx));
        Poll::Ready(Err(closed))
    }

    fn note_room(&mut self, unsent: bool) {
        self.connection.pace().note_unsent(unsent);
        if unsent {
            // A read of TLS may have waited for room too, and it is the write now that
            // the socket wakes.
            self.hears.disturb();
        }
    }

    fn note_written(&mut self, written: &Result<usize>, bufs: &[IoSlice<'_>]) {
        match (self.frames.as_mut(), written) {
            (Some(frames), Ok(written)) => {
                frames.wrote(*written);
                accepted(bufs, *written).for_each(|piece| frames.sent(piece));
            }
            (Some(_), Err(_)) => self.note_gone(),
            (None, Ok(written)) if self.connection.streams().is_websocket() => {
                let socket = self.socket.get_or_insert_default();
                accepted(bufs, *written).for_each(|piece| socket.push(piece));
            }
            (None, _) => {}
        }
    }

    fn poll_heard(&mut self, cx: &Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if self.hears.lasts(cx) {
            return Poll::Pending;
        }
        let Some(inner) = self.inner.as_mut() else {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        };
        self.hears.ask(cx, |cx| Pin::new(inner).poll_read(cx, buf))
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        let Some(inner) = self.inner.as_mut() else {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        };
        let vectored = inner.is_write_vectored() && inner.get_ssl().is_none();
        let written = self.gather.poll_write(inner, cx, bufs, vectored);
        self.note_room(self.gather.is_stuck() || written.is_pending());
        let written = ready!(written);
        self.note_written(&written, bufs);
        Poll::Ready(written)
    }

    /// What was accepted before goes first.
    fn poll_gathered(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.inner.as_mut() {
            Some(inner) => self.gather.poll_out(inner, cx),
            None => Poll::Ready(Err(ErrorKind::NotConnected.into())),
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
        if this.gather.is_stuck() {
            // Nobody else tries again until more is to be written. A write that fails
            // will say so.
            let _ = this.poll_gathered(cx);
            // Once nothing waits, the client has taken it all.
            this.note_room(this.gather.is_stuck());
        }
        let before = buf.filled().len();
        let Poll::Ready(read) = this.poll_heard(cx, buf) else {
            let open = this.frames.as_ref().map_or(1, |frames| frames.open_bodies());
            this.patience.wait(open, this.connection.pace(), cx.waker(), Instant::now);
            return Poll::Pending;
        };
        let new = buf.filled().get(before..).unwrap_or_default();
        let of_bodies = this.frames.as_mut().map_or(Ok(new.len()), |frames| frames.push(new, Instant::now));
        match of_bodies {
            Ok(bytes) => this.patience.came(bytes, this.connection.pace(), Instant::now),
            Err(flood) => {
                log::debug!("http/2 flood: frame={} client={}", flood.0, this.connection.caller.client);
                this.connection.end(EarlyEnd::FrameFlood);
                buf.set_filled(before);
                return Poll::Ready(Err(ErrorKind::InvalidData.into()));
            }
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
        this.poll_accept(cx, &[IoSlice::new(buf)])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let flushed = match this.poll_gathered(cx) {
            Poll::Ready(Ok(())) => this.inner()?.poll_flush(cx),
            not_yet => not_yet,
        };
        this.note_room(flushed.is_pending());
        let flushed = ready!(flushed);
        if flushed.is_err() {
            this.note_gone();
        }
        Poll::Ready(flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        // An error too: then there is nobody to say it to.
        let _ = ready!(this.poll_gathered(cx));
        let done = ready!(this.inner()?.poll_shutdown(cx));
        this.half_closed = true;
        Poll::Ready(done)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.get_mut().poll_accept(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

impl<S: IO + 'static> Drop for EdgeIo<S> {
    fn drop(&mut self) {
        let (Some(io), guard) = (self.inner.take(), self.guard.take()) else { return };
        let mut last = self.gather.take();
        last.extend_from_slice(self.farewell());
        // Nothing is under way to who says too little: whoever drips would only
        // get more time.
        let late = matches!(
            self.connection.ended(),
            Some(EarlyEnd::HeaderTimeout | EarlyEnd::IdleTimeout | EarlyEnd::ReadTooSlow)
        );
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !self.peer_closed && !late => {
                drop(runtime.spawn(linger(io, guard, last, self.half_closed)))
            }
            _ => close(io, guard),
        }
    }
}

/// What so many bytes of these are.
fn accepted<'b>(bufs: &'b [IoSlice<'_>], mut left: usize) -> impl Iterator<Item = &'b [u8]> {
    bufs.iter().map(move |buf| {
        let taken = left.min(buf.len());
        left -= taken;
        buf.get(..taken).unwrap_or_default()
    })
}

/// Its parser gives up at one more.
const PINGORA_MAX_FIELDS: usize = 256;
