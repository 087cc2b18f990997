//! What each byte is in a path, and hex digits.

use super::PathError;

/// The byte that two hex digits mean, and what comes after them.
pub(super) fn hex_pair(text: &[u8]) -> Result<(u8, &[u8]), PathError> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let Some((&[high, low], rest)) = text.split_first_chunk::<2>() else {
        return Err(PathError::Escape);
    };
    let value = digit(high).zip(digit(low)).map(|(high, low)| high << 4 | low);
    value.map(|value| (value, rest)).ok_or(PathError::Escape)
}

/// The upper-case digit of a number below 16.
pub(super) fn hex_digit(half: u8) -> u8 {
    if half < 10 { b'0' + half } else { b'A' + half - 10 }
}

/// RFC 3986 `unreserved`: its escapes mean the same as itself.
pub(super) const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What needs no escape in a path and may have one: RFC 3986 `sub-delims`, `:` and `@`,
/// but not `;`, at which some servers cut.
pub(super) const fn is_reserved_name(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&'..=b',' | b':' | b'=' | b'@')
}

/// What a byte of a path is.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Class {
    /// Stays: RFC 3986 `pchar` without `.`, `;` and `%`.
    Name,
    Dot,
    Slash,
    Percent,
    /// `;`: an ordinary character, where it may stand.
    Parameter,
    /// Tolerated, written as an escape.
    Escaped,
    Refused,
}

/// What this byte is in a path, outside an escape.
pub(super) fn class(byte: u8) -> Class {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(Class::Refused)
}

const fn classify(byte: u8) -> Class {
    match byte {
        b'.' => Class::Dot,
        b'/' => Class::Slash,
        b'%' => Class::Percent,
        b'[' | b']' | b'^' | b'{' | b'|' | b'}' => Class::Escaped,
        b';' => Class::Parameter,
        _ if is_reserved_name(byte) || is_unreserved(byte) => Class::Name,
        _ => Class::Refused,
    }
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Refused; 256];
    let mut rest: &mut [Class] = &mut classes;
    let mut byte = 0u16;
    while let [class, tail @ ..] = rest {
        *class = classify(byte as u8);
        rest = tail;
        byte += 1;
    }
    classes
};
