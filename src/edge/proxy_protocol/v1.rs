//! Version 1: one line of text, `PROXY TCP4 192.0.2.7 10.0.0.5 4711 443`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::{FromStr, Split},
};

use super::{Flaw, Header, Parsed, client};

/// Reads the line that `bytes` begin with; they begin with the signature.
pub(super) fn parse(bytes: &[u8], max: usize) -> Parsed<'_> {
    let most = max.min(LONGEST);
    let seen = bytes.get(..most).unwrap_or(bytes);
    let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
        return if seen.len() == most {
            Parsed::Bad(Flaw::TooLarge)
        } else {
            Parsed::Incomplete(missing(seen))
        };
    };
    let line = seen.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let said = line.and_then(|line| str::from_utf8(line).ok()).and_then(said);
    match said {
        Some(client) => Parsed::Whole(Header { length: end + 1, client, vpc_endpoint: None }),
        None => Parsed::Bad(Flaw::Malformed),
    }
}

/// Whom the line names; `None` when it is not well-formed.
fn said(line: &str) -> Option<Option<SocketAddr>> {
    let mut words = line.split(' ');
    match (words.next()?, words.next()?) {
        // What else it says of someone it does not know is to be ignored.
        ("PROXY", "UNKNOWN") => (!line.contains('\r')).then_some(None),
        ("PROXY", "TCP4") => addresses::<Ipv4Addr>(words).map(Some),
        ("PROXY", "TCP6") => addresses::<Ipv6Addr>(words).map(Some),
        _ => None,
    }
}

fn addresses<A: FromStr + Into<IpAddr>>(mut words: Split<'_, char>) -> Option<SocketAddr> {
    let mut address = || words.next()?.parse::<A>().ok();
    let (source, _destination) = (address()?, address()?);
    let (source_port, _) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then(|| client(source.into(), source_port))
}

/// A number as it is written without need of thought: no sign, no zero in front.
fn port(word: &str) -> Option<u16> {
    let canonical = word == "0" || !word.starts_with(['0', '+']);
    word.parse().ok().filter(|_| canonical)
}

/// The fewest bytes that can make the line whole.
fn missing(seen: &[u8]) -> usize {
    let line_end = 2 - usize::from(seen.ends_with(b"\r"));
    if seen.len() < SHORTEST {
        return SHORTEST - seen.len();
    }
    if seen.starts_with(b"PROXY UNKNOWN") {
        return line_end;
    }
    // Each of the words that are not there is a space and a character.
    let words = SPACES.saturating_sub(seen.iter().filter(|byte| **byte == b' ').count());
    2 * words + usize::from(seen.ends_with(b" ")) + line_end
}

pub(super) const SIGNATURE: &[u8] = b"PROXY";

/// `PROXY UNKNOWN` and its line end.
pub(super) const SHORTEST: usize = 15;

/// The specification's bound, line end included.
const LONGEST: usize = 107;

/// Between the words of a line with addresses.
const SPACES: usize = 5;
