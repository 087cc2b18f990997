//! What an answer's body is made of, and in which pieces and rhythm it leaves.
//!
//! Owns the bytes and the pauses between them. Does not own framing. A body of
//! any size costs one shared block of memory: pieces are views of it.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;

/// So many bytes every so long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// Between two pieces.
    pub every: Duration,
    /// In one piece; never 0.
    pub bytes: u64,
}

/// The body of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Payload {
    /// No body at all.
    Nothing,
    /// These bytes.
    Bytes(Bytes),
    /// This many bytes of a fixed pattern of 64 characters, over and over.
    Pattern(u64),
    /// Server-sent events.
    Events { count: u32, every: Duration },
}

impl Payload {
    /// The whole length in bytes; `None` when it has none beforehand.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Nothing => Some(0),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Pattern(size) => Some(*size),
            Self::Events { .. } => None,
        }
    }

    /// The body in pieces of at most 64 KiB; at most `limit` bytes in all.
    pub fn pieces(&self, pace: Option<Pace>, limit: u64) -> Pieces<'_> {
        Pieces { payload: self, pace, limit, sent: 0, event: 0 }
    }

    /// `length` bytes from `offset`; `length` is at most 64 KiB.
    fn part(&self, offset: u64, length: usize) -> Bytes {
        let start = match self {
            Self::Bytes(_) => offset,
            _ => offset % ALPHABET.len() as u64,
        } as usize;
        match self {
            Self::Bytes(bytes) => bytes.slice(start..start + length),
            _ => PATTERN.slice(start..start + length),
        }
    }
}

/// One write of a body.
#[derive(Debug, Eq, PartialEq)]
pub struct Piece {
    /// To wait before it is written; everything before must have left by then.
    pub pause: Duration,
    /// Never empty.
    pub data: Bytes,
}

/// The pieces of a body, in order.
pub struct Pieces<'a> {
    payload: &'a Payload,
    pace: Option<Pace>,
    limit: u64,
    sent: u64,
    event: u32,
}

impl Pieces<'_> {
    fn contiguous(&self, length: u64) -> Piece {
        let mut size = (length - self.sent).min(PIECE);
        let mut pause = Duration::ZERO;
        if let Some(pace) = self.pace {
            let into = self.sent % pace.bytes;
            size = size.min(pace.bytes - into);
            if into == 0 && self.sent > 0 {
                pause = pace.every;
            }
        }
        Piece { pause, data: self.payload.part(self.sent, size as usize) }
    }
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let mut piece = match (self.payload, self.payload.length()) {
            (Payload::Events { count, every }, _) if self.event < *count => {
                self.event += 1;
                Piece { pause: *every, data: event(self.event) }
            }
            (_, Some(length)) if self.sent < length => self.contiguous(length),
            _ => return None,
        };
        piece.data.truncate((self.limit - self.sent).min(PIECE) as usize);
        self.sent += piece.data.len() as u64;
        if piece.data.is_empty() { None } else { Some(piece) }
    }
}

fn event(number: u32) -> Bytes {
    Bytes::from(format!("id: {number}\ndata: {{\"event\":{number}}}\n\n"))
}

const PIECE: u64 = 64 * 1024;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static PATTERN: LazyLock<Bytes> =
    LazyLock::new(|| Bytes::from(ALPHABET.repeat(PIECE as usize / ALPHABET.len() + 1)));

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(payload: &Payload, pace: Option<Pace>, limit: u64) -> Vec<u8> {
        payload.pieces(pace, limit).flat_map(|piece| piece.data.to_vec()).collect()
    }

    #[test]
    fn the_pattern_repeats_over_piece_borders() {
        let body = joined(&Payload::Pattern(200_001), None, u64::MAX);

        assert_eq!(body.len(), 200_001);
        assert!(body.iter().enumerate().all(|(at, byte)| *byte == ALPHABET[at % 64]));
    }

    #[test]
    fn a_pace_cuts_the_body_and_pauses_between_pieces_only() {
        let every = Duration::from_millis(10);
        let payload = Payload::Bytes(Bytes::from_static(b"hello"));

        let pieces: Vec<Piece> = payload.pieces(Some(Pace { every, bytes: 2 }), u64::MAX).collect();

        let pauses: Vec<Duration> = pieces.iter().map(|piece| piece.pause).collect();
        assert_eq!(pauses, [Duration::ZERO, every, every]);
        assert_eq!(pieces[2].data, "o");
    }

    #[test]
    fn a_paced_piece_larger_than_a_write_pauses_once() {
        let pace = Pace { every: Duration::from_millis(10), bytes: 100_000 };
        let payload = Payload::Pattern(250_000);

        let pauses = payload.pieces(Some(pace), u64::MAX).filter(|piece| !piece.pause.is_zero()).count();

        assert_eq!(pauses, 2);
        assert_eq!(joined(&payload, Some(pace), u64::MAX).len(), 250_000);
    }

    #[test]
    fn a_limit_cuts_every_kind_of_body() {
        let events = Payload::Events { count: 5, every: Duration::ZERO };

        assert_eq!(joined(&Payload::Pattern(100_000), None, 70_000).len(), 70_000);
        assert_eq!(joined(&Payload::Bytes(Bytes::from_static(b"hello")), None, 2), b"he");
        assert_eq!(joined(&events, None, 7), b"id: 1\nd");
        assert_eq!(joined(&Payload::Nothing, None, 7), b"");
    }

    #[test]
    fn every_event_has_its_own_number_and_pause() {
        let every = Duration::from_millis(100);

        let pieces: Vec<Piece> = Payload::Events { count: 2, every }.pieces(None, u64::MAX).collect();

        assert_eq!(pieces.len(), 2);
        assert_eq!(pieces[1], Piece { pause: every, data: "id: 2\ndata: {\"event\":2}\n\n".into() });
    }
}
