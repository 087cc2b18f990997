//! What an attempt says of its endpoint, and whether another is made.
//!
//! Computed from scratch: Pingora's own flag is set for HTTP/2 errors whatever
//! the method (PINGORA.md, 5). Who is tried next is picked with the decision, so
//! that a retry never ends at nobody. What an attempt says of its endpoint is
//! told to the upstream once, before that pick.

use std::time::Instant;

use pingora::{Error, ErrorType};
use pingora_proxy::Session;

use super::{
    attempt::{draw, hold, is_answered},
    context::RequestContext,
    fault::{self, Fault},
    record,
};
use crate::{
    telemetry::metrics::AttemptResult,
    upstream::{Lease, Outcome, Tried},
};

/// An answer's header came. What it says of the endpoint, if it is bad; and
/// whether another endpoint is asked instead.
pub fn answered(session: &Session, ctx: &mut RequestContext, status: u16) -> Result<(), Box<Error>> {
    let now = Instant::now();
    ctx.attempt.first_byte = ctx.attempt.began.map(|began| now.saturating_duration_since(began));
    record::attempt(ctx, AttemptResult::Ok);
    if let Some(recording) = &mut ctx.recording {
        recording.answered(status);
    }
    if status < 500 {
        return Ok(());
    }
    observe(ctx, Outcome::of(status), now);
    let wanted = ctx.upstream().is_some_and(|upstream| upstream.retries.on_status(status));
    if wanted && is_repeatable(session, ctx) && try_again(ctx, Arrived::Yes, now) {
        ctx.attempt.first_byte = None;
        let mut again = Error::explain(ErrorType::Custom(TRY_ELSEWHERE), "the status is tried elsewhere");
        again.set_retry(true);
        return Err(again.into_up());
    }
    Ok(())
}

/// The request is over without a fault: a whole answer is a good one.
pub fn ended_well(ctx: &mut RequestContext) {
    if ctx.attempt.first_byte.is_some() && !ctx.attempt.judged {
        let now = ctx.attempt.began.unwrap_or(ctx.started);
        observe(ctx, Outcome::Good, now);
    }
}

/// No connection: nothing was sent, so every method may try elsewhere.
pub fn failed_to_connect(ctx: &mut RequestContext, mut error: Box<Error>) -> Box<Error> {
    let now = Instant::now();
    note(ctx, &error, AttemptResult::ConnectError);
    if let Some(outcome) = fault::of_connecting(error.etype()) {
        observe(ctx, outcome, now);
    }
    let wanted = ctx.upstream().is_some_and(|upstream| upstream.retries.on_connect);
    let again = wanted && try_again(ctx, Arrived::No, now);
    error.set_retry(again);
    error
}

/// The connection failed under the request: only what may be sent twice is.
pub fn failed_while_proxying(
    session: &mut Session,
    ctx: &mut RequestContext,
    mut error: Box<Error>,
) -> Box<Error> {
    if *error.etype() == ErrorType::Custom(TRY_ELSEWHERE) {
        error.set_retry(true);
        return error;
    }
    if *error.etype() == ErrorType::InvalidCert {
        // Found out after the handshake: to the request it is no connection.
        return failed_to_connect(ctx, error);
    }
    if *error.etype() == ErrorType::ReadTimedout && !is_answered(session) && !session.is_body_done() {
        // Of course the endpoint said nothing: it waited for the body too. Nothing of
        // that lay here: an endpoint that takes nothing of what does has time by `write`.
        error.as_down();
    }
    let fault = Fault::of(&error, ctx);
    let again = fault.is_some_and(|fault| {
        let now = Instant::now();
        note(ctx, &error, fault.result(error.etype()));
        // Of a stream silence says nothing: a client that says nothing makes one. Not so
        // of what takes nothing, nor of a call that was asked whole and has no answer.
        let read = *error.etype() == ErrorType::ReadTimedout;
        let is_streams = fault == Fault::Silent && read && ctx.stream.is_some() && is_answered(session);
        if let Some(outcome) = fault.outcome().filter(|_| !is_streams) {
            observe(ctx, outcome, now);
        }
        let idempotent = is_idempotent(session, ctx) || fault == Fault::Unseen;
        let wanted = ctx.upstream().is_some_and(|upstream| fault.is_wanted(&upstream.retries));
        wanted && idempotent && is_at_hand(session) && try_again(ctx, Arrived::of(fault), now)
    });
    error.set_retry(again);
    error
}

pub(super) fn is_repeatable(session: &Session, ctx: &RequestContext) -> bool {
    is_idempotent(session, ctx) && is_at_hand(session)
}

fn is_idempotent(session: &Session, ctx: &RequestContext) -> bool {
    ctx.route.as_ref().is_some_and(|route| route.may_repeat(&session.req_header().method))
}

/// Whether all of the request can be sent again, and the client saw nothing.
fn is_at_hand(session: &Session) -> bool {
    !session.as_ref().retry_buffer_truncated() && !is_answered(session) && !session.is_upgrade_req()
}

/// Whether an attempt was load to the service.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Arrived {
    /// It was, so another is more of it, and counts against the budget.
    Yes,
    /// Its host was not reached: a zone that is gone must not use up the budget.
    No,
    /// Nor was there anything wrong with the endpoint: the next attempt may go
    /// there again, if there is nobody else.
    Nowhere,
}

impl Arrived {
    fn of(fault: Fault) -> Self {
        match fault {
            Fault::Silent | Fault::Reset => Self::Yes,
            Fault::Unreached => Self::No,
            Fault::Unseen | Fault::Stale => Self::Nowhere,
        }
    }
}

/// Picks who is asked next, if attempts, time and budget are left.
fn try_again(ctx: &mut RequestContext, arrived: Arrived, now: Instant) -> bool {
    let Some(upstream) = ctx.upstream().cloned() else { return false };
    let spent = now.saturating_duration_since(ctx.started);
    if ctx.attempt.count >= upstream.retries.attempts || spent >= upstream.timeouts.request {
        return false;
    }
    ctx.attempt.lease.iter_mut().for_each(Lease::give_back);
    // Without another endpoint the answer is what went wrong at this one.
    let mut next = upstream.pick(&ctx.attempt.tried, draw(ctx), now);
    if next.is_err() && arrived == Arrived::Nowhere {
        ctx.attempt.tried = Tried::default();
        next = upstream.pick(&ctx.attempt.tried, draw(ctx), now);
    }
    let Ok(lease) = next else { return false };
    if arrived == Arrived::Yes && !upstream.may_retry(now) {
        record::retry(ctx, false);
        return false;
    }
    record::retry(ctx, true);
    hold(ctx, lease);
    true
}

/// Tells the upstream what this attempt says of its endpoint.
fn observe(ctx: &mut RequestContext, outcome: Outcome, now: Instant) {
    ctx.attempt.judged = true;
    if let (Some(upstream), Some(lease)) = (ctx.upstream(), &ctx.attempt.lease) {
        let trial = upstream.observe(lease.index(), outcome, now);
        trial.into_iter().for_each(|trial| drop(tokio::spawn(trial.run())));
    }
}

fn note(ctx: &mut RequestContext, error: &Error, result: AttemptResult) {
    ctx.error = Some(error.etype().as_str());
    record::attempt(ctx, result);
    if let Some(recording) = &mut ctx.recording {
        recording.failed(result.word(), Instant::now());
    }
}

/// Ours, for an answer whose status is tried at another endpoint.
const TRY_ELSEWHERE: &str = "TryElsewhere";
