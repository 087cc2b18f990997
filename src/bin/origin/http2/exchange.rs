//! Serves one request of an HTTP/2 connection as its script asks.
//!
//! Owns the order: head, body, answer. `truncate` ends in RST_STREAM, `close` is
//! GOAWAY, `chunked` only leaves content-length out, and the faults before the
//! header end the whole connection. What HTTP/2 has no words for is refused.

use std::{future::poll_fn, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::{Error, Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderValue, Response, StatusCode, header};
use tokio::sync::mpsc;

use super::{
    Ask, grpc,
    stream::{fields, read, read_trailers, send},
};
use crate::{
    answer::{Answer, header_map},
    body::{Digest, Received},
    control,
    echo::{self, Peer},
    origin::Origin,
    pause::pause,
    payload::Payload,
    request::Request,
    script::{Ending, Fault, Framing, Reading, Script},
    wire::End,
};

/// What all exchanges of a connection share.
pub type Context = (Arc<Peer>, Arc<Origin>, mpsc::Sender<Ask>);

/// One request and the way to answer it.
pub struct Exchange {
    request: Request,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    number: u64,
    peer: Arc<Peer>,
    origin: Arc<Origin>,
    asks: mpsc::Sender<Ask>,
}

impl Exchange {
    /// The `number`th request of the connection, from 1.
    pub fn new(
        request: http::Request<RecvStream>,
        respond: SendResponse<Bytes>,
        number: u64,
        (peer, origin, asks): Context,
    ) -> Self {
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("", |target| target.as_str());
        let request = Request {
            method: head.method.as_str().to_owned(),
            target: target.to_owned(),
            version: "HTTP/2.0",
            headers: fields(&head.headers),
            authority: head.uri.authority().map(|authority| authority.as_str().to_owned()),
            raw_head: None,
        };
        Self { request, body, respond, number, peer, origin, asks }
    }

    /// Serves the request. An error is the client's and ends only this stream.
    pub async fn serve(mut self) -> Result<(), Error> {
        if let Some(answer) = control::answer(&self.origin, &self.request) {
            let script = Script::default();
            self.receive(&script).await?;
            return self.send(&answer, &script).await;
        }
        if grpc::asks_for_health(&self.request) {
            let script = Script::default();
            return grpc::Call::new(&mut self.body, &mut self.respond, &script, &self.origin)
                .tell_health()
                .await;
        }
        self.origin.note(&self.request, self.peer.connected.id);
        match self.origin.script(&self.request) {
            Ok(script) if is_for_http1(&script) => self.refuse(FOR_HTTP1.to_owned()).await,
            Ok(script) => self.scripted(&script).await,
            Err(problem) => self.refuse(problem.to_string()).await,
        }
    }

    async fn scripted(mut self, script: &Script) -> Result<(), Error> {
        match script.fault {
            Some(Fault::ResetBeforeHeader) => return self.end_connection(End::Reset).await,
            Some(Fault::CloseBeforeHeader) => return self.end_connection(End::Fin).await,
            _ => {}
        }
        let silent = script.fault == Some(Fault::NeverAnswers);
        if grpc::is_asked_for(&self.request) && !script.replaces_answer() && !silent {
            pause(script.delay).await;
            let path = self.request.path().to_owned();
            return grpc::Call::new(&mut self.body, &mut self.respond, script, &self.origin)
                .serve(&path, self.request.header("grpc-encoding"))
                .await;
        }
        let received = self.receive(script).await?;
        if silent {
            return self.until_reset().await;
        }
        if script.early_hints {
            self.respond.send_informational(early_hints())?;
        }
        pause(script.delay).await;
        let echo = || echo::body(&self.origin, &self.peer, &self.request, &received, self.number);
        let answer = Answer::scripted(script, echo).stamped(self.origin.server_header);
        self.send(&answer, script).await
    }

    /// Reads the request body as the script says.
    async fn receive(&mut self, script: &Script) -> Result<Received, Error> {
        let mut digest = Digest::new();
        if script.reading == Reading::Never {
            return Ok(digest.finish(Vec::new()));
        }
        while let Some(data) = read(&mut self.body, &self.origin).await? {
            digest.update(&data);
            match script.reading {
                Reading::Slow(pace) => {
                    for part in data.chunks(usize::try_from(pace.bytes).unwrap_or(usize::MAX)) {
                        pause(pace.every).await;
                        self.body.flow_control().release_capacity(part.len())?;
                    }
                }
                Reading::Normal | Reading::Never => {
                    self.body.flow_control().release_capacity(data.len())?;
                }
            }
        }
        Ok(digest.finish(read_trailers(&mut self.body).await?))
    }

    async fn send(&mut self, answer: &Answer, script: &Script) -> Result<(), Error> {
        let bodyless = answer.bodyless(self.request.is_head());
        let empty = bodyless || (answer.payload.length() == Some(0) && answer.trailers.is_empty());
        let resets = script.fault == Some(Fault::ResetAfterHeader);
        let mut stream = self.respond.send_response(head(answer, script), empty && !resets)?;
        if resets {
            return reset(&mut stream).await;
        }
        if !empty {
            send_body(&mut stream, answer, script).await?;
        }
        if script.ending == Ending::Close {
            // Full or closed: the connection is ending as it is.
            let _ = self.asks.try_send(Ask::Goaway);
        }
        Ok(())
    }

    /// Ends the whole connection. Holds the stream until it is gone: dropped
    /// before, it would say RST_STREAM first.
    async fn end_connection(&mut self, how: End) -> Result<(), Error> {
        let _ = self.asks.try_send(Ask::End(how));
        self.until_reset().await
    }

    /// Waits until the client resets the stream or the connection is gone.
    async fn until_reset(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.respond.poll_reset(cx)).await.map(drop)
    }

    async fn refuse(&mut self, what: String) -> Result<(), Error> {
        let answer = Answer::text(StatusCode::BAD_REQUEST, what);
        self.send(&answer, &Script::default()).await
    }
}

