//! Looks at a chunked body before Pingora decodes it (RFC 9112, 7.1).
//!
//! Exists because Pingora forgives: an empty size counts as 0, space may follow
//! a size, extensions and trailers are not looked into. What was read otherwise
//! in front of us then has another end. Lets through exactly hexadecimal size,
//! extensions without space, CRLF, data, CRLF; trailers whose names and values
//! the [gate](super) would take for a header's; and keeps no bytes: framing is
//! looked at byte by byte, in whatever pieces it comes, data is skipped whole.
//! What follows the body is the next request's and not looked at.

use super::alphabet;

/// Follows one chunked body through the pieces in which it arrives.
#[derive(Clone, Debug)]
pub struct ChunkInspector {
    state: State,
    /// Of the chunk whose size was read last.
    size: u64,
    /// Bytes of data announced so far.
    data: u64,
    /// Bytes of extensions so far.
    extensions: u64,
    /// Bytes of trailers so far.
    trailers: u32,
    fields: u16,
}

/// What is known about a chunked body so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChunkVerdict {
    /// Nothing is wrong, and the body has not ended.
    Good,
    /// The body is good; it ended with the last of `used` bytes of this piece.
    Done {
        /// 0 when an earlier piece ended it.
        used: usize,
    },
    /// No chunked body: where it ends is in doubt.
    Bad,
}

impl Default for ChunkInspector {
    fn default() -> Self {
        Self { state: State::Size { digits: 0 }, size: 0, data: 0, extensions: 0, trailers: 0, fields: 0 }
    }
}

impl ChunkInspector {
    /// Takes the next piece. After `Done` or `Bad` nothing changes any more.
    pub fn push(&mut self, piece: &[u8]) -> ChunkVerdict {
        let mut rest = piece;
        loop {
            match self.state {
                State::Done => return ChunkVerdict::Done { used: piece.len() - rest.len() },
                State::Failed => return ChunkVerdict::Bad,
                State::Data { left } => {
                    let here = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    rest = rest.get(here..).unwrap_or_default();
                    let left = left - here as u64;
                    self.state = if left == 0 { State::DataReturn } else { State::Data { left } };
                }
                state => {
                    let Some((byte, after)) = rest.split_first() else { return ChunkVerdict::Good };
                    self.state = self.step(state, *byte);
                    rest = after;
                }
            }
            if rest.is_empty() && !matches!(self.state, State::Done | State::Failed) {
                return ChunkVerdict::Good;
            }
        }
    }

    fn step(&mut self, state: State, byte: u8) -> State {
        match state {
            State::Size { digits } => self.size_digit(digits, byte),
            State::SizeFeed if byte == b'\n' => self.begin_chunk(),
            State::DataReturn if byte == b'\r' => State::DataFeed,
            State::DataFeed if byte == b'\n' => State::Size { digits: 0 },
            State::ExtensionName { .. }
            | State::ExtensionValue
            | State::ExtensionToken
            | State::Quoted
            | State::Escaped
            | State::QuoteEnd => self.extension(state, byte),
            State::Line | State::Name | State::Value | State::LineFeed => self.trailer(state, byte),
            State::LastFeed if byte == b'\n' => State::Done,
            _ => State::Failed,
        }
    }

    fn size_digit(&mut self, digits: u8, byte: u8) -> State {
        if digits == 0 {
            self.size = 0;
        }
        match (char::from(byte).to_digit(16), byte) {
            // Sixteen digits are 64 bits; what uses the last bit is nobody's body.
            (Some(digit), _) if digits < MAX_DIGITS && self.size <= MAX_SIZE >> 4 => {
                self.size = (self.size << 4) | u64::from(digit);
                State::Size { digits: digits + 1 }
            }
            (None, b'\r') if digits > 0 => State::SizeFeed,
            (None, b';') if digits > 0 => self.extension(State::QuoteEnd, byte),
            _ => State::Failed,
        }
    }

