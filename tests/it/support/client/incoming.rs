//! Bytes into answers: header, framing, interim answers, trailers.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use crate::support::response::{Fields, Response};

/// What was read and not yet taken.
#[derive(Default)]
pub struct Incoming(Vec<u8>);

/// An answer without its body.
#[derive(Clone, Debug)]
pub struct Head {
    /// As 200.
    pub status: u16,
    /// 1 in `HTTP/1.1`, 0 in `HTTP/1.0`.
    pub minor: u8,
    /// In their order and spelling.
    pub headers: Fields,
}

impl Head {
    /// The field's first value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn says(&self, name: &str, word: &str) -> bool {
        let values = self.header(name).unwrap_or_default();
        values.split(',').any(|value| value.trim().eq_ignore_ascii_case(word))
    }

    /// Whether the connection ends after this answer.
    fn closes(&self) -> bool {
        self.says("connection", "close") || (self.minor == 0 && !self.says("connection", "keep-alive"))
    }
}

impl Incoming {
    /// Reads a whole answer, interim ones before it included.
    pub async fn response(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to_head: bool,
    ) -> io::Result<Response> {
        let mut interim = Vec::new();
        let head = loop {
            let head = self.head(from).await?;
            if head.status >= 200 || head.status == 101 {
                break head;
            }
            interim.push((head.status, head.headers));
        };
        let (mut body, mut trailers, mut to_the_end) = (Vec::new(), Fields::new(), false);
        if to_head || head.status == 101 || matches!(head.status, 204 | 304) {
        } else if head.says("transfer-encoding", "chunked") {
            (body, trailers) = self.chunks(from).await?;
        } else if let Some(length) = head.header("content-length") {
            body = self.exactly(from, length.parse().map_err(invalid)?).await?;
        } else {
            to_the_end = true;
            body = self.until_end(from).await?;
        }
        let closed = to_the_end || (head.status != 101 && self.is_over(from, head.closes()).await);
        Ok(Response { status: head.status, headers: head.headers, body, trailers, interim, closed })
    }

    /// Reads one header.
    pub async fn head(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<Head> {
        loop {
            if let Some((head, length)) = parse(&self.0)? {
                self.0.drain(..length);
                return Ok(head);
            }
            self.more(from).await?;
        }
    }

    /// Reads exactly so many bytes.
    pub async fn exactly(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        bytes: usize,
    ) -> io::Result<Vec<u8>> {
        while self.0.len() < bytes {
            self.more(from).await?;
        }
        Ok(self.0.drain(..bytes).collect())
    }

    /// What is there, or else what comes next; empty at the end.
    pub async fn some(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
        if self.0.is_empty() {
            self.0.reserve(PIECE);
            from.read_buf(&mut self.0).await?;
        }
        Ok(std::mem::take(&mut self.0))
    }

    /// To be read next.
    pub fn put_back(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    async fn until_end(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
        while from.read_buf(&mut self.0).await? > 0 {}
        Ok(std::mem::take(&mut self.0))
    }

    async fn chunks(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<(Vec<u8>, Fields)> {
        let mut body = Vec::new();
        loop {
            let line = self.line(from).await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(invalid)?;
            if size == 0 {
                return Ok((body, self.trailers(from).await?));
            }
            body.extend(self.exactly(from, size).await?);
            let end = self.exactly(from, 2).await?;
            if end != b"\r\n" {
                return Err(invalid("a chunk is longer than its size"));
            }
        }
    }

    async fn trailers(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<Fields> {
        let mut trailers = Fields::new();
        loop {
            let line = self.line(from).await?;
            if line.is_empty() {
                return Ok(trailers);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid("a trailer without colon"))?;
            trailers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    async fn line(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
        loop {
            if let Some(end) = self.0.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.0.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).map_err(invalid);
            }
            self.more(from).await?;
        }
    }

    async fn more(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        match from.read_buf(&mut self.0).await? {
            0 if self.0.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            0 => {
                let said = String::from_utf8_lossy(&self.0).into_owned();
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("cut after {said:?}")))
            }
            _ => Ok(()),
        }
    }

    /// Whether the connection has ended; waits for it when it was announced.
    async fn is_over(&mut self, from: &mut (impl AsyncRead + Unpin), announced: bool) -> bool {
        if !self.0.is_empty() {
            return false;
        }
        let patience = if announced { TO_CLOSE } else { Duration::ZERO };
        matches!(timeout(patience, from.read_buf(&mut self.0)).await, Ok(Ok(0) | Err(_)))
    }
}

fn parse(bytes: &[u8]) -> io::Result<Option<(Head, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; 200];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(bytes).map_err(invalid)? else { return Ok(None) };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = head.headers.iter().map(|field| (field.name.to_owned(), text(field.value))).collect();
    let (status, minor) = (head.code.unwrap_or_default(), head.version.unwrap_or_default());
    Ok(Some((Head { status, minor, headers }, length)))
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Gigabytes come in pieces of this size.
const PIECE: usize = 64 * 1024;

/// A server that announced the end and has not ended by then keeps it open.
const TO_CLOSE: Duration = Duration::from_secs(5);
