//! Puts small writes together: a record of TLS and a system call for all of them.
//!
//! Pingora writes an answer's header and its body one after the other, a chunk in three
//! parts, and then flushes. Does the work of Pingora's own buffer of a socket, which is
//! below TLS, is full at once and is held by connections that wait. Owns no timer: like
//! that buffer, it holds a little until it is flushed, and no more.

use std::{
    io::{ErrorKind, IoSlice, Result},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

/// What was accepted and is not written yet.
#[derive(Debug, Default)]
pub(super) struct Gather {
    bytes: Vec<u8>,
    sent: usize,
    /// The writer below had no room for all of it.
    stuck: bool,
}

impl Gather {
    /// Accepts some of `bufs`. What has come together is written as soon as it is
    /// more than a little; a writer without room is known from [`Gather::is_stuck`].
    /// `vectored` is whether the writer takes several pieces in one call: Pingora's TLS
    /// says so of itself, and takes one.
    ///
    /// # Errors
    /// The writer's own.
    pub fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        vectored: bool,
    ) -> Poll<Result<usize>> {
        if self.stuck || self.bytes.len() >= RECORD {
            ready!(self.poll_out(io, cx))?;
        }
        if self.bytes.is_empty() && is_long(bufs, vectored) {
            return Pin::new(io).poll_write_vectored(cx, bufs);
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(FIRST);
        }
        let before = self.bytes.len();
        for buf in bufs {
            let part = buf.get(..RECORD - self.bytes.len()).unwrap_or(buf);
            self.bytes.extend_from_slice(part);
        }
        let accepted = self.bytes.len() - before;
        if self.bytes.len() > HELD
            && let Poll::Ready(Err(error)) = self.poll_out(io, cx)
        {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(accepted))
    }

    /// Writes all of it. Does not flush.
    ///
    /// # Errors
    /// The writer's own.
    pub fn poll_out<S: AsyncWrite + Unpin>(&mut self, io: &mut S, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut *io).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.sent += written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.stuck = true;
                    return Poll::Pending;
                }
            }
        }
        if self.sent > 0 {
            // A connection that waits holds no room for it.
            *self = Self::default();
        }
        Poll::Ready(Ok(()))
    }

    /// Whether something waits for room, and has to be tried again.
    pub fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Takes what was never written.
    pub fn take(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.drain(..std::mem::take(&mut self.sent));
        bytes
    }
}

