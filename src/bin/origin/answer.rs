//! The answer to a request, before a protocol writes it.
//!
//! Owns status, header fields and body, the same for HTTP/1 and HTTP/2. Does not
//! own framing or faults: those are the protocols'.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::{
    payload::{Pace, Payload},
    request::Field,
    script::Script,
};

/// Status, fields, body, trailers.
pub struct Answer {
    /// 200 to 999.
    pub status: StatusCode,
    /// Without the fields of framing.
    pub headers: Vec<Field>,
    /// What the body would be; see [`Answer::bodyless`].
    pub payload: Payload,
    /// The rhythm of the body.
    pub pace: Option<Pace>,
    /// After the body.
    pub trailers: Vec<Field>,
}

impl Answer {
    /// An answer of one type of content.
    pub fn new(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            payload: Payload::Bytes(body.into()),
            pace: None,
            trailers: Vec::new(),
        }
    }

    /// A sentence for whoever reads the test's output.
    pub fn text(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self::new(status, "text/plain", format!("{}\n", sentence.into()))
    }

    /// The answer that the script asks for; `echo` is its body unless it says another.
    pub fn scripted(script: &Script, echo: impl FnOnce() -> Vec<u8>) -> Self {
        let (kind, payload) = match &script.payload {
            None => ("application/json", Payload::Bytes(echo().into())),
            Some(payload @ Payload::Bytes(_)) => ("text/plain", payload.clone()),
            Some(payload @ Payload::Events { .. }) => ("text/event-stream", payload.clone()),
            Some(payload) => ("application/octet-stream", payload.clone()),
        };
        let status = script.status.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or_default();
        let mut answer = Self::new(status, kind, Bytes::new());
        if payload == Payload::Nothing {
            answer.headers.clear();
        }
        answer.replace_headers(&script.headers);
        Self { payload, pace: script.drip, trailers: script.trailers.clone(), ..answer }
    }

    /// Says when, and who when asked to; not for the fast path.
    pub fn stamped(mut self, server_header: bool) -> Self {
        if !self.has_header("date") {
            self.headers.push(("date".to_owned(), httpdate::fmt_http_date(SystemTime::now())));
        }
        if server_header && !self.has_header("server") {
            self.headers.push(("server".to_owned(), "origin".to_owned()));
        }
        self
    }

    /// Whether the answer carries no body, whatever the payload: HEAD, 204, 304.
    pub fn bodyless(&self, to_head: bool) -> bool {
        to_head || matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    /// Whether there is a header of this name.
    pub fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name))
    }

    /// Puts fields in, instead of those of the same names.
    fn replace_headers(&mut self, fields: &[Field]) {
        self.headers.retain(|(key, _)| !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(key)));
        self.headers.extend_from_slice(fields);
    }
}

/// Fields as the `http` crate has them. What HTTP/2 cannot carry is left out:
/// fields of the HTTP/1 connection, and names or values that are not well-formed.
pub fn header_map(fields: &[Field]) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) else { continue };
        if !CONNECTION_FIELDS.contains(&name.as_str()) {
            map.append(name, value);
        }
    }
    map
}

/// Fields of an HTTP/1 connection, that no HTTP/2 message may carry.
const CONNECTION_FIELDS: [&str; 5] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scripted_header_replaces_the_answers_own() {
        let script: Script = "header=Content-Type:a/b,header=x:1,header=x:2,body=hi".parse().unwrap();

        let answer = Answer::scripted(&script, Vec::new).stamped(true);

        let names: Vec<&str> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Content-Type", "x", "x", "date", "server"]);
    }

    #[test]
    fn http2_fields_have_no_connection_fields() {
        let fields = [("Connection", "close"), ("X-A", "1")].map(|(n, v)| (n.to_owned(), v.to_owned()));

        let map = header_map(&fields);

        assert_eq!(map.len(), 1);
        assert_eq!(map.get("x-a").unwrap(), "1");
    }
}
