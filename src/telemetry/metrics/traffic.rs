//! What requests did, by route and upstream.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use prometheus::proto::MetricType;

use super::{
    closed_set::closed_set,
    family::{Family, Sample, Scrape},
    histogram::Histogram,
    latency::Latencies,
};
use crate::telemetry::shard::{Sharded, add};

/// Counts the requests of one route that went to one upstream. Every count is
/// prebuilt; recording takes no lock and looks nothing up.
pub struct RouteSeries(Sharded<RouteCells>);

/// In this order: a request writes to two cache lines, the first, and of the histogram
/// the one with what takes up to 50 ms.
#[derive(Default)]
#[repr(C)]
struct RouteCells {
    requests: [AtomicU64; STATUSES.len()],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    duration: Histogram,
}

impl RouteSeries {
    /// Counts one request that is over: the status that was sent (0 when the
    /// client left before one was), how long it took from its first byte, and
    /// the bytes of both bodies. How long a connection lived that became another
    /// protocol's says nothing of how fast requests are: it stands in no histogram.
    #[inline]
    pub fn record(&self, status: u16, took: Duration, bytes_in: u64, bytes_out: u64) {
        let Some(cells) = self.0.mine() else { return };
        if let Some(requests) = cells.requests.get(class(status)) {
            add(requests, 1);
        }
        if status != SWITCHED {
            cells.duration.observe(took);
        }
        add(&cells.bytes_in, bytes_in);
        add(&cells.bytes_out, bytes_out);
    }
}

/// Counts the attempts towards one upstream.
pub struct UpstreamSeries(Sharded<UpstreamCells>);

#[derive(Default)]
struct UpstreamCells {
    first_byte: Histogram,
    attempts: [AtomicU64; AttemptResult::ALL.len()],
    retries: [AtomicU64; RETRIES.len()],
}

impl UpstreamSeries {
    /// Counts a retry, or one that the budget did not allow.
    #[inline]
    pub fn retry(&self, allowed: bool) {
        let retries = self.0.mine().and_then(|cells| cells.retries.get(usize::from(!allowed)));
        if let Some(retries) = retries {
            add(retries, 1);
        }
    }

    /// Counts one attempt that is over.
    #[inline]
    pub fn attempt(&self, result: AttemptResult) {
        let Some(cells) = self.0.mine() else { return };
        if let Some(attempts) = cells.attempts.get(result as usize) {
            add(attempts, 1);
        }
    }

    /// How long it took from the attempt's start to the answer's first byte.
    #[inline]
    pub fn first_byte(&self, took: Duration) {
        if let Some(cells) = self.0.mine() {
            cells.first_byte.observe(took);
        }
    }
}

closed_set! {
    /// How an attempt towards an endpoint ended.
    pub enum AttemptResult {
        /// A whole answer came, whatever its status.
        Ok = "ok",
        /// No connection: refused, unreachable, or its TLS handshake failed.
        ConnectError = "connect_error",
        /// The connection was lost before the whole answer came.
        Reset = "reset",
        /// Connecting, or a read or write, took too long.
        Timeout = "timeout",
        /// What came is no HTTP.
        ProtocolError = "protocol_error",
    }
}

type RouteAndUpstream = (Box<str>, Box<str>);

/// All series, by name. Snapshots being built and scrapes take the locks,
/// requests never.
pub(super) struct Traffic {
    shards: usize,
    routes: Mutex<BTreeMap<RouteAndUpstream, Arc<RouteSeries>>>,
    upstreams: Mutex<BTreeMap<Box<str>, Arc<UpstreamSeries>>>,
}

impl Traffic {
    pub(super) fn new(shards: usize) -> Self {
        Self { shards, routes: Mutex::default(), upstreams: Mutex::default() }
    }

    pub(super) fn series(&self, route: &str, upstream: &str) -> Arc<RouteSeries> {
        let fresh = || Arc::new(RouteSeries(Sharded::new(self.shards)));
        lock(&self.routes).entry((route.into(), upstream.into())).or_insert_with(fresh).clone()
    }

    pub(super) fn upstream(&self, name: &str) -> Arc<UpstreamSeries> {
        let fresh = || Arc::new(UpstreamSeries(Sharded::new(self.shards)));
        lock(&self.upstreams).entry(name.into()).or_insert_with(fresh).clone()
    }

    pub(super) fn retain(&self, pairs: &[(&str, &str)]) {
        let upstreams: HashSet<_, ahash::RandomState> = pairs.iter().map(|(_, upstream)| *upstream).collect();
        let mut kept = HashSet::with_capacity_and_hasher(2 * pairs.len() + 1, ahash::RandomState::new());
        kept.extend(pairs.iter().copied());
        kept.extend(pairs.iter().map(|(route, _)| *route).chain([NO_NAME]).map(|route| (route, NO_NAME)));
        lock(&self.routes).retain(|(route, upstream), _| kept.contains(&(&**route, &**upstream)));
        lock(&self.upstreams).retain(|upstream, _| upstreams.contains(&**upstream));
    }

    /// What `tell` makes of every route and upstream that had a request, and of how many
    /// had which of [`STATUSES`].
    pub(super) fn each_route<T>(
        &self,
        tell: impl Fn(&RouteAndUpstream, &dyn Fn(usize) -> u64) -> T,
    ) -> Vec<T> {
        let routes = lock(&self.routes);
        let used = routes.iter().filter(|(_, series)| series.0.is_used());
        used.map(|(names, series)| tell(names, &|nth| series.0.sum(|c| c.requests.get(nth)))).collect()
    }

