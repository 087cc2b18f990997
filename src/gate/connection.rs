//! Reads `Connection`: which fields the client wants removed on the way.
//!
//! Removing is Pingora's work, later. Here those requests end that want a field
//! removed which we or the upstream decide by, and those that Pingora would
//! refuse when it is too late for a clean answer.

use super::refusal::Refusal;
use crate::gate::alphabet;

/// How many fields one request has nominated so far.
#[derive(Default)]
pub(super) struct Nominations(usize);

impl Nominations {
    /// Reads one `Connection` line.
    pub fn add(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let tokens = line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        for token in tokens.filter(|token| !token.is_empty()) {
            self.0 += 1;
            let token_is_good = alphabet::all(token, alphabet::is_token);
            if self.0 > MAX_NOMINATIONS || !token_is_good || is_protected(token) {
                return Err(Refusal::Connection);
            }
        }
        Ok(())
    }
}

fn is_protected(token: &[u8]) -> bool {
    let forwarded = token.get(..FORWARDED.len()).is_some_and(|head| head.eq_ignore_ascii_case(FORWARDED));
    forwarded || PROTECTED.iter().any(|name| name.eq_ignore_ascii_case(token))
}

/// Pingora refuses the tenth.
const MAX_NOMINATIONS: usize = 9;

const FORWARDED: &[u8] = b"x-forwarded-";

/// Who asks, for what, how long the body is, by which way. Fields that only we
/// set, such as the signed token, need no place here: they are inserted after
/// the removal.
const PROTECTED: [&[u8]; 13] = [
    b"host",
    b"content-length",
    b"transfer-encoding",
    b"content-type",
    b"authorization",
    b"cookie",
    b"forwarded",
    b"via",
    b"x-real-ip",
    b"x-request-id",
    b"traceparent",
    b"tracestate",
    b"x-amzn-trace-id",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<(), Refusal> {
        let mut nominations = Nominations::default();
        lines.iter().try_for_each(|line| nominations.add(line.as_bytes()))
    }

    #[test]
    fn what_clients_really_send_is_let_through() {
        for line in
            ["close", "keep-alive", "Upgrade", "keep-alive, Upgrade", "TE, Upgrade, HTTP2-Settings", ""]
        {
            assert_eq!(read(&[line]), Ok(()), "{line}");
        }
    }

    #[test]
    fn a_field_that_decides_cannot_be_nominated() {
        for line in [
            "close, Host",
            "content-length",
            "Transfer-Encoding",
            "AUTHORIZATION",
            "cookie",
            "X-Forwarded-For",
            "x-forwarded-anything",
            "forwarded",
            "via",
            "x-request-id",
            "close,\ttraceparent ",
        ] {
            assert_eq!(read(&[line]), Err(Refusal::Connection), "{line}");
        }
    }

    #[test]
    fn what_is_no_token_cannot_be_nominated() {
        for line in ["\"host\"", ":authority", "a b", "a;q=1", "a\u{e9}"] {
            assert_eq!(read(&[line]), Err(Refusal::Connection), "{line}");
        }
    }

    #[test]
    fn the_tenth_nomination_is_one_too_many_on_one_line_or_two() {
        assert_eq!(read(&["a,b,c,d,e,f,g,h,i"]), Ok(()));
        assert_eq!(read(&["a,b,c,d,e,f,g,h,i,j"]), Err(Refusal::Connection));
        assert_eq!(read(&["a,b,c,d,e", "f,g,h,i,j"]), Err(Refusal::Connection));
    }
}
