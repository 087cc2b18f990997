//! Clients that keep asking, and an account of what became of every request.
//!
//! A request counts as lost when it was sent, no whole answer came, and the
//! gateway did not say that it never looked at it. On HTTP/2 it says so by a
//! final GOAWAY with a lower stream id, or by REFUSED_STREAM; on HTTP/1 it has
//! no way to, so that a connection may end only after `Connection: close`.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use h2::Reason;
use tokio::time::sleep;

use super::{
    client::Http1,
    http2::{Cut, Http2},
    request::Request,
    response::Response,
    stream::{self, Stream},
    tls::Tls,
};

/// What all clients of one test saw.
#[derive(Debug, Default)]
pub struct Load {
    /// Requests with a whole answer of status 200.
    pub answered: AtomicU64,
    /// Connections that were opened.
    pub connections: AtomicU64,
    /// Connections that the gateway asked to end.
    pub asked_to_end: AtomicU64,
    /// Requests that the gateway said it never looked at.
    pub unprocessed: AtomicU64,
    lost: Mutex<Vec<String>>,
    refused: AtomicBool,
    over: AtomicBool,
}

/// Where and what a client asks.
#[derive(Clone)]
pub struct Asks {
    /// The listener.
    pub address: SocketAddr,
    /// With TLS, if it has any.
    pub tls: Option<Tls>,
    /// What it asks.
    pub request: Request,
    /// How long it waits between two requests on a connection.
    pub pause: Duration,
    /// What every answer has to be.
    pub sound: fn(&Response) -> bool,
    /// Its kernel takes so little at a time, if given.
    pub narrow: Option<usize>,
}

impl Load {
    /// Nothing was asked yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// No client begins another request.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether it is over.
    pub fn is_ended(&self) -> bool {
        self.is_over()
    }

    /// A refused connection is no loss: the client goes home.
    pub fn may_be_refused(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Each lost request, in words.
    pub fn lost(&self) -> Vec<String> {
        self.lost.lock().unwrap().clone()
    }

    /// One client of HTTP/1 that keeps its connection as long as it may.
    pub async fn http1(self: Arc<Self>, asks: Asks) {
        while let Some(stream) = self.connect(&asks).await {
            self.http1_over(stream, &asks).await;
        }
    }

    /// The same on a connection that is there, until it ends.
    pub async fn http1_over(&self, stream: Stream, asks: &Asks) {
        let mut http = Http1::over(stream);
        while !self.is_over() && self.ask_http1(&mut http, asks).await {
            sleep(asks.pause).await;
        }
    }

    /// One client that opens a connection for each request.
    pub async fn fresh(self: Arc<Self>, asks: Asks) {
        while let Some(stream) = self.connect(&asks).await {
            sleep(asks.pause).await;
            match Http1::over(stream).try_send(&asks.request).await {
                Ok(answer) if (asks.sound)(&answer) => count(&self.answered),
                Ok(answer) => drop(self.lose(format!("fresh: {answer:?}"))),
                Err(why) => drop(self.lose(format!("fresh: {why}"))),
            }
        }
    }

    /// One client of HTTP/2 with so many streams at a time.
    pub async fn http2(self: Arc<Self>, asks: Asks, streams: usize) {
        while let Some(stream) = self.connect(&asks).await {
            let http = Http2::over(stream).await;
            let one = |_| async {
                while !self.is_over() && self.ask_http2(&http, &asks).await {
                    sleep(asks.pause).await;
                }
            };
            futures::future::join_all((0..streams).map(one)).await;
            if !self.is_over() {
                count(&self.asked_to_end);
            }
        }
    }

    /// False: this connection is over.
    async fn ask_http1(&self, http: &mut Http1, asks: &Asks) -> bool {
        let answer = match http.try_send(&asks.request).await {
            Ok(answer) if (asks.sound)(&answer) => answer,
            Ok(answer) => return self.lose(format!("http/1: {answer:?}")),
            Err(why) => return self.lose(format!("http/1: {why}")),
        };
        count(&self.answered);
        match (answer.header("connection"), answer.closed) {
            (Some("close"), _) => count(&self.asked_to_end),
            (_, true) => return self.lose("http/1: closed without a word".to_owned()),
            _ => return true,
        }
        false
    }

    /// False: this connection takes no more streams.
    async fn ask_http2(&self, http: &Http2, asks: &Asks) -> bool {
        let Ok(mut exchange) = http.ask(&asks.request).await else { return false };
        match exchange.response().await {
            Ok(answer) if (asks.sound)(&answer) => count(&self.answered),
            Err(cut) if is_unprocessed(&cut) => count(&self.unprocessed),
            Ok(answer) => return self.lose(format!("http/2: {answer:?}")),
            Err(cut) => return self.lose(format!("http/2: {cut}")),
        }
        true
    }

    async fn connect(&self, asks: &Asks) -> Option<Stream> {
        if self.is_over() {
            return None;
        }
        let connected = match asks.narrow {
            Some(bytes) => stream::connect_narrow(asks.address, bytes).await,
            None => stream::connect(asks.address).await,
        };
        let tcp = match connected {
            Ok(tcp) => tcp,
            Err(_) if self.refused.load(Ordering::Relaxed) => return None,
            Err(why) => {
                self.lose(format!("connect: {why}"));
                return None;
            }
        };
        count(&self.connections);
        let Some(tls) = &asks.tls else { return Some(Stream::Plain(tcp)) };
        tls.shake_hands(tcp).await.map_err(|why| self.lose(format!("handshake: {}", why.0))).ok()
    }

    /// Whether no client begins another request.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Always false: nothing more is to be asked here.
    fn lose(&self, how: String) -> bool {
        self.lost.lock().unwrap().push(how);
        false
    }
}

impl Asks {
    /// A GET without pause and without TLS.
    pub fn of(address: SocketAddr, request: Request) -> Self {
        Self {
            address,
            tls: None,
            request,
            pause: Duration::ZERO,
            narrow: None,
            sound: |answer| answer.status == 200,
        }
    }

    /// With TLS; for HTTP/2 the client has to offer it.
    pub fn tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Answers have to be like this; those that are not count as lost.
    pub fn sound(self, sound: fn(&Response) -> bool) -> Self {
        Self { sound, ..self }
    }

    /// With a receive buffer of about so many bytes.
    pub fn narrow(self, bytes: usize) -> Self {
        Self { narrow: Some(bytes), ..self }
    }

    /// With so long between two requests of a connection, or before the first.
    pub fn pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }
}

/// Whether the server said that it never looked at a request.
fn is_unprocessed(cut: &Cut) -> bool {
    let above_the_last = cut.is_go_away && cut.reason == Some(Reason::NO_ERROR);
    above_the_last || cut.reason == Some(Reason::REFUSED_STREAM)
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
