//! `impl ProxyHttp`: what happens to a request, phase by phase.
//!
//! This file only delegates. `admission` lets a request in as `decide` says, `limits`
//! asks the limits, `body` reads what is signed, `waiting` waits for room, `attempt` tries
//! an endpoint, `again` decides whether another is tried, `headers` writes what is sent on
//! and `sign` vouches for it, `reply` and `key_set` answer ourselves, `record` writes it
//! down; `spans` notes what its trace is to show. `streams` tells answers that may go on for long. `explain` tells what all of them would do.

pub mod admission;
pub mod again;
pub mod attempt;
pub mod authenticate;
pub mod balance_key;
pub mod body;
mod content_digest;
pub mod context;
pub mod decide;
pub mod explain;
pub mod fault;
pub mod forwarded;
pub mod headers;
pub mod hops;
pub mod key_set;
pub mod limits;
pub mod marks;
pub mod record;
pub mod rejection;
pub mod reply;
pub mod sign;
pub mod spans;
pub mod streams;
pub mod waiting;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora::{
    Error, ErrorSource, ErrorType, Result,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    protocols::Digest,
    upstreams::peer::HttpPeer,
};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use context::RequestContext;
use record::Recorder;
use rejection::Rejection;

use crate::{gate::Refusal, route::Action, snapshot::Current};

/// The one `ProxyHttp` implementation.
pub struct Gateway {
    current: Arc<Current>,
    recorder: Arc<Recorder>,
}

impl Gateway {
    /// Serves what `current` holds and writes down with `recorder`.
    pub fn new(current: Arc<Current>, recorder: Arc<Recorder>) -> Self {
        Self { current, recorder }
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    // Boxed: Pingora moves it from future to future.
    type CTX = Box<RequestContext>;

    fn new_ctx(&self) -> Box<RequestContext> {
        Box::new(RequestContext::new(self.current.load(), self.recorder.clone()))
    }

    // No modules: Pingora's compression would cost every request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Box<RequestContext>) -> Result<()> {
        ctx.rejection = admission::examine(session, ctx).err();
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Box<RequestContext>) -> Result<bool> {
        let admitted = admission::let_in(session, ctx).await;
        if admitted == Err(Rejection::ClientGone) {
            let mut gone = refuse(ctx, Rejection::ClientGone);
            gone.as_down();
            return Err(gone);
        }
        if let Err(why) = admitted {
            return reply::reject(session, ctx, why).await.map(|()| true);
        }
        let Some(route) = ctx.route.clone() else { return Ok(false) };
        if let (true, Some(cors)) = (ctx.preflight, &route.cors) {
            return reply::preflight(session, ctx, cors).await.map(|()| true);
        }
        match &route.action {
            Action::Forward(_) => Ok(false),
            Action::Redirect(to) => reply::redirect(session, ctx, to).await.map(|()| true),
            Action::Respond(with) => reply::respond(session, ctx, with).await.map(|()| true),
            Action::KeySet => key_set::respond(session, ctx).await.map(|()| true),
        }
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut Box<RequestContext>,
    ) -> Result<Box<HttpPeer>> {
        attempt::next_peer(session, ctx).map_err(|why| refuse(ctx, why))
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        digest: Option<&Digest>,
        ctx: &mut Box<RequestContext>,
    ) -> Result<()> {
        attempt::connected(ctx, reused, digest)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Box<RequestContext>,
    ) -> Result<()> {
        headers::prepare(session, request, ctx).inspect_err(|why| {
            // A rewrite made no path; without a word this reads as a bad framing.
            if *why.etype() == ErrorType::InvalidHTTPHeader {
                ctx.rejection = Some(Rejection::Malformed(Refusal::Path));
            }
        })?;
        sign::sign(session, request, ctx).await.map_err(|why| refuse(ctx, why))
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Box<RequestContext>,
    ) -> Result<()> {
        // Without a piece it is the end, also where trailers follow.
        let end = end || body.is_none();
        if end {
            ctx.upload = None;
        }
        ctx.body_in += body.as_ref().map_or(0, |chunk| chunk.len() as u64);
        let max = ctx.route.as_ref().map_or(u64::MAX, |route| route.max_body);
        // What a WebSocket sends is no body, and has no end.
        let passed = match ctx.body_in > max && !session.was_upgraded() {
            true => Err(Rejection::BodyTooLarge),
            false => ctx.bound.pass(body, end),
        };
        // The client's: after any other error Pingora waits for what an HTTP/2 upstream
        // has to say of half a body.
        passed.map_err(|why| refuse(ctx, why).into_down())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        ctx: &mut Box<RequestContext>,
    ) -> Result<()> {
        let switches = answer.status == http::StatusCode::SWITCHING_PROTOCOLS;
        if switches {
            attempt::switch_protocols(session)?;
            // The handshake may have had a body of which the rest will never come.
            ctx.upload = None;
        }
        attempt::check_coding(answer)?;
        if switches || !answer.status.is_informational() {
            again::answered(session, ctx, answer.status.as_u16())?;
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        ctx: &mut Box<RequestContext>,
    ) -> Result<()> {
        reply::frame(session, answer, ctx.head.version);
        if ctx.connection.as_ref().is_some_and(|connection| connection.is_asked_to_end()) {
            session.set_keepalive(None);
        }
        let has_length = headers::answer(answer, ctx);
        ctx.status = answer.status.as_u16();
        if !answer.status.is_informational() {
            ctx.bound.release();
        }
        streams::note(answer, ctx, has_length);
        Ok(())
    }

    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        ctx: &mut Box<RequestContext>,
    ) -> Result<Option<Bytes>> {
        ctx.snapshot.signing.strip(trailers);
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Box<RequestContext>,
        error: Box<Error>,
    ) -> Box<Error> {
        again::failed_to_connect(ctx, error)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Box<RequestContext>,
        _reused: bool,
    ) -> Box<Error> {
        again::failed_while_proxying(session, ctx, error)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Box<RequestContext>,
    ) -> FailToProxy {
        let why = attempt::verdict(ctx, error);
        ctx.rejection = Some(why);
        ctx.error.get_or_insert(error.etype().as_str());
        // An endpoint's failure is not the client's: its connection goes on.
        let answered = attempt::is_answered(session);
        let clean = *error.esource() != ErrorSource::Downstream && !answered;
        if !clean {
            session.set_keepalive(None);
        }
        if !answered {
            // The client may be gone; then there is nobody to tell.
            let _ = reply::reject(session, ctx, why).await;
        }
        let error_code = why.status().map_or(0, |status| status.as_u16());
        FailToProxy { error_code, can_reuse_downstream: clean }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Box<RequestContext>) {
        if error.is_none() {
            again::ended_well(ctx);
        }
        if let Some(recorder) = ctx.recorder.take() {
            recorder.record(ctx, Some(session));
        }
    }

    // The access log and the metrics tell it, in one line and by reason.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Box<RequestContext>, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Box<RequestContext>,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    fn request_summary(&self, _session: &Session, ctx: &Box<RequestContext>) -> String {
        // Pingora's own prints the query, where secrets live.
        format!("request_id={}", String::from_utf8_lossy(ctx.request_id.as_bytes()))
    }
}

/// A refusal in the middle of Pingora's phases: it comes back to us in
/// `fail_to_proxy`.
fn refuse(ctx: &mut RequestContext, why: Rejection) -> Box<Error> {
    ctx.rejection = Some(why);
    log::debug!("request refused: flag={}", why.flag());
    Error::new(ErrorType::InternalError)
}
