//! A gRPC service that echoes: `Unary`, `ServerStream`, `BidiStream`, `Fail`;
//! and the standard one that tells its health.
//!
//! Owns the messages and the status. A message is passed on as it came, with its
//! five bytes of prefix, so that the compression of the client comes back to it.
//! Messages are at most 4 MiB.

use std::sync::atomic::Ordering;

use bytes::{Buf, Bytes, BytesMut};
use h2::{Error, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Response, header};

use super::{
    exchange::reset,
    stream::{read, send},
};
use crate::{
    answer::header_map,
    origin::Origin,
    pause::pause,
    request::Request,
    script::{Fault, Script},
};

/// Whether the request is a gRPC call.
pub fn is_asked_for(request: &Request) -> bool {
    request.method == "POST"
        && request.header("content-type").is_some_and(|kind| kind.starts_with("application/grpc"))
}

/// Whether the request is the standard health check. It counts as such, not as
/// a request, like `/__origin/health`.
pub fn asks_for_health(request: &Request) -> bool {
    is_asked_for(request) && request.path() == "/grpc.health.v1.Health/Check"
}

/// One call.
pub struct Call<'a> {
    messages: Messages<'a>,
    respond: &'a mut SendResponse<Bytes>,
    script: &'a Script,
}

impl<'a> Call<'a> {
    /// A call whose body and answer are these.
    pub fn new(
        body: &'a mut RecvStream,
        respond: &'a mut SendResponse<Bytes>,
        script: &'a Script,
        origin: &'a Origin,
    ) -> Self {
        Self { messages: Messages { body, origin, buffer: BytesMut::new() }, respond, script }
    }

    /// Serves the call by the last part of its path.
    pub async fn serve(mut self, path: &str, encoding: Option<&str>) -> Result<(), Error> {
        match path.rsplit('/').next() {
            Some("Unary") => self.echo_first(1, encoding).await,
            Some("ServerStream") => self.echo_first(STREAMED, encoding).await,
            Some("BidiStream") => self.echo_each(encoding).await,
            Some("Fail") => self.fail(NOT_FOUND),
            _ => self.fail(UNIMPLEMENTED),
        }
    }

    /// Says SERVING or NOT_SERVING of this origin, asked for by its name or none;
    /// it knows no other service.
    pub async fn tell_health(mut self) -> Result<(), Error> {
        let origin = self.messages.origin;
        origin.counters.health_checks.fetch_add(1, Ordering::Relaxed);
        let asked = match self.messages.next().await? {
            Ok(Some(message)) => message,
            Ok(None) => return self.fail(NO_MESSAGE),
            Err(status) => return self.fail(status),
        };
        // One field: its tag, its length below 128, its text.
        let name = asked.get(PREFIX + 2..).unwrap_or_default();
        if !name.is_empty() && name != origin.name.as_bytes() {
            return self.fail(NOT_FOUND);
        }
        let status = if origin.healthy.load(Ordering::Relaxed) { 1 } else { 2 };
        let Some(mut stream) = self.begin(None).await? else { return Ok(()) };
        send(&mut stream, Bytes::from(vec![0, 0, 0, 0, 2, 0x08, status]), false).await?;
        stream.send_trailers(self.trailers(OK))
    }

    /// Reads the whole call, then sends its first message `times` times.
    async fn echo_first(&mut self, times: usize, encoding: Option<&str>) -> Result<(), Error> {
        let mut first = None;
        loop {
            match self.messages.next().await? {
                Ok(Some(message)) => first = first.or(Some(message)),
                Ok(None) => break,
                Err(status) => return self.fail(status),
            }
        }
        let Some(message) = first else { return self.fail(NO_MESSAGE) };
        let Some(mut stream) = self.begin(encoding).await? else { return Ok(()) };
        for sent in 0..times {
            if sent > 0 {
                pause(self.pause()).await;
            }
            send(&mut stream, message.clone(), false).await?;
        }
        stream.send_trailers(self.trailers(OK))
    }

    async fn echo_each(&mut self, encoding: Option<&str>) -> Result<(), Error> {
        let Some(mut stream) = self.begin(encoding).await? else { return Ok(()) };
        loop {
            match self.messages.next().await? {
                Ok(Some(message)) => {
                    pause(self.pause()).await;
                    send(&mut stream, message, false).await?;
                }
                Ok(None) => return stream.send_trailers(self.trailers(OK)),
                Err(status) => return stream.send_trailers(self.trailers(status)),
            }
        }
    }

