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
    let mut stream = UnixStream::connect(socket).map_err(|why| named(socket, &why))?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(request.as_bytes())?;
    let mut whole = Vec::new();
    stream.read_to_end(&mut whole)?;
    parse(&whole)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the gateway's answer is not HTTP"))
}

/// Of which socket, and what to do where it is another user's.
fn named(socket: &Path, why: &io::Error) -> io::Error {
    let remedy = match why.kind() {
        io::ErrorKind::PermissionDenied => "; run this as root or as the gateway's user",
        _ => "",
    };
    io::Error::new(why.kind(), format!("{}: {why}{remedy}", socket.display()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_another_user_is_named_with_what_to_do() {
        let why = io::Error::from_raw_os_error(libc::EACCES);

        let told = named(Path::new("/run/a.sock"), &why).to_string();

        assert_eq!(
            told,
            "/run/a.sock: Permission denied (os error 13); run this as root or as the gateway's user"
        );
    }
}
