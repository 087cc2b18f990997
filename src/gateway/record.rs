//! What is written down of a request: metrics and one access-log line.

use std::{sync::Arc, time::Duration};

use http::Version;
use pingora_proxy::Session;

use super::{context::RequestContext, rejection::Rejection, sign};
use crate::{
    gate::Refusal,
    route::Rule,
    telemetry::{
        AccessLog, Line, Metrics, SpanExporter,
        metrics::{AttemptResult, IntCounter},
        refusals::{Kind, RecentRefusals},
        spans::RequestSpans,
    },
    tls::TlsFacts,
    upstream::Lease,
};

/// Writes requests down; one for the process.
pub struct Recorder {
    log: Arc<AccessLog>,
    spans: Arc<SpanExporter>,
    rejections: Vec<(&'static str, IntCounter)>,
    refusals: Arc<RecentRefusals>,
}

impl Recorder {
    /// Every flag word gets its counter here, so that none is looked up later.
    pub fn new(metrics: &Metrics, log: Arc<AccessLog>, spans: Arc<SpanExporter>) -> Self {
        let own = Rejection::OWN.iter().map(|why| why.flag());
        let flags = own.chain(Refusal::ALL.iter().map(|refusal| refusal.flag()));
        let rejections = flags.map(|flag| (flag, metrics.rejection(flag))).collect();
        Self { log, spans, rejections, refusals: metrics.refusals() }
    }

    /// Writes a request down; `session` is `None` when it was cut.
    pub fn record(&self, ctx: &mut RequestContext, session: Option<&Session>) {
        let spent = ctx.started.elapsed();
        let status =
            session.and_then(|s| s.response_written()).map_or(ctx.status, |answer| answer.status.as_u16());
        if ctx.rejection == Some(Rejection::ClientGone)
            && ctx.connection.as_ref().is_some_and(|c| c.was_cut())
        {
            ctx.rejection = Some(Rejection::Cut);
        }
        let bytes_out = session.map_or(0, |s| s.body_bytes_sent() as u64);
        self.count(ctx, status, spent, bytes_out);
        if self.log.is_on() {
            let trials = ctx.limited.would_refuse(&ctx.snapshot);
            let line = line(ctx, session, status, spent, bytes_out);
            self.log.write(&Line { would_refuse: &trials, ..line });
        }
        if let Some(recording) = &ctx.recording {
            let line = &line(ctx, session, status, spent, bytes_out);
            self.spans.export(&RequestSpans { line, recording });
        }
    }

    fn count(&self, ctx: &RequestContext, status: u16, spent: Duration, bytes_out: u64) {
        if let Some(why) = ctx.rejection {
            let counter = self.rejections.iter().find(|(flag, _)| *flag == why.flag());
            if let Some((_, counter)) = counter {
                counter.inc();
            }
            self.refusals.note(&kind(ctx, why, status), ctx.wall + spent);
        }
        let series = ctx.snapshot.series(ctx.route.as_deref().map(|route| route.index), ctx.upstream);
        series.record(status, spent, ctx.body_in, bytes_out);
        if let Some(series) = ctx.snapshot.tenant_series(ctx.tenancy) {
            series.record(status);
        }
        let upstream = ctx.upstream.and_then(|upstream| ctx.snapshot.upstream_series(upstream));
        // A lease that was picked and never tried went nowhere.
        if ctx.attempt.count > 0 && !ctx.attempt.picked {
            left_zone(ctx, bytes_out);
        }
        if let (Some(first_byte), Some(series)) = (ctx.attempt.first_byte, upstream) {
            series.first_byte(first_byte);
        }
    }
}

/// What makes it like other refusals.
fn kind(ctx: &RequestContext, why: Rejection, status: u16) -> Kind<'_> {
    Kind {
        flag: why.flag(),
        status,
        listener: listener(ctx),
        route: ctx.route.as_deref().map(|route| &*route.name),
        upstream: ctx.upstream().map(|upstream| &*upstream.name),
        limit: ctx.limited.refused_by(&ctx.snapshot),
    }
}

/// Who vouched, or was presented what is not good.
fn authenticator(ctx: &RequestContext) -> Option<&str> {
    let vouched = ctx.consumer.as_ref().map(|consumer| consumer.vouched);
    let index = vouched.or(ctx.flaw.map(|(index, _)| index))?;
    ctx.snapshot.authentication.get(index).map(|one| &*one.name)
}

