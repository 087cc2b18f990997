//! The two messages of `grpc.health.v1.Health/Check`, by hand: one field each.
//!
//! Owns the bytes. Asking is `probe`'s.

use bytes::{BufMut, Bytes, BytesMut};

/// The path of the call.
pub(super) const PATH: &str = "/grpc.health.v1.Health/Check";

/// What is asked: `HealthCheckRequest { service = 1 }`, with gRPC's prefix.
pub(super) fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(SERVICE);
        put_varint(&mut message, service.len());
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(&message);
    framed.freeze()
}

/// Whether an answer's body is one whole message that says SERVING:
/// `HealthCheckResponse { status = 1 }`. `None` when it is no such message.
pub(super) fn is_serving(body: &[u8]) -> Option<bool> {
    let (prefix, message) = body.split_first_chunk::<PREFIX>()?;
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 || u32::from_be_bytes(length) as usize != message.len() {
        return None;
    }
    let (mut rest, mut status) = (message, 0);
    while !rest.is_empty() {
        let (tag, after) = varint(rest)?;
        rest = match (tag >> 3, tag & 7) {
            (STATUS, 0) => {
                let (value, after) = varint(after)?;
                status = value;
                after
            }
            (_, 0) => varint(after)?.1,
            (_, 1) => after.get(8..)?,
            (_, 2) => {
                let (length, after) = varint(after)?;
                after.get(usize::try_from(length).ok()?..)?
            }
            (_, 5) => after.get(4..)?,
            _ => return None,
        };
    }
    Some(status == SERVING)
}

fn put_varint(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (nth, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * nth);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(nth + 1..)?));
        }
    }
    None
}

/// Whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Field 1, of bytes with a length.
const SERVICE: u8 = 0x0a;
const STATUS: u64 = 1;
const SERVING: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, 0, u8::try_from(message.len()).unwrap()], message].concat()
    }

    #[test]
    fn the_whole_server_is_asked_for_by_an_empty_message() {
        assert_eq!(&request("")[..], b"\0\0\0\0\0");
        assert_eq!(&request("orders")[..], b"\0\0\0\0\x08\x0a\x06orders");
        let long = "x".repeat(300);
        assert_eq!(&request(&long)[..8], b"\0\0\0\x01\x2f\x0a\xac\x02");
    }

    #[test]
    fn serving_is_one_and_everything_else_is_not() {
        assert_eq!(is_serving(&framed(b"\x08\x01")), Some(true));
        for not in [&b"\x08\x00"[..], b"\x08\x02", b"\x08\x03", b"", b"\x08\x81\x01"] {
            assert_eq!(is_serving(&framed(not)), Some(false), "{not:?}");
        }
    }

    #[test]
    fn fields_that_nobody_here_knows_are_passed_over() {
        let more = b"\x12\x02hi\x18\x05\x21\0\0\0\0\0\0\0\0\x2d\0\0\0\0\x08\x01";

        assert_eq!(is_serving(&framed(more)), Some(true));
    }

    #[test]
    fn what_is_no_whole_message_is_told_apart() {
        for bad in
            [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x03\x08\x01", b"\x01\0\0\0\x02\x08\x01", b"\0\0\0\0\x01\x08"]
        {
            assert_eq!(is_serving(bad), None, "{bad:?}");
        }
        for bad in [
            &b"\x08"[..],
            b"\x12\x7fhi",
            b"\x0b",
            b"\x21\0",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert_eq!(is_serving(&framed(bad)), None, "{bad:?}");
        }
    }
}
