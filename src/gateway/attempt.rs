//! One try towards one endpoint: picks it, prepares its connection, and judges
//! what went wrong.
//!
//! Does not own whether another follows: `again` does.

use std::time::{Duration, Instant};

use http::header;
use pingora::{
    Error, ErrorSource, ErrorType,
    http::ResponseHeader,
    protocols::Digest,
    upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy},
};
use pingora_proxy::Session;

use super::{
    admission, again, balance_key, context::RequestContext, fault, marks::Marks, rejection::Rejection, spans,
    streams,
};
use crate::{
    gate::Refusal,
    upstream::{Lease, Unavailable, Upstream, peer},
};

/// Picks the endpoint of the first attempt and holds its lease.
pub fn pick(session: &Session, ctx: &mut RequestContext, now: Instant) -> Result<(), Rejection> {
    let upstream = ctx.upstream().ok_or(Rejection::Internal)?.clone();
    let (headers, who) = (&session.req_header().headers, ctx.principal());
    let key = upstream.hash_key.as_ref();
    ctx.attempt.key = key.and_then(|key| balance_key::hash(key, headers, who, &ctx.snapshot.tenants));
    upstream.begin(now);
    if upstream.has_queue() {
        return Err(Rejection::Overloaded);
    }
    let lease = upstream.pick(&ctx.attempt.tried, draw(ctx), now).map_err(unavailable)?;
    hold(ctx, lease);
    Ok(())
}

/// The same key draws the same.
pub(super) fn draw(ctx: &RequestContext) -> u64 {
    ctx.attempt.key.unwrap_or_else(|| fastrand::u64(..))
}

pub(super) fn hold(ctx: &mut RequestContext, lease: Lease) {
    ctx.attempt.lease = Some(lease);
    ctx.attempt.picked = true;
}

/// The endpoint of this attempt, ready to connect to: the one that admission or
/// the decision to try again picked.
pub fn next_peer(session: &mut Session, ctx: &mut RequestContext) -> Result<Box<HttpPeer>, Rejection> {
    // The first attempt follows the header at once; the clock costs a call.
    let at_once = ctx.attempt.count == 0 && !ctx.attempt.waited;
    let now = if at_once { ctx.started } else { Instant::now() };
    if !ctx.attempt.picked {
        return Err(Rejection::Internal);
    }
    let upstream = ctx.upstream().ok_or(Rejection::Internal)?.clone();
    let lease = ctx.attempt.lease.as_ref().ok_or(Rejection::Internal)?;
    let mut peer = Box::new(upstream.endpoint(lease).ok_or(Rejection::Internal)?.peer());
    if !ctx.head.marks.any(Marks::HOP) {
        // Nothing speaks of the client's connection: Pingora need not look for
        // ten fields, one after the other, that are not there.
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::preserve();
    }
    let streams = admission::asks_for_stream(session, ctx);
    session.stream_silence = streams.then_some((upstream.timeouts.stream_idle, streams::is_stream));
    let http2 = peer.options.alpn.get_max_http_version() > 1;
    // Over HTTP/2 a hundred bodies share what the host takes.
    if streams || admission::uploads(session, ctx, if http2 { 0 } else { FITS }) {
        peer::make_patient(&mut peer, &upstream.timeouts);
    }
    if ctx.head.is_call {
        peer.options.read_timeout = Some(upstream.timeouts.stream_idle);
    } else {
        let left = upstream.timeouts.request.checked_sub(now - ctx.started);
        let left = left.filter(|left| !left.is_zero()).ok_or(Rejection::DeadlineExceeded)?.max(LEAST_READ);
        let uploads = http2 && admission::uploads(session, ctx, AT_ONCE);
        peer.options.read_timeout =
            Some(if uploads { left } else { silence(session, ctx, &upstream).min(left) });
    }
    ctx.attempt.tried.insert(lease.index());
    ctx.attempt.count += 1;
    ctx.attempt.picked = false;
    ctx.attempt.judged = false;
    ctx.attempt.first_byte = None;
    ctx.attempt.began = Some(now);
    spans::attempt(ctx, now);
    // A retry sends the body again, from Pingora's buffer or from ours.
    ctx.body_in = ctx.bound.begin();
    Ok(peer)
}

/// How long the endpoint may say nothing: less while there are others that may be
/// asked.
fn silence(session: &Session, ctx: &RequestContext, upstream: &Upstream) -> Duration {
    let is_last = ctx.attempt.count + 1 >= upstream.retries.attempts;
    let given_up = upstream.retries.per_try_timeout;
    let given_up = given_up.filter(|_| !is_last && again::is_repeatable(session, ctx));
    given_up.map_or(upstream.timeouts.read, |given_up| given_up.min(upstream.timeouts.read))
}