    /// Sends the header; `None` when the script resets the stream after it.
    async fn begin(&mut self, encoding: Option<&str>) -> Result<Option<SendStream<Bytes>>, Error> {
        let mut response = head(self.script);
        if let Some(Ok(encoding)) = encoding.map(HeaderValue::from_str) {
            response.headers_mut().insert("grpc-encoding", encoding);
        }
        let mut stream = self.respond.send_response(response, false)?;
        if self.script.fault == Some(Fault::ResetAfterHeader) {
            reset(&mut stream).await?;
            return Ok(None);
        }
        Ok(Some(stream))
    }

    /// Trailers-only: the status comes in the header, and nothing after it.
    fn fail(&mut self, status: Status) -> Result<(), Error> {
        let mut response = head(self.script);
        response.headers_mut().extend(self.trailers(status));
        self.respond.send_response(response, true).map(drop)
    }

    fn trailers(&self, Status(code, message): Status) -> HeaderMap {
        let mut trailers = header_map(&self.script.trailers);
        trailers.insert("grpc-status", HeaderValue::from(code));
        if !message.is_empty() {
            trailers.insert("grpc-message", HeaderValue::from_static(message));
        }
        trailers
    }

    /// Between messages, as `drip` says.
    fn pause(&self) -> std::time::Duration {
        self.script.drip.map(|pace| pace.every).unwrap_or_default()
    }
}

fn head(script: &Script) -> Response<()> {
    let mut response = Response::new(());
    *response.headers_mut() = header_map(&script.headers);
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().entry(header::CONTENT_TYPE).or_insert(kind);
    response
}

/// The messages of a call, as they come in.
struct Messages<'a> {
    body: &'a mut RecvStream,
    origin: &'a Origin,
    buffer: BytesMut,
}

impl Messages<'_> {
    /// The next message with its prefix; `None` at the end of the call. The outer
    /// error is the stream's, the inner one the client's.
    async fn next(&mut self) -> Result<Result<Option<Bytes>, Status>, Error> {
        loop {
            match take(&mut self.buffer) {
                Ok(None) => {}
                taken => return Ok(taken),
            }
            match read(self.body, self.origin).await? {
                Some(data) => {
                    self.body.flow_control().release_capacity(data.len())?;
                    self.buffer.extend_from_slice(&data);
                }
                None if self.buffer.is_empty() => return Ok(Ok(None)),
                None => return Ok(Err(CUT_SHORT)),
            }
        }
    }
}

/// Takes a whole message out of the buffer, when there is one.
fn take(buffer: &mut BytesMut) -> Result<Option<Bytes>, Status> {
    let mut prefix = buffer.as_ref();
    let (Ok(_), Ok(length)) = (prefix.try_get_u8(), prefix.try_get_u32()) else { return Ok(None) };
    let length = length as usize;
    if length > MAX_MESSAGE {
        return Err(TOO_LARGE);
    }
    let whole = buffer.len() >= PREFIX + length;
    Ok(whole.then(|| buffer.split_to(PREFIX + length).freeze()))
}

/// A gRPC status code and its message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Status(u16, &'static str);

const OK: Status = Status(0, "");
const NOT_FOUND: Status = Status(5, "not found");
const TOO_LARGE: Status = Status(8, "a message is larger than 4 MiB");
const UNIMPLEMENTED: Status = Status(12, "write Unary, ServerStream, BidiStream or Fail");
const NO_MESSAGE: Status = Status(13, "the call has no message");
const CUT_SHORT: Status = Status(13, "the last message is cut short");
const STREAMED: usize = 5;
const PREFIX: usize = 5;
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_whole_with_their_prefix() {
        let mut buffer = BytesMut::from(&b"\x01\0\0\0\x02hi\0\0\0\0\0\0\0\0\0\x05hel"[..]);

        assert_eq!(take(&mut buffer), Ok(Some(Bytes::from_static(b"\x01\0\0\0\x02hi"))));
        assert_eq!(take(&mut buffer), Ok(Some(Bytes::from_static(b"\0\0\0\0\0"))));
        assert_eq!(take(&mut buffer), Ok(None));
        buffer.extend_from_slice(b"lo");
        assert_eq!(take(&mut buffer), Ok(Some(Bytes::from_static(b"\0\0\0\0\x05hello"))));
    }

    #[test]
    fn a_message_above_the_limit_is_refused_before_it_is_read() {
        let mut buffer = BytesMut::from(&b"\0\x00\x40\x00\x01"[..]);

        assert_eq!(take(&mut buffer), Err(TOO_LARGE));
    }
}
