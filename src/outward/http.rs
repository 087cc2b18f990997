//! Fetches a document: one request, one answer, one connection.
//!
//! Always holds: nothing leads anywhere else than was asked for, and no more is read
//! than may be.

use std::io;

use boring::ssl::SslConnector;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use crate::{config::types::HttpUrl, telemetry::dechunk::dechunked};

/// Why there is no document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoDocument {
    /// Nobody is there, or the name stands for nothing.
    Unreachable,
    /// Its certificate is not to be trusted, or it speaks no TLS.
    Tls,
    /// It is elsewhere, says who was asked; nobody goes there.
    Redirect,
    /// The status is another than 200.
    Status(u16),
    /// What came is no HTTP, or ended too early.
    NoHttp,
    /// It is larger than it may be.
    TooLarge,
}

/// Fetches it, of at most so many bytes. How long that may take is the caller's.
pub async fn get(url: &HttpUrl, tls: &SslConnector, most: usize) -> Result<Vec<u8>, NoDocument> {
    let address = url.address();
    let stream = TcpStream::connect((address.host(), address.port())).await;
    let stream = stream.map_err(|_| NoDocument::Unreachable)?;
    if !url.is_https() {
        return exchange(stream, url, most).await;
    }
    let failed = |why: &dyn std::fmt::Display| {
        log::debug!("no TLS with who was asked: url={url} error={why}");
        NoDocument::Tls
    };
    let terms = tls.configure().map_err(|why| failed(&why))?;
    let stream = tokio_boring::connect(terms, address.host(), stream).await;
    exchange(stream.map_err(|why| failed(&why))?, url, most).await
}

async fn exchange<S>(mut stream: S, url: &HttpUrl, most: usize) -> Result<Vec<u8>, NoDocument>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tollgate/{}\r\nAccept: application/json\r\nConnection: close\r\n\r\n",
        url.path(),
        url.authority(),
        env!("CARGO_PKG_VERSION")
    );
    stream.write_all(request.as_bytes()).await.map_err(|_| NoDocument::NoHttp)?;
    let mut answer = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.or_else(|why: io::Error| match why.kind() {
            // Who ends a connection without a word of TLS ends it all the same: whether
            // all was said, its length says.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Ok(0),
            _ => Err(NoDocument::NoHttp),
        })?;
        answer.extend_from_slice(piece.get(..read).unwrap_or_default());
        if let Some(body) = parse(&answer, read == 0, most)? {
            return Ok(body);
        }
        if read == 0 {
            return Err(NoDocument::NoHttp);
        }
        // What stands around chunks is less than they are.
        if answer.len() > MOST_HEAD + 2 * most {
            return Err(NoDocument::TooLarge);
        }
    }
}

/// The body; `None` while more of it is to come.
fn parse(answer: &[u8], is_all: bool, most: usize) -> Result<Option<Vec<u8>>, NoDocument> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(answer).map_err(|_| NoDocument::NoHttp)? else {
        return if answer.len() > MOST_HEAD { Err(NoDocument::NoHttp) } else { Ok(None) };
    };
    match head.code.unwrap_or_default() {
        200 => {}
        300..=399 => return Err(NoDocument::Redirect),
        status => return Err(NoDocument::Status(status)),
    }
    let field = |name: &str| {
        let found = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.map(|field| str::from_utf8(field.value).unwrap_or_default())
    };
    let body = answer.get(length..).unwrap_or_default();
    let whole = match (field("transfer-encoding"), field("content-length")) {
        // Tried where an end may be, not with each piece.
        (Some(_), _) if is_all || body.ends_with(b"\r\n\r\n") => dechunked(body),
        (Some(_), _) => None,
        (None, Some(length)) => {
            let length: usize = length.parse().map_err(|_| NoDocument::NoHttp)?;
            if length > most {
                return Err(NoDocument::TooLarge);
            }
            body.get(..length).map(<[u8]>::to_vec)
        }
        (None, None) => is_all.then(|| body.to_vec()),
    };
    let size = whole.as_ref().map_or(0, Vec::len);
    if size > most { Err(NoDocument::TooLarge) } else { Ok(whole) }
}

const MOST_HEAD: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    async fn answered(answer: String) -> Result<Vec<u8>, NoDocument> {
        let (ours, mut theirs) = duplex(1 << 20);
        let asked =
            tokio::spawn(async move { exchange(ours, &"https://a.test/k".parse().unwrap(), 32).await });
        theirs.write_all(answer.as_bytes()).await.unwrap();
        theirs.shutdown().await.unwrap();
        let mut request = String::new();
        theirs.read_to_string(&mut request).await.unwrap();
        assert!(request.starts_with("GET /k HTTP/1.1\r\nHost: a.test\r\n"), "{request}");
        asked.await.unwrap()
    }

    #[tokio::test]
    async fn a_document_is_read_in_every_framing() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}what follows",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\n{}",
        ] {
            assert_eq!(answered(answer.to_owned()).await, Ok(b"{}".to_vec()), "{answer}");
        }
    }

    #[tokio::test]
    async fn anything_else_is_none() {
        let long = "x".repeat(40);
        let endless = "y".repeat(MOST_HEAD + 4096);
        for (answer, why) in [
            ("", NoDocument::NoHttp),
            ("SSH-2.0-x\r\n\r\n", NoDocument::NoHttp),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", NoDocument::NoHttp),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", NoDocument::NoHttp),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}", NoDocument::NoHttp),
            ("HTTP/1.1 302 Found\r\nLocation: https://b.test/\r\n\r\n", NoDocument::Redirect),
            ("HTTP/1.1 404 Not Found\r\n\r\n", NoDocument::Status(404)),
            ("HTTP/1.1 204 No Content\r\n\r\n", NoDocument::Status(204)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n", NoDocument::TooLarge),
            (&format!("HTTP/1.1 200 OK\r\n\r\n{long}"), NoDocument::TooLarge),
            (&format!("HTTP/1.1 200 OK\r\n\r\n{endless}"), NoDocument::TooLarge),
            (&format!("HTTP/1.1 200 OK\r\nA: {endless}"), NoDocument::NoHttp),
        ] {
            assert_eq!(answered(answer.to_owned()).await, Err(why), "{answer:.80}");
        }
    }
}