/// Whether there is nothing to gain from a copy: the writer takes it all in one call, or
/// the first piece fills a call of its own.
fn is_long(bufs: &[IoSlice<'_>], vectored: bool) -> bool {
    let first = bufs.iter().map(|buf| buf.len()).find(|length| *length > 0).unwrap_or(0);
    first > HELD || (vectored && bufs.iter().map(|buf| buf.len()).sum::<usize>() > HELD)
}

/// The most that is held until a flush: a segment, as Pingora's buffer of a socket.
const HELD: usize = 1460;

/// The most in one record of TLS.
const RECORD: usize = 16 << 10;

/// Room for a header and a small body without growing: mimalloc's longest small block.
const FIRST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `room` bytes and notes how they came.
    #[derive(Default)]
    struct Sink {
        room: usize,
        vectored: bool,
        writes: Vec<Vec<u8>>,
    }

    impl AsyncWrite for Sink {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
            let taken = buf.len().min(self.room);
            if taken == 0 {
                return Poll::Pending;
            }
            self.room -= taken;
            self.writes.push(buf[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<Result<usize>> {
            match self.vectored {
                true => self.poll_write(cx, &bufs.iter().flat_map(|buf| buf.to_vec()).collect::<Vec<_>>()),
                false => self.poll_write(cx, bufs.iter().find(|buf| !buf.is_empty()).unwrap()),
            }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn cx() -> Context<'static> {
        Context::from_waker(std::task::Waker::noop())
    }

    /// All that a caller wants to write, as `write_all` does it; how much was accepted.
    fn write(gather: &mut Gather, sink: &mut Sink, mut bytes: &[u8]) -> usize {
        let all = bytes.len();
        while !bytes.is_empty() {
            match gather.poll_write(sink, &mut cx(), &[IoSlice::new(bytes)], sink.vectored) {
                Poll::Ready(Ok(written)) => bytes = &bytes[written..],
                Poll::Ready(Err(error)) => panic!("{error}"),
                Poll::Pending => break,
            }
        }
        all - bytes.len()
    }

    #[test]
    fn a_header_and_a_small_body_are_written_once_and_when_they_are_flushed() {
        let (mut gather, mut sink) = (Gather::default(), Sink { room: 9999, ..Sink::default() });

        write(&mut gather, &mut sink, b"header");
        write(&mut gather, &mut sink, b"body");

        assert!(sink.writes.is_empty());
        assert!(gather.poll_out(&mut sink, &mut cx()).is_ready());
        assert_eq!(sink.writes, [b"headerbody"]);
        assert_eq!(gather.bytes.capacity(), 0);
    }

    #[test]
    fn what_is_more_than_a_little_waits_for_no_flush() {
        let (mut gather, mut sink) = (Gather::default(), Sink { room: 9999, ..Sink::default() });

        write(&mut gather, &mut sink, b"header");
        write(&mut gather, &mut sink, &[b'b'; 2000]);
        write(&mut gather, &mut sink, &[b'c'; 2000]);

        let lengths: Vec<_> = sink.writes.iter().map(Vec::len).collect();
        assert_eq!(lengths, [2006, 2000]);
    }

    #[test]
    fn a_chunk_in_three_parts_is_written_once() {
        for vectored in [false, true] {
            let (mut gather, mut sink) =
                (Gather::default(), Sink { room: 9999, vectored, ..Sink::default() });
            let parts = [b"fa0\r\n".as_slice(), &[b'c'; 4000], b"\r\n"];

            let accepted = gather.poll_write(&mut sink, &mut cx(), &parts.map(IoSlice::new), vectored);

            assert!(matches!(accepted, Poll::Ready(Ok(4007))));
            assert_eq!(sink.writes, [parts.concat()]);
            assert!(gather.bytes.is_empty());
        }
    }

    #[test]
    fn every_byte_arrives_once_and_in_order_whatever_room_there_is() {
        let all: Vec<u8> = (0..70_000_u32).map(|n| n as u8 ^ (n >> 8) as u8).collect();
        for (piece, room) in [(1, 700), (300, 1), (1400, 999), (9000, 5000), (70_000, 20_000)] {
            let (mut gather, mut sink) = (Gather::default(), Sink::default());
            let mut accepted = 0;

            while accepted < all.len() || gather.poll_out(&mut sink, &mut cx()).is_pending() {
                sink.room += room;
                let next = &all[accepted..all.len().min(accepted + piece)];
                accepted += write(&mut gather, &mut sink, next);
            }

            assert_eq!(sink.writes.concat(), all, "pieces of {piece}, room for {room}");
            assert!(sink.writes.iter().all(|write| write.len() <= 70_000));
        }
    }

    #[test]
    fn a_writer_without_room_is_tried_again_before_more_is_accepted() {
        let (mut gather, mut sink) = (Gather::default(), Sink { room: 1000, ..Sink::default() });

        assert_eq!(write(&mut gather, &mut sink, &[b'a'; 1460]), 1460);
        assert!(!gather.is_stuck());
        assert_eq!(write(&mut gather, &mut sink, &[b'b'; 100]), 100);
        assert!(gather.is_stuck());

        assert_eq!(write(&mut gather, &mut sink, &[b'c'; 100]), 0);
        assert_eq!(gather.take(), [[b'a'; 460].as_slice(), &[b'b'; 100]].concat());
    }
}
