//! What comes while a header is awaited: how much, and whether it begins with a
//! request line.
//!
//! Owns no deadline and no answer. HTTP/2 has limits of its own.

use crate::gate::{
    Refusal,
    line::{LineInspector, LineVerdict},
};

/// Follows what comes while a header is awaited.
pub(super) struct HeadWatch {
    limits: HeadLimits,
    bytes: usize,
    /// Line ends in them; some may be of a body that came with the header.
    lines: usize,
    line: LineInspector,
}

impl HeadWatch {
    /// For the headers of one connection.
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, bytes: 0, lines: 0, line: LineInspector::new(limits.target_bytes) }
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

    /// Takes the next piece.
    pub fn see(&mut self, new: &[u8]) -> HeadVerdict {
        // HTTP/2 reads on while a request waits for its turn: a header may be
        // whole and most of what came its body.
        if self.limits.http2 {
            return HeadVerdict::Good;
        }
        // What came before this read did not end the header; bytes of a body
        // can only stand in this one.
        if self.bytes > self.limits.header_bytes {
            return HeadVerdict::TooLarge;
        }
        self.bytes += new.len();
        self.lines += new.iter().filter(|byte| **byte == b'\n').count();
        match self.line.push(new) {
            LineVerdict::Good { .. } | LineVerdict::NeedMore => HeadVerdict::Good,
            LineVerdict::Bad(Refusal::TargetTooLong) => HeadVerdict::TargetTooLong,
            LineVerdict::Bad(_) => HeadVerdict::BadLine,
        }
    }

    /// The next bytes are another request's.
    pub fn reset(&mut self) {
        self.bytes = 0;
        self.lines = 0;
        self.line = LineInspector::new(self.limits.target_bytes);
    }
}

/// How much of a header may come, and whether it is HTTP/1 that comes.
#[derive(Clone, Copy)]
pub struct HeadLimits {
    /// Of the whole header.
    pub header_bytes: usize,
    /// Of the request target.
    pub target_bytes: usize,
    /// HTTP/2 has no request line, and its own limits.
    pub http2: bool,
}

/// What is known of it.
pub(super) enum HeadVerdict {
    Good,
    TooLarge,
    BadLine,
    TargetTooLong,
}
