//! Where the frames of HTTP/2 begin in a stream of bytes, in whatever pieces they come.
//!
//! Owns no meaning of a frame: `frames` does.

/// Finds the heads of one side's frames.
#[derive(Default)]
pub(super) struct Heads {
    /// Bytes to skip: the preface, then payloads.
    skip: u32,
    head: [u8; HEAD],
    /// How much of `head` is read.
    read: u8,
}

/// What stands before a frame's payload (RFC 9113, 4.1).
pub(super) struct Head {
    /// The payload's.
    pub length: u32,
    pub kind: u8,
    pub flags: u8,
    /// 0: the connection.
    pub stream: u32,
}

impl Heads {
    /// The first comes after so many bytes.
    pub fn after(skip: u32) -> Self {
        Self { skip, ..Self::default() }
    }

    /// Takes bytes off `rest` up to the end of the next head: how many of them were
    /// skipped, and the head. `None` when they end before.
    pub fn next(&mut self, rest: &mut &[u8]) -> (usize, Option<Head>) {
        let skipped = rest.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        self.skip -= u32::try_from(skipped).unwrap_or(self.skip);
        *rest = rest.get(skipped..).unwrap_or_default();
        while let Some((byte, after)) = rest.split_first() {
            if let Some(place) = self.head.get_mut(usize::from(self.read)) {
                *place = *byte;
            }
            self.read += 1;
            *rest = after;
            if usize::from(self.read) == HEAD {
                self.read = 0;
                let [a, b, c, kind, flags, id @ ..] = self.head;
                self.skip = u32::from_be_bytes([0, a, b, c]);
                let stream = u32::from_be_bytes(id) & STREAM_ID;
                return (skipped, Some(Head { length: self.skip, kind, flags, stream }));
            }
        }
        (skipped, None)
    }
}

/// Length, kind, flags, stream.
pub(super) const HEAD: usize = 9;

/// Without the bit that says nothing.
const STREAM_ID: u32 = 0x7fff_ffff;
