//! One message to a collector, and what it answers.
//!
//! Blocking, on the sender's own thread; everything has one deadline. A connection for
//! each message: there are few of them, and none is found dead.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant, SystemTime},
};

use crate::{config::types::CollectorUrl, telemetry::dechunk::dechunked};

/// What became of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// Taken, but for so many of its spans, and why.
    Taken(u64, String),
    /// Not taken, and it will not be.
    Refused(u16),
    /// Not now. The collector may have said when.
    Later(u16, Option<Duration>),
}

/// Sends the message, whose parts are given one after the other, and reads the answer.
/// Fails when nobody is there, when it takes longer than `timeout` (but for looking the
/// host's name up), and when what comes is no HTTP.
pub(super) fn post(to: &CollectorUrl, message: &[u8], timeout: Duration) -> io::Result<Outcome> {
    let end = Instant::now() + timeout;
    let mut stream = Deadlined { stream: connect(to, end)?, end };
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tollgate/{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        to.path(),
        to.address(),
        env!("CARGO_PKG_VERSION"),
        message.len()
    );
    // A collector may answer before it has read everything, and close.
    let written = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(message));
    let mut answer = Vec::new();
    match (read(&mut stream, &mut answer), written) {
        (Ok(outcome), _) => Ok(outcome),
        (Err(_), Err(why)) | (Err(why), Ok(())) => Err(in_words(why)),
    }
}

/// The system calls a timeout "temporarily unavailable".
fn in_words(why: io::Error) -> io::Error {
    match why.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
        }
        _ => why,
    }
}

fn connect(to: &CollectorUrl, end: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (to.address().host(), to.address().port()).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(end)?) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(why) => last = why,
        }
    }
    Err(last)
}

fn read(stream: &mut impl Read, answer: &mut Vec<u8>) -> io::Result<Outcome> {
    loop {
        let mut piece = [0; 4096];
        let n = match stream.read(&mut piece) {
            // What was said before it was reset counts.
            Err(why) if why.kind() == io::ErrorKind::ConnectionReset && !answer.is_empty() => 0,
            read => read?,
        };
        answer.extend_from_slice(piece.get(..n).unwrap_or_default());
        if let Some(outcome) = parse(answer, n == 0)? {
            return Ok(outcome);
        }
        if n == 0 || answer.len() > MOST_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, NO_HTTP));
        }
    }
}

/// The answer; `None` while more of it is to come.
fn parse(answer: &[u8], is_all: bool) -> io::Result<Option<Outcome>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut fields);
    let parsed = head.parse(answer).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, NO_HTTP));
    let httparse::Status::Complete(length) = parsed? else { return Ok(None) };
    let field = |name: &str| {
        let found = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.and_then(|field| std::str::from_utf8(field.value).ok())
    };
    let status = head.code.unwrap_or_default();
    match status {
        200..=299 => {}
        429 | 502 | 503 | 504 => {
            return Ok(Some(Outcome::Later(status, field("retry-after").and_then(retry_after))));
        }
        _ => return Ok(Some(Outcome::Refused(status))),
    }
    let body = answer.get(length..).unwrap_or_default();
    let whole = match field("transfer-encoding") {
        Some(_) => dechunked(body),
        None => {
            let length = field("content-length").and_then(|text| text.parse().ok());
            length.map_or(is_all.then_some(body), |length| body.get(..length)).map(<[u8]>::to_vec)
        }
    };
    // A body that does not end says nothing; the status did.
    let whole = whole.or(is_all.then(Vec::new));
    Ok(whole.map(|body| {
        let (lost, why) = partial_success(&body);
        Outcome::Taken(lost, why)
    }))
}

/// `{"partialSuccess":{"rejectedSpans":"2","errorMessage":"…"}}`; nothing in most answers.
fn partial_success(body: &[u8]) -> (u64, String) {
    let told: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let partial = told.get("partialSuccess");
    let lost = partial.and_then(|partial| partial.get("rejectedSpans"));
    let lost = lost.and_then(|lost| lost.as_u64().or_else(|| lost.as_str()?.parse().ok()));
    let why = partial.and_then(|partial| partial.get("errorMessage")?.as_str());
    (lost.unwrap_or_default(), why.unwrap_or_default().chars().take(200).collect())
}

/// Seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    let seconds = text.trim().parse().ok().map(Duration::from_secs);
    seconds.or_else(|| httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok())
}

/// A stream of which every call ends at the same instant.
struct Deadlined {
    stream: TcpStream,
    end: Instant,
}

impl Read for Deadlined {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.end)?))?;
        self.stream.read(into)
    }
}

impl Write for Deadlined {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.end)?))?;
        self.stream.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Never zero: the system takes that for "without end".
fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

const NO_HTTP: &str = "the answer is no HTTP";

/// Of an answer; none has more to say.
const MOST_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(answer: &str) -> Option<Outcome> {
        read(&mut answer.as_bytes(), &mut Vec::new()).ok()
    }

    fn taken(lost: u64, why: &str) -> Option<Outcome> {
        Some(Outcome::Taken(lost, why.to_owned()))
    }

    #[test]
    fn an_answer_is_read_in_every_framing() {
        let body = r#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}"#;
        let sized = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let chunked = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
            &body[..5],
            body.len() - 5,
            &body[5..]
        );
        let closed = format!("HTTP/1.1 200 OK\r\n\r\n{body}");

        for answer in [sized, chunked, closed] {
            assert_eq!(parsed(&answer), taken(2, "too old"), "{answer}");
        }
        assert_eq!(parsed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), taken(0, ""));
        assert_eq!(parsed("HTTP/1.1 204 No Content\r\n\r\n"), taken(0, ""));
        // What is cut off was still taken.
        assert_eq!(parsed("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}"), taken(0, ""));
    }

    #[test]
    fn a_status_says_whether_it_is_worth_another_try() {
        let of = |status: &str, field: &str| parsed(&format!("HTTP/1.1 {status}\r\n{field}\r\n"));

        assert_eq!(of("400 Bad Request", ""), Some(Outcome::Refused(400)));
        assert_eq!(of("500 Internal Server Error", ""), Some(Outcome::Refused(500)));
        assert_eq!(of("301 Moved", ""), Some(Outcome::Refused(301)));
        assert_eq!(of("503 Unavailable", ""), Some(Outcome::Later(503, None)));
        let seven = Some(Duration::from_secs(7));
        assert_eq!(of("429 Too Many", "Retry-After: 7\r\n"), Some(Outcome::Later(429, seven)));
        assert_eq!(of("429 Too Many", "Retry-After: soon\r\n"), Some(Outcome::Later(429, None)));
    }

    #[test]
    fn what_is_no_http_or_without_end_is_an_error() {
        for answer in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
            &format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(99_999)),
        ] {
            assert_eq!(parsed(answer), None, "{answer:.40}");
        }
    }
}
