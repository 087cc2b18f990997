//! A connection, and one request on it after the other.
//!
//! Owns HTTP/1.1 as a client reads it: where an answer ends, and whether the
//! connection does. Does not own when a request is sent.

use boring::ssl::ConnectConfiguration;
use bytes::{Buf, BytesMut};
use futures::FutureExt;
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use crate::target::Target;

/// Why a request has no good answer.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The connection was refused or reset before it was one.
    Connect,
    /// TLS was not agreed on.
    Handshake,
    /// The connection ended before the answer did.
    Cut,
    /// What came is no HTTP/1.1.
    Malformed,
    /// It took longer than the timeout.
    Timeout,
    /// The answer has another status than it must have.
    Status,
}

/// An answer that came whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Never 1xx.
    pub status: u16,
    /// Whether the connection ends with it.
    pub last: bool,
}

/// An open connection on which nothing is under way.
pub struct Connection {
    wire: Box<dyn Wire>,
    input: BytesMut,
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<W: AsyncRead + AsyncWrite + Unpin + Send> Wire for W {}

impl Connection {
    /// Connects, says who it is from, and agrees on TLS.
    pub async fn open(target: &Target) -> Result<Self, Failure> {
        let connected = TcpStream::connect(target.address).await;
        let mut tcp = connected.map_err(|_| Failure::Connect)?;
        tcp.set_nodelay(true).map_err(|_| Failure::Connect)?;
        let said = target.senders.next(target.address);
        if !said.is_empty() {
            tcp.write_all(&said).await.map_err(|_| Failure::Connect)?;
        }
        let Some((name, connector)) = &target.tls else { return Ok(Self::on(tcp)) };
        let configured: ConnectConfiguration = connector.configure().map_err(|_| Failure::Handshake)?;
        match tokio_boring::connect(configured, name, tcp).await {
            Ok(stream) => Ok(Self::on(stream)),
            Err(_) => Err(Failure::Handshake),
        }
    }

    fn on(wire: impl Wire + 'static) -> Self {
        Self { wire: Box::new(wire), input: BytesMut::new() }
    }

    /// Whether the server has not ended it, as far as is known here. Pools look, too,
    /// before they send.
    pub fn is_open(&mut self) -> bool {
        self.wire.read_buf(&mut self.input).now_or_never().is_none()
    }

    /// Sends a request and reads its answer to the end.
    pub async fn ask(&mut self, target: &Target) -> Result<Answer, Failure> {
        self.wire.write_all(&target.request).await.map_err(|_| Failure::Cut)?;
        self.wire.flush().await.map_err(|_| Failure::Cut)?;
        loop {
            let head = self.head().await?;
            if head.status >= 200 {
                return self.body(head, target.head).await;
            }
        }
    }

    async fn head(&mut self) -> Result<Head, Failure> {
        loop {
            if let Some((head, length)) = Head::parse(&self.input)? {
                self.input.advance(length);
                return Ok(head);
            }
            self.more().await?;
        }
    }

    async fn body(&mut self, head: Head, none: bool) -> Result<Answer, Failure> {
        let answer = Answer { status: head.status, last: head.last };
        match head.body {
            _ if none || head.status == 204 || head.status == 304 => Ok(answer),
            Body::Bytes(length) => self.skip(length).await.map(|()| answer),
            Body::Chunks => self.chunks().await.map(|()| answer),
            Body::ToTheEnd => {
                while self.more().await.is_ok() {
                    self.input.clear();
                }
                Ok(Answer { last: true, ..answer })
            }
        }
    }

    async fn chunks(&mut self) -> Result<(), Failure> {
        loop {
            let line = self.line().await?;
            let size = line.as_ref().split(|byte| *byte == b';').next().unwrap_or_default();
            let size = str::from_utf8(size).ok().and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
            match size.ok_or(Failure::Malformed)? {
                0 => break,
                size => self.skip(size + 2).await?,
            }
        }
        while !self.line().await?.is_empty() {}
        Ok(())
    }

