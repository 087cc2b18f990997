//! Lets a request in: gate, server name, route, who may use it, limits, caps, the body
//! where it is signed, first pick.
//!
//! Every decision is made by a pure function elsewhere (`decide` puts them in their
//! order); this file finds what they ask for and remembers what they said.

use std::time::{Instant, SystemTime};

use http::{HeaderMap, HeaderValue, Method, header};
use pingora::http::RequestHeader;
use pingora_proxy::Session;
use smallvec::SmallVec;

use super::{
    attempt,
    authenticate::{self, Presented},
    body,
    context::RequestContext,
    decide::{self, Outside, decide},
    headers::{TRACEPARENT, X_AMZN_TRACE_ID, X_REQUEST_ID},
    limits::{self, Limited, Which},
    marks::Marks,
    rejection::Rejection,
    spans, waiting,
};
use crate::{
    config::{authentication::AuthenticatorIndex, server::ForwardedField},
    edge::{Connection, StreamGuard, StreamKind},
    gate::Refusal,
    identity::Said,
    route::{Facts, RouteMatch, path},
    snapshot::Snapshot,
    telemetry::{RequestId, TraceContext, random::random},
    tls::TlsFacts,
};

/// The first look, before anything else may answer: finds the connection, runs
/// the gate, and puts the canonical target in the place of the client's.
pub fn examine(session: &mut Session, ctx: &mut RequestContext) -> Result<(), Rejection> {
    ctx.connection = connection(session);
    let raw_head = session.as_http1().map(|http1| http1.get_headers_raw_bytes());
    let length = raw_head.as_ref().map(|raw| raw.len());
    let begun = ctx.connection.as_ref().and_then(|connection| connection.head_read(length));
    ctx.started = begun.unwrap_or_else(Instant::now);
    ctx.wall = SystemTime::now();
    find_client(&session.req_header().headers, ctx);
    // By the request's own snapshot: a reload may have moved the endpoint.
    ctx.tenancy = ctx.snapshot.tenants.of(ctx.principal().vpc_endpoint);
    let request = session.req_header_mut();
    let marks = Marks::of(&request.headers);
    let their_id = request.headers.get(&X_REQUEST_ID).filter(|_| marks.any(Marks::REQUEST_ID));
    ctx.request_id = RequestId::choose(their_id, ctx.believed.has(ForwardedField::XRequestId), random());
    ctx.trace = trace_of(&request.headers, marks, ctx.wall);
    ctx.head.marks = marks;
    let admitted = ctx.snapshot.gate.admit(request, raw_head.as_deref());
    ctx.head.method = request.method.clone();
    ctx.head.version = request.version;
    ctx.head.uri = request.uri.clone();
    ctx.head.host_len = admitted.map_err(Rejection::Malformed)?;
    ctx.head.host = request.headers.get(header::HOST).cloned();
    check_chunks(request, ctx)?;
    forget_spelling(request);
    Ok(())
}

/// The connection has looked at what came with the header; whether that is
/// chunks is known only here.
fn check_chunks(request: &RequestHeader, ctx: &RequestContext) -> Result<(), Rejection> {
    let Some(connection) = ctx.connection.as_ref().filter(|_| ctx.head.marks.any(Marks::HOP)) else {
        return Ok(());
    };
    if request.headers.contains_key(header::TRANSFER_ENCODING) {
        connection.expect_chunks();
    }
    match connection.has_bad_chunks() {
        true => Err(Rejection::Malformed(Refusal::TransferEncoding)),
        false => Ok(()),
    }
}

/// Pingora keeps how the client spelled each field's name in a second map, and
/// writes every field twice. Names have no case (RFC 9110, 5.1; HTTP/2 sends
/// none): they go upstream in their standard spelling or in lower case.
fn forget_spelling(request: &mut RequestHeader) {
    if !request.has_case() {
        return;
    }
    let (blank, ()) = http::Request::new(()).into_parts();
    let parts = http::request::Parts::from(std::mem::replace(request, blank.into()));
    *request = parts.into();
}

/// A field that came twice says nothing.
fn trace_of(headers: &HeaderMap, marks: Marks, now: SystemTime) -> TraceContext {
    let only = |name, mark| {
        if !marks.any(mark) {
            return None;
        }
        let mut lines = headers.get_all(name).iter();
        lines.next().filter(|_| lines.next().is_none()).map(HeaderValue::as_bytes)
    };
    let (parent, amazon) = (only(&TRACEPARENT, Marks::TRACE), only(&X_AMZN_TRACE_ID, Marks::AMAZON));
    TraceContext::new(parent, amazon, now, random())
}