fn is_for_http1(script: &Script) -> bool {
    matches!(script.fault, Some(Fault::Raw(_)))
        || script.framing == Framing::Http10
        || script.ending == Ending::CloseSilently
}

fn head(answer: &Answer, script: &Script) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = answer.status;
    *response.headers_mut() = header_map(&answer.headers);
    let bare = answer.status == 204 || (answer.status == 304 && answer.payload == Payload::Nothing);
    match answer.payload.length() {
        Some(length) if !bare && script.framing == Framing::Length => {
            response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(length));
        }
        _ => {}
    }
    response
}

async fn send_body(stream: &mut SendStream<Bytes>, answer: &Answer, script: &Script) -> Result<(), Error> {
    let limit = match script.fault {
        Some(Fault::Truncate(bytes)) => Some(bytes),
        _ => None,
    };
    let ends = answer.trailers.is_empty() && limit.is_none();
    let mut pieces = answer.payload.pieces(answer.pace, limit.unwrap_or(u64::MAX)).peekable();
    while let Some(piece) = pieces.next() {
        pause(piece.pause).await;
        send(stream, piece.data, ends && pieces.peek().is_none()).await?;
    }
    match limit {
        Some(_) => reset(stream).await,
        None if ends => Ok(()),
        None => stream.send_trailers(header_map(&answer.trailers)),
    }
}

/// RST_STREAM, after what was sent has left: a reset takes back what is queued.
pub async fn reset(stream: &mut SendStream<Bytes>) -> Result<(), Error> {
    pause(BEFORE_RESET).await;
    stream.send_reset(Reason::INTERNAL_ERROR);
    Ok(())
}

fn early_hints() -> Response<()> {
    let mut hints = Response::new(());
    *hints.status_mut() = StatusCode::EARLY_HINTS;
    let link = HeaderValue::from_static("</style.css>; rel=preload; as=style");
    hints.headers_mut().insert(header::LINK, link);
    hints
}

const FOR_HTTP1: &str = "raw, http10 and close_silently are for HTTP/1";
const BEFORE_RESET: Duration = Duration::from_millis(20);
