//! What was received of one request, the same for HTTP/1 and HTTP/2.
//!
//! Owns the facts and how to look them up. Does not own the body. Text is
//! latin-1 of the received bytes, so that nothing is lost or corrected.

use crate::text::percent_decoded;

/// A header or trailer field: name as received, value.
pub type Field = (String, String);

/// The head of a request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// As received; methods are case-sensitive.
    pub method: String,
    /// HTTP/1: the request target exactly as received. HTTP/2: `:path`.
    pub target: String,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    pub version: &'static str,
    /// In the order received; HTTP/2 groups the values of one name.
    pub headers: Vec<Field>,
    /// HTTP/2's `:authority`.
    pub authority: Option<String>,
    /// The HTTP/1 head with its last empty line.
    pub raw_head: Option<String>,
}

impl Request {
    /// The values of a header, in the order received; `name` in lower case.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The first value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether a header that is a comma-separated list has this member.
    pub fn lists(&self, name: &str, member: &str) -> bool {
        self.values(name)
            .flat_map(|value| value.split(','))
            .any(|part| part.trim().eq_ignore_ascii_case(member))
    }

    /// The target up to the query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The first value of a query parameter, percent-decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| percent_decoded(value))
    }

    /// The request's own script: the `x-origin` header, else the `origin` query
    /// parameter.
    pub fn script(&self) -> Option<String> {
        let steps: Vec<&str> = self.values("x-origin").collect();
        if steps.is_empty() { self.query("origin") } else { Some(steps.join(",")) }
    }

    /// Whether the answer must not carry a body because of the method.
    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_header_wins_over_the_query() {
        let mut request = Request { target: "/a?b=1&origin=status%3D503".to_owned(), ..Request::default() };
        assert_eq!(request.script().as_deref(), Some("status=503"));
        assert_eq!(request.path(), "/a");

        request.headers.push(("X-Origin".to_owned(), "delay=1s".to_owned()));
        request.headers.push(("x-origin".to_owned(), "close".to_owned()));

        assert_eq!(request.script().as_deref(), Some("delay=1s,close"));
    }

    #[test]
    fn list_members_are_found_in_any_spelling_and_line() {
        let request = Request {
            headers: vec![
                ("Connection".to_owned(), "keep-alive, Upgrade".to_owned()),
                ("connection".to_owned(), "x".to_owned()),
            ],
            ..Request::default()
        };

        assert!(request.lists("connection", "upgrade"));
        assert!(request.lists("connection", "X"));
        assert!(!request.lists("connection", "keep"));
    }
}
