//! The request that is asked about, as a client would send it.
//!
//! Owns that it goes through the gate byte by byte as HTTP/1.1: the request line
//! first, then the header block. What no client could send on one line is refused
//! here, so that nothing in a value becomes a field of its own.

use std::{iter, net::IpAddr, sync::Arc};

use http::{HeaderName, HeaderValue, Version, header};
use pingora::{ErrorType, OrErr, http::RequestHeader};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    config::{
        authentication::AuthenticatorIndex,
        types::{Invalid, VpcEndpointId},
    },
    gate::{
        Gate, Refusal,
        line::{LineVerdict, inspect_request_line},
    },
    identity::Consumer,
};

/// A request that is asked about.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Its `Host`.
    pub host: String,
    /// Its path and query, as they are sent.
    #[serde(default = "root")]
    pub path: String,
    /// Its method.
    #[serde(default = "get")]
    pub method: String,
    /// Its other header fields, names and values.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Who sends it: the connection's address, after a PROXY header.
    #[serde(default)]
    pub from: Option<IpAddr>,
    /// The VPC endpoint that it comes through.
    #[serde(default)]
    pub vpc_endpoint: Option<VpcEndpointId>,
    /// Who is taken to be authenticated, by whoever is asked, whatever it presents.
    #[serde(default)]
    pub consumer: Option<String>,
    /// What its token is taken to say: names and values, of which several of one name are
    /// a list.
    #[serde(default)]
    pub claims: Vec<(String, String)>,
    /// What it is taken to be allowed to do.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// It comes without TLS; otherwise by TLS, if any listener has it.
    #[serde(default)]
    pub cleartext: bool,
}

impl Question {
    /// Whether a client could send it at all; else what to write.
    pub fn check(&self) -> Result<(), Invalid> {
        for (what, text) in [("host", &self.host), ("path", &self.path), ("method", &self.method)] {
            if text.is_empty() || text.bytes().any(|byte| byte.is_ascii_control()) {
                let text = text.escape_debug();
                let why =
                    format!("`{text}` is no {what} that can be sent; write it on one line, without tabs");
                return Err(Invalid::new(why));
            }
        }
        self.headers.iter().try_for_each(|(name, value)| check_field(name, value))
    }

    /// Who is taken to be authenticated, where somebody is.
    pub(super) fn assumed(&self) -> Option<Consumer> {
        if self.consumer.is_none() && self.claims.is_empty() && self.scopes.is_empty() {
            return None;
        }
        let mut claims = Map::new();
        for (name, value) in &self.claims {
            let value = Value::from(value.as_str());
            match claims.get_mut(name) {
                None => drop(claims.insert(name.clone(), value)),
                Some(Value::Array(list)) => list.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
            }
        }
        let name = self.consumer.as_deref().unwrap_or("somebody");
        Some(Consumer {
            scopes: self.scopes.join(" ").into(),
            claims: (!claims.is_empty()).then(|| Arc::new(claims)),
            ..Consumer::new(AuthenticatorIndex(0), name.into())
        })
    }

    /// The request as the gateway would match it, and how much of its `Host` is
    /// the host; or why the gate refuses it.
    pub(super) fn through(&self, gate: &Gate) -> Result<(RequestHeader, usize), Refusal> {
        let raw = self.block();
        match inspect_request_line(raw.as_bytes(), gate.max_target()) {
            LineVerdict::Good { .. } => {}
            LineVerdict::Bad(refusal) => return Err(refusal),
            LineVerdict::NeedMore => return Err(Refusal::RequestLine),
        }
        let mut request = self.header().map_err(|_| Refusal::Target)?;
        let host_len = gate.admit(&mut request, Some(raw.as_bytes()))?;
        Ok((request, host_len))
    }

    /// As Pingora makes it of the block.
    pub(super) fn header(&self) -> pingora::Result<RequestHeader> {
        let mut request = RequestHeader::build(self.method.as_str(), self.path.as_bytes(), None)?;
        request.set_version(Version::HTTP_11);
        let host = (header::HOST.as_str(), self.host.as_str());
        let fields = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in iter::once(host).chain(fields) {
            let value = HeaderValue::from_bytes(value.trim_ascii().as_bytes());
            let value = value.or_err(ErrorType::InvalidHTTPHeader, "a value that no field has")?;
            request.append_header(name.to_owned(), value)?;
        }
        if request.headers.contains_key(header::TRANSFER_ENCODING) {
            request.remove_header(&header::CONTENT_LENGTH);
        }
        Ok(request)
    }