fn listener(ctx: &RequestContext) -> &str {
    let index = ctx.connection.as_ref().map(|connection| connection.listener);
    index.and_then(|index| ctx.snapshot.listener_name(index)).unwrap_or_default()
}

/// Counts how an attempt ended.
pub fn attempt(ctx: &RequestContext, result: AttemptResult) {
    let Some(index) = ctx.upstream else { return };
    if let Some(series) = ctx.snapshot.upstream_series(index) {
        series.attempt(result);
    }
    let zone = ctx.attempt.lease.as_ref().and_then(|lease| ctx.upstream()?.zone_index(lease.index()));
    if let Some(series) = zone.and_then(|zone| ctx.snapshot.zone_series(index, zone)) {
        series.attempt(result);
    }
}

/// Counts a retry, or one that the budget did not allow. The attempt's lease is
/// still that of the one that failed: another follows only if that is allowed.
pub fn retry(ctx: &RequestContext, allowed: bool) {
    if allowed {
        left_zone(ctx, 0);
    }
    if let Some(series) = ctx.upstream.and_then(|index| ctx.snapshot.upstream_series(index)) {
        series.retry(allowed);
    }
}

/// Counts an attempt that is over, if it was towards another zone.
fn left_zone(ctx: &RequestContext, received: u64) {
    let Some(own_zone) = ctx.attempt.lease.as_ref().and_then(Lease::leaves_zone) else { return };
    let series = ctx.upstream.and_then(|upstream| ctx.snapshot.cross_zone_series(upstream));
    series.into_iter().for_each(|series| series.record(own_zone, ctx.body_in, received));
}

fn line<'a>(
    ctx: &'a RequestContext,
    session: Option<&'a Session>,
    status: u16,
    spent: Duration,
    bytes_out: u64,
) -> Line<'a> {
    let endpoint = ctx.attempt.lease.as_ref().and_then(|lease| ctx.upstream()?.endpoint(lease));
    let connection = ctx.connection.as_deref();
    let digest = session.and_then(|s| s.digest()?.ssl_digest.as_deref());
    let tls = digest.and_then(|digest| digest.extension.get::<TlsFacts>());
    let who = ctx.principal();
    let user_agent = session.and_then(|s| s.req_header().headers.get(http::header::USER_AGENT));
    Line {
        time: ctx.wall + spent,
        request_id: &ctx.request_id,
        trace: &ctx.trace,
        client: who.address,
        peer: connection.map(|c| c.caller.peer.ip().to_canonical()).filter(|peer| *peer != who.address),
        vpc_endpoint: who.vpc_endpoint,
        tenant: who.tenant().and_then(|tenant| ctx.snapshot.tenants.name(tenant)),
        consumer: who.consumer.map(|consumer| &*consumer.name),
        authenticator: authenticator(ctx),
        credential: ctx.flaw.map(|(_, flaw)| flaw.word()),
        listener: listener(ctx),
        protocol: protocol(ctx.head.version),
        tls: tls.map(|tls| tls.version),
        server_name: tls.and_then(|tls| tls.server_name.as_deref()),
        method: ctx.head.method.as_str(),
        host: ctx.host().as_bytes(),
        path: ctx.head.uri.path().as_bytes(),
        route: ctx.route.as_deref().map(|route| &*route.name),
        upstream: ctx.upstream().map(|upstream| &*upstream.name),
        endpoint: endpoint.map(|endpoint| endpoint.address),
        zone: endpoint.and_then(|endpoint| endpoint.zone.as_deref()),
        signer: sign::signer(ctx),
        attempts: ctx.attempt.count.into(),
        reused: (ctx.attempt.count > 0).then_some(ctx.attempt.reused),
        status,
        flag: ctx.rejection.map(Rejection::flag),
        rule: ctx.rule.map(Rule::word),
        limit: ctx.limited.refused_by(&ctx.snapshot),
        would_refuse: &[],
        error: ctx.error,
        bytes_in: ctx.body_in,
        bytes_out,
        duration: spent,
        upstream_connect: ctx.attempt.connect,
        upstream_first_byte: ctx.attempt.first_byte,
        user_agent: user_agent.map(|value| value.as_bytes()),
        configuration: &ctx.snapshot.mark,
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}
