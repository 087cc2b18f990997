//! An answer, and what the origin says it received.

use serde_json::Value;

use super::request::FORGERY;

/// A complete answer, of HTTP/1 or HTTP/2.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// As 200.
    pub status: u16,
    /// In their order and spelling.
    pub headers: Fields,
    /// Without its framing.
    pub body: Vec<u8>,
    /// After the body.
    pub trailers: Fields,
    /// 100 and 103, before the answer.
    pub interim: Vec<(u16, Fields)>,
    /// Whether the server ended the connection with this answer (HTTP/1).
    pub closed: bool,
}

/// Header lines.
pub type Fields = Vec<(String, String)>;

impl Response {
    /// The field's value; `None` when there is none, or more than one line.
    pub fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        only(&self.headers, name)
    }

    /// Every line of the field.
    pub fn lines<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        lines(&self.headers, name).collect()
    }

    /// The trailer's value; `None` when there is none, or more than one line.
    pub fn trailer<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        only(&self.trailers, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|why| panic!("{why}: the body of a {} is no JSON: {}", self.status, self.text()))
    }

    /// What the origin received.
    pub fn echo(&self) -> Echo {
        Echo(self.json())
    }

    /// The word for why the gateway answered itself; panics when it did not.
    pub fn flag(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"), "{problem}");
        problem["flag"].as_str().unwrap().to_owned()
    }

    /// What must hold of every answer; panics when it does not.
    pub fn assert_sound(&self) {
        let is_echo = self.body.starts_with(b"{\"origin\":");
        if let (true, Ok(json)) = (is_echo, serde_json::from_slice(&self.body)) {
            assert_no_internal_leak(&Echo(json));
        }
    }
}

/// What an origin says it received.
#[derive(Clone, Debug)]
pub struct Echo(pub Value);

impl Echo {
    /// The name of the origin that answered.
    pub fn origin(&self) -> &str {
        self.0["origin"].as_str().unwrap()
    }

    /// The request's method.
    pub fn method(&self) -> &str {
        self.0["method"].as_str().unwrap()
    }

    /// The request's target, as it stood in the request line or `:path`.
    pub fn target(&self) -> &str {
        self.0["target"].as_str().unwrap()
    }

    /// `Host`, or `:authority` in HTTP/2.
    pub fn host(&self) -> Option<&str> {
        self.0["authority"].as_str().or_else(|| self.header("host"))
    }

    /// The request's body as text.
    pub fn body(&self) -> &str {
        self.0["body"].as_str().unwrap()
    }

    /// Which of the origin's connections the request came on.
    pub fn connection(&self) -> u64 {
        self.0["connection"].as_u64().unwrap()
    }

    /// The field's value; `None` when there is none, or more than one line.
    pub fn header(&self, name: &str) -> Option<&str> {
        match self.lines(name)[..] {
            [line] => Some(line),
            _ => None,
        }
    }

    /// Every line of the field.
    pub fn lines(&self, name: &str) -> Vec<&str> {
        let fields = self.0["headers"].as_array().unwrap().iter();
        let fields = fields.map(|field| (field[0].as_str().unwrap(), field[1].as_str().unwrap()));
        fields.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

/// Panics when a field that only the gateway may set came from the client.
pub fn assert_no_internal_leak(echo: &Echo) {
    for field in echo.0["headers"].as_array().into_iter().flatten() {
        let value = field[1].as_str().unwrap_or_default();
        assert!(!value.contains(FORGERY), "a forged field reached the origin: {field}");
    }
}

fn only<'a>(fields: &'a [(String, String)], name: &'a str) -> Option<&'a str> {
    let mut lines = lines(fields, name);
    lines.next().filter(|_| lines.next().is_none())
}

fn lines<'a>(fields: &'a [(String, String)], name: &'a str) -> impl Iterator<Item = &'a str> {
    fields.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}
