//! Finds where the header of an HTTP/1 request ends, in whatever pieces it
//! comes and before it is parsed.
//!
//! The end is the first CRLF CRLF from the end of the request line on. httparse
//! takes LF alone too, and may end a header earlier; the [gate](super) refuses
//! whatever was parsed so, and in what it admits this is the end (the oracle
//! holds them to it). Keeps no bytes.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Follows one header, from behind its request line on.
#[derive(Clone, Debug)]
pub struct HeadEnd {
    /// How much of the ending stood at the end of what came.
    matched: usize,
}

impl Default for HeadEnd {
    /// The request line just ended, and with a CRLF.
    fn default() -> Self {
        Self { matched: 2 }
    }
}

impl HeadEnd {
    /// Takes the next piece; returns what of it follows the header, once that
    /// has ended.
    pub fn push<'p>(&mut self, piece: &'p [u8]) -> Option<&'p [u8]> {
        let mut rest = piece;
        while self.matched > 0 && self.matched < ENDING.len() {
            let (byte, after) = rest.split_first()?;
            if ENDING.get(self.matched) == Some(byte) {
                self.matched += 1;
            } else if *byte == b'\r' {
                self.matched = 1;
            } else {
                self.matched = 0;
            }
            rest = after;
        }
        if self.matched == ENDING.len() {
            return Some(rest);
        }
        if let Some(at) = find(rest) {
            self.matched = ENDING.len();
            return rest.get(at + ENDING.len()..);
        }
        self.matched =
            (1..ENDING.len()).rev().find(|n| rest.ends_with(ENDING.get(..*n).unwrap_or(ENDING))).unwrap_or(0);
        None
    }
}

/// Where the first ending begins. Every line of a header ends with half of it:
/// its middle is quicker to find.
fn find(piece: &[u8]) -> Option<usize> {
    let begin = MIDDLE_FINDER.find(piece)?.checked_sub(1);
    match begin.and_then(|begin| piece.get(begin..)) {
        Some(rest) if rest.starts_with(ENDING) => begin,
        _ => FINDER.find(piece),
    }
}

const ENDING: &[u8] = b"\r\n\r\n";

/// Made once: making one costs more than a header's search.
static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(ENDING));
static MIDDLE_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n\r"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_first_empty_line_is_found() {
        for (fields, beyond) in [
            ("\r\n", ""),
            ("\r\n5\r\n", "5\r\n"),
            ("Host: a\r\n\r\n", ""),
            ("Host: a\r\n\r\n\r\n\r\n", "\r\n\r\n"),
            ("Host: a\r\nX: b\r\n\r\nbody\r\n\r\nmore", "body\r\n\r\nmore"),
            ("X: \r\r\n\r\n!", "!"),
        ] {
            for at in 0..=fields.len() {
                let mut end = HeadEnd::default();
                let (first, second) = fields.split_at(at);

                let found = [end.push(first.as_bytes()), end.push(second.as_bytes())];

                let found = found.map(Option::unwrap_or_default).concat();
                assert_eq!(found, beyond.as_bytes(), "{fields:?} cut at {at}");
            }
        }
    }

    #[test]
    fn a_header_in_single_bytes_ends_where_it_ends() {
        let mut end = HeadEnd::default();
        let fields = b"Host: a\r\nX:\r\n\r\n";

        let ended: Vec<_> = fields.iter().map(|byte| end.push(&[*byte]).is_some()).collect();

        assert_eq!(ended.iter().position(|ended| *ended), Some(fields.len() - 1));
    }

    #[test]
    fn a_header_without_an_empty_line_has_no_end() {
        for fields in ["", "\r", "Host: a\r\n", "Host: a\r\n\r", "Host: a\n\n", "Host: a\r\n\n", "a\r\r\n\n"]
        {
            assert_eq!(HeadEnd::default().push(fields.as_bytes()), None, "{fields:?}");
        }
    }
}
