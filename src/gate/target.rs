//! Reads the request target into a canonical path and a query.
//!
//! Owns the form of the target and the bytes of the query, which stays as it
//! was written; which paths there are is [`path`]'s rule.
//!
//! Two forms are let in: `/path?query`, and `http://host/path?query`, which
//! means the same. `*` and `host:port` are not: `OPTIONS *` asks about us and
//! not about an upstream, and CONNECT is never forwarded.

use std::borrow::Cow;

use pingora::http::RequestHeader;

use super::refusal::Refusal;
use crate::{
    config::server::PathsSpec,
    gate::alphabet,
    route::path::{self, PathError},
};

/// What a target says.
pub(super) struct Target<'r> {
    /// The authority of an absolute-form, as written.
    pub authority: Option<&'r [u8]>,
    pub path: Cow<'r, str>,
    /// Without the `?`; `None` differs from an empty query.
    pub query: Option<&'r str>,
    /// Whether the target as written is what is forwarded.
    pub canonical: bool,
}

impl<'r> Target<'r> {
    /// Reads the target of a request.
    pub fn read(request: &'r RequestHeader, paths: PathsSpec) -> Result<Self, Refusal> {
        let Written { authority, path: written, query } = split(request).ok_or(Refusal::Target)?;
        if query.is_some_and(|query| !alphabet::all(query.as_bytes(), alphabet::is_target)) {
            return Err(Refusal::Target);
        }
        // RFC 9112 §3.2.1: an empty path is sent as `/`.
        let written = if written.is_empty() { "/" } else { written };
        let path = path::canonical(written.as_bytes(), paths).map_err(|why| match why {
            PathError::Parameter => Refusal::PathParameter,
            _ => Refusal::Path,
        })?;
        let canonical = authority.is_none() && *path == *written;
        Ok(Self { authority, path, query, canonical })
    }
}

/// A target in its parts, as the client wrote them.
struct Written<'r> {
    authority: Option<&'r [u8]>,
    path: &'r str,
    query: Option<&'r str>,
}

/// `None` for a target in another form.
fn split(request: &RequestHeader) -> Option<Written<'_>> {
    let raw = request.raw_path();
    if let Some(parsed) = request.uri.path_and_query().filter(|parsed| parsed.as_str().as_bytes() == raw) {
        // The common case: the URI holds the target as written, and knows where
        // its query begins.
        let written = Written { authority: None, path: parsed.path(), query: parsed.query() };
        return raw.starts_with(b"/").then_some(written);
    }
    let (scheme, rest) = str::from_utf8(raw).ok()?.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let (authority, rest) = rest.split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len()))?;
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    Some(Written { authority: Some(authority.as_bytes()), path, query })
}
