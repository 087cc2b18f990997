//! Looks at the request line of an HTTP/1 request before Pingora parses it.
//!
//! Exists because Pingora repairs: `GET /a b HTTP/1.1` becomes `GET /a%20b`, and
//! nothing behind the parser can see it. Lets through exactly
//! `METHOD SP target SP HTTP/1.0-or-1.1 CRLF`, after at most two empty lines (RFC
//! 9112 §2.2 asks for one). Whether the target and the method mean anything is
//! the [gate](super)'s question. Keeps no bytes: each is looked at once, in
//! whatever pieces they come.

use super::{alphabet, refusal::Refusal};

/// Follows one request line through the pieces in which it arrives.
#[derive(Clone, Debug)]
pub struct LineInspector {
    state: State,
    max_target: usize,
}

/// What is known about a request line so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LineVerdict {
    /// Nothing is wrong yet, and the line has not ended.
    NeedMore,
    /// The line is good; it ended with the last of `used` bytes of this piece.
    Good {
        /// 0 when an earlier piece ended it.
        used: usize,
    },
    /// Not a request line; the connection answers and closes.
    Bad(Refusal),
}

impl LineInspector {
    /// For one request whose target may have so many bytes.
    pub fn new(max_target: usize) -> Self {
        Self { state: State::Start { empty_lines: 0 }, max_target }
    }

    /// Takes the next piece. After `Good` or `Bad` nothing changes any more.
    pub fn push(&mut self, piece: &[u8]) -> LineVerdict {
        let mut rest = piece;
        loop {
            match self.state {
                State::Done => return LineVerdict::Good { used: piece.len() - rest.len() },
                State::Failed(refusal) => return LineVerdict::Bad(refusal),
                State::Target { length } => rest = self.take_target(length, rest),
                state => {
                    let Some((byte, after)) = rest.split_first() else { return LineVerdict::NeedMore };
                    self.state = state.step(*byte);
                    rest = after;
                }
            }
            if rest.is_empty() && !self.state.is_final() {
                return LineVerdict::NeedMore;
            }
        }
    }

    /// Takes as much of the target as the piece has, and the space behind it.
    fn take_target<'p>(&mut self, length: usize, piece: &'p [u8]) -> &'p [u8] {
        let end = piece.iter().position(|byte| !alphabet::is_target(*byte));
        let length = length + end.unwrap_or(piece.len());
        let after = end.and_then(|end| piece.get(end..)).and_then(<[u8]>::split_first);
        let (state, rest) = match after {
            _ if length > self.max_target => (State::Failed(Refusal::TargetTooLong), piece),
            None => (State::Target { length }, Default::default()),
            Some((b' ', rest)) if length > 0 => match rest.strip_prefix(COMMON_END) {
                Some(rest) => (State::Done, rest),
                None => (State::Version { read: 0 }, rest),
            },
            Some(_) => (State::Failed(Refusal::RequestLine), piece),
        };
        self.state = state;
        rest
    }
}

/// [`LineInspector`] for bytes that are all at hand; call again with more from
/// the first byte on after `NeedMore`.
pub fn inspect_request_line(bytes: &[u8], max_target: usize) -> LineVerdict {
    LineInspector::new(max_target).push(bytes)
}

/// What the next byte has to be.
#[derive(Clone, Copy, Debug)]
enum State {
    /// The method, or an empty line.
    Start {
        empty_lines: u8,
    },
    /// The LF of an empty line.
    EmptyLine {
        empty_lines: u8,
    },
    Method {
        length: u8,
    },
    Target {
        length: usize,
    },
    /// More of `HTTP/1.`, of which so many bytes were read.
    Version {
        read: u8,
    },
    MinorVersion,
    CarriageReturn,
    LineFeed,
    Done,
    Failed(Refusal),
}

impl State {
    fn step(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Start { empty_lines }, b'\r') if empty_lines < MAX_EMPTY_LINES => {
                Self::EmptyLine { empty_lines: empty_lines + 1 }
            }
            (Self::EmptyLine { empty_lines }, b'\n') => Self::Start { empty_lines },
            (Self::Start { .. }, _) if alphabet::is_token(byte) => Self::Method { length: 1 },
            (Self::Method { .. }, b' ') => Self::Target { length: 0 },
            (Self::Method { length: MAX_METHOD }, _) => Self::Failed(Refusal::Method),
            (Self::Method { length }, _) if alphabet::is_token(byte) => Self::Method { length: length + 1 },
            (Self::Version { read }, _) if VERSION.get(usize::from(read)) == Some(&byte) => {
                match usize::from(read) + 1 == VERSION.len() {
                    true => Self::MinorVersion,
                    false => Self::Version { read: read + 1 },
                }
            }
            (Self::MinorVersion, b'0' | b'1') => Self::CarriageReturn,
            (Self::CarriageReturn, b'\r') => Self::LineFeed,
            (Self::LineFeed, b'\n') => Self::Done,
            _ => Self::Failed(Refusal::RequestLine),
        }
    }

    fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed(_))
    }
}

