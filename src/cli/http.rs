//! One HTTP/1.1 exchange with an address that the operator named: for `jwt verify`
//! and `prove`.
//!
//! Follows no redirect, asks no proxy and keeps no connection: it reaches the address
//! it was given and nothing else. Does not own what is said; the bytes of a request
//! come from the caller.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use boring::ssl::{SslConnector, SslMethod};

/// An `http` or `https` address with its path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Url {
    tls: bool,
    host: String,
    port: u16,
    /// Path and query; `/` if there is none.
    pub target: String,
}

impl Url {
    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// As `Host` has it: without the port that is the scheme's own.
    pub fn authority(&self) -> String {
        let bare = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == self.own_port() { bare } else { format!("{bare}:{}", self.port) }
    }

    fn own_port(&self) -> u16 {
        if self.tls { 443 } else { 80 }
    }
}

impl FromStr for Url {
    type Err = NotAUrl;

    /// `http://` may be left out.
    fn from_str(text: &str) -> Result<Self, NotAUrl> {
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => (false, text),
        };
        let (authority, target) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at_checked(at).ok_or(NotAUrl)?,
            None => (rest, "/"),
        };
        let authority: http::uri::Authority = authority.parse().map_err(|_| NotAUrl)?;
        let is_plain = authority.as_str().bytes().all(|byte| byte != b'@')
            && target.starts_with('/')
            && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let written = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        let port = match (authority.port_u16(), written) {
            (Some(port), _) => port,
            (None, "") if tls => 443,
            (None, "") => 80,
            (None, _) => return Err(NotAUrl),
        };
        if is_plain && !host.is_empty() {
            Ok(Self { tls, host, port, target: target.to_owned() })
        } else {
            Err(NotAUrl)
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.target)
    }
}

/// A text that is no address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotAUrl;

impl fmt::Display for NotAUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write an address, as `10.0.1.10:8080` or `https://orders.internal:8443`")
    }
}

impl std::error::Error for NotAUrl {}

/// How to speak with an address.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// Whom to trust beside nobody; without it the system's authorities.
    pub ca: Option<PathBuf>,
    /// The name that the certificate has to have; without it the address's host.
    pub server_name: Option<String>,
    /// For each step.
    pub patience: Duration,
}

/// What was answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The final status.
    pub status: u16,
    /// The body, at most a MiB.
    pub body: Vec<u8>,
}

impl Client {
    /// Sends these bytes and reads one answer.
    ///
    /// # Errors
    /// `UnexpectedEof`: the connection ended without an answer. Others as they are.
    pub fn exchange(&self, url: &Url, request: &[u8]) -> io::Result<Answer> {
        let stream = self.connect(url)?;
        if !url.tls {
            return converse(stream, request);
        }
        let mut connector = SslConnector::builder(SslMethod::tls())?;
        if let Some(ca) = &self.ca {
            connector.set_ca_file(ca)?;
        }
        let name = self.server_name.as_deref().unwrap_or(&url.host);
        let stream = connector.build().connect(name, stream).map_err(|why| {
            io::Error::new(io::ErrorKind::ConnectionAborted, format!("no TLS with {name}: {why}"))
        })?;
        converse(stream, request)
    }

    /// GETs a document.
    ///
    /// # Errors
    /// Also for every status but 200.
    pub fn get(&self, url: &Url) -> io::Result<Vec<u8>> {
        let (host, target) = (url.authority(), &url.target);
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tollgate\r\nConnection: close\r\n\r\n"
        );
        let answer = self.exchange(url, request.as_bytes())?;
        if answer.status == 200 {
            return Ok(answer.body);
        }
        Err(io::Error::other(format!("{url} answered {}", answer.status)))
    }

    fn connect(&self, url: &Url) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in (url.host.as_str(), url.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, self.patience) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(self.patience))?;
                    stream.set_write_timeout(Some(self.patience))?;
                    return Ok(stream);
                }
                Err(why) => last = why,
            }
        }
        Err(last)
    }
}

