//! Base64 in the alphabet of URLs, without padding (RFC 7515, section 2).
//!
//! Not constant-time, on purpose: what goes through here is public. BoringSSL's own
//! hides what it encodes and costs 1.5 µs for a token, more than an HMAC of it.

/// Appends `bytes`, encoded.
#[inline]
pub(super) fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + encoded_length(bytes.len()), 0);
    let Some(room) = out.get_mut(start..) else { return };
    let (triples, rest) = bytes.as_chunks::<3>();
    let (quads, last) = room.as_chunks_mut::<4>();
    for (quad, &[a, b, c]) in quads.iter_mut().zip(triples) {
        let bits = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
        *quad = [letter(bits >> 18), letter(bits >> 12), letter(bits >> 6), letter(bits)];
    }
    let bits = rest.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - rest.len()));
    for (at, place) in last.iter_mut().enumerate() {
        *place = letter(bits >> (18 - 6 * at));
    }
}

/// `bytes`, encoded.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    push(&mut out, bytes);
    String::from_utf8(out).unwrap_or_default()
}

/// So many letters stand for so many bytes.
pub(super) const fn encoded_length(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// What `text` stands for. `None` if it is not encoded so, padding and bits that
/// stand for nothing included: of two texts that mean the same one is forged.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (quads, rest) = text.as_chunks::<4>();
    let mut out = vec![0; quads.len() * 3];
    // One look at the end: who writes something else is the exception.
    let mut seen = 0;
    for (triple, quad) in out.as_chunks_mut::<3>().0.iter_mut().zip(quads) {
        let [a, b, c, d] = quad.map(value);
        seen |= a | b | c | d;
        let bits = u32::from(a) << 18 | u32::from(b) << 12 | u32::from(c) << 6 | u32::from(d);
        let [_, first, second, third] = bits.to_be_bytes();
        *triple = [first, second, third];
    }
    let bits = rest.iter().fold(0, |bits, letter| {
        let value = value(*letter);
        seen |= value;
        bits << 6 | u32::from(value)
    });
    let (bytes, spare) = match rest.len() {
        0 => (0, 0),
        2 => (1, 4),
        3 => (2, 2),
        _ => return None,
    };
    if seen & NO_LETTER != 0 || bits & ((1 << spare) - 1) != 0 {
        return None;
    }
    out.extend((bits >> spare).to_be_bytes().iter().skip(4 - bytes));
    Some(out)
}

#[inline]
fn letter(bits: u32) -> u8 {
    // Cannot be outside; without the mask the compiler would not know.
    ALPHABET.get((bits & 63) as usize).copied().unwrap_or_default()
}

/// What a letter stands for, or [`NO_LETTER`].
#[inline]
fn value(letter: u8) -> u8 {
    VALUES.get(usize::from(letter)).copied().unwrap_or(NO_LETTER)
}

const NO_LETTER: u8 = 0x80;

const VALUES: [u8; 256] = {
    let mut values = [NO_LETTER; 256];
    let mut rest: &[u8] = &ALPHABET;
    let mut value = 0;
    while let [letter, others @ ..] = rest {
        // The index cannot be outside.
        #[allow(clippy::indexing_slicing)]
        {
            values[*letter as usize] = value;
        }
        value += 1;
        rest = others;
    }
    values
};

const ALPHABET: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_7515_appendix_c_is_encoded_so() {
        assert_eq!(encode(&[3, 236, 255, 224, 193]), "A-z_4ME");
    }

    #[test]
    fn other_spellings_of_the_same_bytes_are_refused() {
        for bad in ["A-z_4ME=", "A-z_4MF", "A+z/4ME", "A-z_4 ME", "A", "AAAAA", "A-z_4M\n"] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_and_boringssl_writes_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let text = encode(&bytes);

            prop_assert_eq!(text.len(), encoded_length(bytes.len()));
            let theirs = boring::base64::encode_block(&bytes).replace('+', "-").replace('/', "_");
            prop_assert_eq!(&text, theirs.trim_end_matches('='));
            prop_assert_eq!(decode(text.as_bytes()), Some(bytes));
        }
    }
}
