//! What the operator's socket answers: `GET /status`, `GET /overview`, `GET /config`, `GET /limits`,
//! `GET /keys`, `GET /jwks.json`, `POST /explain`, `POST /upgrade`, `POST /drain`, and what
//! `reload` and `zones` have. The socket's mode is the only key to it.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use http::{HeaderValue, Method, Response, StatusCode, header};
use pingora::{apps::http_app::ServeHttp, protocols::http::ServerSession};
use serde::Serialize;

use super::{
    board::Board,
    explain,
    fleet::{self, FleetStatus},
    key_set,
    key_sets::{self, KeySetStatus},
    keys,
    pages::text,
    traffic::Traffic,
    upstreams::{self, UpstreamStatus},
};
use crate::{
    config,
    jwt::Now,
    lifecycle::{DrainRequest, FormerStatus, Left, MisfitStatus, Reloader, Shutdown, Upgrader},
    limit::store::Store,
    snapshot::{Current, Snapshot},
    telemetry::Metrics,
    upstream::discovery::Discovery,
};

/// The operator's side of the process.
pub struct Operator {
    /// What serves now.
    pub current: Arc<Current>,
    /// What `POST /reload` runs.
    pub reloader: Arc<Reloader>,
    /// What upstreams stand on besides addresses.
    pub discovery: Arc<Discovery>,
    /// Where leased limits settle up.
    pub store: Arc<Store>,
    /// What `POST /drain` asks for the end.
    pub shutdown: Arc<Shutdown>,
    /// What `POST /upgrade` runs.
    pub upgrader: Arc<Upgrader>,
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// What `GET /overview` shows.
    pub board: Arc<Board>,
    /// When the process began.
    pub started: Instant,
}

/// What `tollgate status` shows.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The binary's version.
    pub version: &'static str,
    /// The process.
    pub pid: u32,
    /// Seconds since it began.
    pub uptime_seconds: u64,
    /// The snapshot that serves.
    pub generation: u64,
    /// Names its files' content.
    pub config_hash: String,
    /// How long someone has still time to confirm it; none where nobody has to.
    pub confirm_within_seconds: Option<u64>,
    /// What a rollback would call back.
    pub former: Option<FormerStatus>,
    /// Connections of clients that are open.
    #[serde(flatten)]
    pub left: Left,
    /// Whether the process is ending.
    pub draining: bool,
    /// Seconds until requests are cut in a drain.
    pub requests_cut_in_seconds: Option<u64>,
    /// The same for WebSockets, server-sent events and gRPC calls.
    pub streams_cut_in_seconds: Option<u64>,
    /// Where it accepts.
    pub listeners: Vec<ListenerStatus>,
    /// The availability zone that it runs in, if that is known.
    pub zone: Option<String>,
    /// Zones that an operator took out.
    pub drained_zones: Vec<String>,
    /// What it knows of its upstreams.
    pub upstreams: Vec<UpstreamStatus>,
    /// When its certificates end.
    pub certificates: Vec<CertificateStatus>,
    /// When those end that it shows to upstreams.
    pub upstream_certificates: Vec<UpstreamCertificateStatus>,
    /// When lists of revoked client certificates have to be renewed.
    pub revocation_lists: Vec<RevocationListStatus>,
    /// Files of certificates that changed and do not fit: what was there goes on.
    pub certificates_not_taken: Vec<MisfitStatus>,
    /// How many routes there are.
    pub routes: usize,
    /// The keys of identity providers, by who verifies with them.
    pub key_sets: Vec<KeySetStatus>,
    /// Whom it counts limits together with; none where nothing is.
    pub fleet: Option<FleetStatus>,
    /// What requests came to since the process began.
    pub traffic: Traffic,
}

/// A listener.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct ListenerStatus {
    pub name: String,
    pub address: String,
    pub tls: bool,
}

/// A certificate.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct CertificateStatus {
    pub listener: String,
    pub name: String,
    pub expires_in_days: i64,
}

/// A certificate that is shown to an upstream.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct UpstreamCertificateStatus {
    pub upstream: String,
    pub name: String,
    pub expires_in_seconds: i64,
}

/// A list of revoked client certificates.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct RevocationListStatus {
    pub listener: String,
    pub name: String,
    pub renewal_in_seconds: i64,
}

/// What `tollgate drain` is told.
#[derive(Debug, Serialize)]
struct DrainStatus {
    #[serde(flatten)]
    left: Left,
    max_drain_seconds: u64,
    max_drain_streams_seconds: u64,
}

const WHAT_THERE_IS: &str = "write GET /status, GET /overview, GET /config, GET /limits, GET /zones, GET /keys, GET /jwks.json, POST /explain, \
                             POST /simulate, POST /reload, POST /confirm, POST /rollback, POST /upgrade, POST /drain, \
                             POST /zone/drain or POST /zone/restore\n";