/// Lets a request that was examined in, up to the first endpoint.
pub async fn let_in(session: &mut Session, ctx: &mut RequestContext) -> Result<(), Rejection> {
    let admitted = match ctx.rejection {
        Some(refused) => Err(refused),
        None => admit(session, ctx).await,
    };
    spans::decide(session, ctx);
    admitted?;
    // Boxed, as the next: few bodies are bound.
    if body::is_bound(ctx) {
        Box::pin(body::bind(session, ctx)).await?;
    }
    match pick(session, ctx) {
        // Boxed: almost nobody waits, and every request would carry the room.
        Err(Rejection::Overloaded) => Box::pin(waiting::for_room(session, ctx)).await,
        told => told,
    }
}

/// Finds the route and the upstream. What it finds stands in `ctx`.
async fn admit(session: &mut Session, ctx: &mut RequestContext) -> Result<(), Rejection> {
    check_server_name(session, ctx)?;
    let snapshot = ctx.snapshot.clone();
    let who = ctx.principal();
    let seen = path::matched(ctx.head.uri.path());
    let facts = Facts {
        host: ctx.host(),
        path: &seen,
        query: ctx.head.uri.query(),
        method: &ctx.head.method,
        headers: &session.req_header().headers,
        client: who.address,
        vpc_endpoint: who.vpc_endpoint,
        tenant: who.tenancy.tenant(),
        consumer: None,
        whoever: false,
    };
    let length = content_length(session, ctx);
    let certificate = session.digest().and_then(|digest| {
        let facts = digest.ssl_digest.as_ref()?.extension.get::<TlsFacts>()?;
        facts.client_certificate.as_ref()
    });
    let (headers, tenancy, now) = (facts.headers, ctx.tenancy, ctx.wall);
    let presented = Presented { headers, certificate, tenancy, now, settled: SmallVec::new() };
    let mut traffic = Traffic { snapshot: &snapshot, presented, limited: Limited::default() };
    let mut decision = decide(&snapshot, &facts, ctx.tenancy, length, &mut traffic);
    let begun = decision.unsettled.map(|_| Instant::now());
    while let Some(index) = decision.unsettled {
        authenticate::settle(&snapshot, index, &mut traffic.presented).await;
        decision = decide(&snapshot, &facts, ctx.tenancy, length, &mut traffic);
    }
    ctx.limited = traffic.limited;
    ctx.authenticated = begun.map(|begun| (begun, Instant::now()));
    ctx.route = decision.found.map(|found| found.route.clone());
    ctx.first = decision.first;
    ctx.consumer = decision.consumer;
    ctx.flaw = decision.flaw;
    ctx.rule = decision.rule;
    ctx.preflight = decision.preflight.is_some();
    let is_for_pages = ctx.route.as_ref().is_some_and(|route| route.cors.is_some());
    ctx.origin = is_for_pages.then(|| session.req_header().headers.get(header::ORIGIN).cloned()).flatten();
    ctx.upstream = decision.upstream;
    if let Some(why) = decision.refused {
        return Err(why);
    }
    if ctx.upstream.is_none() {
        return Ok(());
    }
    if ctx.head.version == http::Version::HTTP_2 {
        // A client's closed window ends its stream; HTTP/1's session has its own.
        session.as_downstream_mut().set_write_timeout(Some(ctx.snapshot.limits().write));
    }
    ctx.head.bodiless = is_bodiless(session, ctx);
    ctx.head.is_call = ctx.head.marks.any(Marks::STREAM) && is_call(session, ctx);
    if ctx.head.is_call {
        // Its answer may begin with its end.
        ctx.stream = ctx.connection.as_ref().map(|on| StreamGuard::new(on, StreamKind::Stream));
    } else if !ctx.head.bodiless {
        // What a call sends has no pace: it is what its caller has to say.
        ctx.upload = ctx.connection.as_ref().map(Connection::expect_body);
    }
    Ok(())
}

/// Picks the first endpoint, where the request goes to one.
fn pick(session: &Session, ctx: &mut RequestContext) -> Result<(), Rejection> {
    if ctx.upstream.is_none() {
        return Ok(());
    }
    // The clock costs a call.
    let now = if ctx.attempt.waited { Instant::now() } else { ctx.started };
    attempt::pick(session, ctx, now)
}