    fn block(&self) -> String {
        let mut block = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.path, self.host);
        for (name, value) in &self.headers {
            block.push_str(&format!("{name}: {value}\r\n"));
        }
        block + "\r\n"
    }
}

fn check_field(name: &str, value: &str) -> Result<(), Invalid> {
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        let why = format!(
            "`{}` is no name of a header field; write letters, digits and dashes, as `X-Canary: 1`",
            name.escape_debug()
        );
        return Err(Invalid::new(why));
    }
    if HeaderValue::from_bytes(value.as_bytes()).is_err() {
        let why = format!("the value of `{name}` cannot be sent; write it on one line");
        return Err(Invalid::new(why));
    }
    Ok(())
}

fn root() -> String {
    "/".to_owned()
}

fn get() -> String {
    "GET".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::server::RequestsSpec;

    fn question(path: &str, headers: &[(&str, &str)]) -> Question {
        Question {
            host: "API.example.com:8443".to_owned(),
            path: path.to_owned(),
            method: "GET".to_owned(),
            headers: headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            from: None,
            vpc_endpoint: None,
            consumer: None,
            claims: Vec::new(),
            scopes: Vec::new(),
            cleartext: false,
        }
    }

    fn through(question: &Question) -> Result<(RequestHeader, usize), Refusal> {
        question.check().unwrap();
        question.through(&Gate::new(&RequestsSpec::default()))
    }

    #[test]
    fn what_is_admitted_is_in_its_one_spelling() {
        let (request, host_len) = through(&question("/a//b/../%63?x=1", &[("X-A", "1")])).unwrap();

        assert_eq!(request.uri, "/a/c?x=1");
        assert_eq!(request.headers.get("host").unwrap(), "api.example.com:8443");
        assert_eq!(host_len, "api.example.com".len());
    }

    #[test]
    fn the_gate_refuses_what_it_refuses_a_client() {
        let refusal = |path: &str, fields: &[(&str, &str)]| through(&question(path, fields)).err();

        assert_eq!(refusal("/a b", &[]), Some(Refusal::RequestLine));
        assert_eq!(refusal("/é", &[]), Some(Refusal::RequestLine));
        assert_eq!(refusal("/a#b", &[]), Some(Refusal::RequestLine));
        assert_eq!(refusal("a", &[]), Some(Refusal::Target));
        assert_eq!(refusal("/../a", &[]), Some(Refusal::Path));
        assert_eq!(refusal("/", &[("X_Tenant", "1")]), Some(Refusal::Underscore));
        assert_eq!(refusal("/", &[("Host", "other")]), Some(Refusal::Host));
        assert_eq!(refusal("/", &[("x", "é")]), None);
        let stranger = Question { host: "exämple.com".into(), ..question("/", &[]) };
        assert_eq!(through(&stranger).err(), Some(Refusal::Host));
        assert_eq!(refusal("/", &[("Content-Length", "+5")]), Some(Refusal::ContentLength));
        let both = [("Transfer-Encoding", "chunked"), ("Content-Length", "5")];
        assert_eq!(refusal("/", &both), Some(Refusal::TwoFramings));
        assert_eq!(refusal(&format!("/{}", "a".repeat(20_000)), &[]), Some(Refusal::TargetTooLong));
        assert_eq!(refusal("/", &vec![("x", "y"); 200]), Some(Refusal::TooManyFields));
        assert_eq!(refusal("/", &[]), None);
    }

    #[test]
    fn nothing_in_a_value_becomes_a_field_of_its_own() {
        let told = |question: Question| question.check().unwrap_err().to_string();

        assert!(told(question("/ HTTP/1.1\r\nX-Admin: 1", &[])).contains(r"\r\nX-Admin"));
        assert!(told(question("/", &[("x", "1\r\nX-Admin: 1")])).contains("the value of `x` cannot be sent"));
        assert!(told(question("/", &[("x y", "1")])).contains("`x y` is no name of a header field"));
        assert!(told(question("", &[])).contains("is no path"));
        assert!(told(Question { method: "GET\n".into(), ..question("/", &[]) }).contains("is no method"));
        assert!(told(Question { host: "a\tb".into(), ..question("/", &[]) }).contains("is no host"));
    }
}
