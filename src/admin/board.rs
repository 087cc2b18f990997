//! `GET /overview` on the operator's socket and `/overview.json` beside the metrics: what
//! `tollgate status --watch` and the page draw.
//!
//! Owns what is on it: each field is named here, so that nothing gets there by being
//! added to `status`. Configured names, addresses of endpoints, counts and members of
//! closed sets; no client, path, file or name of a limit's key.
//!
//! Always holds: however many look, and however large tables are, looking takes a
//! twentieth of one core at most. What was made a moment ago is shown again.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderValue, Response, StatusCode, header};
use pingora::protocols::http::ServerSession;
use serde::Serialize;

use super::{
    fleet,
    latency::{LatencyStatus, Looks},
    limits::{self, LimitStatus},
    pages::text,
    traffic::Traffic,
    upstreams::{self, UpstreamStatus},
    zones::{self, ZoneStatus},
};
use crate::{
    lifecycle::{Left, Reloader, Shutdown},
    limit::store::Store,
    snapshot::{Current, Snapshot},
    telemetry::{Metrics, short_hash},
    upstream::discovery::Discovery,
};

/// What there is to see at a glance.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct Overview {
    pub version: &'static str,
    pub pid: u32,
    /// When this was made, since the process began: what rates are taken from.
    pub uptime_ms: u64,
    pub generation: u64,
    /// The first 12 digits of the configuration's hash.
    pub config: String,
    pub confirm_within_seconds: Option<u64>,
    pub draining: bool,
    pub requests_cut_in_seconds: Option<u64>,
    pub streams_cut_in_seconds: Option<u64>,
    #[serde(flatten)]
    pub left: Left,
    pub routes: usize,
    pub zone: Option<String>,
    pub drained_zones: Vec<String>,
    pub zones: Vec<ZoneStatus>,
    pub upstreams: Vec<UpstreamStatus>,
    /// Of the certificate that ends first.
    pub certificate_expires_in_days: Option<i64>,
    /// How many files of certificates changed and do not fit.
    pub certificates_not_taken: usize,
    /// `up`, `down` or `connecting`; none where no limit is leased.
    pub store: Option<&'static str>,
    pub limits: Vec<LimitStatus>,
    pub traffic: Traffic,
    /// Of the last minute, or of longer where nobody looked so lately; none where no
    /// request came.
    pub latency: Option<LatencyStatus>,
}

/// Makes overviews.
pub struct Board {
    current: Arc<Current>,
    metrics: Arc<Metrics>,
    reloader: Arc<Reloader>,
    discovery: Arc<Discovery>,
    store: Arc<Store>,
    shutdown: Arc<Shutdown>,
    started: Instant,
    kept: Mutex<Kept<Arc<[u8]>>>,
    /// Of this generation.
    limits: Mutex<Kept<(u64, Vec<LimitStatus>)>>,
    looks: Mutex<Looks>,
}

impl Board {
    /// Of what serves now, and of what was counted.
    pub fn new(
        (current, metrics): (Arc<Current>, Arc<Metrics>),
        reloader: Arc<Reloader>,
        discovery: Arc<Discovery>,
        store: Arc<Store>,
        shutdown: Arc<Shutdown>,
    ) -> Self {
        let (kept, limits) = (Mutex::default(), Mutex::default());
        let started = Instant::now();
        let looks = Mutex::new(Looks::since(started));
        Self { current, metrics, reloader, discovery, store, shutdown, started, kept, limits, looks }
    }

    /// The overview as JSON.
    pub(super) async fn answer(self: &Arc<Self>, session: &mut ServerSession) -> Response<Vec<u8>> {
        let board = self.clone();
        // Whoever finds it being made waits for that one, and not on the socket's thread.
        let made = tokio::task::spawn_blocking(move || board.json()).await;
        let Ok(body) = made.as_deref().map(String::from_utf8_lossy) else {
            return text(session, StatusCode::INTERNAL_SERVER_ERROR, "it broke; see the log\n");
        };
        let mut page = text(session, StatusCode::OK, &body);
        page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        page
    }

    fn json(&self) -> Arc<[u8]> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(AT_ONCE, |_| true, || serde_json::to_vec(&self.overview()).unwrap_or_default().into())
    }

    fn overview(&self) -> Overview {
        let now = self.current.load();
        let config = now.config();
        let cut_in = self.shutdown.cut_in();
        let at = Instant::now();
        let certificates = super::operator::certificates(&now);
        let store = fleet::status(&now, &self.store, at).and_then(|fleet| fleet.store);
        Overview {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            generation: now.generation,
            config: short_hash(&now.hash).to_owned(),
            confirm_within_seconds: self.reloader.pending_confirmation().map(|left| left.as_secs()),
            draining: self.shutdown.is_draining(),
            requests_cut_in_seconds: cut_in.map(|(requests, _)| requests.as_secs()),
            streams_cut_in_seconds: cut_in.map(|(_, streams)| streams.as_secs()),
            left: self.shutdown.left(),
            routes: config.routes.len(),
            zone: now.place().zone.as_deref().map(str::to_owned),
            drained_zones: now.place().drained.iter().map(ToString::to_string).collect(),
            zones: zones::status(&now, at),
            upstreams: upstreams::status(&now, &self.discovery, at),
            certificate_expires_in_days: certificates.iter().map(|c| c.expires_in_days).min(),
            certificates_not_taken: self.reloader.misfits(at).len(),
            store: store.map(|store| store.state),
            limits: self.limits(&now),
            traffic: Traffic::of(&self.metrics, &now),
            latency: self
                .looks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .look(at, self.metrics.latencies()),
        }
    }

    /// Reads whole tables, so that they are asked seldom where they are large.
    fn limits(&self, now: &Snapshot) -> Vec<LimitStatus> {
        let mut kept = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of_now = |(generation, _): &(u64, Vec<LimitStatus>)| *generation == now.generation;
        kept.get(AT_ONCE, is_of_now, || (now.generation, limits::hashes(now, TOP))).1
    }
}

/// Something that is made anew when it was made long enough ago, for what it took.
#[derive(Default)]
struct Kept<T>(Option<(Instant, Duration, T)>);

impl<T: Clone> Kept<T> {
    /// The one that was made less than `least` ago, or less than [`TIMES`] what it took,
    /// while it is `good`; else one that is made now.
    fn get(&mut self, least: Duration, good: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> T {
        if let Some((at, took, value)) = &self.0
            && at.elapsed() < least.max(*took * TIMES)
            && good(value)
        {
            return value.clone();
        }
        let began = Instant::now();
        let value = make();
        self.0 = Some((Instant::now(), began.elapsed(), value.clone()));
        value
    }
}

/// Who looks twice a second sees something new each time.
const AT_ONCE: Duration = Duration::from_millis(400);
const TIMES: u32 = 20;
/// Keys of a limit: the one that is pressed hardest is what is looked for.
const TOP: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_long_is_kept_long_and_what_does_not_fit_is_made_anew() {
        let mut kept = Kept(Some((Instant::now(), Duration::from_secs(10), 1)));

        assert_eq!(kept.get(Duration::ZERO, |_| true, || 2), 1);
        assert_eq!(kept.get(Duration::ZERO, |n| *n != 1, || 2), 2);

        kept = Kept(Some((Instant::now(), Duration::ZERO, 3)));
        assert_eq!(kept.get(Duration::ZERO, |_| true, || 4), 4);
        assert_eq!(kept.get(Duration::from_secs(100), |_| true, || 5), 4);
    }
}
