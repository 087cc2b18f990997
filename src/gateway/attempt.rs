//! One try towards one endpoint: picks it, prepares its connection, and judges
//! what went wrong.
//!
//! Whether to try again is computed here from scratch: Pingora's own flag is
//! set for HTTP/2 errors whatever the method (PINGORA.md, 5).

use std::time::{Duration, Instant};

use http::header;
use pingora::{
    Error, ErrorSource, ErrorType,
    http::ResponseHeader,
    protocols::Digest,
    upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy},
};
use pingora_proxy::Session;

use super::{admission, context::RequestContext, marks::Marks, rejection::Rejection};
use crate::{
    gate::Refusal,
    telemetry::metrics::AttemptResult,
    upstream::{Tried, Unavailable},
};

/// Picks the endpoint of the next attempt and holds its lease.
pub fn pick(ctx: &mut RequestContext, now: Instant) -> Result<(), Rejection> {
    let upstream = ctx.upstream().ok_or(Rejection::Internal)?.clone();
    let lease = upstream.pick(&ctx.attempt.tried, fastrand::u64(..), now).map_err(unavailable)?;
    ctx.attempt.lease = Some(lease);
    ctx.attempt.picked = true;
    Ok(())
}

/// The endpoint of this attempt, ready to connect to: the one that admission
/// picked, or the next.
pub fn next_peer(session: &mut Session, ctx: &mut RequestContext) -> Result<Box<HttpPeer>, Rejection> {
    // The first attempt follows the header at once; the clock costs a call.
    let now = if ctx.attempt.count == 0 { ctx.started } else { Instant::now() };
    if !ctx.attempt.picked {
        pick(ctx, now)?;
    }
    let upstream = ctx.upstream().ok_or(Rejection::Internal)?.clone();
    let lease = ctx.attempt.lease.as_ref().ok_or(Rejection::Internal)?;
    let mut peer = Box::new(upstream.endpoint(lease).ok_or(Rejection::Internal)?.peer());
    if !ctx.head.marks.any(Marks::HOP) {
        // Nothing speaks of the client's connection: Pingora need not look for
        // ten fields, one after the other, that are not there.
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::preserve();
    }
    if admission::is_stream(session, ctx) {
        peer.options.read_timeout = Some(upstream.timeouts.stream_idle);
    } else {
        let left = upstream.timeouts.request.checked_sub(now - ctx.started);
        let left = left.filter(|left| !left.is_zero()).ok_or(Rejection::DeadlineExceeded)?.max(LEAST_READ);
        let http2 = peer.options.alpn.get_max_http_version() > 1;
        let patient = http2 && admission::uploads(session, ctx);
        peer.options.read_timeout = Some(if patient { left } else { upstream.timeouts.read.min(left) });
    }
    ctx.attempt.tried.insert(lease.index());
    ctx.attempt.count += 1;
    ctx.attempt.picked = false;
    ctx.attempt.began = Some(now);
    // A retry sends the body again, from Pingora's buffer.
    ctx.body_in = 0;
    Ok(peer)
}

/// Notes how the connection came about.
pub fn connected(ctx: &mut RequestContext, reused: bool, digest: Option<&Digest>) {
    ctx.attempt.reused = reused;
    if reused {
        ctx.attempt.connect = None;
        return;
    }
    let layers = digest.map(|d| d.timing_digest.as_slice()).unwrap_or_default();
    let spent = layers.iter().flatten().filter_map(|layer| layer.establishment_duration);
    ctx.attempt.connect = Some(spent.sum());
}

/// The endpoint speaks another protocol from here on, if the client asked for
/// it: Pingora would pass a 101 to any client, as one more interim answer.
pub fn switch_protocols(session: &mut Session) -> Result<(), Box<Error>> {
    if !session.is_upgrade_req() {
        return Err(Error::explain(ErrorType::InvalidHTTPHeader, "a 101 that nobody asked for").into_up());
    }
    // The client's silence alone ends nothing: `stream_idle` looks at both sides.
    session.as_downstream_mut().set_read_timeout(None);
    Ok(())
}

/// Refuses an answer whose body is in another coding than `chunked`: it would
/// end with the connection (RFC 9112, 6.1), and the client's goes on.
pub fn check_coding(answer: &ResponseHeader) -> Result<(), Box<Error>> {
    let mut codings = answer.headers.get_all(header::TRANSFER_ENCODING).iter();
    let known = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if known && codings.next().is_none() {
        return Ok(());
    }
    Err(Error::explain(ErrorType::InvalidHTTPHeader, "a transfer coding other than chunked").into_up())
}

/// No connection: nothing was sent, so every method may try elsewhere.
pub fn failed_to_connect(ctx: &mut RequestContext, mut error: Box<Error>) -> Box<Error> {
    note(ctx, &error, AttemptResult::ConnectError);
    let again = may_try_again(ctx);
    error.set_retry(again);
    error
}

