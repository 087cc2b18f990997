//! What of a request is recorded for its trace, where it is recorded at all.
//!
//! Every call but [`decide`] is a branch and nothing else for other requests.

use std::{sync::Arc, time::Instant};

use http::HeaderMap;
use pingora_proxy::Session;

use super::{
    context::RequestContext,
    headers::{TRACEPARENT, TRACESTATE, X_AMZN_TRACE_ID},
    marks::Marks,
};
use crate::{
    config::{server::ForwardedField, tracing::Traceparent},
    telemetry::{
        random::random,
        spans::{
            Recording, Target,
            caller::{self, Caller},
        },
    },
    upstream::Lease,
};

/// Decides, once for a request whose route is known, if it has one.
pub fn decide(session: &Session, ctx: &mut RequestContext) {
    let Some(tracing) = ctx.snapshot.tracing.as_deref() else { return };
    let headers = &session.req_header().headers;
    let (caller, believed) = caller(headers, ctx);
    let own = ctx.route.as_ref().and_then(|route| route.trace_share);
    if tracing.sampler.takes(ctx.trace.trace_id_bytes(), caller.sampled, believed, own) {
        let mut recording = Recording::new(caller, ctx.started);
        if let Some((begun, ended)) = ctx.authenticated {
            recording.authenticated(begun, ended);
        }
        ctx.recording = Some(Box::new(recording));
    }
}

/// What the field says that names the trace, and whether its word counts.
fn caller(headers: &HeaderMap, ctx: &RequestContext) -> (Caller, bool) {
    if ctx.trace.keeps_traceparent() {
        let value = headers.get(&TRACEPARENT).map(|value| Caller::of_traceparent(value.as_bytes()));
        return (value.unwrap_or_default(), ctx.believed.has(ForwardedField::Traceparent));
    }
    if ctx.trace.keeps_amazon() {
        let value = headers.get(&X_AMZN_TRACE_ID).map(|value| Caller::of_amazon(value.as_bytes()));
        return (value.unwrap_or_default(), ctx.believed.has(ForwardedField::XAmznTraceId));
    }
    (Caller::default(), false)
}

/// An attempt begins at the endpoint whose lease is held.
pub fn attempt(ctx: &mut RequestContext, now: Instant) {
    if ctx.recording.is_none() {
        return;
    }
    let target = ctx.attempt.lease.as_ref().and_then(|lease| target(ctx, lease));
    if let (Some(recording), Some(target)) = (&mut ctx.recording, target) {
        recording.attempt(target, now);
    }
}

fn target(ctx: &RequestContext, lease: &Lease) -> Option<Target> {
    let endpoint = ctx.upstream()?.endpoint(lease)?;
    Some(Target { address: endpoint.address, zone: endpoint.zone.as_ref().map(Arc::clone) })
}

/// Writes what names the request's trace towards the upstream.
pub fn tell(headers: &mut HeaderMap, ctx: &RequestContext) {
    if ctx.head.marks.any(Marks::TRACE) && !ctx.trace.keeps_traceparent() {
        headers.remove(&TRACEPARENT);
        headers.remove(&TRACESTATE);
    }
    if let Some(recording) = &ctx.recording {
        return tell_recorded(headers, ctx, recording);
    }
    let make = ctx.snapshot.config().tracing.traceparent;
    if make != Traceparent::Keep && !ctx.trace.keeps_traceparent() {
        let sampled = make == Traceparent::MakeSampled;
        if let Some(made) = ctx.trace.new_traceparent(random(), sampled) {
            headers.insert(&TRACEPARENT, made);
        }
    }
    if let Some(made) = ctx.trace.new_amazon() {
        headers.insert(&X_AMZN_TRACE_ID, made);
    }
    if ctx.snapshot.tracing.is_some() {
        take_back(headers, ctx);
    }
}

/// The attempt is the parent of what its endpoint does.
fn tell_recorded(headers: &mut HeaderMap, ctx: &RequestContext, recording: &Recording) {
    if let Some(made) = recording.traceparent(&ctx.trace) {
        headers.insert(&TRACEPARENT, made);
    }
    if let Some(made) = recording.amazon(&ctx.trace, headers.get(&X_AMZN_TRACE_ID)) {
        headers.insert(&X_AMZN_TRACE_ID, made);
    }
}

/// A request that is not recorded does not go on as one that is: a flag that did not
/// count here would count behind.
fn take_back(headers: &mut HeaderMap, ctx: &RequestContext) {
    if ctx.trace.keeps_traceparent()
        && let Some(came) = headers.get(&TRACEPARENT)
        && Caller::of_traceparent(came.as_bytes()).sampled == Some(true)
        && let Some(taken_back) = caller::unsampled(came.as_bytes())
    {
        headers.insert(&TRACEPARENT, taken_back);
    }
    if ctx.trace.keeps_amazon()
        && let Some(came) = headers.get(&X_AMZN_TRACE_ID)
        && Caller::of_amazon(came.as_bytes()).sampled == Some(true)
        && let Some(taken_back) = caller::amazon(came.as_bytes(), ctx.trace.trace_id_bytes(), None, false)
    {
        headers.insert(&X_AMZN_TRACE_ID, taken_back);
    }
}
