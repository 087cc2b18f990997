//! A well-formed request, for HTTP/1 and HTTP/2. What is not well-formed is
//! written as bytes, with `Http1::send_raw`.
//!
//! Every one carries forged fields that no client may set; `Echo` fails the
//! test when one of them reached an origin.

/// A request to send.
#[derive(Clone, Debug)]
pub struct Request {
    /// As `GET`.
    pub method: String,
    /// Path and query, as they go out.
    pub target: String,
    /// `Host` or `:authority`.
    pub host: String,
    /// In their order, `Host` and the framing left out.
    pub headers: Vec<(String, String)>,
    /// What follows the header.
    pub body: Body,
    forged: bool,
}

/// A request's body.
#[derive(Clone, Debug)]
pub enum Body {
    /// There is none.
    Nothing,
    /// With its length.
    Bytes(Vec<u8>),
    /// In these chunks (HTTP/2: DATA frames, without a length).
    Chunks(Vec<Vec<u8>>),
}

impl Request {
    /// A request without body.
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            host: HOST.to_owned(),
            headers: Vec::new(),
            body: Body::Nothing,
            forged: true,
        }
    }

    /// A GET.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A HEAD.
    pub fn head(target: &str) -> Self {
        Self::new("HEAD", target)
    }

    /// A POST with a body of known length.
    pub fn post(target: &str, body: impl AsRef<[u8]>) -> Self {
        Self { body: Body::Bytes(body.as_ref().to_vec()), ..Self::new("POST", target) }
    }

    /// With another method.
    pub fn method(self, method: &str) -> Self {
        Self { method: method.to_owned(), ..self }
    }

    /// For another host than `api.example.com`.
    pub fn host(self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self }
    }

    /// One more line in the header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks the origin to (mis)behave; the language is in `origin --help`.
    pub fn script(self, script: &str) -> Self {
        self.header("x-origin", script)
    }

    /// A body in chunks.
    pub fn chunks<C: AsRef<[u8]>>(self, chunks: &[C]) -> Self {
        let chunks = chunks.iter().map(|chunk| chunk.as_ref().to_vec()).collect();
        Self { body: Body::Chunks(chunks), ..self }
    }

    /// Without the forged fields: for gateways that trust this client, and for
    /// tests that count fields.
    pub fn honest(self) -> Self {
        Self { forged: false, ..self }
    }

    /// As bytes of HTTP/1.1.
    pub fn to_http1(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.host);
        for (name, value) in self.fields() {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        match &self.body {
            Body::Nothing => out.push_str("\r\n"),
            Body::Bytes(body) => out.push_str(&format!("Content-Length: {}\r\n\r\n", body.len())),
            Body::Chunks(_) => out.push_str("Transfer-Encoding: chunked\r\n\r\n"),
        }
        let mut out = out.into_bytes();
        match &self.body {
            Body::Nothing => {}
            Body::Bytes(body) => out.extend_from_slice(body),
            Body::Chunks(chunks) => {
                chunks.iter().for_each(|chunk| out.extend(chunked(chunk)));
                out.extend_from_slice(b"0\r\n\r\n");
            }
        }
        out
    }

    /// The header as HTTP/2 sends it.
    pub fn to_http2(&self) -> http::Request<()> {
        let uri = format!("https://{}{}", self.host, self.target);
        let mut request = http::Request::builder().method(self.method.as_str()).uri(uri);
        for (name, value) in self.fields() {
            request = request.header(name, value);
        }
        if let Body::Bytes(body) = &self.body {
            request = request.header("content-length", body.len());
        }
        request.body(()).unwrap()
    }

    fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let forged = FORGED.iter().copied().filter(|_| self.forged);
        let forged =
            forged.filter(|(name, _)| !self.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)));
        own.chain(forged)
    }
}

/// One chunk with its size.
pub fn chunked(data: &[u8]) -> Vec<u8> {
    let mut out = format!("{:x}\r\n", data.len()).into_bytes();
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
    out
}

/// The host of a request that names none.
pub const HOST: &str = "api.example.com";

/// In the value of every forged field, and nowhere else.
pub const FORGERY: &str = "203.0.113.66";

/// What a client says that only the gateway may say.
const FORGED: [(&str, &str); 6] = [
    ("X-Forwarded-For", "203.0.113.66"),
    ("X-Forwarded-Host", "203.0.113.66"),
    ("X-Forwarded-Proto", "203.0.113.66"),
    ("Forwarded", "for=203.0.113.66"),
    ("X-Real-IP", "203.0.113.66"),
    ("X-Request-Id", "forged-203.0.113.66"),
];
