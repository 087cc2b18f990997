//! HTTP/2 frame by frame, for what no client library agrees to send.
//!
//! Owns one connection and an encoder that refuses nothing: every field is a
//! literal, never indexed, without Huffman code. Does not own a decoder: of an
//! answer's header it reads the status alone, which comes first.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{Gateway, PATIENCE, Tls, stream::Stream};

/// One connection.
pub struct Frames {
    /// What is below.
    pub stream: Stream,
    next: u32,
}

/// How a stream, or the connection with it, ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// With an answer: its status, and its body as text.
    Answer(u16, String),
    /// With RST_STREAM of this code.
    Reset(u32),
    /// With GOAWAY of this code.
    GoAway(u32),
    /// Without a word.
    Closed,
}

/// A frame as it came.
#[derive(Clone, Debug)]
pub struct Frame {
    /// As `DATA`.
    pub kind: u8,
    /// As `END_STREAM`.
    pub flags: u8,
    /// 0: the connection.
    pub stream: u32,
    /// Without the nine bytes before it.
    pub payload: Vec<u8>,
}

impl Frames {
    /// Connects by TLS, says hello and waits for nothing.
    pub async fn open(gateway: &Gateway) -> Self {
        let stream = Tls::default().alpn(&["h2"]).connect(gateway.tls).await.unwrap();
        let mut frames = Self { stream, next: 1 };
        frames.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        frames.frame(SETTINGS, 0, 0, &[]).await.unwrap();
        frames
    }

    /// Writes any bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        timeout(PATIENCE, writing).await?
    }

    /// Writes one frame.
    pub async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.write(&frame(kind, flags, stream, payload)).await
    }

    /// Opens a stream with these fields, pseudo-fields included; its number.
    pub async fn request<N, V>(&mut self, fields: &[(N, V)], end: bool) -> u32
    where
        N: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let stream = self.next;
        self.next += 2;
        let bytes = headers(stream, &block(fields), end);
        // A server that refuses early may not take all of it.
        let _ = self.write(&bytes).await;
        stream
    }

    /// Reads until the stream or the connection has ended.
    pub async fn outcome(&mut self, stream: u32) -> Outcome {
        let (mut status, mut body) = (0, Vec::new());
        loop {
            let frame = match self.read().await {
                Ok(frame) => frame,
                Err(why) if why.kind() == io::ErrorKind::TimedOut => panic!("stream {stream} is still open"),
                Err(_) => return Outcome::Closed,
            };
            let code = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap());
            match (frame.kind, frame.stream) {
                (GOAWAY, 0) => return Outcome::GoAway(code(4)),
                (RST_STREAM, own) if own == stream => return Outcome::Reset(code(0)),
                (HEADERS, own) if own == stream && status == 0 => status = status_of(&frame.payload),
                (DATA, own) if own == stream => body.extend_from_slice(&frame.payload),
                _ => continue,
            }
            if frame.flags & END_STREAM != 0 {
                return Outcome::Answer(status, String::from_utf8_lossy(&body).into_owned());
            }
        }
    }

    /// The next frame; answers settings and pings by itself.
    pub async fn read(&mut self) -> io::Result<Frame> {
        let frame = timeout(PATIENCE, self.next_frame()).await??;
        match (frame.kind, frame.flags) {
            (SETTINGS, 0) => self.frame(SETTINGS, ACK, 0, &[]).await?,
            (PING, 0) => self.frame(PING, ACK, 0, &frame.payload).await?,
            _ => {}
        }
        Ok(frame)
    }

    async fn next_frame(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload).await?;
        Ok(Frame { kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff, payload })
    }
}

/// The fields of a GET that is served, to be changed.
pub fn get(path: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let authority = super::request::HOST;
    let fields = [(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", path)];
    fields.map(|(name, value)| (name.into(), value.into())).to_vec()
}

/// One frame as bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block in one HEADERS and as many CONTINUATIONs as it needs.
pub fn headers(stream: u32, block: &[u8], end: bool) -> Vec<u8> {
    let mut pieces = block.chunks(MAX_FRAME).peekable();
    let mut out = Vec::new();
    let mut kind = HEADERS;
    while let Some(piece) = pieces.next() {
        let whole = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        let end = if end && kind == HEADERS { END_STREAM } else { 0 };
        out.extend(frame(kind, whole | end, stream, piece));
        kind = CONTINUATION;
    }
    out
}

/// Fields as RFC 7541 (6.2.3) writes them.
pub fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0x10);
        string(&mut out, name.as_ref());
        string(&mut out, value.as_ref());
    }
    out
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        length @ ..127 => out.push(length as u8),
        length => {
            out.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                out.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            out.push(rest as u8);
        }
    }
    out.extend_from_slice(text);
}

/// The status at the beginning of a connection's first header blocks: indexed,
/// or three digits in Huffman code.
fn status_of(block: &[u8]) -> u16 {
    let known = [200, 204, 206, 304, 400, 404, 500];
    match *block {
        [index @ 0x88..=0x8e, ..] => known[usize::from(index - 0x88)],
        [0x48, 0x82, high, low, ..] => huffman_digits(u16::from_be_bytes([high, low])),
        [0x48, 0x83, a, b, c, ..] => huffman_digits_long(u32::from_be_bytes([a, b, c, 0])),
        [0x48, 0x03, a, b, c, ..] => std::str::from_utf8(&[a, b, c]).unwrap().parse().unwrap(),
        _ => panic!("no status that this reads: {:02x?}", &block[..block.len().min(8)]),
    }
}

fn huffman_digits(bits: u16) -> u16 {
    huffman_digits_long(u32::from(bits) << 16)
}

/// RFC 7541, appendix B: 0 to 2 in five bits, 3 to 9 in six.
fn huffman_digits_long(mut bits: u32) -> u16 {
    let mut number = 0;
    for _ in 0..3 {
        let (digit, length) = match bits >> 27 {
            short @ 0..=2 => (short, 5),
            _ => ((bits >> 26) - 0x19 + 3, 6),
        };
        number = number * 10 + digit as u16;
        bits <<= length;
    }
    number
}

#[test]
fn a_status_is_read_in_every_spelling() {
    for (bytes, status) in [
        (&[0x88][..], 200),
        (&[0x8d], 404),
        (&[0x48, 0x82, 0x64, 0x02], 302),
        (&[0x48, 0x83, 0x68, 0x2c, 0xff], 413),
        (&[0x48, 0x03, b'4', b'3', b'1'], 431),
    ] {
        assert_eq!(status_of(bytes), status, "{bytes:02x?}");
    }
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// RFC 9113, 7.
pub const PROTOCOL_ERROR: u32 = 1;
pub const ENHANCE_YOUR_CALM: u32 = 11;

const MAX_FRAME: usize = 16_384;
