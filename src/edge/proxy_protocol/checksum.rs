//! CRC-32C (Castagnoli), as RFC 4960 has it in its appendix B: a table of 256
//! numbers. Headers have some hundred bytes; instructions of the processor for
//! it, and a crate that picks them, would save nothing that can be measured.

/// A checksum of what was added so far.
#[derive(Clone, Copy)]
pub(super) struct Crc32c(u32);

impl Default for Crc32c {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Crc32c {
    /// With more bytes.
    pub(super) fn add(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |crc, byte| {
            let [low, ..] = crc.to_le_bytes();
            (crc >> 8) ^ TABLE.get(usize::from(low ^ byte)).copied().unwrap_or_default()
        }))
    }

    /// The checksum itself.
    pub(super) fn value(self) -> u32 {
        !self.0
    }
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let (mut crc, mut bit) = (index as u32, 0);
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        #[allow(clippy::indexing_slicing, reason = "evaluated when it is compiled")]
        {
            table[index] = crc;
        }
        index += 1;
    }
    table
};

/// With its bits in reverse.
const POLYNOMIAL: u32 = 0x82f6_3b78;

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 3720, B.4.
    #[test]
    fn it_is_the_castagnoli_checksum() {
        let all: Vec<u8> = (0..32).collect();
        for (bytes, checksum) in [
            (&b""[..], 0),
            (b"123456789", 0xe306_9283),
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&all, 0x46dd_794e),
        ] {
            assert_eq!(Crc32c::default().add(bytes).value(), checksum, "{bytes:?}");
        }
    }

    #[test]
    fn pieces_add_up() {
        let whole = Crc32c::default().add(b"123456789");

        assert_eq!(Crc32c::default().add(b"1234").add(b"").add(b"56789").value(), whole.value());
    }
}
