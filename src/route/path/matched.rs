//! A canonical path as routes see it: an escape of a character that needs none in a
//! path is the character.
//!
//! Owns which escapes these are in a comparison; the path itself goes on as it is.
//! Always holds: what is seen has as many `/` and `;` as what goes on.

use std::borrow::Cow;

use super::bytes::{hex_pair, is_reserved_name};

/// How routes see this canonical path: escapes of `! $ & ' ( ) * + , = : @` are these
/// characters. Borrowed, after one look for a `%`, when there is no such escape.
pub fn matched(path: &str) -> Cow<'_, str> {
    let bytes = path.as_bytes();
    if !bytes.contains(&b'%') || !units(bytes).any(|unit| unit.is_escape) {
        return Cow::Borrowed(path);
    }
    let seen = units(bytes).map(|unit| unit.byte).collect();
    // One ASCII character was put in the place of three.
    String::from_utf8(seen).map_or(Cow::Borrowed(path), Cow::Owned)
}

/// What comes after a prefix, of which `prefix` is how routes see it; as it came.
pub(in super::super) fn strip_prefix<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    if let Some(rest) = path.strip_prefix(prefix) {
        return Some(rest);
    }
    let mut length = 0;
    let mut units = units(path.as_bytes());
    for wanted in prefix.bytes() {
        let unit = units.next().filter(|unit| unit.byte == wanted)?;
        length += if unit.is_escape { 3 } else { 1 };
    }
    path.get(length..)
}

/// A byte as routes see it.
struct Unit {
    byte: u8,
    /// Three bytes long: it came as the escape of a character that needs none.
    is_escape: bool,
}

fn units(mut rest: &[u8]) -> impl Iterator<Item = Unit> {
    std::iter::from_fn(move || {
        let (byte, after) = rest.split_first()?;
        let escaped = (*byte == b'%').then(|| hex_pair(after).ok()).flatten();
        let escaped = escaped.filter(|(byte, _)| is_reserved_name(*byte));
        let is_escape = escaped.is_some();
        let (byte, left) = escaped.unwrap_or((*byte, after));
        rest = left;
        Some(Unit { byte, is_escape })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_of_what_needs_none_is_the_character() {
        for (path, seen) in [
            ("/v1/users%3Adelete", "/v1/users:delete"),
            ("/%21%24%26%27%28%29%2A%2B%2C%3D%3A%40", "/!$&'()*+,=:@"),
            ("/a%40b/c%2Cd%20e", "/a@b/c,d%20e"),
        ] {
            assert_eq!(matched(path), seen);
        }
    }

    #[test]
    fn separators_signs_and_what_needs_an_escape_stay() {
        for path in ["/", "/a:b", "/a%2Fb%5C", "/a%3Bb;c", "/%253A", "/%C3%A9%20%22%3F%23%5B", "/%"] {
            assert!(matches!(matched(path), Cow::Borrowed(same) if same == path), "{path}");
        }
    }

    #[test]
    fn a_prefix_is_found_in_each_of_its_spellings_and_the_rest_is_as_it_came() {
        for path in ["/s:t/u%3Av", "/s%3At/u%3Av"] {
            assert_eq!(strip_prefix(path, "/s:t"), Some("/u%3Av"), "{path}");
        }
        assert_eq!(strip_prefix("/s%3At", "/s:t"), Some(""));
        for path in ["/s%3A", "/s%253At", "/s%3Bt", "/s;t", "/"] {
            assert_eq!(strip_prefix(path, "/s:t"), None, "{path}");
        }
    }
}