const VERSION: &[u8] = b"HTTP/1.";

/// How nearly all lines end: one comparison instead of ten steps.
const COMMON_END: &[u8] = b"HTTP/1.1\r\n";

/// One more than the RFC asks for: some old clients end a POST body with CRLF
/// that its length does not count.
const MAX_EMPTY_LINES: u8 = 2;

/// As long as a method name in the configuration may be.
const MAX_METHOD: u8 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: usize = 64;

    fn inspect(text: &str) -> LineVerdict {
        inspect_request_line(text.as_bytes(), CAP)
    }

    #[test]
    fn exactly_one_form_is_good() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "GET / HTTP/1.0\r\n",
            "M-SEARCH * HTTP/1.1\r\n",
            "get http://h/ HTTP/1.1\r\n",
        ] {
            assert_eq!(inspect(line), LineVerdict::Good { used: line.len() }, "{line:?}");
        }
        assert_eq!(inspect("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), LineVerdict::Good { used: 16 });
    }

    #[test]
    fn what_pingora_would_repair_is_refused() {
        for line in [
            "GET /a b HTTP/1.1\r\n",
            "Extra lineGET / HTTP/1.1\r\n",
            "GET  / HTTP/1.1\r\n",
            "GET /  HTTP/1.1\r\n",
            "GET  HTTP/1.1\r\n",
            "GET / HTTP/1.1 \r\n",
            "GET /\0 HTTP/1.1\r\n",
            "GET /\x7f HTTP/1.1\r\n",
            "GET /é HTTP/1.1\r\n",
            "GET\t/ HTTP/1.1\r\n",
            "GET /a#b HTTP/1.1\r\n",
            "GET /\t HTTP/1.1\r\n",
        ] {
            assert_eq!(inspect(line), LineVerdict::Bad(Refusal::RequestLine), "{line:?}");
        }
    }

    #[test]
    fn other_versions_and_line_endings_are_refused() {
        for line in [
            "GET /\r\n",
            "GET / HTTP/0.9\r\n",
            "GET / HTTP/1.2\r\n",
            "GET / HTTP/1.10\r\n",
            "PRI * HTTP/2.0\r\n",
            "GET / http/1.1\r\n",
            "GET / HTTP/1.1\n",
            "GET / HTTP/1.1\rX",
            "GET /\n",
            " GET / HTTP/1.1\r\n",
            "\nGET / HTTP/1.1\r\n",
            "\x16\x03\x01",
            "G\"T / HTTP/1.1\r\n",
            "\rGET",
        ] {
            assert_eq!(inspect(line), LineVerdict::Bad(Refusal::RequestLine), "{line:?}");
        }
    }

    #[test]
    fn two_empty_lines_may_come_before_and_three_may_not() {
        assert_eq!(inspect("\r\n\r\nGET / HTTP/1.1\r\n"), LineVerdict::Good { used: 20 });
        assert_eq!(inspect("\r\n\r\n\r\n"), LineVerdict::Bad(Refusal::RequestLine));
    }

    #[test]
    fn a_target_above_the_cap_is_refused_before_its_end_is_seen() {
        let fits = format!("GET /{} HTTP/1.1\r\n", "a".repeat(CAP - 1));

        assert_eq!(inspect(&fits), LineVerdict::Good { used: fits.len() });
        assert_eq!(inspect(&format!("GET /{}", "a".repeat(CAP))), LineVerdict::Bad(Refusal::TargetTooLong));
    }

    #[test]
    fn a_method_has_at_most_32_bytes() {
        let longest = "A".repeat(32);

        assert!(matches!(inspect(&format!("{longest} / HTTP/1.1\r\n")), LineVerdict::Good { .. }));
        assert_eq!(inspect(&format!("{longest}A")), LineVerdict::Bad(Refusal::Method));
    }

    /// `used` counted from the start of the first piece.
    fn inspect_in_two(line: &str, at: usize) -> LineVerdict {
        let (head, tail) = line.as_bytes().split_at(at);
        let mut inspector = LineInspector::new(CAP);
        match (inspector.push(head), inspector.push(tail)) {
            (LineVerdict::NeedMore, LineVerdict::Good { used }) => LineVerdict::Good { used: at + used },
            (good @ LineVerdict::Good { .. }, LineVerdict::Good { used: 0 }) => good,
            (_, last) => last,
        }
    }

    #[test]
    fn every_split_gives_the_same_verdict() {
        for line in ["\r\nGET /a?b HTTP/1.1\r\nX", "GET /a b HTTP/1.1\r\n", "GET / HTTP/1.1\n", "GET / HT"] {
            for at in 0..=line.len() {
                assert_eq!(inspect_in_two(line, at), inspect(line), "{line:?} at {at}");
            }
        }
    }

    #[test]
    fn an_unfinished_line_needs_more() {
        for line in ["", "\r", "\r\n", "GE", "GET ", "GET /", "GET / ", "GET / HTTP/1.1", "GET / HTTP/1.1\r"]
        {
            assert_eq!(inspect(line), LineVerdict::NeedMore, "{line:?}");
        }
    }
}