/// What counts: limits are taken from, and chance decides.
struct Traffic<'s> {
    snapshot: &'s Snapshot,
    presented: Presented<'s>,
    limited: Limited,
}

impl Outside for Traffic<'_> {
    fn ask(&mut self, authenticator: AuthenticatorIndex) -> Said {
        let said = authenticate::ask(self.snapshot, authenticator, &self.presented);
        if let Some(authenticator) = self.snapshot.authentication.get(authenticator) {
            authenticator.record(&said);
        }
        said
    }

    fn limit(&mut self, found: RouteMatch<'_>, facts: &Facts<'_>, which: Which) -> Result<(), Rejection> {
        let limits = &*self.snapshot.rate_limits;
        let request = limits::Request { snapshot: self.snapshot, limits, found, facts };
        limits::take(&request, which, &mut self.limited)
    }

    fn draw(&mut self) -> u64 {
        fastrand::u64(..)
    }
}

/// Whether no body comes, as far as the header says. In HTTP/2 no field has to say
/// that one does.
fn is_bodiless(session: &mut Session, ctx: &RequestContext) -> bool {
    let head = &ctx.head;
    let by_fields =
        head.version != http::Version::HTTP_2 && head.method == Method::GET && !head.marks.any(Marks::FRAMED);
    by_fields || session.as_mut().is_body_empty()
}

/// Whether it is a call of gRPC as its libraries make them, and its upstream may
/// understand it: what any client may write on any route excuses nothing.
fn is_call(session: &Session, ctx: &RequestContext) -> bool {
    let te = || session.req_header().headers.get(header::TE);
    is_grpc(session, ctx)
        && te().is_some_and(|te| te.as_bytes() == b"trailers")
        && ctx.upstream().is_some_and(|upstream| upstream.knows_calls)
}

pub(super) fn is_grpc(session: &Session, ctx: &RequestContext) -> bool {
    let kind = session.req_header().headers.get(header::CONTENT_TYPE);
    ctx.head.version == http::Version::HTTP_2
        && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Finds out who asks, and which fields count that tell where it came from.
fn find_client(headers: &HeaderMap, ctx: &mut RequestContext) {
    let Some(connection) = &ctx.connection else { return };
    let caller = &connection.caller;
    let behind = caller.vpc_endpoint.as_deref();
    (ctx.believed, ctx.client) = decide::client(&ctx.snapshot, caller.client.ip(), behind, headers);
}

/// A connection carries no request for a host whose client authentication its client did
/// not go through, or would not any more.
fn check_server_name(session: &Session, ctx: &RequestContext) -> Result<(), Rejection> {
    let Some(connection) = &ctx.connection else { return Ok(()) };
    let Some(table) = ctx.snapshot.tls(connection.listener) else { return Ok(()) };
    let facts = session.digest().and_then(|d| d.ssl_digest.as_ref()?.extension.get::<TlsFacts>());
    match facts {
        Some(facts) if table.admits(facts, ctx.host(), SystemTime::now) => Ok(()),
        _ => Err(Rejection::Misdirected),
    }
}

fn connection(session: &Session) -> Option<std::sync::Arc<Connection>> {
    let proxy = session.digest()?.proxy_digest.as_ref()?;
    proxy.user_data.as_ref()?.downcast_ref::<std::sync::Arc<Connection>>().cloned()
}

fn content_length(session: &Session, ctx: &RequestContext) -> Option<u64> {
    if !ctx.head.marks.any(Marks::LENGTH) {
        return None;
    }
    decide::length(&session.req_header().headers)
}

/// Whether a body comes that has, or may have, more bytes than so many.
pub fn uploads(session: &Session, ctx: &RequestContext, more_than: u64) -> bool {
    !ctx.head.bodiless && content_length(session, ctx).is_none_or(|length| length > more_than)
}

/// Whether silence may be part of the answer, if that is what the request asked for: a
/// WebSocket, events, a gRPC stream.
pub fn asks_for_stream(session: &Session, ctx: &RequestContext) -> bool {
    if !ctx.head.marks.any(Marks::STREAM) {
        return false;
    }
    let headers = &session.req_header().headers;
    let starts = |name, prefix: &[u8]| {
        headers.get(name).is_some_and(|value: &HeaderValue| value.as_bytes().starts_with(prefix))
    };
    session.is_upgrade_req()
        || starts(header::ACCEPT, b"text/event-stream")
        || starts(header::CONTENT_TYPE, b"application/grpc")
}
