//! Joins what HTTP/2 clients cut apart: a `Cookie` header in several lines.
//!
//! Decides nothing about cookies; the caller says when a request goes from
//! HTTP/2 to HTTP/1.

use http::{HeaderMap, HeaderValue, header};

/// One `Cookie` value out of several lines, for an HTTP/1 upstream (RFC 9113
/// §8.2.3: joined with `; `, in order).
///
/// `None` when there is at most one line, and nothing needs to change.
pub fn join_cookie_crumbs(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines = headers.get_all(header::COOKIE);
    lines.iter().nth(1)?;
    let crumbs = lines.iter().map(HeaderValue::as_bytes);
    let crumbs: Vec<&[u8]> = crumbs.filter(|crumb| !crumb.is_empty()).collect();
    HeaderValue::try_from(crumbs.join(&b"; "[..])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(crumbs: &[&'static [u8]]) -> Option<HeaderValue> {
        let mut headers = HeaderMap::new();
        for crumb in crumbs {
            headers.append(header::COOKIE, HeaderValue::from_bytes(crumb).unwrap());
        }
        join_cookie_crumbs(&headers)
    }

    #[test]
    fn crumbs_are_joined_in_their_order() {
        assert_eq!(join(&[b"a=1", b"b=2; c=3", b"d=\xe9"]).unwrap().as_bytes(), b"a=1; b=2; c=3; d=\xe9");
    }

    #[test]
    fn an_empty_crumb_leaves_no_empty_pair() {
        assert_eq!(join(&[b"a=1", b"", b"b=2"]).unwrap().as_bytes(), b"a=1; b=2");
        assert_eq!(join(&[b"", b""]).unwrap().as_bytes(), b"");
    }

    #[test]
    fn one_line_or_none_needs_no_joining() {
        assert_eq!(join(&[]), None);
        assert_eq!(join(&[b"a=1; b=2"]), None);
    }
}
