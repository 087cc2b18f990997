//! An upstream whose bytes are the test's: for answers that no server would
//! give, and for counting exactly what goes out.
//!
//! Owns no HTTP but finding the end of a request's header. It runs in the test,
//! so that it ends with it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};

use super::origin::Origin;

/// A puppet that listens.
pub struct Puppet {
    /// For the gateway's configuration; nothing else can be asked of it.
    pub origin: Origin,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    left: AtomicUsize,
    requests: AtomicUsize,
    written: AtomicU64,
}

/// What it says to every request's header.
#[derive(Clone)]
enum Lines {
    /// These bytes, then, as a segment of their own a little later, these; then
    /// it waits for the next request.
    Say(Arc<[u8]>, Arc<[u8]>),
    /// A body of this length, as fast as it is taken.
    Pour(u64),
    /// These bytes before anything was asked.
    Blurt(Arc<[u8]>),
    /// These bytes, and nothing that comes then is read.
    FallDeaf(Arc<[u8]>),
}

impl Puppet {
    /// Answers every request's header with these bytes and keeps the connection.
    pub async fn says(bytes: impl AsRef<[u8]>) -> Self {
        Self::says_more(bytes, "").await
    }

    /// As [`says`](Self::says), and more bytes when the first are long read.
    pub async fn says_more(bytes: impl AsRef<[u8]>, later: impl AsRef<[u8]>) -> Self {
        Self::listen(Lines::Say(bytes.as_ref().into(), later.as_ref().into())).await
    }

    /// Says these bytes to every connection, before it is asked, and nothing else.
    pub async fn blurts(bytes: impl AsRef<[u8]>) -> Self {
        Self::listen(Lines::Blurt(bytes.as_ref().into())).await
    }

    /// Answers a request's header with these bytes, keeps the connection and reads no more.
    pub async fn falls_deaf(bytes: impl AsRef<[u8]>) -> Self {
        Self::listen(Lines::FallDeaf(bytes.as_ref().into())).await
    }

    /// Answers with a body of so many bytes, all `x`.
    pub async fn pours(bytes: u64) -> Self {
        Self::listen(Lines::Pour(bytes)).await
    }

    /// Connections that were accepted.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Connections that are open: the other side has not left.
    pub fn open_connections(&self) -> usize {
        self.connections() - self.seen.left.load(Ordering::SeqCst)
    }

    /// Headers of requests that came.
    pub fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// Bytes that the system took from it, of what it pours or says later.
    pub fn written(&self) -> u64 {
        self.seen.written.load(Ordering::SeqCst)
    }

    async fn listen(lines: Lines) -> Self {
        let origin = Origin::dead();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(origin.address).unwrap();
        let listener = socket.listen(64).unwrap();
        let seen = Arc::new(Seen::default());
        let counts = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                counts.connections.fetch_add(1, Ordering::SeqCst);
                let (lines, counts) = (lines.clone(), Arc::clone(&counts));
                tokio::spawn(async move {
                    serve(connection, lines, &counts).await;
                    counts.left.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { origin, seen, task }
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Until the other side leaves.
async fn serve(mut connection: TcpStream, lines: Lines, seen: &Seen) -> Option<()> {
    connection.set_nodelay(true).ok()?;
    let mut header = Vec::new();
    if let Lines::Blurt(bytes) = &lines {
        connection.write_all(bytes).await.ok()?;
    }
    loop {
        while let Some(end) = header.windows(4).position(|four| four == b"\r\n\r\n") {
            header.drain(..end + 4);
            seen.requests.fetch_add(1, Ordering::SeqCst);
            match &lines {
                Lines::Say(bytes, later) => {
                    connection.write_all(bytes).await.ok()?;
                    if !later.is_empty() {
                        tokio::time::sleep(LATER).await;
                        connection.write_all(later).await.ok()?;
                        seen.written.fetch_add(later.len() as u64, Ordering::SeqCst);
                    }
                }
                Lines::Blurt(_) => {}
                Lines::FallDeaf(bytes) => {
                    connection.write_all(bytes).await.ok()?;
                    return std::future::pending().await;
                }
                Lines::Pour(bytes) => pour(&mut connection, *bytes, seen).await?,
            }
        }
        if connection.read_buf(&mut header).await.ok()? == 0 {
            return None;
        }
    }
}

async fn pour(connection: &mut TcpStream, bytes: u64, seen: &Seen) -> Option<()> {
    let header = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n");
    connection.write_all(header.as_bytes()).await.ok()?;
    let piece = [b'x'; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let now = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let written = connection.write(&piece[..now]).await.ok()? as u64;
        seen.written.fetch_add(written, Ordering::SeqCst);
        left -= written;
    }
    Some(())
}

/// Not a wait for something: what it does is to be late.
const LATER: Duration = Duration::from_millis(100);
