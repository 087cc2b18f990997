//! A WebSocket client (RFC 6455): handshake, masked frames, close codes.
//!
//! Owns single frames; messages in several frames are written with `send`.

use std::io;

use super::{client::Http1, request::Request, response::Response};

/// An open WebSocket.
pub struct WebSocket {
    /// What is below, to end it rudely.
    pub http: Http1,
}

/// One frame from the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Frame {
    /// UTF-8.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// To be answered.
    Ping(Vec<u8>),
    /// The answer to ours.
    Pong(Vec<u8>),
    /// With its code, if it said one.
    Close(Option<u16>),
}

impl WebSocket {
    /// Asks for a WebSocket; the refusal when there is none.
    pub async fn open(mut http: Http1, request: &Request) -> Result<Self, Box<Response>> {
        let request = request
            .clone()
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        let answer = http.send(&request).await;
        if answer.status != 101 {
            return Err(Box::new(answer));
        }
        // The answer to this key stands in RFC 6455, 1.3.
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        Ok(Self { http })
    }

    /// Sends a text.
    pub async fn send_text(&mut self, text: &str) -> io::Result<()> {
        self.send(0x81, text.as_bytes()).await
    }

    /// Sends bytes.
    pub async fn send_binary(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send(0x82, bytes).await
    }

    /// Sends a ping.
    pub async fn ping(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send(0x89, bytes).await
    }

    /// Begins to close.
    pub async fn close(&mut self, code: u16) -> io::Result<()> {
        self.send(0x88, &code.to_be_bytes()).await
    }

    /// Sends a frame with this first byte (FIN and opcode), masked.
    pub async fn send(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = vec![first];
        match payload.len() {
            length @ ..=125 => frame.push(0x80 | length as u8),
            length @ ..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.http.write(frame).await
    }

    /// Waits for the next frame.
    pub async fn receive(&mut self) -> io::Result<Frame> {
        let head = self.http.read_exactly(2).await?;
        let length = match head[1] & 0x7f {
            126 => usize::from(u16::from_be_bytes(self.http.read_exactly(2).await?.try_into().unwrap())),
            127 => u64::from_be_bytes(self.http.read_exactly(8).await?.try_into().unwrap()) as usize,
            length => usize::from(length),
        };
        let payload = self.http.read_exactly(length).await?;
        Ok(match head[0] & 0x0f {
            1 => Frame::Text(String::from_utf8(payload).unwrap()),
            2 => Frame::Binary(payload),
            8 => Frame::Close(payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]))),
            9 => Frame::Ping(payload),
            10 => Frame::Pong(payload),
            other => panic!("no frame of opcode {other} was expected"),
        })
    }
}

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
