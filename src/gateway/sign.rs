//! The token that goes with a request: which facts it is about, and when it is made.
//!
//! One for a request: all its attempts go to endpoints of one upstream, which is whom
//! the token is for. An attempt that begins when half of the token's life is over gets
//! a fresh one. Always holds: a request of a route that names a signer has a token, or
//! does not go on.

use std::{num::NonZero, sync::LazyLock, time::Instant};

use http::{HeaderValue, header, request::Parts};
use pingora::http::RequestHeader;
use pingora_proxy::Session;
use tokio::sync::Semaphore;

use super::{context::RequestContext, rejection::Rejection};
use crate::{
    config::signer::SignerIndex,
    jwt::{Consumer, Facts, Now, SignError, Signer, Target, Token},
    telemetry::metrics::TokenResult,
    tls::TlsFacts,
};

/// What is known of a request's token.
#[derive(Default)]
pub struct Signed {
    /// The token and when it was given out.
    token: Option<(HeaderValue, Instant)>,
}

/// Puts the token into what the upstream gets, after everything else was written
/// there.
pub async fn sign(
    session: &Session,
    request: &mut RequestHeader,
    ctx: &mut RequestContext,
) -> Result<(), Rejection> {
    let Some(index) = ctx.route.as_ref().and_then(|route| route.signer) else { return Ok(()) };
    let snapshot = ctx.snapshot.clone();
    let (signer, series) = snapshot.signing.get(index).ok_or(Rejection::SigningFailed)?;
    let now = Now::read();
    // Others may be older than this request: their cache knows.
    if signer.is_bound()
        && let Some(token) = kept(ctx, index, now.steady)
    {
        insert(request, signer, token);
        return Ok(());
    }
    let facts = facts(session, request, ctx).ok_or(Rejection::SigningFailed)?;
    let made = match signer.token(&facts, now) {
        Ok(Token::Ready(token)) => Ok((token, TokenResult::Cached)),
        Ok(Token::Draft(draft)) if signer.is_slow() => {
            // Others wait behind this worker; and behind one thread for each core.
            let turn = SLOW.acquire().await;
            let signed = tokio::task::spawn_blocking(move || (draft.sign(), turn).0).await;
            signed.unwrap_or(Err(SignError::Library)).map(|token| (token, TokenResult::Fresh))
        }
        Ok(Token::Draft(draft)) => draft.sign().map(|token| (token, TokenResult::Fresh)),
        Err(why) => Err(why),
    };
    match made {
        Ok((token, result)) => {
            series.record(result);
            ctx.signed.token = Some((token.clone(), now.steady));
            insert(request, signer, token);
            Ok(())
        }
        Err(why) => {
            series.record(TokenResult::Failed);
            log::debug!("no token: signer={} why={why}", signer.name);
            Err(Rejection::SigningFailed)
        }
    }
}

/// As many RSA signatures at once as the process has cores: more of them would only
/// take the workers' time. Who leaves meanwhile leaves the queue.
static SLOW: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, NonZero::get)));

/// The name of who signed for the request.
pub fn signer(ctx: &RequestContext) -> Option<&str> {
    ctx.signed.token.as_ref()?;
    ctx.snapshot.signing.get(ctx.route.as_ref()?.signer?).map(|(signer, _)| &*signer.name)
}

/// The token of an attempt before, while it has half of its life left.
fn kept(ctx: &RequestContext, index: SignerIndex, now: Instant) -> Option<HeaderValue> {
    let (token, since) = ctx.signed.token.as_ref()?;
    let ttl = ctx.snapshot.config().signers.get(index.0)?.spec.ttl().duration();
    (now.saturating_duration_since(*since) < ttl / 2).then(|| token.clone())
}

/// On the bare header map, as `headers` does it.
fn insert(request: &mut RequestHeader, signer: &Signer, token: HeaderValue) {
    let (blank, ()) = http::Request::new(()).into_parts();
    let mut parts = Parts::from(std::mem::replace(request, blank.into()));
    parts.headers.insert(&signer.header, token);
    *request = parts.into();
}

/// What is known of a request that goes upstream as `request`; `None` when it does
/// not.
fn facts<'a>(session: &Session, request: &'a RequestHeader, ctx: &'a RequestContext) -> Option<Facts<'a>> {
    let (route, upstream) = (ctx.route.as_deref()?, ctx.upstream()?);
    let spec = &ctx.snapshot.config().upstreams.get(ctx.upstream?.0)?.spec;
    let who = ctx.principal();
    let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    Some(Facts {
        upstream: &upstream.name,
        route: &route.name,
        client: who.address,
        zone: ctx.snapshot.place().zone.as_deref(),
        tenant: who.tenant().and_then(|tenant| ctx.snapshot.tenants.name(tenant)),
        vpc_endpoint: who.vpc_endpoint,
        consumer: who.consumer.map(|consumer| Consumer { id: &consumer.name, name: &consumer.name }),
        scope: who.consumer.map(|consumer| &*consumer.scopes).filter(|scopes| !scopes.is_empty()),
        certificate: certificate(session),
        token: who.consumer.and_then(|consumer| consumer.claims.as_deref()),
        request: Target {
            method: request.method.as_str(),
            scheme: if spec.tls.is_some() { "https" } else { "http" },
            host: host.unwrap_or_default(),
            path: path(request),
            query: request.uri.query().map(str::as_bytes),
        },
        body: ctx.bound.hash(),
    })
}

/// The path as it goes upstream: an empty one is written `/`.
fn path(request: &RequestHeader) -> &[u8] {
    let path = request.uri.path();
    if path.is_empty() { b"/" } else { path.as_bytes() }
}

/// SHA-256 of the client's certificate, if it was asked for one and showed it.
fn certificate(session: &Session) -> Option<[u8; 32]> {
    let facts = session.digest()?.ssl_digest.as_ref()?.extension.get::<TlsFacts>()?;
    facts.client_certificate.as_ref().map(|certificate| certificate.fingerprint)
}
