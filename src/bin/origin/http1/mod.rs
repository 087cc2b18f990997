//! Serves one HTTP/1 connection, as well or as badly as scripts ask.
//!
//! Owns the order of one exchange: head, body, answer, what becomes of the
//! connection. It writes bytes itself, because an HTTP library would refuse to
//! misbehave.

use std::{io, sync::Arc, sync::atomic::Ordering};

use bytes::{Buf, BytesMut};
use http::StatusCode;
use tokio::io::AsyncWriteExt;

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
    pause::pause,
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
                    if fill(&mut self.wire, &mut self.input, READ_HEAD).await? == 0 {
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
        pause(script.delay).await;
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
                        pause(pace.every).await;
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

/// Idle connections hold this much: thousands of them are normal.
const READ_HEAD: usize = 8 * 1024;
const READ: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::text::latin1;

    /// A client whose server is this module.
    async fn client(origin: &Arc<Origin>) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connect = TcpStream::connect(listener.local_addr().unwrap());
        let (client, server) = tokio::join!(connect, listener.accept());
        let peer = Peer { connected: origin.connected(), tls: None };
        tokio::spawn(serve(server.unwrap().0, BytesMut::new(), peer, Arc::clone(origin)));
        client.unwrap()
    }

    fn origin() -> Arc<Origin> {
        Arc::new(Origin::new("a".into(), "z".into(), Script::default(), false))
    }

    /// What the server says to these bytes, until it has nothing more to say.
    async fn talk(origin: &Arc<Origin>, bytes: impl AsRef<[u8]>) -> String {
        let mut client = client(origin).await;
        client.write_all(bytes.as_ref()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        latin1(&answer)
    }

    #[tokio::test]
    async fn pipelined_requests_are_answered_in_order_and_numbered() {
        let origin = origin();
        let requests = "POST /a HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi\
            GET /__origin/fast HTTP/1.1\r\n\r\n\
            POST /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nho\r\n0\r\nx-t: 1\r\n\r\n";

        let text = talk(&origin, requests).await;

        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3, "{text}");
        assert!(text.contains(r#""body":"hi","trailers":[],"connection":1,"request":1,"#), "{text}");
        assert!(
            text.contains(r#""body":"ho","trailers":[["x-t","1"]],"connection":1,"request":3,"#),
            "{text}"
        );
        assert_eq!(origin.counters.bytes_in.load(Ordering::Relaxed), 4);
        assert_eq!(origin.counters.requests.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_client_that_waits_is_told_to_continue_and_one_that_sends_is_not() {
        let origin = origin();
        let head = "POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";

        let mut waiting = client(&origin).await;
        waiting.write_all(head.as_bytes()).await.unwrap();
        let mut first = [0; 25];
        waiting.read_exact(&mut first).await.unwrap();
        let sends = talk(&origin, &format!("{head}hi")).await;

        assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
        assert!(sends.starts_with("HTTP/1.1 200 OK"), "{sends}");
    }

    #[tokio::test]
    async fn a_bad_body_is_refused_and_ends_the_connection() {
        let request = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\nx\r\nGET / HTTP/1.1\r\n\r\n";

        let text = talk(&origin(), request).await;

        assert!(text.starts_with("HTTP/1.1 400 Bad Request"), "{text}");
        assert_eq!(text.matches("HTTP/1.1").count(), 1, "{text}");
    }

    #[tokio::test]
    async fn a_reset_before_the_header_is_a_reset() {
        let mut client = client(&origin()).await;
        client.write_all(b"GET /?origin=reset_before_header HTTP/1.1\r\n\r\n").await.unwrap();

        let read = client.read(&mut [0; 10]).await;

        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_script_answers_an_upgrade_and_without_one_frames_are_echoed() {
        let head = "GET /?origin=SCRIPT HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let frame = b"\x81\x82\0\0\0\0hi";

        let refused = talk(&origin(), &head.replace("SCRIPT", "status%3D503")).await;
        let closed = talk(&origin(), &head.replace("SCRIPT", "ws_close%3D1000")).await;
        let echoed = talk(&origin(), [head.replace("SCRIPT", "").as_bytes(), frame].concat()).await;

        assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
        assert!(closed.starts_with("HTTP/1.1 101"), "{closed}");
        assert!(closed.ends_with("\r\n\r\n\u{88}\u{2}\u{3}\u{e8}"), "{closed}");
        assert!(echoed.ends_with("\r\n\r\n\u{81}\u{2}hi"), "{echoed}");
    }
}
