//! Bytes to text and back, without loss.
//!
//! Owns the encodings that echo and script need. Knows nothing of HTTP.

/// Every byte as the character of the same number, so that nothing is lost.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// Lower-case hexadecimal digits, two a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Undoes percent-encoding. `+` stays a plus (base64 has it), a `%` without two
/// hexadecimal digits stays as it is, and bytes that are not UTF-8 are replaced.
pub fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        match (first, escaped(after)) {
            (b'%', Some((byte, after))) => {
                out.push(byte);
                rest = after;
            }
            _ => {
                out.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The byte that two leading hexadecimal digits stand for, and what follows them.
fn escaped(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, after) = bytes.split_at_checked(2)?;
    // from_str_radix takes a sign, which percent-encoding has not.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    Some((u8::from_str_radix(digits, 16).ok()?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_undone_and_broken_escapes_stay() {
        assert_eq!(percent_decoded("status%3D503%2cclose"), "status=503,close");
        assert_eq!(percent_decoded("raw=a+b%2B"), "raw=a+b+");
        assert_eq!(percent_decoded("100%"), "100%");
        assert_eq!(percent_decoded("%+1%zz%4"), "%+1%zz%4");
    }

    #[test]
    fn latin1_keeps_every_byte() {
        assert_eq!(latin1(&[b'a', 0xe9, 0xff]), "a\u{e9}\u{ff}");
        assert_eq!(hex(&[0, 0xab]), "00ab");
    }
}
