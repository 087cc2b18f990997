//! The ports of load balancers and scrapers: how many may be connected there, and how
//! long a request's head may take.
//!
//! Always holds: whoever reaches such a port cannot use up the process's files, and a
//! connection is served unless so many come after it that it is the oldest. So somebody
//! who holds connections does not take the gateway out of its target group; somebody who
//! opens them faster than a check is answered does.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use pingora::{
    apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream, ServerApp, http_app::ServeHttp},
    protocols::{Stream, http::ServerSession},
    server::ShutdownWatch,
};
use tokio::{sync::oneshot, time::timeout};

use crate::lifecycle::PRIVATE_CONNECTIONS;

/// An app whose oldest connection ends where there would be more than
/// [`PRIVATE_CONNECTIONS`].
pub(super) struct Narrow<A> {
    app: Arc<A>,
    open: Arc<Mutex<Open>>,
    /// Which port it is, for the log.
    name: &'static str,
}

#[derive(Default)]
struct Open {
    /// In the order in which they came; one that is taken out hears of it.
    connections: BTreeMap<u64, oneshot::Sender<()>>,
    came: u64,
    /// When it was told last that there are too many.
    told: Option<Instant>,
}

impl<A> Narrow<A> {
    /// In front of `app`.
    pub(super) fn new(name: &'static str, app: A) -> Self {
        Self { app: Arc::new(app), open: Arc::default(), name }
    }

    fn enter(&self) -> Place {
        let (sender, lost) = oneshot::channel();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.came += 1;
        let number = open.came;
        open.connections.insert(number, sender);
        if open.connections.len() > PRIVATE_CONNECTIONS {
            open.connections.pop_first();
            if open.told.is_none_or(|told| told.elapsed() >= TELL_EACH) {
                open.told = Some(Instant::now());
                log::warn!(
                    "more connections to a private port than it has room for: the oldest end: port={} most={PRIVATE_CONNECTIONS}; \
                     let nobody reach it but load balancers and scrapers",
                    self.name
                );
            }
        }
        Place { number, open: self.open.clone(), lost }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Narrow<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let mut place = self.enter();
        tokio::select! {
            served = self.app.process_new(stream, shutdown) => served,
            _ = &mut place.lost => None,
        }
    }
}

/// One of the open connections, until it is dropped.
struct Place {
    number: u64,
    open: Arc<Mutex<Open>>,
    lost: oneshot::Receiver<()>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).connections.remove(&self.number);
    }
}

/// Serves requests as Pingora does, and waits for none of their heads for longer than
/// this: Pingora begins to count anew with each byte.
pub(super) struct Prompt<A> {
    app: A,
    patience: Duration,
}

impl<A> Prompt<A> {
    /// In front of `app`.
    pub(super) fn new(app: A) -> Self {
        Self { app, patience: PATIENCE }
    }
}

#[async_trait]
impl<A: ServeHttp + Send + Sync> HttpServerApp for Prompt<A> {
    async fn process_new_http(
        self: &Arc<Self>,
        mut http: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let is_whole = timeout(self.patience, http.read_request()).await.ok()?.ok()?;
        if !is_whole {
            return None;
        }
        http.set_keepalive((!*shutdown.borrow()).then_some(PATIENCE.as_secs()));
        let (head, body) = self.app.response(&mut http).await.into_parts();
        let answered = async {
            http.write_response_header(Box::new(head.into())).await.ok()?;
            if !body.is_empty() {
                http.write_response_body(body.into(), true).await.ok()?;
            }
            let settings = HttpPersistentSettings::for_session(&http);
            Some((http.finish().await.ok()??, settings))
        };
        let (stream, settings) = timeout(PATIENCE, answered).await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(stream, settings))
    }
}

/// For the head of a request, from the end of the one before it; and for the answer to
/// be taken.
const PATIENCE: Duration = Duration::from_secs(60);

const TELL_EACH: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use http::Response;
    use pingora::protocols::l4::stream::Stream as L4Stream;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    struct Hello;

    #[async_trait]
    impl ServeHttp for Hello {
        async fn response(&self, _: &mut ServerSession) -> Response<Vec<u8>> {
            Response::builder().header("Content-Length", 5).body(b"hello".to_vec()).unwrap()
        }
    }

    /// Somebody who is connected to it.
    async fn client<A: ServerApp + Send + Sync + 'static>(app: &Arc<A>) -> TcpStream {
        let listening = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listening.local_addr().unwrap()).await.unwrap();
        let (accepted, app) = (listening.accept().await.unwrap().0, app.clone());
        tokio::spawn(async move {
            let (_sender, shutdown) = tokio::sync::watch::channel(false);
            app.process_new(Box::new(L4Stream::from(accepted)), &shutdown).await
        });
        client
    }

    #[tokio::test]
    async fn a_head_that_comes_byte_by_byte_ends_in_time_and_requests_follow_each_other() {
        let app = Arc::new(Prompt { app: Hello, patience: Duration::from_secs(1) });
        let mut good = client(&app).await;
        for _ in 0..2 {
            good.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"hello") {
                assert!(good.read_buf(&mut answer).await.unwrap() > 0);
            }
        }
        let (mut reads, mut writes) = client(&app).await.into_split();
        let trickles = async {
            while writes.write_all(b"G").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };

        let ended = async { matches!(reads.read(&mut [0]).await, Ok(0) | Err(_)) };

        let ended = async {
            tokio::select! { ended = ended => ended, () = trickles => true }
        };
        assert!(timeout(Duration::from_secs(20), ended).await.unwrap());
    }
}
