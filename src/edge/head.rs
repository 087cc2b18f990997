//! What comes while a header is awaited: how much, whether it begins with a
//! request line, and what follows its end.
//!
//! Owns no deadline and no answer. Nobody knows yet whether the body is chunked,
//! so it is looked at as if it were; that counts when the gateway says so.
//! HTTP/2 has limits of its own.

use super::pace::MinRate;
use crate::gate::{
    Refusal,
    chunks::{ChunkInspector, ChunkVerdict},
    ending::HeadEnd,
    line::{LineInspector, LineVerdict},
};

/// Follows what comes while a header is awaited.
pub(super) struct HeadWatch {
    limits: HeadLimits,
    bytes: usize,
    /// Line ends in them; some may be of a body that came with the header.
    lines: usize,
    line: LineInspector,
    end: HeadEnd,
    chunks: ChunkInspector,
}

impl HeadWatch {
    /// For the headers of one connection.
    pub fn new(limits: HeadLimits) -> Self {
        let line = LineInspector::new(limits.target_bytes);
        Self { limits, bytes: 0, lines: 0, line, end: HeadEnd::default(), chunks: ChunkInspector::default() }
    }

    /// Whether it is HTTP/2 that comes.
    pub fn is_http2(&self) -> bool {
        self.limits.http2
    }

    /// How much came.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many line ends it had.
    pub fn lines(&self) -> usize {
        self.lines
    }

    /// Takes the next piece of a body; says whether it can be a chunked one.
    pub fn see_body(&mut self, new: &[u8]) -> bool {
        self.chunks.push(new) != ChunkVerdict::Bad
    }

    /// Takes the next piece.
    pub fn see(&mut self, new: &[u8]) -> HeadVerdict {
        // HTTP/2 reads on while a request waits for its turn: a header may be
        // whole and most of what came its body.
        if self.limits.http2 {
            return HeadVerdict::Good { chunks: true };
        }
        // What came before this read did not end the header; bytes of a body
        // can only stand in this one.
        if self.bytes > self.limits.header_bytes {
            return HeadVerdict::TooLarge;
        }
        if self.bytes == 0 {
            self.end = HeadEnd::default();
            self.chunks = ChunkInspector::default();
        }
        self.bytes += new.len();
        self.lines += new.iter().filter(|byte| **byte == b'\n').count();
        match self.line.push(new) {
            LineVerdict::NeedMore => HeadVerdict::Good { chunks: true },
            LineVerdict::Good { used } => {
                let body = new.get(used..).and_then(|rest| self.end.push(rest)).unwrap_or_default();
                HeadVerdict::Good { chunks: body.is_empty() || self.see_body(body) }
            }
            LineVerdict::Bad(Refusal::TargetTooLong) => HeadVerdict::TargetTooLong,
            LineVerdict::Bad(_) => HeadVerdict::BadLine,
        }
    }

    /// The next header's bytes are another request's; this one's body may go on.
    pub fn reset(&mut self) {
        self.bytes = 0;
        self.lines = 0;
        self.line = LineInspector::new(self.limits.target_bytes);
    }
}

/// How much of a header may come and how slowly, and whether it is HTTP/1 that
/// comes.
#[derive(Clone, Copy)]
pub struct HeadLimits {
    /// Of the whole header.
    pub header_bytes: usize,
    /// Of the request target.
    pub target_bytes: usize,
    /// HTTP/2 has no request line, and its own limits.
    pub http2: bool,
    /// How slow a client may be.
    pub min_rate: MinRate,
}

/// What is known of a header.
pub(super) enum HeadVerdict {
    /// Nothing is wrong yet.
    Good {
        /// Whether what follows it, if anything does, can be a chunked body.
        chunks: bool,
    },
    TooLarge,
    BadLine,
    TargetTooLong,
}