fn converse(mut stream: impl Read + Write, request: &[u8]) -> io::Result<Answer> {
    // Who refuses early may close before it has read all; its answer counts.
    let sent = stream.write_all(request).and_then(|()| stream.flush());
    let (mut whole, mut room) = (Vec::new(), vec![0; 16 << 10]);
    loop {
        let read = match stream.read(&mut room) {
            Ok(read) => read,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
            // A reset behind an answer that ends with the connection is its end.
            Err(why) => return parse(&whole, true)?.ok_or_else(|| sent.err().unwrap_or(why)),
        };
        whole.extend_from_slice(room.get(..read).unwrap_or_default());
        if let Some(answer) = parse(&whole, read == 0)? {
            return Ok(answer);
        }
        if read == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection ended without an answer",
            ));
        }
        if whole.len() > MAX_ANSWER {
            return Err(io::Error::other("the answer is longer than 1 MiB"));
        }
    }
}

/// The answer, once it is whole; interim ones are passed over.
fn parse(mut bytes: &[u8], is_end: bool) -> io::Result<Option<Answer>> {
    loop {
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut response = httparse::Response::new(&mut fields);
        let no_http = |_| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP");
        let httparse::Status::Complete(head) = response.parse(bytes).map_err(no_http)? else {
            return Ok(None);
        };
        let (status, rest) = (response.code.unwrap_or_default(), bytes.get(head..).unwrap_or_default());
        if (100..200).contains(&status) {
            bytes = rest;
            continue;
        }
        let field = |name: &str| {
            let found = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
            found.map(|field| String::from_utf8_lossy(field.value).trim().to_ascii_lowercase())
        };
        let is_empty = status == 204 || status == 304;
        let body = match (is_empty, field("transfer-encoding"), field("content-length")) {
            (true, ..) => Some(Vec::new()),
            (_, Some(coding), _) if coding.ends_with("chunked") => unchunked(rest),
            (_, _, Some(length)) => {
                let length = length.parse::<usize>().ok();
                length.and_then(|length| rest.get(..length)).map(<[u8]>::to_vec)
            }
            _ => is_end.then(|| rest.to_vec()),
        };
        // A status is an answer, also where the body broke off.
        let cut = is_end.then(|| rest.to_vec());
        return Ok(body.or(cut).map(|body| Answer { status, body }));
    }
}

fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((head, length))) = httparse::parse_chunk_size(bytes) else {
            return None;
        };
        let (head, length) = (head, usize::try_from(length).ok()?);
        if length == 0 {
            return Some(body);
        }
        let chunk = bytes.get(head..)?.get(..length)?;
        body.extend_from_slice(chunk);
        bytes = bytes.get(head + length + 2..)?;
    }
}

const MAX_ANSWER: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_and_without_its_parts() {
        let url = |text: &str| text.parse::<Url>().map(|url| (url.to_string(), url.authority()));

        for (text, whole, authority) in [
            ("10.0.1.10:8080", "http://10.0.1.10:8080/", "10.0.1.10:8080"),
            ("http://a.test", "http://a.test/", "a.test"),
            ("https://a.test:443/k?x=1", "https://a.test/k?x=1", "a.test"),
            ("[::1]:80", "http://[::1]/", "[::1]"),
        ] {
            assert_eq!(url(text), Ok((whole.to_owned(), authority.to_owned())), "{text}");
        }
        for bad in
            ["", "ftp://a.test/", "a.test:99999", "a b", "http://u@a.test", "a.test/\r\nx", "http:///x"]
        {
            assert_eq!(url(bad), Err(NotAUrl), "{bad}");
        }
    }

    #[test]
    fn an_answer_is_whole_when_its_framing_says_so() {
        let body = |text: &str, is_end| {
            parse(text.as_bytes(), is_end).unwrap().map(|answer| (answer.status, answer.body.len()))
        };

        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", false), Some((200, 2)));
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", false), None);
        assert_eq!(body("HTTP/1.1 200 OK\r\n\r\nab", false), None);
        assert_eq!(body("HTTP/1.1 200 OK\r\n\r\nab", true), Some((200, 2)));
        assert_eq!(body("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n", false), Some((204, 0)));
        let chunked = "HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        assert_eq!(body(chunked, false), Some((401, 3)));
        assert_eq!(body(&chunked[..chunked.len() - 5], false), None);
        assert!(parse(b"SSH-2.0-x\r\n", false).is_err());
    }
}