/// Notes how the connection came about.
///
/// # Errors
/// When it is to none of the upstream's; nothing was sent.
pub fn connected(ctx: &mut RequestContext, reused: bool, digest: Option<&Digest>) -> pingora::Result<()> {
    peer::fit(digest.and_then(|digest| digest.ssl_digest.as_deref()))?;
    ctx.attempt.reused = reused;
    if let Some(recording) = &mut ctx.recording {
        recording.connected(reused);
    }
    if reused {
        ctx.attempt.connect = None;
        return Ok(());
    }
    let layers = digest.map(|d| d.timing_digest.as_slice()).unwrap_or_default();
    let spent = layers.iter().flatten().filter_map(|layer| layer.establishment_duration);
    ctx.attempt.connect = Some(spent.sum());
    Ok(())
}

/// The endpoint speaks another protocol from here on, if the client asked for
/// it: Pingora would pass a 101 to any client, as one more interim answer.
pub fn switch_protocols(session: &mut Session) -> Result<(), Box<Error>> {
    let asked = session.req_header().headers.get(header::UPGRADE);
    let asked = asked.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !session.is_upgrade_req() || !asked {
        return Err(Error::explain(ErrorType::InvalidHTTPHeader, "a 101 that nobody asked for").into_up());
    }
    // The client's silence alone ends nothing: `stream_idle` looks at both sides.
    session.as_downstream_mut().set_read_timeout(None);
    Ok(())
}

/// Refuses an answer whose body is in another coding than `chunked`: it would
/// end with the connection (RFC 9112, 6.1), and the client's goes on. Of one
/// with a length beside its chunks Pingora took the length off (6.3).
pub fn check_coding(answer: &ResponseHeader) -> Result<(), Box<Error>> {
    let mut codings = answer.headers.get_all(header::TRANSFER_ENCODING).iter();
    let known = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if known && codings.next().is_none() {
        return Ok(());
    }
    Err(Error::explain(ErrorType::InvalidHTTPHeader, "a transfer coding other than chunked").into_up())
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
    match &ctx.connection {
        Some(connection) if connection.has_bad_chunks() => {
            return Rejection::Malformed(Refusal::TransferEncoding);
        }
        Some(connection) if connection.is_too_slow() => return Rejection::ClientTimeout,
        _ => {}
    }
    let connecting = ctx.attempt.first_byte.is_none() && ctx.attempt.connect.is_none();
    match (error.esource(), error.etype()) {
        (ErrorSource::Downstream, T::ReadTimedout) => Rejection::ClientTimeout,
        (ErrorSource::Downstream | ErrorSource::Unset | ErrorSource::Internal, T::InvalidHTTPHeader)
        | (ErrorSource::Downstream, T::Custom(BAD_CHUNK | BAD_TRAILERS)) => {
            Rejection::Malformed(Refusal::TransferEncoding)
        }
        (ErrorSource::Downstream, _) => Rejection::ClientGone,
        (_, T::ConnectTimedout | T::ConnectRefused | T::ConnectNoRoute | T::ConnectError) if is_down(ctx) => {
            Rejection::NoEndpoint
        }
        (_, T::ConnectTimedout | T::TLSHandshakeTimedout) => Rejection::ConnectTimeout,
        (_, T::ConnectRefused | T::ConnectNoRoute | T::ConnectError | T::SocketError | T::BindError) => {
            Rejection::ConnectFailed
        }
        (_, T::TLSHandshakeFailure | T::InvalidCert | T::HandshakeError | T::TLSWantX509Lookup) => {
            Rejection::UpstreamTls
        }
        (ErrorSource::Upstream, T::ReadTimedout | T::WriteTimedout) => Rejection::UpstreamTimeout,
        (ErrorSource::Upstream, _) if fault::is_unreached(error) => Rejection::UpstreamTimeout,
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

/// Nobody was in service, and it was so: not one endpoint's fault.
fn is_down(ctx: &RequestContext) -> bool {
    ctx.upstream().is_some_and(|upstream| upstream.is_down(Instant::now()))
}

/// What it means to the client that there is nowhere to go.
pub(super) fn unavailable(why: Unavailable) -> Rejection {
    match why {
        Unavailable::NoEndpoint | Unavailable::Panic => Rejection::NoEndpoint,
        Unavailable::Full => Rejection::Overloaded,
    }
}

/// A body up to this comes with its header, or soon after. Over HTTP/2 Pingora
/// waits for the answer from the request's header on, not from its body's end:
/// silence of the endpoint during a longer upload is none.
const AT_ONCE: u64 = 64 * 1024;

/// A body up to this fits into what any host takes before its service reads.
const FITS: u64 = 16 * 1024;

/// Pingora's names of its private errors for a chunked body that is none.
const BAD_CHUNK: &str = "InvalidChunk";
const BAD_TRAILERS: &str = "InvalidTrailerEnd";

/// A deadline that is almost over must not cut an answer that has begun.
const LEAST_READ: Duration = Duration::from_secs(1);