#[async_trait]
impl ServeHttp for Operator {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        if let Some(keys) = key_set::page(&self.current.load(), session) {
            return keys;
        }
        let request = session.req_header();
        match (&request.method, request.uri.path()) {
            (&Method::GET, "/status") => json(session, StatusCode::OK, &self.status()),
            (&Method::GET, "/overview") => self.board.answer(session).await,
            (&Method::GET, "/config") => {
                text(session, StatusCode::OK, &config::print(&self.current.load().loaded))
            }
            (&Method::POST, "/explain") => explain::answer(self.current.load(), session).await,
            (&Method::POST, "/reload") => self.reload(session).await,
            (&Method::POST, "/upgrade") => self.upgrade(session).await,
            (&Method::POST, "/confirm") => self.confirm(session),
            (&Method::POST, "/rollback") => self.rollback(session).await,
            (&Method::POST, "/drain") => self.drain(session),
            (&Method::GET, "/zones") => self.zones(session).await,
            (&Method::GET, "/limits") => self.limits(session).await,
            (&Method::GET, "/keys") => {
                json(session, StatusCode::OK, &keys::status(&self.current.load(), Now::read()))
            }
            (&Method::POST, "/zone/drain") => self.change_zone(session, true).await,
            (&Method::POST, "/zone/restore") => self.change_zone(session, false).await,
            (&Method::POST, "/simulate") => self.simulate(session).await,
            _ => text(session, StatusCode::NOT_FOUND, WHAT_THERE_IS),
        }
    }
}

impl Operator {
    fn drain(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let Some(request) = drain_request(session.req_header().uri.query().unwrap_or_default()) else {
            return text(session, StatusCode::BAD_REQUEST, "write fail_readiness or accept_seconds=N\n");
        };
        let limits = self.current.load().limits();
        let told = DrainStatus {
            left: self.shutdown.left(),
            max_drain_seconds: limits.max_drain.as_secs(),
            max_drain_streams_seconds: limits.max_drain_streams.as_secs(),
        };
        match self.shutdown.ask(request) {
            true => json(session, StatusCode::OK, &told),
            false => text(session, StatusCode::CONFLICT, "it drains already\n"),
        }
    }

    fn status(&self) -> Status {
        let now = self.current.load();
        let config = now.config();
        let listeners = config.listeners.iter().map(|l| ListenerStatus {
            name: l.spec.name.to_string(),
            address: l.spec.address.to_string(),
            tls: l.spec.tls.is_some(),
        });
        let cut_in = self.shutdown.cut_in();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            generation: now.generation,
            config_hash: now.hash.clone(),
            confirm_within_seconds: self.reloader.pending_confirmation().map(|left| left.as_secs()),
            former: self.reloader.former(),
            left: self.shutdown.left(),
            draining: self.shutdown.is_draining(),
            requests_cut_in_seconds: cut_in.map(|(requests, _)| requests.as_secs()),
            streams_cut_in_seconds: cut_in.map(|(_, streams)| streams.as_secs()),
            listeners: listeners.collect(),
            upstreams: upstreams::status(&now, &self.discovery, Instant::now()),
            drained_zones: now.place().drained.iter().map(ToString::to_string).collect(),
            zone: now.place().zone.as_deref().map(str::to_owned),
            certificates: certificates(&now),
            upstream_certificates: upstream_certificates(&now),
            revocation_lists: revocation_lists(&now),
            certificates_not_taken: self.reloader.misfits(Instant::now()),
            routes: config.routes.len(),
            key_sets: key_sets::status(&now, Instant::now()),
            fleet: fleet::status(&now, &self.store, Instant::now()),
            traffic: Traffic::of(&self.metrics, &now),
        }
    }
}

/// `fail_readiness` and `accept_seconds=N`, joined by `&`.
fn drain_request(query: &str) -> Option<DrainRequest> {
    let mut request = DrainRequest::default();
    for word in query.split('&').filter(|word| !word.is_empty()) {
        match word.split_once('=') {
            None if word == "fail_readiness" => request.fail_readiness = true,
            Some(("accept_seconds", seconds)) => {
                request.accept_for = Duration::from_secs(u64::from(seconds.parse::<u16>().ok()?));
            }
            _ => return None,
        }
    }
    Some(request)
}

pub(super) fn certificates(now: &Snapshot) -> Vec<CertificateStatus> {
    let today = SystemTime::now();
    let status = |(listener, facts): (&str, &crate::tls::CertificateFacts)| CertificateStatus {
        listener: listener.to_owned(),
        name: facts.file.display().to_string(),
        expires_in_days: days_between(today, facts.not_after),
    };
    now.certificates().map(status).collect()
}

fn upstream_certificates(now: &Snapshot) -> Vec<UpstreamCertificateStatus> {
    let today = SystemTime::now();
    let status = |(upstream, file, at): (&str, &Path, SystemTime)| UpstreamCertificateStatus {
        upstream: upstream.to_owned(),
        name: file.display().to_string(),
        expires_in_seconds: seconds_between(today, at),
    };
    now.upstream_certificates().map(status).collect()
}

fn revocation_lists(now: &Snapshot) -> Vec<RevocationListStatus> {
    let today = SystemTime::now();
    let status = |(listener, file, at): (&str, &Path, SystemTime)| RevocationListStatus {
        listener: listener.to_owned(),
        name: file.display().to_string(),
        renewal_in_seconds: seconds_between(today, at),
    };
    now.revocation_lists().map(status).collect()
}

fn seconds_between(from: SystemTime, to: SystemTime) -> i64 {
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    to.duration_since(from).map_or_else(|past| -seconds(past.duration()), seconds)
}

fn days_between(from: SystemTime, to: SystemTime) -> i64 {
    let days = |span: Duration| i64::try_from(span.as_secs() / 86_400).unwrap_or(i64::MAX);
    to.duration_since(from).map_or_else(|past| -days(past.duration()), days)
}

pub(super) fn json(
    session: &mut ServerSession,
    status: StatusCode,
    value: &impl Serialize,
) -> Response<Vec<u8>> {
    let body = serde_json::to_string_pretty(value).unwrap_or_default();
    let mut page = text(session, status, &body);
    page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    page
}
