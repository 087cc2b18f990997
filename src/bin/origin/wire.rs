//! A connection's bytes, with or without TLS, down to its TCP socket.
//!
//! Owns the ways a connection can end. Does not own a protocol.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_boring::SslStream;

/// A byte stream over TCP.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The socket beneath.
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for SslStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref()
    }
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// FIN, then reads on for up to a second: a close with unread bytes would be
    /// a reset, and a reset takes the tail of the answer with it.
    Fin,
    /// RST.
    Reset,
    /// FIN, but nothing is read any more, until the peer leaves as well.
    Deaf,
}

/// Ends the connection. Errors are the peer's and end it all the same.
pub async fn end<W: Wire>(mut wire: W, end: End) {
    match end {
        End::Fin => {
            let _ = timeout(LINGER, linger(&mut wire)).await;
        }
        End::Reset => {
            let _ = wire.tcp().set_zero_linger();
        }
        End::Deaf => {
            let _ = wire.shutdown().await;
            until_peer_leaves(wire.tcp()).await;
        }
    }
}

async fn linger<W: Wire>(wire: &mut W) -> io::Result<()> {
    wire.shutdown().await?;
    let mut ignored = [0; 4096];
    while wire.read(&mut ignored).await? > 0 {}
    Ok(())
}

/// Waits until the peer has closed or reset, without reading: unread bytes keep
/// the socket readable, so its state is asked for now and then. Gives up after
/// five minutes, because a peer with a full window may never be heard of again.
pub async fn until_peer_leaves(tcp: &TcpStream) {
    let deadline = Instant::now() + DEAF_FOR;
    while Instant::now() < deadline {
        let asked = timeout(DEAF_FOR, tcp.ready(Interest::READABLE | Interest::ERROR)).await;
        let Ok(Ok(ready)) = asked else { return };
        if ready.is_read_closed() || ready.is_error() {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Makes the receive buffer small, so that a sender soon feels a slow reader.
pub fn shrink_receive_buffer(tcp: &TcpStream) {
    // A kernel that refuses leaves a larger buffer: the sender feels it later.
    let _ = socket2::SockRef::from(tcp).set_recv_buffer_size(16 * 1024);
}

/// A stream with bytes that were read from it already put back in front.
pub struct Rewound<W> {
    /// Read first.
    pub input: BytesMut,
    /// Read next, and written.
    pub wire: W,
}

impl<W: Wire> AsyncRead for Rewound<W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.input.is_empty() {
            return Pin::new(&mut self.wire).poll_read(cx, out);
        }
        let length = self.input.len().min(out.remaining());
        out.put_slice(&self.input.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<W: Wire> AsyncWrite for Rewound<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}

/// Reads more into the buffer; at most `limit` bytes. 0 is the end of the stream.
pub async fn fill<W: Wire>(wire: &mut W, input: &mut BytesMut, limit: usize) -> io::Result<usize> {
    input.reserve(limit);
    wire.take(limit as u64).read_buf(input).await
}

const LINGER: Duration = Duration::from_secs(1);
const DEAF_FOR: Duration = Duration::from_secs(300);