    fn begin_chunk(&mut self) -> State {
        self.data = self.data.saturating_add(self.size);
        if self.size == 0 { State::Line } else { State::Data { left: self.size } }
    }

    /// `;name`, `;name=token` or `;name="quoted"`, any number of them.
    fn extension(&mut self, state: State, byte: u8) -> State {
        self.extensions += 1;
        if self.extensions > self.data.saturating_add(EXTENSIONS_BEYOND_DATA) {
            return State::Failed;
        }
        match (state, byte) {
            (State::ExtensionName { .. }, _) if alphabet::is_token(byte) => {
                State::ExtensionName { empty: false }
            }
            (State::ExtensionName { empty: false }, b'=') => State::ExtensionValue,
            (State::ExtensionValue, b'"') => State::Quoted,
            (State::ExtensionValue | State::ExtensionToken, _) if alphabet::is_token(byte) => {
                State::ExtensionToken
            }
            (State::Quoted, b'"') => State::QuoteEnd,
            (State::Quoted, b'\\') => State::Escaped,
            (State::Quoted | State::Escaped, _) if is_text(byte) => State::Quoted,
            (State::ExtensionName { empty: false } | State::ExtensionToken | State::QuoteEnd, b';') => {
                State::ExtensionName { empty: true }
            }
            (State::ExtensionName { empty: false } | State::ExtensionToken | State::QuoteEnd, b'\r') => {
                State::SizeFeed
            }
            _ => State::Failed,
        }
    }

    /// `name:value` lines, then an empty one.
    fn trailer(&mut self, state: State, byte: u8) -> State {
        self.trailers += 1;
        if self.trailers > MAX_TRAILER_BYTES {
            return State::Failed;
        }
        match (state, byte) {
            (State::Line, b'\r') => State::LastFeed,
            (State::Line, _) if is_name(byte) && self.fields < MAX_TRAILERS => {
                self.fields += 1;
                State::Name
            }
            (State::Name, b':') => State::Value,
            (State::Name, _) if is_name(byte) => State::Name,
            (State::Value, b'\r') => State::LineFeed,
            (State::Value, _) if is_text(byte) => State::Value,
            (State::LineFeed, b'\n') => State::Line,
            _ => State::Failed,
        }
    }
}

/// What the next byte has to be.
#[derive(Clone, Copy, Debug)]
enum State {
    Size {
        digits: u8,
    },
    /// The LF of a size's line.
    SizeFeed,
    /// More of an extension's name, or the first of it.
    ExtensionName {
        empty: bool,
    },
    /// The first byte of its value.
    ExtensionValue,
    ExtensionToken,
    Quoted,
    Escaped,
    /// What follows an extension that is whole.
    QuoteEnd,
    Data {
        left: u64,
    },
    DataReturn,
    DataFeed,
    /// A trailer, or the empty line at the end.
    Line,
    Name,
    Value,
    /// The LF of a trailer's line.
    LineFeed,
    /// The LF of the empty line.
    LastFeed,
    Done,
    Failed,
}

/// As a header field's: an underscore is a dash to many servers.
fn is_name(byte: u8) -> bool {
    alphabet::is_token(byte) && byte != b'_'
}

/// What may stand in a field value and in quotes: no control but tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// As many as httparse reads, which Pingora decodes with.
const MAX_DIGITS: u8 = 16;

/// Everybody who counts in 64 bits can count it, signed or not.
const MAX_SIZE: u64 = i64::MAX as u64;

/// Extensions mean nothing to us: they may not be most of a body. Signatures
/// of chunks, the one use that is known, are 85 bytes for each 8 KiB or more.
const EXTENSIONS_BEYOND_DATA: u64 = 16 << 10;

/// As many fields as a header may have by default, and half the bytes: nobody
/// reads them, for they do not go on.
const MAX_TRAILERS: u16 = 100;
const MAX_TRAILER_BYTES: u32 = 16 << 10;

#[cfg(test)]
mod tests;
