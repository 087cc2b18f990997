//! An HTTP/1 client that sends any bytes and reads answers exactly.
//!
//! Owns framing on the way back. Does not own what is sent: `Request` writes
//! well-formed requests, tests write the others. Every wait ends after
//! `PATIENCE`, as `TimedOut`.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};

use super::{
    PATIENCE,
    request::Request,
    response::Response,
    stream::{self, Stream},
};

mod incoming;

pub use incoming::Head;
use incoming::Incoming;

/// One connection; requests on it follow each other.
pub struct Http1 {
    /// What is below.
    pub stream: Stream,
    incoming: Incoming,
}

/// How the server ended a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// In order.
    Closed,
    /// By a reset, or by an end of TCP without one of TLS.
    Reset,
}

impl Http1 {
    /// Connects without TLS.
    pub async fn open(address: SocketAddr) -> Self {
        Self::over(Stream::Plain(stream::connect(address).await.unwrap()))
    }

    /// Speaks on a connection that is there.
    pub fn over(stream: Stream) -> Self {
        Self { stream, incoming: Incoming::default() }
    }

    /// Sends a request and reads the whole answer; panics without one.
    pub async fn send(&mut self, request: &Request) -> Response {
        self.try_send(request).await.unwrap_or_else(|why| panic!("no answer: {why}; to {request:?}"))
    }

    /// As [`send`](Self::send), when there may be no answer.
    pub async fn try_send(&mut self, request: &Request) -> io::Result<Response> {
        self.try_send_raw(request.to_http1()).await
    }

    /// Sends these bytes and reads the whole answer; panics without one.
    pub async fn send_raw(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        let bytes = bytes.as_ref();
        let answer = self.try_send_raw(bytes).await;
        answer.unwrap_or_else(|why| panic!("no answer: {why}; to {:?}", String::from_utf8_lossy(bytes)))
    }

    /// As [`send_raw`](Self::send_raw), when there may be no answer.
    ///
    /// Reads while it writes: an answer that comes before the request is whole
    /// ends the writing.
    pub async fn try_send_raw(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<Response> {
        let bytes = bytes.as_ref();
        let (mut read, mut write) = tokio::io::split(&mut self.stream);
        let writing = async {
            // A server that refuses early may not take all of it.
            let _ = write.write_all(bytes).await;
            let _ = write.flush().await;
            std::future::pending::<()>().await;
        };
        let reading = self.incoming.response(&mut read, bytes.starts_with(b"HEAD "));
        let answer = tokio::select! {
            answer = timeout(PATIENCE, reading) => answer??,
            () = writing => unreachable!(),
        };
        answer.assert_sound();
        Ok(answer)
    }

    /// Writes bytes and reads nothing.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let writing = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        timeout(PATIENCE, writing).await?
    }

    /// Writes bytes in pieces of this size, with pauses between. The pauses are
    /// what is tested, not a wait for something.
    pub async fn write_slowly(&mut self, bytes: &[u8], piece: usize, pause: Duration) -> io::Result<()> {
        for piece in bytes.chunks(piece) {
            self.write(piece).await?;
            sleep(pause).await;
        }
        Ok(())
    }

    /// Says that nothing more will come; answers can still be read.
    pub async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Reads the answer to a request that was written before.
    pub async fn read_response(&mut self) -> io::Result<Response> {
        let answer = timeout(PATIENCE, self.incoming.response(&mut self.stream, false)).await??;
        answer.assert_sound();
        Ok(answer)
    }

    /// Reads the answer to a HEAD that was written before.
    pub async fn read_response_to_head(&mut self) -> io::Result<Response> {
        timeout(PATIENCE, self.incoming.response(&mut self.stream, true)).await?
    }

    /// Reads one header, 1xx included; the body stays to be read.
    pub async fn read_head(&mut self) -> io::Result<Head> {
        timeout(PATIENCE, self.incoming.head(&mut self.stream)).await?
    }

    /// Reads what comes next, framing included; empty at the end.
    pub async fn read_some(&mut self) -> io::Result<Vec<u8>> {
        timeout(PATIENCE, self.incoming.some(&mut self.stream)).await?
    }

    /// Reads exactly so many bytes, framing included.
    pub async fn read_exactly(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        timeout(PATIENCE, self.incoming.exactly(&mut self.stream, bytes)).await?
    }

    /// Reads everything until the server ends the connection, framing included.
    pub async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let reading = async {
            let mut all = Vec::new();
            loop {
                match self.incoming.some(&mut self.stream).await? {
                    piece if piece.is_empty() => return Ok(all),
                    piece => all.extend(piece),
                }
            }
        };
        timeout(PATIENCE, reading).await?
    }

    /// Waits until the server ends the connection; panics when it does not, or
    /// when it says something before.
    pub async fn ended(&mut self) -> Ended {
        match self.read_to_end().await {
            Ok(said) if said.is_empty() => Ended::Closed,
            Ok(said) => panic!("before the end came {:?}", String::from_utf8_lossy(&said)),
            Err(why) if why.kind() == io::ErrorKind::TimedOut => panic!("the connection is still open"),
            Err(_) => Ended::Reset,
        }
    }

    /// Whether the server has ended the connection by now. What it said before
    /// stays to be read.
    pub async fn is_open(&mut self) -> bool {
        let mut piece = [0; 1];
        match timeout(Duration::ZERO, self.stream.read(&mut piece)).await {
            Err(_) => true,
            Ok(Ok(1..)) => {
                self.incoming.put_back(&piece);
                true
            }
            Ok(_) => false,
        }
    }

    /// The client's own address.
    pub fn local_addr(&self) -> std::net::SocketAddr {
        self.stream.local_addr()
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        self.stream.reset();
    }
}
