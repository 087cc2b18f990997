//! The header on its way: what the upstream gets and what the client gets.
//!
//! Owns every field that only the gateway may set. It works on the copy that
//! goes upstream, after Pingora took the hop-by-hop fields off, so that no
//! `Connection:` nomination can take ours away again.

use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header, request::Parts};
use pingora::{
    ErrorType, OrErr, Result,
    http::{RequestHeader, ResponseHeader},
};
use pingora_proxy::Session;

use super::{authenticate, context::RequestContext, forwarded, hops, limits, marks::Marks, spans};
use crate::{
    gate,
    route::{HeaderEdits, Rewrite},
};

/// Turns the copy of the client's request into what the upstream gets. The
/// route's own changes come first: what only the gateway may set comes last.
///
/// Works on the bare header map: through Pingora's own methods each field's
/// name would be copied and parsed again, 500 instructions a field.
pub fn prepare(session: &Session, request: &mut RequestHeader, ctx: &RequestContext) -> Result<()> {
    let (blank, ()) = http::Request::new(()).into_parts();
    let mut parts = Parts::from(std::mem::replace(request, blank.into()));
    let done = prepare_parts(session, &mut parts, ctx);
    *request = parts.into();
    done
}

fn prepare_parts(session: &Session, parts: &mut Parts, ctx: &RequestContext) -> Result<()> {
    let headers = &mut parts.headers;
    headers.reserve(ADDED_FIELDS);
    if session.is_http2() {
        join_cookies(headers);
    }
    forwarded::strip(headers, ctx);
    ctx.snapshot.signing.strip(headers);
    authenticate::take_off(headers, ctx);
    if ctx.bound.is_held() {
        // It was answered here.
        headers.remove(header::EXPECT);
    }
    if let Some(route) = &ctx.route {
        if let Some(rewrite) = &route.rewrite {
            if let Some(uri) = rewritten(rewrite, ctx)? {
                parts.uri = uri;
            }
            if let Some(host) = &rewrite.host {
                headers.insert(header::HOST, host.clone());
            }
        }
        edit(headers, &route.request_headers);
    }
    let secure = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
    forwarded::tell(headers, ctx, secure);
    forwarded::tell_certificate(headers, session, ctx);
    via(headers, ctx.head.version, ctx.head.marks);
    headers.insert(&X_REQUEST_ID, ctx.request_id.header());
    spans::tell(headers, ctx);
    Ok(())
}

/// The target that the upstream gets, if it is another.
fn rewritten(rewrite: &Rewrite, ctx: &RequestContext) -> Result<Option<Uri>> {
    let path = ctx.head.uri.path();
    // What a pattern made of a checked path may itself not be one.
    let new = rewrite.path(path).or_err(ErrorType::InvalidHTTPHeader, "a rewritten path is none")?;
    if new == path {
        return Ok(None);
    }
    let target = match ctx.head.uri.query() {
        Some(query) => format!("{new}?{query}"),
        None => new.into_owned(),
    };
    let uri = target.parse().or_err(ErrorType::InternalError, "a rewritten path is no target")?;
    Ok(Some(uri))
}

/// Names the gateway in `Via` (RFC 9110, 7.6.3), after those before it.
fn via(headers: &mut HeaderMap, version: Version, marks: Marks) {
    let own = if version == Version::HTTP_2 { VIA_2 } else { VIA_1 };
    if marks.any(Marks::FORWARDED) {
        append_list(headers, &header::VIA, &own);
    } else {
        headers.insert(header::VIA, own);
    }
}

/// A client's cookies in one field, as RFC 9113 (8.2.3) asks for HTTP/1.
fn join_cookies(headers: &mut HeaderMap) {
    if let Some(joined) = gate::cookies::join_cookie_crumbs(headers) {
        headers.insert(header::COOKIE, joined);
    }
}

/// What the client gets: the answer with how it stands at its limits, the route's
/// changes and the request's id. Names go in their standard spelling, as towards the upstream.
/// Says whether the body has a length.
pub fn answer(answer: &mut ResponseHeader, ctx: &RequestContext) -> bool {
    let (blank, ()) = http::Response::new(()).into_parts();
    let mut parts = http::response::Parts::from(std::mem::replace(answer, blank.into()));
    let has_length = hops::clean(&mut parts.headers, parts.status);
    // An upstream that answers with what it was sent gives no token away.
    ctx.snapshot.signing.strip(&mut parts.headers);
    if !parts.status.is_informational() {
        limits::tell(&mut parts.headers, ctx);
    }
    if let Some(route) = &ctx.route {
        if let (Some(cors), false) = (&route.cors, ctx.preflight) {
            cors.answer(ctx.origin.as_ref(), &mut parts.headers);
        }
        edit(&mut parts.headers, &route.response_headers);
    }
    parts.headers.insert(&X_REQUEST_ID, ctx.request_id.header());
    *answer = parts.into();
    has_length
}

/// A route's changes.
fn edit(headers: &mut HeaderMap, edits: &HeaderEdits) {
    if edits.is_empty() {
        return;
    }
    for name in edits.remove() {
        headers.remove(name);
    }
    for (name, value) in edits.set() {
        headers.insert(name, value.clone());
    }
    for (name, value) in edits.add() {
        headers.append(name, value.clone());
    }
}

/// Adds to a list field, in one line.
pub fn append_list(headers: &mut HeaderMap, name: &HeaderName, value: &HeaderValue) {
    let mut lines = headers.get_all(name).iter().map(HeaderValue::as_bytes).peekable();
    if lines.peek().is_none() {
        headers.insert(name, value.clone());
        return;
    }
    let mut whole = lines.collect::<Vec<_>>().join(&b", "[..]);
    whole.extend_from_slice(b", ");
    whole.extend_from_slice(value.as_bytes());
    // Lines that were header values stay one when joined.
    headers.insert(name, HeaderValue::from_bytes(&whole).unwrap_or_else(|_| value.clone()));
}

/// The request's id, towards the upstream and back to the client.
pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The trace, in the words of the W3C.
pub static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The trace, in the words of AWS.
pub static X_AMZN_TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");
/// What vendors add to the first of them.
pub static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// So many are written below; the map grows once.
const ADDED_FIELDS: usize = 6;

const VIA_1: HeaderValue = HeaderValue::from_static("1.1 tollgate");
const VIA_2: HeaderValue = HeaderValue::from_static("2 tollgate");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_grows_at_its_end_in_one_line() {
        let mut headers = HeaderMap::new();
        headers.append(header::VIA, HeaderValue::from_static("1.0 a"));
        headers.append(header::VIA, HeaderValue::from_static("1.1 b"));

        via(&mut headers, Version::HTTP_2, Marks::FORWARDED);

        let lines: Vec<_> = headers.get_all("via").iter().collect();
        assert_eq!(lines, ["1.0 a, 1.1 b, 2 tollgate"]);
    }
}
