//! An upstream whose host vanishes: from one moment on its kernel takes no packet
//! on its connections, acknowledges nothing and accepts nobody. Needs no rights: a
//! socket's filter drops what comes, before TCP sees it.

use std::{
    convert::Infallible,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use socket2::{SockFilter, SockRef};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

/// Answers each request with 200 and nothing, until it vanishes.
pub struct Vanishing {
    /// Where it listens.
    pub address: SocketAddr,
    host: Arc<Host>,
    _task: JoinSet<Infallible>,
}

struct Host {
    listener: TcpListener,
    /// Handles of the connections, for the filter.
    connections: Mutex<Vec<OwnedFd>>,
    requests: AtomicUsize,
    answers: bool,
}

impl Vanishing {
    /// Speaks HTTP/1.
    pub async fn http1() -> Self {
        Self::start(true, |stream, host| async move { speak_http1(stream, &host).await }).await
    }

    /// Speaks HTTP/2, by prior knowledge.
    pub async fn http2() -> Self {
        Self::start(true, |stream, host| async move { speak_http2(stream, &host).await }).await
    }

    /// Reads requests in HTTP/1 and answers none.
    pub async fn silent() -> Self {
        Self::start(false, |stream, host| async move { speak_http1(stream, &host).await }).await
    }

    /// Reads a request's header, and its body so much later.
    pub async fn late(pause: Duration) -> Self {
        Self::start(true, move |stream, host| async move { read_late(stream, pause, &host).await }).await
    }

    /// Requests that it read.
    pub fn requests(&self) -> usize {
        self.host.requests.load(Ordering::SeqCst)
    }

    /// From now on there is no such host.
    pub fn vanish(&self) {
        let drop_all = [SockFilter::new(RETURN, 0, 0, 0)];
        SockRef::from(&self.host.listener).attach_filter(&drop_all).unwrap();
        for connection in self.host.connections.lock().unwrap().iter() {
            SockRef::from(connection).attach_filter(&drop_all).unwrap();
        }
    }

    async fn start<F: Future<Output = ()> + Send + 'static>(
        answers: bool,
        speak: impl Fn(TcpStream, Arc<Host>) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Mutex::default(), AtomicUsize::new(0));
        let host = Arc::new(Host { listener, connections, requests, answers });
        let (mut task, accepting) = (JoinSet::new(), host.clone());
        task.spawn(async move {
            let mut speaking = JoinSet::new();
            loop {
                let (stream, _) = accepting.listener.accept().await.unwrap();
                let handle = SockRef::from(&stream).try_clone().unwrap();
                accepting.connections.lock().unwrap().push(handle.into());
                speaking.spawn(speak(stream, accepting.clone()));
            }
        });
        Self { address, host, _task: task }
    }
}

async fn speak_http1(mut stream: TcpStream, host: &Host) {
    let mut request = [0; 4096];
    // Requests without a body: the gateway writes each in one piece.
    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
        host.requests.fetch_add(1, Ordering::SeqCst);
        if host.answers {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    }
}

async fn read_late(mut stream: TcpStream, pause: Duration, host: &Host) {
    let mut piece = vec![0; 4096];
    let mut read = stream.read(&mut piece).await.unwrap_or_default();
    let head = String::from_utf8_lossy(&piece[..read]).to_lowercase();
    let (_, rest) = head.split_once("content-length: ").unwrap();
    let length: usize = rest.split_once("\r\n").unwrap().0.parse().unwrap();
    sleep(pause).await;
    while read < length {
        read += stream.read(&mut piece).await.ok().filter(|more| *more > 0).unwrap_or(length);
    }
    host.requests.fetch_add(1, Ordering::SeqCst);
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
}

async fn speak_http2(stream: TcpStream, host: &Host) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        host.requests.fetch_add(1, Ordering::SeqCst);
        let _ = respond.send_response(http::Response::new(()), true);
    }
}

/// BPF_RET | BPF_K: so many bytes of the packet are kept.
const RETURN: u16 = 0x06;
