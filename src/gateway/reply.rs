//! Writes the gateway's own answers, and fits an upstream's to the client's
//! connection.
//!
//! Pingora's `respond_error` closes the client's connection, so that a storm of
//! refusals would become a storm of TLS handshakes. Here keep-alive stays,
//! unless what follows on the connection cannot be trusted or a body is in
//! the way that is not worth reading.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use pingora::{Result, http::ResponseHeader};
use pingora_proxy::Session;

use super::{admission::is_grpc, authenticate, context::RequestContext, rejection::Rejection};
use crate::route::{Cors, Redirect, Respond};

/// Answers with problem+json (RFC 9457).
pub async fn reject(session: &mut Session, ctx: &mut RequestContext, why: Rejection) -> Result<()> {
    ctx.rejection = Some(why);
    let Some(status) = why.status() else { return Ok(()) };
    if status == StatusCode::TOO_MANY_REQUESTS && is_grpc_call(session, ctx) {
        return reject_call(session, ctx, why).await;
    }
    let mut answer = ResponseHeader::build(status, Some(8))?;
    answer.insert_header(header::CONTENT_TYPE, PROBLEM_JSON)?;
    if let Some(seconds) = ctx.limited.retry_after().filter(|_| status == StatusCode::TOO_MANY_REQUESTS) {
        answer.insert_header(header::RETRY_AFTER, seconds)?;
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        answer.insert_header(header::ALLOW, ctx.snapshot.gate.allow())?;
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.insert_header(header::RETRY_AFTER, HeaderValue::from_static("1"))?;
    }
    if status == StatusCode::UNAUTHORIZED {
        for challenge in authenticate::challenges(ctx) {
            answer.append_header(header::WWW_AUTHENTICATE, challenge)?;
        }
    }
    if let (Rejection::Forbidden, Some(challenge)) = (why, authenticate::needs_scope(ctx)) {
        answer.append_header(header::WWW_AUTHENTICATE, challenge)?;
    }
    if why.closes() {
        session.set_keepalive(None);
    }
    let body = problem(status, why, ctx);
    send(session, ctx, answer, body).await
}