    /// The same for upstreams: how many attempts ended how, and how many were retries.
    pub(super) fn each_upstream<T>(&self, tell: impl Fn(&str, &dyn Fn(usize) -> u64, u64) -> T) -> Vec<T> {
        let upstreams = lock(&self.upstreams);
        let used = upstreams.iter().filter(|(_, series)| series.0.is_used());
        used.map(|(name, series)| {
            let retries = series.0.sum(|c| c.retries.first());
            tell(name, &|nth| series.0.sum(|c| c.attempts.get(nth)), retries)
        })
        .collect()
    }

    /// How long the requests of all routes took.
    pub(super) fn latencies(&self) -> Latencies {
        let routes = lock(&self.routes);
        let used = routes.values().filter(|series| series.0.is_used());
        let each = used.map(|series| Histogram::counts(&series.0, |c| &c.duration));
        each.fold(Latencies::default(), |all, own| all.and(&own))
    }

    fn scrape_routes(&self) -> Routes {
        let mut told = Routes::default();
        let routes = lock(&self.routes);
        let used = routes.iter().filter(|(_, series)| series.0.is_used());
        for ((route, upstream), RouteSeries(cells)) in used.map(|(names, series)| (names, &**series)) {
            for (nth, status) in STATUSES.iter().enumerate() {
                let requests = cells.sum(|c| c.requests.get(nth));
                told.requests.push(REQUESTS.count(&[route, upstream, status], requests));
            }
            let took = Histogram::total(cells, |c| &c.duration);
            told.durations.push(DURATION.histogram(&[route, upstream], &took));
            let bytes = told.bytes.entry(route.clone()).or_default();
            bytes.0 += cells.sum(|c| Some(&c.bytes_in));
            bytes.1 += cells.sum(|c| Some(&c.bytes_out));
        }
        told
    }

    fn scrape_upstreams(&self) -> (Vec<Sample>, Vec<Sample>, Vec<Sample>) {
        let (mut first_bytes, mut attempts, mut retries) = (Vec::new(), Vec::new(), Vec::new());
        for (name, series) in lock(&self.upstreams).iter().filter(|(_, series)| series.0.is_used()) {
            first_bytes.push(FIRST_BYTE.histogram(&[name], &Histogram::total(&series.0, |c| &c.first_byte)));
            for result in AttemptResult::ALL {
                let n = series.0.sum(|c| c.attempts.get(result as usize));
                attempts.push(ATTEMPTS.count(&[name, result.word()], n));
            }
            for (nth, result) in RETRIES.iter().enumerate() {
                retries.push(RETRIED.count(&[name, result], series.0.sum(|c| c.retries.get(nth))));
            }
        }
        (first_bytes, attempts, retries)
    }
}

/// What a scrape says of all routes; the bytes are those of all upstreams of a
/// route together.
#[derive(Default)]
struct Routes {
    requests: Vec<Sample>,
    durations: Vec<Sample>,
    bytes: BTreeMap<Box<str>, (u64, u64)>,
}

impl Scrape for Traffic {
    const FAMILIES: &'static [Family] =
        &[REQUESTS, DURATION, FIRST_BYTE, ATTEMPTS, RETRIED, BYTES_IN, BYTES_OUT];

    fn scrape(&self) -> Vec<Vec<Sample>> {
        let routes = self.scrape_routes();
        let (first_bytes, attempts, retries) = self.scrape_upstreams();
        let bytes = || routes.bytes.iter();
        let bytes_in = bytes().map(|(route, bytes)| BYTES_IN.count(&[route], bytes.0)).collect();
        let bytes_out = bytes().map(|(route, bytes)| BYTES_OUT.count(&[route], bytes.1)).collect();
        vec![routes.requests, routes.durations, first_bytes, attempts, retries, bytes_in, bytes_out]
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which of `STATUSES`. What a server made up above 599 is a server's fault.
#[inline]
pub(super) fn class(status: u16) -> usize {
    usize::from(status / 100).min(STATUSES.len() - 1)
}

/// The label value where there is no route or no upstream; no configured name
/// is spelled like it.
pub const NO_NAME: &str = "-";

/// From here on the connection is another protocol's.
const SWITCHED: u16 = 101;

pub(super) const STATUSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

const REQUESTS: Family = Family {
    name: "tollgate_requests_total",
    help: "Requests that are over, by class of the status sent; none: the client left before one was.",
    labels: &["route", "upstream", "status"],
    kind: MetricType::COUNTER,
};
const DURATION: Family = Family {
    name: "tollgate_request_duration_seconds",
    help: "From a request's first byte to the end of its answer; upgraded connections (101) are left out.",
    labels: &["route", "upstream"],
    kind: MetricType::HISTOGRAM,
};
const FIRST_BYTE: Family = Family {
    name: "tollgate_upstream_first_byte_seconds",
    help: "From the start of an attempt to the first byte of the endpoint's answer.",
    labels: &["upstream"],
    kind: MetricType::HISTOGRAM,
};
const ATTEMPTS: Family = Family {
    name: "tollgate_upstream_attempts_total",
    help: "Attempts towards an endpoint, by how they ended.",
    labels: &["upstream", "result"],
    kind: MetricType::COUNTER,
};
const RETRIED: Family = Family {
    name: "tollgate_upstream_retries_total",
    help: "Attempts after the first, and those that the retry budget did not allow.",
    labels: &["upstream", "result"],
    kind: MetricType::COUNTER,
};
const RETRIES: [&str; 2] = ["sent", "over_budget"];
const BYTES_IN: Family = Family {
    name: "tollgate_request_bytes_total",
    help: "Bytes of request bodies.",
    labels: &["route"],
    kind: MetricType::COUNTER,
};
const BYTES_OUT: Family = Family {
    name: "tollgate_response_bytes_total",
    help: "Bytes of response bodies.",
    labels: &["route"],
    kind: MetricType::COUNTER,
};
