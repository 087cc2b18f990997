//! The header on its way: what the upstream gets and what the client gets.
//!
//! Owns every field that only the gateway may set. It works on the copy that
//! goes upstream, after Pingora took the hop-by-hop fields off, so that no
//! `Connection:` nomination can take ours away again.

use http::{HeaderName, HeaderValue, Version, header};
use pingora::{
    ErrorType, OrErr, Result,
    http::{RequestHeader, ResponseHeader},
};
use pingora_proxy::Session;

use super::{admission, context::RequestContext};
use crate::{
    gate,
    route::{HeaderEdits, Rewrite},
};

/// Who sent the request on, as far as their word counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sender {
    /// A client: what it says of itself is removed.
    Client,
    /// A proxy whose network is in `forwarded.trusted`: added to.
    TrustedProxy,
}

/// Turns the copy of the client's request into what the upstream gets. The
/// route's own changes come first: what only the gateway may set comes last.
pub fn prepare(session: &Session, request: &mut RequestHeader, ctx: &RequestContext) -> Result<()> {
    if session.is_http2() {
        join_cookies(request)?;
    }
    if let Some(route) = &ctx.route {
        if let Some(rewrite) = &route.rewrite {
            self::rewrite(request, rewrite, ctx)?;
        }
        edit_request(request, &route.request_headers)?;
    }
    let secure = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
    forwarded(request, ctx, admission::sender(ctx), secure)?;
    via(request, ctx.head.version)?;
    request.insert_header(&X_REQUEST_ID, ctx.request_id.header())?;
    trace(request, ctx)
}

/// Keeps what names the request's trace, or names a new one.
fn trace(request: &mut RequestHeader, ctx: &RequestContext) -> Result<()> {
    if !ctx.trace.keeps_traceparent() {
        request.remove_header(&TRACEPARENT);
        request.remove_header(&TRACESTATE);
    }
    match ctx.trace.new_amazon() {
        Some(made) => request.insert_header(&X_AMZN_TRACE_ID, made),
        None => Ok(()),
    }
}

fn rewrite(request: &mut RequestHeader, rewrite: &Rewrite, ctx: &RequestContext) -> Result<()> {
    let path = ctx.head.uri.path();
    // What a pattern made of a checked path may itself not be one.
    let new = rewrite.path(path).or_err(ErrorType::InvalidHTTPHeader, "a rewritten path is none")?;
    if new != path {
        let target = match ctx.head.uri.query() {
            Some(query) => format!("{new}?{query}"),
            None => new.into_owned(),
        };
        let uri = target.parse::<http::Uri>();
        request.set_uri(uri.or_err(ErrorType::InternalError, "a rewritten path is no target")?);
    }
    if let Some(host) = &rewrite.host {
        request.insert_header(header::HOST, host.clone())?;
    }
    Ok(())
}

/// Writes the fields that say where the request came from.
pub fn forwarded(
    header: &mut RequestHeader,
    ctx: &RequestContext,
    sender: Sender,
    secure: bool,
) -> Result<()> {
    let Some(connection) = &ctx.connection else { return Ok(()) };
    let client = &connection.client_value;
    let scheme = if secure { HTTPS } else { HTTP };
    match sender {
        Sender::Client => {
            for name in CLAIMS {
                header.remove_header(name);
            }
            header.insert_header(&X_FORWARDED_FOR, client.clone())?;
            header.insert_header(&X_FORWARDED_PROTO, scheme)?;
            if let Some(host) = header.headers.get(header::HOST).cloned() {
                header.insert_header(&X_FORWARDED_HOST, host)?;
            }
        }
        Sender::TrustedProxy => {
            append_list(header, &X_FORWARDED_FOR, client)?;
            if header.headers.contains_key(header::FORWARDED) {
                append_list(header, &header::FORWARDED, &forwarded_element(connection.client)?)?;
            }
            if !header.headers.contains_key(&X_FORWARDED_PROTO) {
                header.insert_header(&X_FORWARDED_PROTO, scheme)?;
            }
            if let (None, Some(host)) =
                (header.headers.get(&X_FORWARDED_HOST), header.headers.get(header::HOST).cloned())
            {
                header.insert_header(&X_FORWARDED_HOST, host)?;
            }
        }
    }
    Ok(())
}