/// Answers a gRPC call that a limit refused with `RESOURCE_EXHAUSTED`, which its
/// library knows, and the time after which to try again (gRFC A6; -1 is never).
async fn reject_call(session: &mut Session, ctx: &mut RequestContext, why: Rejection) -> Result<()> {
    let wait = ctx.limited.retry_after().and_then(|seconds| i64::try_from(seconds).ok());
    let millis = wait.map_or(-1, |seconds| seconds.saturating_mul(1_000));
    let mut answer = ResponseHeader::build(StatusCode::OK, Some(8))?;
    answer.insert_header(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"))?;
    answer.insert_header(GRPC_STATUS, RESOURCE_EXHAUSTED)?;
    answer.insert_header("grpc-message", why.detail())?;
    answer.insert_header("grpc-retry-pushback-ms", millis)?;
    send(session, ctx, answer, Bytes::new()).await
}

/// Whether a gRPC library waits for the answer; gRPC-Web's reads HTTP.
fn is_grpc_call(session: &Session, ctx: &RequestContext) -> bool {
    let kind = session.req_header().headers.get(header::CONTENT_TYPE);
    let is_web = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc-web"));
    is_grpc(session, ctx) && !is_web
}

/// Tells a web page's browser what the page may.
pub async fn preflight(session: &mut Session, ctx: &mut RequestContext, cors: &Cors) -> Result<()> {
    let mut fields = HeaderMap::new();
    cors.preflight(&session.req_header().headers, &mut fields);
    let mut answer = ResponseHeader::build(StatusCode::NO_CONTENT, Some(fields.len() + 3))?;
    for (name, value) in &fields {
        answer.insert_header(name.clone(), value.clone())?;
    }
    send(session, ctx, answer, Bytes::new()).await
}

/// Answers with a redirect.
pub async fn redirect(session: &mut Session, ctx: &mut RequestContext, to: &Redirect) -> Result<()> {
    let secure = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
    let location = to.location(secure, ctx.host(), ctx.head.uri.path(), ctx.head.uri.query());
    let mut answer = ResponseHeader::build(to.status, Some(6))?;
    answer.insert_header(header::LOCATION, location)?;
    send(session, ctx, answer, Bytes::new()).await
}

/// Answers with a fixed response.
pub async fn respond(session: &mut Session, ctx: &mut RequestContext, with: &Respond) -> Result<()> {
    let mut answer = ResponseHeader::build(with.status, Some(6))?;
    answer.insert_header(header::CONTENT_TYPE, with.content_type.clone())?;
    send(session, ctx, answer, with.body.clone()).await
}

/// Fits an upstream's answer to the connection that it goes out on.
pub fn frame(session: &mut Session, answer: &mut ResponseHeader, version: Version) {
    let (interim, old) = (answer.status.is_informational(), version == Version::HTTP_10);
    if old && !interim && !answer.headers.contains_key(header::CONTENT_LENGTH) {
        // HTTP/1.0 knows no chunks: the connection's end is the body's.
        answer.remove_header(&header::TRANSFER_ENCODING);
        session.set_keepalive(None);
    }
    let client = session.as_downstream_mut();
    // HTTP/1.0 knows no interim answers either (RFC 9110, 15.2).
    client.set_ignore_info_resp(old);
    // Pingora closes after an answer that comes before the whole body. A 100 is
    // none: it asks for the body.
    client.set_close_on_response_before_downstream_finish(!interim);
}

pub(super) async fn send(
    session: &mut Session,
    ctx: &mut RequestContext,
    mut answer: ResponseHeader,
    body: Bytes,
) -> Result<()> {
    if is_body_small(session, &ctx.head.method) {
        // Pingora reads the rest of it after the answer, instead of closing.
        session.set_close_on_response_before_downstream_finish(false);
    } else {
        session.set_keepalive(None);
    }
    if ctx.connection.as_ref().is_some_and(|connection| connection.is_asked_to_end()) {
        session.set_keepalive(None);
    }
    super::headers::answer(&mut answer, ctx);
    let bodiless = matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || answer.headers.contains_key(GRPC_STATUS);
    if !bodiless {
        answer.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    if answer.headers.get(header::CACHE_CONTROL).is_none() {
        answer.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
    }
    let empty = body.is_empty() || bodiless || ctx.head.method == Method::HEAD;
    session.write_response_header(Box::new(answer), empty).await?;
    if !empty {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// Whether the rest of the request's body is worth reading to keep the
/// connection. A client that waits for `100 Continue` may never send it, and
/// then the next request would be taken for a body.
fn is_body_small(session: &mut Session, method: &Method) -> bool {
    if *method == Method::GET && session.is_body_empty() {
        return true;
    }
    let headers = &session.req_header().headers;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()?.parse::<u64>().ok());
    let expects = headers.contains_key(header::EXPECT);
    session.is_body_empty()
        || session.is_body_done()
        || (!expects && length.is_some_and(|length| length <= WORTH_READING))
}

fn problem(status: StatusCode, why: Rejection, ctx: &RequestContext) -> Bytes {
    let mut body = BytesMut::with_capacity(384);
    let violated = ctx.limited.refused_by(&ctx.snapshot).filter(|_| why == Rejection::RateLimited);
    let kind: &[u8] = if violated.is_some() { QUOTA_EXCEEDED } else { b"about:blank" };
    body.put_slice(b"{\"type\":\"");
    body.put_slice(kind);
    body.put_slice(b"\",\"title\":\"");
    body.put_slice(status.canonical_reason().unwrap_or("Error").as_bytes());
    body.put_slice(b"\",\"status\":");
    body.put_slice(status.as_str().as_bytes());
    body.put_slice(b",\"detail\":\"");
    body.put_slice(why.detail().as_bytes());
    body.put_slice(b"\",\"flag\":\"");
    body.put_slice(why.flag().as_bytes());
    body.put_slice(b"\",\"request_id\":\"");
    body.put_slice(ctx.request_id.as_bytes());
    body.put_slice(b"\"");
    if let Some(limit) = violated {
        body.put_slice(b",\"violated-policies\":[\"");
        body.put_slice(limit.as_bytes());
        body.put_slice(b"\"]");
    }
    body.put_slice(b"}\n");
    body.freeze()
}

/// What the draft of `RateLimit` calls it; its names are those in `RateLimit-Policy`.
const QUOTA_EXCEEDED: &[u8] = b"https://iana.org/assignments/http-problem-types#quota-exceeded";
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

const GRPC_STATUS: &str = "grpc-status";
const RESOURCE_EXHAUSTED: HeaderValue = HeaderValue::from_static("8");

/// A body up to this is read and thrown away rather than the connection.
const WORTH_READING: u64 = 64 * 1024;
