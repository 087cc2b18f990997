//! Serves one HTTP/1 connection, as well or as badly as scripts ask.
//!
//! Owns the order of one exchange: head, body, answer, what becomes of the
//! connection. It writes bytes itself, because an HTTP library would refuse to
//! misbehave.

use std::{io, sync::Arc, sync::atomic::Ordering};

use bytes::{Buf, BytesMut};
use http::StatusCode;
use tokio::{io::AsyncWriteExt, time::sleep};

use self::{
    head::{Head, Parsed},
    incoming::{BadBody, Part},
    outgoing::{EARLY_HINTS, FAST, Outgoing},
};
use crate::{
    answer::Answer,
    body::{Digest, Received},
    control,
    echo::{self, Peer},
    origin::Origin,
    request::Request,
    script::{Fault, Reading, Script},
    websocket,
    wire::{End, Wire, end, fill, shrink_receive_buffer, until_peer_leaves},
};

mod chunk;
mod head;
mod incoming;
mod outgoing;

/// Serves the connection to its end. `input` has what was read of it already.
pub async fn serve<W: Wire>(wire: W, input: BytesMut, peer: Peer, origin: Arc<Origin>) {
    let mut connection = Connection { wire, input, peer, origin, requests: 0 };
    // An error is the peer's: it left, and there is nothing to end.
    if let Ok(how) = connection.exchanges().await {
        end(connection.wire, how).await;
    }
}

struct Connection<W> {
    wire: W,
    input: BytesMut,
    peer: Peer,
    origin: Arc<Origin>,
    requests: u64,
}

impl<W: Wire> Connection<W> {
    /// Serves request after request until one ends the connection.
    async fn exchanges(&mut self) -> io::Result<End> {
        loop {
            match head::parse(&self.input) {
                Parsed::Fast(length) => {
                    self.input.advance(length);
                    self.requests += 1;
                    self.origin.counters.requests.fetch_add(1, Ordering::Relaxed);
                    self.wire.write_all(FAST.as_bytes()).await?;
                }
                Parsed::Whole(head) => {
                    self.input.advance(head.length);
                    self.requests += 1;
                    if let Some(end) = self.exchange(*head).await? {
                        return Ok(end);
                    }
                }
                Parsed::Partial => {
                    if fill(&mut self.wire, &mut self.input, READ).await? == 0 {
                        return Ok(End::Fin);
                    }
                }
                Parsed::Bad(status, what) => return self.refuse(status, what).await,
            }
        }
    }

    /// Serves one request. `None` keeps the connection.
    async fn exchange(&mut self, head: Head) -> io::Result<Option<End>> {
        if let Some(answer) = control::answer(&self.origin, &head.request) {
            return self.control(head, answer).await;
        }
        self.origin.note(&head.request, self.peer.connected.id);
        let script = match self.origin.script(&head.request) {
            Ok(script) => script,
            Err(problem) => return self.refuse(StatusCode::BAD_REQUEST, problem).await.map(Some),
        };
        match script.fault {
            Some(Fault::ResetBeforeHeader) => return Ok(Some(End::Reset)),
            Some(Fault::CloseBeforeHeader) => return Ok(Some(End::Fin)),
            _ => {}
        }
        let (request, keep_alive) = (head.request.clone(), head.keep_alive);
        match self.receive(head, &script).await? {
            Ok(received) => self.answer(&script, request, received, keep_alive).await,
            Err(bad) => self.refuse(StatusCode::BAD_REQUEST, bad.0).await.map(Some),
        }
    }

    /// Answers a request that has come in whole.
    async fn answer(
        &mut self,
        script: &Script,
        request: Request,
        received: Received,
        keep_alive: bool,
    ) -> io::Result<Option<End>> {
        if script.fault == Some(Fault::NeverAnswers) {
            return self.stay_silent(script.reading).await.map(Some);
        }
        let one_zero = request.version == "HTTP/1.0";
        if script.early_hints && !one_zero {
            self.wire.write_all(EARLY_HINTS.as_bytes()).await?;
        }
        sleep(script.delay).await;
        if let Some(Fault::Raw(bytes)) = &script.fault {
            self.wire.write_all(bytes).await?;
            return Ok(Some(End::Fin));
        }
        if websocket::is_asked_for(&request) && !script.replaces_answer() {
            return websocket::serve(&mut self.wire, &mut self.input, &request, script).await.map(Some);
        }
        let echo = || echo::body(&self.origin, &self.peer, &request, &received, self.requests);
        let answer = Answer::scripted(script, echo).stamped(self.origin.server_header);
        let to_head = request.is_head();
        Outgoing { answer: &answer, script, to_head, one_zero, keep_alive }.write(&mut self.wire).await
    }

    /// Answers a control path, after its body is out of the way.
    async fn control(&mut self, head: Head, answer: Answer) -> io::Result<Option<End>> {
        let script = Script::default();
        let (to_head, keep_alive) = (head.request.is_head(), head.keep_alive);
        let one_zero = head.request.version == "HTTP/1.0";
        if let Err(bad) = self.receive(head, &script).await? {
            return self.refuse(StatusCode::BAD_REQUEST, bad.0).await.map(Some);
        }
        let outgoing = Outgoing { answer: &answer, script: &script, to_head, one_zero, keep_alive };
        outgoing.write(&mut self.wire).await
    }

    /// Reads the request body as the script says.
    async fn receive(&mut self, head: Head, script: &Script) -> io::Result<Result<Received, BadBody>> {
        let (mut body, mut digest) = (head.body, Digest::new());
        let limit = match script.reading {
            Reading::Normal => READ,
            Reading::Slow(pace) => usize::try_from(pace.bytes).unwrap_or(READ).min(READ),
            Reading::Never => 0,
        };
        if script.reading != Reading::Normal {
            shrink_receive_buffer(self.wire.tcp());
        }
        if limit == 0 {
            return Ok(Ok(digest.finish(Vec::new())));
        }
        let silent = script.fault == Some(Fault::NeverAnswers);
        if head.expects_continue && !body.is_empty() && self.input.is_empty() && !silent {
            self.wire.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        loop {
            match body.decode(&mut self.input, limit) {
                Ok(Part::Data(data)) => {
                    digest.update(&data);
                    self.origin.counters.bytes_in.fetch_add(data.len() as u64, Ordering::Relaxed);
                    if let Reading::Slow(pace) = script.reading {
                        sleep(pace.every).await;
                    }
                }
                Ok(Part::NeedMore) => {
                    if fill(&mut self.wire, &mut self.input, limit).await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Ok(Part::End(trailers)) => return Ok(Ok(digest.finish(trailers))),
                Err(bad) => return Ok(Err(bad)),
            }
        }
    }

    /// Answers an ill-formed request; the connection cannot be trusted after it.
    async fn refuse(&mut self, status: StatusCode, what: impl ToString) -> io::Result<End> {
        let answer = Answer::text(status, what.to_string());
        let script = Script::default();
        let outgoing =
            Outgoing { answer: &answer, script: &script, to_head: false, one_zero: false, keep_alive: false };
        outgoing.write(&mut self.wire).await?;
        Ok(End::Fin)
    }

    /// Never answers: reads on, unless the script forbids that too, until the peer leaves.
    async fn stay_silent(&mut self, reading: Reading) -> io::Result<End> {
        if reading == Reading::Never {
            until_peer_leaves(self.wire.tcp()).await;
            return Ok(End::Reset);
        }
        loop {
            self.input.clear();
            if fill(&mut self.wire, &mut self.input, READ).await? == 0 {
                return Ok(End::Fin);
            }
        }
    }
}

const READ: usize = 64 * 1024;
