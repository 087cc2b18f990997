//! The edge's own answers, for what Pingora never sees.
//!
//! Owns their bytes and how much of one is said. Why it is said is the caller's.

use std::{
    io::{ErrorKind, Result},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

/// What the client hears.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// 400
    BadRequest,
    /// 414
    TargetTooLong,
    /// 431
    HeaderTooLarge,
}

/// An answer on its way.
pub(super) struct Refusal {
    answer: &'static [u8],
    sent: usize,
}

impl Refusal {
    /// Nothing of it is said yet.
    pub fn new(answer: Answer) -> Self {
        let answer = match answer {
            Answer::BadRequest => BAD_REQUEST,
            Answer::TargetTooLong => TARGET_TOO_LONG,
            Answer::HeaderTooLarge => HEADER_TOO_LARGE,
        };
        Self { answer, sent: 0 }
    }

    /// Says the rest of it.
    ///
    /// # Errors
    /// The writer's own.
    pub fn poll_say<S: AsyncWrite + Unpin>(&mut self, io: &mut S, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while let Some(rest) = self.answer.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        Pin::new(io).poll_flush(cx)
    }
}

const BAD_REQUEST: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n";
const TARGET_TOO_LONG: &[u8] =
    b"HTTP/1.1 414 URI Too Long\r\nConnection: close\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n";
const HEADER_TOO_LARGE: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n";
