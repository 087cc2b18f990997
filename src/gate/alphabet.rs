//! Which bytes may stand where in a request: tokens, targets, field values.
//!
//! Stricter than RFC 9110 nowhere but in targets, looser nowhere. Knows bytes
//! only; what a word means is decided by the callers.

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

/// A byte of a field value: tab, space, visible ASCII, and RFC 9110's obs-text.
pub(super) const fn is_value(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7f) || byte == b'\t'
}

/// Whether `good` holds for every byte.
///
/// Looks at all of them before it answers: without an early exit the compiler
/// makes vector code of it, and clean bytes are the common case.
pub(super) fn all(bytes: &[u8], good: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |clean, byte| clean & good(*byte))
}

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
    fn a_value_has_no_control_but_tab() {
        for byte in 0..=u8::MAX {
            let expected = byte == b'\t' || !byte.is_ascii_control();

            assert_eq!(is_value(byte), expected, "{byte:#x}");
        }
    }
}
