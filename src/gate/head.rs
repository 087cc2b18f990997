//! What an HTTP/1 header block shows and its parser no longer does: line
//! endings, the target as it was written, a `Content-Length` that Pingora took
//! away.
//!
//! Takes the block as httparse accepted it, so that a line has one meaning: no
//! folding, no space before a colon.

use http::Method;

use super::refusal::Refusal;

/// Refuses a CR or LF alone, and a block whose request line does not carry
/// this method and this target.
///
/// The last is how a fragment is found: Pingora cuts `#…` off in silence.
pub(super) fn check(raw: &[u8], method: &Method, target: &[u8]) -> Result<(), Refusal> {
    if !lines_end_well(raw) {
        return Err(Refusal::LineEnding);
    }
    let mut line = raw;
    while let Some(rest) = line.strip_prefix(b"\r\n") {
        line = rest;
    }
    let rest = line.strip_prefix(method.as_str().as_bytes()).and_then(|rest| rest.strip_prefix(b" "));
    match rest.and_then(|rest| rest.strip_prefix(target)) {
        Some(rest) if rest.starts_with(b" ") => Ok(()),
        _ => Err(Refusal::Target),
    }
}

/// Whether the block has a line that begins with this name and a colon.
/// `name` is in lower case.
pub(super) fn has_field(raw: &[u8], name: &[u8]) -> bool {
    raw.split(|byte| *byte == b'\n').any(|line| {
        let (head, rest) = line.split_at_checked(name.len()).unwrap_or_default();
        rest.first() == Some(&b':') && head.eq_ignore_ascii_case(name)
    })
}

/// Whether every LF follows a CR and every CR is followed by an LF.
///
/// RFC 9112 §2.2 lets a recipient take LF alone; whoever stands in front of us
/// may not have, and then saw other fields than we do.
fn lines_end_well(raw: &[u8]) -> bool {
    let pairs = raw.iter().zip(raw.get(1..).unwrap_or_default());
    // Without an early exit, and counted in bytes: the compiler makes vector
    // code of it.
    let alone = pairs.fold(0, |alone, (a, b)| alone | u8::from((*a == b'\r') != (*b == b'\n')));
    alone == 0 && raw.first() != Some(&b'\n') && raw.last() != Some(&b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_ends_with_lf_alone_is_refused() {
        let cases: [&[u8]; 5] = [
            b"GET / HTTP/1.1\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\n",
            b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: a\rb\r\n\r\n",
        ];
        for raw in cases {
            assert_eq!(check(raw, &Method::GET, b"/"), Err(Refusal::LineEnding));
        }
        assert_eq!(check(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &Method::GET, b"/"), Ok(()));
    }

    #[test]
    fn a_line_ending_is_found_wherever_it_stands() {
        for length in 17..80 {
            for at in 0..length {
                for byte in [b'\r', b'\n'] {
                    let mut raw = vec![b'a'; length];
                    assert!(lines_end_well(&raw));
                    raw[at] = byte;

                    assert!(!lines_end_well(&raw), "{byte} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn the_target_that_was_parsed_is_the_target_that_was_written() {
        let fragment = b"\r\n\r\nGET /a#b HTTP/1.1\r\n\r\n";

        assert_eq!(check(fragment, &Method::GET, b"/a"), Err(Refusal::Target));
        assert_eq!(check(fragment, &Method::GET, b"/a#b"), Ok(()));
        assert_eq!(check(fragment, &Method::PUT, b"/a#b"), Err(Refusal::Target));
    }

    #[test]
    fn a_field_is_found_at_the_start_of_a_line_in_any_case() {
        let raw = b"GET /content-length: HTTP/1.1\r\nX: content-length: 5\r\nCONTENT-Length:5\r\n\r\n";
        let none = b"GET /content-length: HTTP/1.1\r\nX: content-length: 5\r\nContent-Lengthy: 5\r\n\r\n";

        assert!(has_field(raw, b"content-length"));
        assert!(!has_field(none, b"content-length"));
    }
}