    /// The next line, without its end.
    async fn line(&mut self) -> Result<BytesMut, Failure> {
        loop {
            if let Some(end) = self.input.windows(2).position(|two| two == b"\r\n") {
                let line = self.input.split_to(end);
                self.input.advance(2);
                return Ok(line);
            }
            self.more().await?;
        }
    }

    async fn skip(&mut self, mut length: u64) -> Result<(), Failure> {
        loop {
            let there = self.input.len().min(usize::try_from(length).unwrap_or(usize::MAX));
            self.input.advance(there);
            length -= there as u64;
            if length == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), Failure> {
        match self.wire.read_buf(&mut self.input).await {
            Ok(0) | Err(_) => Err(Failure::Cut),
            Ok(_) => Ok(()),
        }
    }
}

/// What an answer's header says about the rest.
#[derive(Debug, Eq, PartialEq)]
struct Head {
    status: u16,
    body: Body,
    last: bool,
}

#[derive(Debug, Eq, PartialEq)]
enum Body {
    Bytes(u64),
    Chunks,
    ToTheEnd,
}

impl Head {
    /// With its length; `None` as long as it is not whole.
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Failure> {
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut answer = httparse::Response::new(&mut fields);
        let parsed = answer.parse(bytes).map_err(|_| Failure::Malformed)?;
        let (httparse::Status::Complete(length), Some(status)) = (parsed, answer.code) else {
            return Ok(None);
        };
        let mut head = Self { status, body: Body::ToTheEnd, last: answer.version == Some(0) };
        for field in answer.headers.iter() {
            head.take(field.name, str::from_utf8(field.value).map_err(|_| Failure::Malformed)?)?;
        }
        Ok(Some((head, length)))
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        if name.eq_ignore_ascii_case("content-length") && self.body != Body::Chunks {
            self.body = Body::Bytes(value.parse().map_err(|_| Failure::Malformed)?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            self.body = Body::Chunks;
        } else if name.eq_ignore_ascii_case("connection") {
            self.last |= value.eq_ignore_ascii_case("close");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(answers: &'static [u8], head: bool) -> (Result<Answer, Failure>, usize) {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let written = tokio::spawn(async move {
            // Byte by byte, so that every pause between two is met.
            for byte in answers {
                theirs.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let mut connection = Connection::on(ours);
        let answer = match connection.head().await {
            Ok(head_) => connection.body(head_, head).await,
            Err(failure) => Err(failure),
        };
        written.await.unwrap();
        (answer, connection.input.len())
    }

    #[tokio::test]
    async fn an_answer_ends_where_its_framing_says() {
        let good = |status, last| (Ok(Answer { status, last }), 0);
        for (answer, expected) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"[..], good(200, false)),
            (b"HTTP/1.1 429 No\r\ncontent-length: 0\r\nConnection: Close\r\n\r\n", good(429, true)),
            (b"HTTP/1.1 204 None\r\n\r\n", good(204, false)),
            (b"HTTP/1.0 200 OK\r\n\r\nto the end", good(200, true)),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=1\r\nhi\r\nA\r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\n",
                good(200, false),
            ),
        ] {
            assert_eq!(read(answer, false).await, expected, "{}", String::from_utf8_lossy(answer));
        }
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true).await, good(200, false));
    }

    #[tokio::test]
    async fn what_is_cut_or_no_http_is_a_failure() {
        for (answer, failure) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi"[..], Failure::Cut),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n", Failure::Cut),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhi\r\n", Failure::Malformed),
            (b"HTTP/1.1 200", Failure::Cut),
            (b"SSH-2.0-OpenSSH\r\n", Failure::Malformed),
        ] {
            assert_eq!(read(answer, false).await.0, Err(failure), "{}", String::from_utf8_lossy(answer));
        }
    }
}