/// Names the gateway in `Via` (RFC 9110, 7.6.3), after those before it.
pub fn via(header: &mut RequestHeader, version: Version) -> Result<()> {
    let own = if version == Version::HTTP_2 { VIA_2 } else { VIA_1 };
    append_list(header, &header::VIA, &own)
}

/// A client's cookies in one field, as RFC 9113 (8.2.3) asks for HTTP/1.
pub fn join_cookies(header: &mut RequestHeader) -> Result<()> {
    if let Some(joined) = gate::cookies::join_cookie_crumbs(&header.headers) {
        header.insert_header(header::COOKIE, joined)?;
    }
    Ok(())
}

/// The route's changes to what the upstream gets.
pub fn edit_request(header: &mut RequestHeader, edits: &HeaderEdits) -> Result<()> {
    for name in edits.remove() {
        header.remove_header(name);
    }
    for (name, value) in edits.set() {
        header.insert_header(name, value.clone())?;
    }
    for (name, value) in edits.add() {
        header.append_header(name, value.clone())?;
    }
    Ok(())
}

/// The route's changes to what the client gets.
pub fn edit_response(header: &mut ResponseHeader, edits: &HeaderEdits) -> Result<()> {
    for name in edits.remove() {
        header.remove_header(name);
    }
    for (name, value) in edits.set() {
        header.insert_header(name, value.clone())?;
    }
    for (name, value) in edits.add() {
        header.append_header(name, value.clone())?;
    }
    Ok(())
}

/// Adds to a list field, in one line.
fn append_list(header: &mut RequestHeader, name: &HeaderName, value: &HeaderValue) -> Result<()> {
    let mut lines = header.headers.get_all(name).iter().map(HeaderValue::as_bytes).peekable();
    if lines.peek().is_none() {
        drop(lines);
        header.insert_header(name, value.clone())?;
        return Ok(());
    }
    let mut whole = lines.collect::<Vec<_>>().join(&b", "[..]);
    whole.extend_from_slice(b", ");
    whole.extend_from_slice(value.as_bytes());
    // Lines that were header values stay one when joined.
    let whole = HeaderValue::from_bytes(&whole).unwrap_or_else(|_| value.clone());
    header.insert_header(name, whole)?;
    Ok(())
}

/// RFC 7239: an IPv6 address stands in brackets and quotes.
fn forwarded_element(client: std::net::SocketAddr) -> Result<HeaderValue> {
    let text = match client.ip().to_canonical() {
        std::net::IpAddr::V4(v4) => format!("for={v4}"),
        std::net::IpAddr::V6(v6) => format!("for=\"[{v6}]\""),
    };
    Ok(HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("for=unknown")))
}

/// The request's id, towards the upstream and back to the client.
pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The trace, in the words of the W3C.
pub static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The trace, in the words of AWS.
pub static X_AMZN_TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What a client may not claim about itself; `x-forwarded-for`, `-proto` and
/// `-host` are overwritten anyway.
const CLAIMS: [&str; 6] =
    ["forwarded", "x-real-ip", "x-forwarded-port", "x-forwarded-prefix", "x-original-url", "x-rewrite-url"];

const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");
const VIA_1: HeaderValue = HeaderValue::from_static("1.1 tollgate");
const VIA_2: HeaderValue = HeaderValue::from_static("2 tollgate");

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut header = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in fields {
            header.append_header(*name, *value).unwrap();
        }
        header
    }

    #[test]
    fn a_list_grows_at_its_end_in_one_line() {
        let mut header = request(&[("via", "1.0 a"), ("via", "1.1 b")]);

        via(&mut header, Version::HTTP_2).unwrap();

        let lines: Vec<_> = header.headers.get_all("via").iter().collect();
        assert_eq!(lines, ["1.0 a, 1.1 b, 2 tollgate"]);
    }

    #[test]
    fn an_ipv6_element_is_quoted() {
        let element = forwarded_element("[2001:db8::1]:5".parse().unwrap()).unwrap();

        assert_eq!(element, "for=\"[2001:db8::1]\"");
    }
}
