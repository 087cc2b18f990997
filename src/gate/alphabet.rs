//! Which bytes may stand where in a request, and quick looks for them.
//!
//! Knows bytes only; what a word means is decided by the callers.

/// A byte of an RFC 9110 §5.6.2 token: method and field names.
pub(super) const fn is_token(byte: u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'#' | b'$' | b'%'
        | b'&' | b'\'' | b'*' | b'+' | b'^' | b'`' | b'|' | b'~')
}

/// A byte of a request target: visible ASCII without `#`, which begins what a
/// client must keep to itself.
///
/// Wider than RFC 3986 by what browsers send unescaped: `"<>\^`{|}`.
pub(super) const fn is_target(byte: u8) -> bool {
    byte > b' ' && byte < 0x7f && byte != b'#'
}

/// Whether `good` holds for every byte.
///
/// Looks at all of them before it answers, and counts in bytes: without an
/// early exit the compiler makes vector code of it, and clean is the common case.
pub(super) fn all(bytes: &[u8], good: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(0, |bad, byte| bad | u8::from(!good(*byte))) == 0
}

/// Whether a byte is there: eight at a time, for the short texts that vector
/// code does not help.
pub(super) fn has(bytes: &[u8], wanted: u8) -> bool {
    let look = |word: u64| has_zero(word ^ (LOW * u64::from(wanted)));
    // The last piece overlaps the one before it instead of being cut.
    if let Some(last) = bytes.last_chunk() {
        let words = bytes.as_chunks().0.iter();
        return words
            .fold(look(u64::from_ne_bytes(*last)), |found, word| found | look(u64::from_ne_bytes(*word)))
            != 0;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let halves = (u64::from(u32::from_ne_bytes(*first)) << 32) | u64::from(u32::from_ne_bytes(*last));
        return look(halves) != 0;
    }
    bytes.contains(&wanted)
}

/// Not 0 if and only if a byte of the word is 0.
const fn has_zero(word: u64) -> u64 {
    word.wrapping_sub(LOW) & !word & (LOW << 7)
}

/// 1 in each byte.
const LOW: u64 = 0x0101_0101_0101_0101;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_the_rfc_lists() {
        let listed = b"!#$%&'*+-.^_`|~";
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_alphanumeric() || listed.contains(&byte);

            assert_eq!(is_token(byte), expected, "{byte:#x}");
        }
    }

    #[test]
    fn a_target_has_no_space_control_fragment_or_foreign_byte() {
        for byte in [b' ', b'#', b'\0', b'\r', b'\n', b'\t', 0x7f, 0x80, 0xff] {
            assert!(!is_target(byte), "{byte:#x}");
        }
        assert!(all(b"/a;b,c=%2f?x=[1]&y={}\"", is_target));
    }

    #[test]
    fn a_byte_is_found_wherever_it_stands_in_texts_of_every_length() {
        for length in 0..40 {
            let clean = vec![b'a'; length];
            assert!(!has(&clean, b'_'));
            for at in 0..length {
                let mut text = clean.clone();
                text[at] = b'_';

                assert!(has(&text, b'_'), "at {at} of {length}");
            }
        }
    }
}