/// The connection failed under the request: only what may be sent twice is.
pub fn failed_while_proxying(
    session: &mut Session,
    ctx: &mut RequestContext,
    mut error: Box<Error>,
) -> Box<Error> {
    let asking = session.response_written().is_none() && !session.is_upgrade_req();
    if *error.etype() == ErrorType::ReadTimedout && asking && !session.is_body_done() {
        // Of course the endpoint said nothing: it waited for the body too.
        error.as_down();
    }
    let upstream = matches!(error.esource(), ErrorSource::Upstream);
    if upstream {
        note(ctx, &error, result_of(error.etype()));
    }
    let unseen = was_not_processed(&error);
    if upstream && (ctx.attempt.reused || unseen) {
        // A connection out of the pool had ended: that says nothing about its endpoint.
        ctx.attempt.tried = Tried::default();
    }
    let silent = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
    let repeatable = (unseen || session.req_header().method.is_idempotent())
        && !session.as_ref().retry_buffer_truncated()
        && !is_answered(session)
        && !session.is_upgrade_req();
    let again = upstream && !silent && repeatable && may_try_again(ctx);
    error.set_retry(again);
    error
}

/// HTTP/2 says so of a request that it did not look at (RFC 9113, 8.7): by
/// REFUSED_STREAM, or by a GOAWAY that does not reach up to it.
fn was_not_processed(error: &Error) -> bool {
    let Some(cause) = error.root_cause().downcast_ref::<h2::Error>() else { return false };
    let refused = cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
    let beyond = cause.is_go_away() && cause.reason() == Some(h2::Reason::NO_ERROR);
    cause.is_remote() && (refused || beyond)
}

/// Whether the client got a header that is more than an interim answer.
pub fn is_answered(session: &Session) -> bool {
    let switches = http::StatusCode::SWITCHING_PROTOCOLS;
    session.response_written().is_some_and(|a| !a.status.is_informational() || a.status == switches)
}

/// What a transport error means to the client. The one place where an error
/// becomes a status.
pub fn verdict(ctx: &RequestContext, error: &Error) -> Rejection {
    use ErrorType as T;
    if let Some(known) = ctx.rejection {
        return known;
    }
    if ctx.connection.as_ref().is_some_and(|connection| connection.has_bad_chunks()) {
        return Rejection::Malformed(Refusal::TransferEncoding);
    }
    let connecting = ctx.attempt.first_byte.is_none() && ctx.attempt.connect.is_none();
    match (error.esource(), error.etype()) {
        (ErrorSource::Downstream, T::ReadTimedout) => Rejection::ClientTimeout,
        (ErrorSource::Downstream | ErrorSource::Unset | ErrorSource::Internal, T::InvalidHTTPHeader)
        | (ErrorSource::Downstream, T::Custom(BAD_CHUNK | BAD_TRAILERS)) => {
            Rejection::Malformed(Refusal::TransferEncoding)
        }
        (ErrorSource::Downstream, _) => Rejection::ClientGone,
        (_, T::ConnectTimedout | T::TLSHandshakeTimedout) => Rejection::ConnectTimeout,
        (_, T::ConnectRefused | T::ConnectNoRoute | T::ConnectError | T::SocketError | T::BindError) => {
            Rejection::ConnectFailed
        }
        (_, T::TLSHandshakeFailure | T::InvalidCert | T::HandshakeError | T::TLSWantX509Lookup) => {
            Rejection::UpstreamTls
        }
        (ErrorSource::Upstream, T::ReadTimedout | T::WriteTimedout) => Rejection::UpstreamTimeout,
        (ErrorSource::Upstream, T::InvalidHTTPHeader | T::H1Error | T::InvalidH2 | T::H2Error) => {
            Rejection::UpstreamProtocol
        }
        (ErrorSource::Upstream, T::ConnectionClosed) if connecting && !ctx.attempt.reused => {
            Rejection::UpstreamReset
        }
        (ErrorSource::Upstream, _) => Rejection::UpstreamReset,
        _ => Rejection::Internal,
    }
}

fn may_try_again(ctx: &RequestContext) -> bool {
    let Some(upstream) = ctx.upstream() else { return false };
    ctx.attempt.count < upstream.retries.attempts
        && ctx.started.elapsed() < upstream.timeouts.request
        // Without another endpoint the answer is what went wrong at this one.
        && upstream.pick(&ctx.attempt.tried, 0, Instant::now()).is_ok()
}

fn unavailable(why: Unavailable) -> Rejection {
    match why {
        Unavailable::NoEndpoint | Unavailable::Panic => Rejection::NoEndpoint,
        Unavailable::Full => Rejection::Overloaded,
    }
}

fn note(ctx: &mut RequestContext, error: &Error, result: AttemptResult) {
    ctx.error = Some(error.etype().as_str());
    if let (Some(index), Some(recorder)) = (ctx.upstream, &ctx.recorder) {
        recorder.attempt(&ctx.snapshot, index, result);
    }
}

fn result_of(kind: &ErrorType) -> AttemptResult {
    use ErrorType as T;
    match kind {
        T::ReadTimedout | T::WriteTimedout => AttemptResult::Timeout,
        T::InvalidHTTPHeader | T::H1Error | T::InvalidH2 | T::H2Error => AttemptResult::ProtocolError,
        _ => AttemptResult::Reset,
    }
}

/// Pingora's names of its private errors for a chunked body that is none.
const BAD_CHUNK: &str = "InvalidChunk";
const BAD_TRAILERS: &str = "InvalidTrailerEnd";

/// A deadline that is almost over must not cut an answer that has begun.
const LEAST_READ: Duration = Duration::from_secs(1);
