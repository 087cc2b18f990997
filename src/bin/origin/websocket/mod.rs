//! Answers a WebSocket upgrade, and echoes.
//!
//! Owns the handshake and the messages after it. Bounded: a message is at most
//! 16 MiB. No extension or subprotocol is agreed on unless the script adds the header.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWriteExt;

use self::frame::{Frame, MAX_MESSAGE, NOT_TEXT, Opcode, PROTOCOL, TOO_LARGE, Violation, encode};
use crate::{
    request::Request,
    script::Script,
    wire::{End, Wire, fill},
};

mod frame;

/// Whether the request asks to become a WebSocket.
pub fn is_asked_for(request: &Request) -> bool {
    request.method == "GET"
        && request.version == "HTTP/1.1"
        && request.lists("connection", "upgrade")
        && request.lists("upgrade", "websocket")
}

/// Upgrades and echoes until either side closes. `input` has what was read already.
pub async fn serve<W: Wire>(
    wire: &mut W,
    input: &mut BytesMut,
    request: &Request,
    script: &Script,
) -> io::Result<End> {
    wire.write_all(handshake(request, script).as_bytes()).await?;
    if request.header("sec-websocket-key").is_none() {
        return Ok(End::Fin);
    }
    if let Some(code) = script.ws_close {
        wire.write_all(&encode(Opcode::Close, &code.to_be_bytes())).await?;
        return Ok(End::Fin);
    }
    let mut echo = Echo::default();
    loop {
        let reply = match Frame::decode(input) {
            Ok(Some(frame)) => echo.reply(&frame),
            Ok(None) => {
                if fill(wire, input, READ).await? == 0 {
                    return Ok(End::Fin);
                }
                continue;
            }
            Err(violation) => Err(violation),
        };
        match reply {
            Ok(Reply::Nothing) => {}
            Ok(Reply::Frame(bytes)) => wire.write_all(&bytes).await?,
            Ok(Reply::Last(bytes)) => {
                wire.write_all(&bytes).await?;
                return Ok(End::Fin);
            }
            Err(Violation(code)) => {
                wire.write_all(&encode(Opcode::Close, &code.to_be_bytes())).await?;
                return Ok(End::Fin);
            }
        }
    }
}

fn handshake(request: &Request, script: &Script) -> String {
    let Some(key) = request.header("sec-websocket-key") else {
        return BAD_REQUEST.to_owned();
    };
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: {}\r\n",
        accept(key)
    );
    for (name, value) in &script.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head
}

/// The proof that the key was understood (RFC 6455, section 4.2.2).
fn accept(key: &str) -> String {
    let proof = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    boring::base64::encode_block(&boring::sha::sha1(proof.as_bytes()))
}

/// A message that comes in fragments.
#[derive(Default)]
struct Echo {
    begun: Option<Opcode>,
    message: BytesMut,
}

/// What goes back for one frame.
#[derive(Debug, Eq, PartialEq)]
enum Reply {
    Nothing,
    Frame(Vec<u8>),
    Last(Vec<u8>),
}

impl Echo {
    fn reply(&mut self, frame: &Frame) -> Result<Reply, Violation> {
        match (frame.opcode, self.begun) {
            (Opcode::Ping, _) => Ok(Reply::Frame(encode(Opcode::Pong, &frame.payload))),
            (Opcode::Pong, _) => Ok(Reply::Nothing),
            (Opcode::Close, _) => close(&frame.payload),
            (Opcode::Continuation, Some(kind)) => self.take(kind, frame),
            (kind @ (Opcode::Text | Opcode::Binary), None) => self.take(kind, frame),
            (Opcode::Continuation, None) | (Opcode::Text | Opcode::Binary, Some(_)) => Err(PROTOCOL),
        }
    }

    fn take(&mut self, kind: Opcode, frame: &Frame) -> Result<Reply, Violation> {
        if self.message.len() + frame.payload.len() > MAX_MESSAGE {
            return Err(TOO_LARGE);
        }
        self.begun = Some(kind);
        self.message.extend_from_slice(&frame.payload);
        if !frame.fin {
            return Ok(Reply::Nothing);
        }
        self.begun = None;
        let message = std::mem::take(&mut self.message);
        if kind == Opcode::Text && std::str::from_utf8(&message).is_err() {
            return Err(NOT_TEXT);
        }
        Ok(Reply::Frame(encode(kind, &message)))
    }
}

/// The echo of a close frame: its code, without its reason.
fn close(payload: &[u8]) -> Result<Reply, Violation> {
    let mut rest = payload;
    match rest.try_get_u16() {
        Ok(code) => Ok(Reply::Last(encode(Opcode::Close, &code.to_be_bytes()))),
        Err(_) if payload.is_empty() => Ok(Reply::Last(encode(Opcode::Close, &[]))),
        Err(_) => Err(PROTOCOL),
    }
}

const BAD_REQUEST: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const READ: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::{frame::tests::masked, *};

    /// What goes back for these frames, each a first byte and a payload.
    fn replies(frames: &[(u8, &[u8])]) -> Vec<Result<Reply, Violation>> {
        let mut echo = Echo::default();
        let mut reply = |(first, payload): &(u8, &[u8])| {
            let mut input = BytesMut::from(&masked(*first, payload)[..]);
            echo.reply(&Frame::decode(&mut input)?.unwrap())
        };
        frames.iter().map(&mut reply).collect()
    }

    #[test]
    fn the_accept_header_is_the_one_of_the_rfc() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn fragments_come_back_as_one_message_and_a_ping_between_them_is_answered() {
        let replies = replies(&[(0x01, b"hel"), (0x89, b"p"), (0x80, b"lo"), (0x82, b"!")]);

        let expected = [
            Ok(Reply::Nothing),
            Ok(Reply::Frame(encode(Opcode::Pong, b"p"))),
            Ok(Reply::Frame(encode(Opcode::Text, b"hello"))),
            Ok(Reply::Frame(encode(Opcode::Binary, b"!"))),
        ];
        assert_eq!(replies, expected);
    }

    #[test]
    fn a_close_is_echoed_with_its_code() {
        let close = replies(&[(0x88, b"\x0f\xa1bye"), (0x88, b""), (0x88, b"\x0f")]);

        assert_eq!(close[0], Ok(Reply::Last(encode(Opcode::Close, &4001u16.to_be_bytes()))));
        assert_eq!(close[1], Ok(Reply::Last(encode(Opcode::Close, b""))));
        assert_eq!(close[2], Err(PROTOCOL));
    }

    #[test]
    fn messages_out_of_order_and_broken_text_are_refused() {
        assert_eq!(replies(&[(0x80, b"x")]), [Err(PROTOCOL)]);
        assert_eq!(replies(&[(0x01, b"x"), (0x81, b"y")])[1], Err(PROTOCOL));
        assert_eq!(replies(&[(0x81, b"\xff")]), [Err(NOT_TEXT)]);
        assert_eq!(replies(&[(0x82, b"\xff")]), [Ok(Reply::Frame(encode(Opcode::Binary, b"\xff")))]);
    }
}
