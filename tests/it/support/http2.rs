//! An HTTP/2 client: over TLS with ALPN `h2`, or cleartext with prior knowledge.
//!
//! Owns one connection with many streams. Does not own malformed frames: tests
//! that need them write bytes.

use std::{fmt, net::SocketAddr};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::{Connection, ResponseFuture, SendRequest},
};
use http::HeaderMap;
use tokio::{task::JoinHandle, time::timeout};

use super::{
    PATIENCE,
    request::{Body, Request},
    response::{Fields, Response},
    stream::{self, Stream},
    tls::{HandshakeFailed, Tls},
};

/// One connection.
#[derive(Debug)]
pub struct Http2 {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Http2 {
    /// Shakes hands, with ALPN `h2` alone.
    pub async fn open(address: SocketAddr, tls: &Tls) -> Result<Self, HandshakeFailed> {
        let stream = tls.clone().alpn(&["h2"]).connect(address).await?;
        assert_eq!(stream.ssl().selected_alpn_protocol(), Some(&b"h2"[..]), "ALPN");
        Ok(Self::over(stream).await)
    }

    /// Cleartext, by prior knowledge.
    pub async fn cleartext(address: SocketAddr) -> Self {
        Self::over(Stream::Plain(stream::connect(address).await.unwrap())).await
    }

    /// Speaks on a connection that is there.
    pub async fn over(stream: Stream) -> Self {
        let (requests, connection) = timeout(PATIENCE, h2::client::handshake(stream)).await.unwrap().unwrap();
        Self { requests, connection: tokio::spawn(drive(connection)) }
    }

    /// Sends a request and reads the whole answer; panics without one.
    pub async fn send(&mut self, request: &Request) -> Response {
        self.try_send(request).await.unwrap_or_else(|cut| panic!("{cut}; to {request:?}"))
    }

    /// As [`send`](Self::send), when the answer may be cut.
    pub async fn try_send(&mut self, request: &Request) -> Result<Response, Cut> {
        self.ask(request).await?.response().await
    }

    /// Opens a stream and writes the request with its body. An error means that the
    /// connection takes no more.
    pub async fn ask(&self, request: &Request) -> Result<Exchange, Cut> {
        let pieces = match &request.body {
            Body::Nothing => Vec::new(),
            Body::Bytes(body) => vec![body.clone()],
            Body::Chunks(chunks) => chunks.clone(),
        };
        let mut stream = self.start(request, pieces.is_empty()).await?;
        let last = pieces.len().saturating_sub(1);
        for (nth, piece) in pieces.into_iter().enumerate() {
            // A server that refuses early may not take all of it.
            if stream.write(piece, nth == last).await.is_err() {
                break;
            }
        }
        Ok(stream)
    }

    /// Opens a stream with this header; its body is the caller's to write,
    /// unless `end` says that there is none.
    pub async fn start(&self, request: &Request, end: bool) -> Result<Exchange, Cut> {
        let ready = timeout(PATIENCE, self.requests.clone().ready()).await.map_err(Cut::late)?;
        let mut requests = ready.map_err(Cut::of)?;
        let (answer, body) = requests.send_request(request.to_http2(), end).map_err(Cut::of)?;
        Ok(Exchange { answer: Some(answer), write: body, read: None, seen: Response::default() })
    }

    /// Waits for the end of the connection: `Ok` after an orderly GOAWAY, else
    /// what ended it.
    pub async fn ended(self) -> Result<(), h2::Error> {
        // Without a handle left the client would end it itself.
        let _open = self.requests;
        timeout(PATIENCE, self.connection).await.expect("the connection is still open").unwrap()
    }

    /// Whether the server said GOAWAY or the connection ended.
    pub async fn is_going_away(&self) -> bool {
        self.connection.is_finished() || self.requests.clone().ready().await.is_err()
    }
}

/// A request under way.
pub struct Exchange {
    answer: Option<ResponseFuture>,
    write: SendStream<Bytes>,
    read: Option<RecvStream>,
    seen: Response,
}

impl Exchange {
    /// Writes a piece of the request's body, as fast as the server takes it.
    pub async fn write(&mut self, piece: impl Into<Bytes>, end: bool) -> Result<(), Cut> {
        let mut piece = piece.into();
        loop {
            self.write.reserve_capacity(piece.len());
            let room = match piece.len() {
                0 => 0,
                _ => self.room().await?,
            };
            let now = piece.split_to(room.min(piece.len()));
            let last = piece.is_empty();
            self.write.send_data(now, end && last).map_err(Cut::of)?;
            if last {
                return Ok(());
            }
        }
    }

