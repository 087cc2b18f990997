//! WebSocket frames (RFC 6455, section 5), as a server reads and writes them.
//!
//! Owns the coding. Does no reading. A frame that a client may not send is
//! refused with the close code to answer.

use bytes::{Buf, BufMut, BytesMut};

/// What a frame is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// One frame, unmasked.
#[derive(Debug, Eq, PartialEq)]
pub struct Frame {
    /// Last of its message.
    pub fin: bool,
    pub opcode: Opcode,
    pub payload: BytesMut,
}

/// The close code that answers what the client did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Violation(pub u16);

impl Frame {
    /// Takes a frame out of `input`; `None` while it is not whole.
    pub fn decode(input: &mut BytesMut) -> Result<Option<Self>, Violation> {
        let Some((fin, opcode, length, head)) = head(input)? else { return Ok(None) };
        if input.len() < head + MASK + length {
            return Ok(None);
        }
        input.advance(head);
        let mask = input.split_to(MASK);
        let mut payload = input.split_to(length);
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        Ok(Some(Self { fin, opcode, payload }))
    }
}

/// Writes an unmasked whole message or control frame.
pub fn encode(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 10);
    out.put_u8(0x80 | opcode as u8);
    match payload.len() {
        length @ 0..=125 => out.put_u8(length as u8),
        length @ 126..=0xffff => {
            out.put_u8(126);
            out.put_u16(length as u16);
        }
        length => {
            out.put_u8(127);
            out.put_u64(length as u64);
        }
    }
    out.put_slice(payload);
    out
}

/// The facts before the mask: last, opcode, payload length, own length.
fn head(input: &[u8]) -> Result<Option<(bool, Opcode, usize, usize)>, Violation> {
    let mut rest = input;
    let (Ok(first), Ok(second)) = (rest.try_get_u8(), rest.try_get_u8()) else { return Ok(None) };
    // Reserved bits need an extension, and none was agreed on; clients must mask.
    if first & 0x70 != 0 || second & 0x80 == 0 {
        return Err(PROTOCOL);
    }
    let (fin, opcode) = (first & 0x80 != 0, opcode(first & 0x0f)?);
    let short = second & 0x7f;
    if opcode as u8 >= 8 && (!fin || short > 125) {
        return Err(PROTOCOL);
    }
    let length = match short {
        126 => rest.try_get_u16().map(u64::from),
        127 => rest.try_get_u64(),
        length => Ok(u64::from(length)),
    };
    let Ok(length) = length else { return Ok(None) };
    match usize::try_from(length) {
        Ok(length) if length <= MAX_MESSAGE => Ok(Some((fin, opcode, length, input.len() - rest.len()))),
        _ => Err(TOO_LARGE),
    }
}

fn opcode(number: u8) -> Result<Opcode, Violation> {
    match number {
        0 => Ok(Opcode::Continuation),
        1 => Ok(Opcode::Text),
        2 => Ok(Opcode::Binary),
        8 => Ok(Opcode::Close),
        9 => Ok(Opcode::Ping),
        10 => Ok(Opcode::Pong),
        _ => Err(PROTOCOL),
    }
}

/// The longest frame and message.
pub const MAX_MESSAGE: usize = 16 * 1024 * 1024;
/// Not as the protocol says.
pub const PROTOCOL: Violation = Violation(1002);
/// Text that is not UTF-8.
pub const NOT_TEXT: Violation = Violation(1007);
/// Longer than [`MAX_MESSAGE`].
pub const TOO_LARGE: Violation = Violation(1009);
const MASK: usize = 4;

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A frame as a client sends it.
    pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = encode(Opcode::Text, payload);
        let body = frame.split_off(frame.len() - payload.len());
        frame[0] = first;
        frame[1] |= 0x80;
        let mask = [1, 2, 3, 4];
        frame.extend_from_slice(&mask);
        frame.extend(body.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn refusal(bytes: &[u8]) -> Violation {
        Frame::decode(&mut BytesMut::from(bytes)).unwrap_err()
    }

    #[test]
    fn frames_of_every_length_form_are_read_back() {
        for length in [0, 1, 125, 126, 0xffff, 0x1_0000] {
            let payload = vec![b'x'; length];
            let bytes = masked(0x82, &payload);

            let mut part = BytesMut::from(&bytes[..bytes.len() - 1]);
            let mut whole = BytesMut::from(&bytes[..]);
            whole.extend_from_slice(b"next");

            assert_eq!(Frame::decode(&mut part), Ok(None), "{length}");
            let frame = Frame::decode(&mut whole).unwrap().unwrap();
            assert_eq!(
                frame,
                Frame { fin: true, opcode: Opcode::Binary, payload: BytesMut::from(&payload[..]) }
            );
            assert_eq!(whole, "next");
        }
    }

    #[test]
    fn what_a_client_may_not_send_is_refused() {
        let unmasked = encode(Opcode::Text, b"hi");
        let huge = [0x82, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0];

        assert_eq!(refusal(&unmasked), PROTOCOL);
        assert_eq!(refusal(&masked(0xc1, b"hi")), PROTOCOL, "a reserved bit");
        assert_eq!(refusal(&masked(0x83, b"hi")), PROTOCOL, "a reserved opcode");
        assert_eq!(refusal(&masked(0x09, b"hi")), PROTOCOL, "a fragmented ping");
        assert_eq!(refusal(&masked(0x89, &[0; 126])), PROTOCOL, "a long ping");
        assert_eq!(refusal(&huge), TOO_LARGE);
    }
}
