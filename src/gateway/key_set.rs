//! The set of public keys as it is told to who verifies tokens, on public routes and on
//! the admin listener alike.
//!
//! Does not own the set nor who fetched it: the signers do.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use pingora::{Result, http::ResponseHeader};
use pingora_proxy::Session;

use super::{context::RequestContext, reply};
use crate::jwt::{KeySet, Now};

/// Answers a request of a route with `jwks`. Who is told is noted by the verified
/// address; one of another network, behind a VPC endpoint, is nobody's.
pub async fn respond(session: &mut Session, ctx: &mut RequestContext) -> Result<()> {
    let (signing, now) = (ctx.snapshot.signing.clone(), Now::read());
    let set = signing.signers.key_set(now);
    let (parts, body) = page(&set, &ctx.head.method, &session.req_header().headers).into_parts();
    if told(&ctx.head.method) && ctx.principal().vpc_endpoint.is_none() {
        signing.signers.fetched(ctx.client, now);
    }
    reply::send(session, ctx, ResponseHeader::from(parts), body).await
}

/// Whether the answer to this method tells the keys.
pub fn told(method: &Method) -> bool {
    *method == Method::GET
}

/// The answer to a request with this method and these fields. Whoever writes it leaves
/// the body out for a `HEAD`, and says its length.
pub fn page(set: &KeySet, method: &Method, headers: &HeaderMap) -> Response<Bytes> {
    let mut page = Response::new(Bytes::new());
    let fields = page.headers_mut();
    if !matches!(*method, Method::GET | Method::HEAD) {
        fields.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        *page.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return page;
    }
    fields.insert(header::CACHE_CONTROL, KeySet::CACHE_CONTROL);
    fields.insert(header::ETAG, set.etag.clone());
    if has_same(headers, &set.etag) {
        *page.status_mut() = StatusCode::NOT_MODIFIED;
        return page;
    }
    fields.insert(header::CONTENT_TYPE, KeySet::MEDIA_TYPE);
    *page.body_mut() = set.body.clone();
    page
}

/// Whether `If-None-Match` names what there is (RFC 9110, 13.1.2: compared weakly).
fn has_same(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: Method, etag: &str) -> u16 {
        let set = KeySet { body: "{}".into(), etag: HeaderValue::from_static("\"abc\""), kids: Vec::new() };
        let mut headers = HeaderMap::new();
        if !etag.is_empty() {
            headers.insert(header::IF_NONE_MATCH, etag.parse().unwrap());
        }
        page(&set, &method, &headers).status().as_u16()
    }

    #[test]
    fn who_has_the_set_already_is_told_so_and_nothing_more() {
        for same in ["\"abc\"", "W/\"abc\"", "*", "\"x\", \"abc\"", "\"x\",W/\"abc\" ,\"y\""] {
            assert_eq!(status(Method::GET, same), 304, "{same}");
            assert_eq!(status(Method::HEAD, same), 304, "{same}");
        }
        for other in ["", "\"ab\"", "abc", "\"x\", \"y\""] {
            assert_eq!(status(Method::GET, other), 200, "{other}");
        }
    }

    #[test]
    fn the_set_is_there_to_be_read() {
        assert_eq!(status(Method::POST, ""), 405);
        assert_eq!(status(Method::DELETE, "*"), 405);
    }
}
