//! Asks the running gateway through its socket.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// What the gateway answered.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// Sends one request and waits for the answer, at most `patience`.
///
/// `NotFound` and `ConnectionRefused` mean that no gateway listens there.
pub fn ask(socket: &Path, method: &str, path: &str, patience: Duration) -> io::Result<Answer> {
    exchange(socket, &format!("{method} {path} {COMMON}\r\n"), patience)
}

/// As [`ask`], with a body of JSON to say what is asked.
pub fn post(socket: &Path, path: &str, body: &str, patience: Duration) -> io::Result<Answer> {
    let framing = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    exchange(socket, &format!("POST {path} {COMMON}{framing}\r\n{body}"), patience)
}

fn exchange(socket: &Path, request: &str, patience: Duration) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(request.as_bytes())?;
    let mut whole = Vec::new();
    stream.read_to_end(&mut whole)?;
    parse(&whole)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the gateway's answer is not HTTP"))
}

/// Whether no gateway listens at the socket.
pub fn is_absent(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn parse(whole: &[u8]) -> Option<Answer> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = response.parse(whole).ok()? else { return None };
    let body = String::from_utf8_lossy(whole.get(head..)?).into_owned();
    Some(Answer { status: response.code?, body })
}

const COMMON: &str = "HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n";
