//! Reads the request target into a canonical path and a query.
//!
//! Owns the form of the target and the bytes of the query, which stays as it
//! was written; which paths there are is [`path`]'s rule.
//!
//! Two forms are let in: `/path?query`, and `http://host/path?query`, which
//! means the same. `*` and `host:port` are not: `OPTIONS *` asks about us and
//! not about an upstream, and CONNECT is never forwarded.

use std::borrow::Cow;

use super::refusal::Refusal;
use crate::{config::server::EncodedSlash, gate::alphabet, route::path};

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
    /// Reads a whole target.
    pub fn read(raw: &'r [u8], slash: EncodedSlash) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(raw).map_err(|_| Refusal::Target)?;
        let (authority, rest) = match text.starts_with('/') {
            true => (None, text),
            false => split_absolute(text).ok_or(Refusal::Target)?,
        };
        let (written, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        if query.is_some_and(|query| !alphabet::all(query.as_bytes(), alphabet::is_target)) {
            return Err(Refusal::Target);
        }
        // RFC 9112 §3.2.1: an empty path is sent as `/`.
        let written = if written.is_empty() { "/" } else { written };
        let path = path::canonical(written.as_bytes(), slash).map_err(|_| Refusal::Path)?;
        let canonical = authority.is_none() && *path == *written;
        Ok(Self { authority, path, query, canonical })
    }
}

/// Splits `http://authority` from `/path?query`.
fn split_absolute(text: &str) -> Option<(Option<&[u8]>, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end)?;
    Some((Some(authority.as_bytes()), rest))
}
