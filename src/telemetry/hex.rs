//! Lower-case hexadecimal, in fixed arrays.

/// Writes each byte as two digits; what does not fit is left out.
pub(crate) fn write(out: &mut [u8], bytes: &[u8]) {
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0x0f)]);
    }
}

/// Whether every byte is one of `0-9a-f`. Looks at all of them: that is a few
/// vector instructions where the length is known.
#[inline]
pub(super) fn is_lower(text: &[u8]) -> bool {
    text.iter().fold(true, |all, b| all & matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_written_as_the_standard_library_does() {
        for byte in 0..=u8::MAX {
            let mut out = [0; 2];

            write(&mut out, &[byte]);

            assert_eq!(out, format!("{byte:02x}").as_bytes());
            assert!(is_lower(&out));
        }
    }

    #[test]
    fn upper_case_and_neighbours_are_not_lower_hex() {
        assert!(!["A", "g", "/", ":", "`", " "].iter().any(|text| is_lower(text.as_bytes())));
    }
}