    /// Ends the request's body with trailers.
    pub fn write_trailers(&mut self, trailers: HeaderMap) {
        self.write.send_trailers(trailers).unwrap();
    }

    /// Ends the stream with RST_STREAM.
    pub fn reset(&mut self, reason: Reason) {
        self.write.send_reset(reason);
    }

    /// Reads the answer's header.
    pub async fn head(&mut self) -> Result<&Response, Cut> {
        if let Some(answer) = self.answer.take() {
            let answer = timeout(PATIENCE, answer).await.map_err(Cut::late)?.map_err(Cut::of)?;
            let (head, body) = answer.into_parts();
            self.seen.status = head.status.as_u16();
            self.seen.headers = fields(&head.headers);
            self.read = Some(body);
        }
        Ok(&self.seen)
    }

    /// Reads the next piece of the answer's body; `None` at its end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Cut> {
        self.head().await?;
        let Some(body) = &mut self.read else { return Ok(None) };
        match timeout(PATIENCE, body.data()).await.map_err(|late| Cut::after(&self.seen, late))? {
            None => Ok(None),
            Some(Err(why)) => Err(Cut::after(&self.seen, why)),
            Some(Ok(piece)) => {
                // The window opens as far as was read, so that large bodies flow.
                let _ = body.flow_control().release_capacity(piece.len());
                Ok(Some(piece))
            }
        }
    }

    /// Reads the rest of the answer.
    pub async fn response(&mut self) -> Result<Response, Cut> {
        while let Some(piece) = self.piece().await? {
            self.seen.body.extend_from_slice(&piece);
        }
        if let Some(body) = &mut self.read {
            let trailers = timeout(PATIENCE, body.trailers()).await.map_err(Cut::late)?;
            let trailers = trailers.map_err(|why| Cut::after(&self.seen, why))?;
            self.seen.trailers = trailers.as_ref().map(fields).unwrap_or_default();
        }
        self.seen.assert_sound();
        Ok(self.seen.clone())
    }

    async fn room(&mut self) -> Result<usize, Cut> {
        let waiting = std::future::poll_fn(|cx| self.write.poll_capacity(cx));
        match timeout(PATIENCE, waiting).await.map_err(Cut::late)? {
            Some(room) => room.map_err(Cut::of),
            // The answer knows why, unless there is a good one.
            None => Err(self.head().await.err().unwrap_or_else(|| Cut::of("the stream takes no more"))),
        }
    }
}

/// An answer that did not come, or not to its end.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The code of the RST_STREAM or GOAWAY, whoever sent it.
    pub reason: Option<Reason>,
    /// Whether the whole connection ended, by GOAWAY.
    pub is_go_away: bool,
    /// What was read before.
    pub seen: Response,
    why: String,
}

impl Cut {
    fn of(why: impl Into<Cause>) -> Self {
        Self::after(&Response::default(), why)
    }

    fn late(why: tokio::time::error::Elapsed) -> Self {
        Self::of(why)
    }

    fn after(seen: &Response, why: impl Into<Cause>) -> Self {
        let Cause { reason, is_go_away, why } = why.into();
        Self { reason, is_go_away, seen: seen.clone(), why }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, after status {} and {} bytes", self.why, self.seen.status, self.seen.body.len())
    }
}

struct Cause {
    reason: Option<Reason>,
    is_go_away: bool,
    why: String,
}

impl From<h2::Error> for Cause {
    fn from(why: h2::Error) -> Self {
        Self { reason: why.reason(), is_go_away: why.is_go_away(), why: why.to_string() }
    }
}

impl From<tokio::time::error::Elapsed> for Cause {
    fn from(why: tokio::time::error::Elapsed) -> Self {
        Self { reason: None, is_go_away: false, why: why.to_string() }
    }
}

impl From<&str> for Cause {
    fn from(why: &str) -> Self {
        Self { reason: None, is_go_away: false, why: why.to_owned() }
    }
}

/// A gRPC message in its frame, not compressed.
pub fn grpc_frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], message].concat()
}

/// The gRPC messages of a body.
pub fn grpc_messages(mut body: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some((frame, rest)) = body.split_at_checked(5) {
        let length = u32::from_be_bytes(frame[1..].try_into().unwrap()) as usize;
        messages.push(rest[..length].to_vec());
        body = &rest[length..];
    }
    messages
}

async fn drive(connection: Connection<Stream, Bytes>) -> Result<(), h2::Error> {
    connection.await
}

fn fields(map: &HeaderMap) -> Fields {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    map.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}
