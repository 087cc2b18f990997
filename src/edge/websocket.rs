//! Follows what is written to a client whose connection became a WebSocket: the
//! answer that switches protocols, then frames (RFC 6455, 5.2).
//!
//! Owns one question: whether a frame of our own may follow. Decodes nothing.

/// Where a WebSocket stands, in whatever pieces it is written.
#[derive(Debug, Default)]
pub struct SocketFrames {
    /// The answer is written, and frames follow.
    switched: bool,
    answer: Answer,
    head: [u8; MOST_HEAD],
    /// How much of `head` is written.
    written: usize,
    /// Bytes of the payload to come.
    payload: u64,
    /// A close frame was written: none follows it.
    closed: bool,
}

impl SocketFrames {
    /// Takes the next piece that is written.
    pub fn push(&mut self, piece: &[u8]) {
        let mut rest = piece;
        loop {
            let skipped = rest.len().min(usize::try_from(self.payload).unwrap_or(usize::MAX));
            self.payload -= u64::try_from(skipped).unwrap_or(self.payload);
            rest = rest.get(skipped..).unwrap_or_default();
            let Some((byte, after)) = rest.split_first() else { return };
            rest = after;
            match self.switched {
                true => self.frame(*byte),
                false => self.switched = self.answer.ends_with(*byte),
            }
        }
    }

    /// Whether a close frame may be written now: between two frames, and not
    /// after another.
    pub fn may_close(&self) -> bool {
        self.switched && !self.closed && self.written == 0 && self.payload == 0
    }

    fn frame(&mut self, byte: u8) {
        if let Some(place) = self.head.get_mut(self.written) {
            *place = byte;
        }
        self.written += 1;
        let [first, second, length @ ..] = &self.head;
        // Servers do not mask; who does puts four bytes more.
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let (wide, short) = match second & 0x7f {
            126 => (2, 0),
            127 => (8, 0),
            length => (0, u64::from(length)),
        };
        if self.written < 2 || self.written < 2 + wide + mask {
            return;
        }
        let length = length.iter().take(wide).fold(short, |all, byte| all << 8 | u64::from(*byte));
        self.closed |= first & 0x0f == CLOSE;
        self.payload = length;
        self.written = 0;
    }
}

/// Answers until the one that switches: interim ones may come before it.
#[derive(Debug, Default)]
struct Answer {
    /// Bytes of its first line, as far as the status.
    line: [u8; STATUS_ENDS],
    seen: usize,
    /// How much of the empty line's end there is.
    ending: usize,
}

impl Answer {
    /// Whether the answer that switches ends with this byte.
    fn ends_with(&mut self, byte: u8) -> bool {
        if let Some(place) = self.line.get_mut(self.seen) {
            *place = byte;
        }
        self.seen += 1;
        let goes_on = END.get(self.ending) == Some(&byte);
        self.ending = if goes_on { self.ending + 1 } else { usize::from(byte == b'\r') };
        if self.ending < END.len() {
            return false;
        }
        let switches = self.line.ends_with(b" 101");
        *self = Self::default();
        switches
    }
}

/// Going away (RFC 6455, 7.4.1): one frame, not masked, with nothing but the code.
pub(super) const GOING_AWAY: &[u8] = &[0x88, 2, 0x03, 0xe9];

const CLOSE: u8 = 8;

/// Two bytes, a length of eight, a mask.
const MOST_HEAD: usize = 14;

/// Behind `HTTP/1.1 101`.
const STATUS_ENDS: usize = 12;

const END: &[u8] = b"\r\n\r\n";

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n";

    fn written(bytes: &[u8]) -> SocketFrames {
        let mut frames = SocketFrames::default();
        frames.push(bytes);
        frames
    }

    #[test]
    fn a_frame_of_our_own_follows_the_answer_that_switches_and_no_other() {
        let interim = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";

        assert!(!written(b"").may_close());
        assert!(!written(interim).may_close());
        assert!(!written(&[interim, &ANSWER[..ANSWER.len() - 1]].concat()).may_close());
        assert!(written(&[interim, ANSWER].concat()).may_close());
    }

    #[test]
    fn nothing_follows_a_close_frame() {
        assert!(!written(&[ANSWER, &[0x88, 2, 0x0f, 0xa0]].concat()).may_close());
        assert!(!written(&[ANSWER, GOING_AWAY].concat()).may_close());
    }

    /// A frame as RFC 6455 draws it, with the length in the given form.
    fn frame((first, masked, form, length): (u8, bool, usize, usize)) -> Vec<u8> {
        let length = match form {
            0 => length % 126,
            _ => length,
        };
        let mut bytes = vec![first & 0xf7];
        let mask = if masked { 0x80 } else { 0 };
        match form {
            0 => bytes.push(mask | length as u8),
            1 => {
                bytes.push(mask | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(vec![0x88; if masked { 4 } else { 0 } + length]);
        bytes
    }

    proptest! {
        /// In every place of a stream of frames, however it was cut into pieces.
        #[test]
        fn a_close_may_follow_a_whole_frame_and_nothing_else(
            frames in vec((any::<u8>(), any::<bool>(), 0..3_usize, 0..400_usize), 0..8),
            pieces in vec(1..90_usize, 1..20),
        ) {
            let mut bytes = ANSWER.to_vec();
            let mut ends = vec![bytes.len()];
            for one in frames {
                bytes.extend(frame(one));
                ends.push(bytes.len());
            }

            let mut socket = SocketFrames::default();
            let mut at = 0;
            for piece in pieces.iter().cycle() {
                let until = (at + piece).min(bytes.len());
                socket.push(&bytes[at..until]);
                at = until;
                prop_assert_eq!(socket.may_close(), ends.contains(&at), "at {} of {:?}", at, ends);
                if at == bytes.len() { break }
            }
        }

        #[test]
        fn pieces_change_nothing(bytes in vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>()) {
            let bytes = [ANSWER, &bytes].concat();
            let (one, other) = bytes.split_at(at.index(bytes.len()));
            let mut pieces = written(one);
            pieces.push(other);

            prop_assert_eq!(format!("{pieces:?}"), format!("{:?}", written(&bytes)));
        }
    }
}
