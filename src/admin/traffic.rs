//! What requests came to since the process began, for people: from the cells that a
//! scrape reads, and the kinds of refusals that came last.
//!
//! Counts alone: who wants a rate looks twice. Names are configured ones.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use crate::{
    snapshot::Snapshot,
    telemetry::{
        Metrics,
        metrics::{ByWord, RouteCounts},
        refusals::Seen,
    },
};

/// Everything.
#[derive(Debug, Default, Serialize)]
pub struct Traffic {
    /// Requests that are over, by class of the status sent; `none`: the client left
    /// before one was.
    pub requests: ByWord,
    /// Those that the gateway refused itself, by flag.
    pub refusals: BTreeMap<String, u64>,
    /// By upstream.
    pub upstreams: Vec<UpstreamTraffic>,
    /// Those with most requests, most first.
    pub routes: Vec<RouteTraffic>,
    /// How many others had any.
    pub routes_left_out: usize,
    /// By limit, what it decided.
    pub limits: BTreeMap<String, ByWord>,
    /// The kinds of refusals that came last, last first.
    pub recent_refusals: Vec<RefusalStatus>,
    /// Refusals that are in none of those because many came at once.
    pub recent_refusals_missed: u64,
}

/// What an upstream had.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct UpstreamTraffic {
    pub upstream: String,
    /// Requests for it that are over, whoever answered, by class of the status.
    pub requests: ByWord,
    /// Attempts towards its endpoints, by how they ended.
    pub attempts: ByWord,
    /// Attempts after the first.
    pub retries: u64,
}

/// What a route had; `-` stands for requests that no route took.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct RouteTraffic {
    pub route: String,
    pub requests: ByWord,
}

/// Refusals of one kind.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct RefusalStatus {
    pub flag: &'static str,
    /// 0 when nobody was left to hear it.
    pub status: u16,
    pub listener: String,
    pub route: Option<String>,
    pub upstream: Option<String>,
    pub limit: Option<String>,
    /// Since the first of them, while they are told.
    pub count: u64,
    pub first_seconds_ago: u64,
    pub last_seconds_ago: u64,
}

impl Traffic {
    /// Now.
    pub(super) fn of(metrics: &Metrics, snapshot: &Snapshot) -> Self {
        let counts = metrics.route_counts();
        let requests = sum(counts.iter().map(|counts| &counts.requests));
        let mut routes = by_route(&counts);
        let routes_left_out = routes.len().saturating_sub(MOST_ROUTES);
        routes.truncate(MOST_ROUTES);
        let refusals = metrics.refusals();
        let now = SystemTime::now();
        let limits = snapshot.rate_limits.iter().map(|limit| limit.name.to_string());
        Self {
            requests,
            refusals: metrics.refusal_counts(),
            upstreams: by_upstream(metrics, &counts),
            routes,
            routes_left_out,
            limits: limits.map(|name| (name.clone(), metrics.limit_counts(&name))).collect(),
            recent_refusals: refusals.seen().into_iter().map(|seen| refusal(seen, now)).collect(),
            recent_refusals_missed: refusals.missed(),
        }
    }
}

fn by_route(counts: &[RouteCounts]) -> Vec<RouteTraffic> {
    let mut routes = BTreeMap::<&str, Vec<&ByWord>>::new();
    for counts in counts {
        routes.entry(&counts.route).or_default().push(&counts.requests);
    }
    let told = |(route, all): (&str, Vec<&ByWord>)| RouteTraffic {
        route: route.to_owned(),
        requests: sum(all.into_iter()),
    };
    let mut routes: Vec<_> = routes.into_iter().map(told).collect();
    routes.sort_by_key(|route| std::cmp::Reverse(route.requests.values().sum::<u64>()));
    routes
}

fn by_upstream(metrics: &Metrics, counts: &[RouteCounts]) -> Vec<UpstreamTraffic> {
    let mut upstreams = BTreeMap::<&str, Vec<&ByWord>>::new();
    for counts in counts.iter().filter(|counts| counts.has_upstream()) {
        upstreams.entry(&counts.upstream).or_default().push(&counts.requests);
    }
    let mut attempts: BTreeMap<_, _> =
        metrics.attempt_counts().into_iter().map(|counts| (counts.upstream.clone(), counts)).collect();
    let told = |(upstream, all): (&str, Vec<&ByWord>)| {
        let (attempts, retries) =
            attempts.remove(upstream).map(|counts| (counts.attempts, counts.retries)).unwrap_or_default();
        UpstreamTraffic { upstream: upstream.to_owned(), requests: sum(all.into_iter()), attempts, retries }
    };
    upstreams.into_iter().map(told).collect()
}

fn sum<'a>(all: impl Iterator<Item = &'a ByWord>) -> ByWord {
    let mut sum = ByWord::new();
    for (word, n) in all.flatten() {
        *sum.entry(word).or_default() += n;
    }
    sum
}

fn refusal(seen: Seen, now: SystemTime) -> RefusalStatus {
    let ago = |at| now.duration_since(at).unwrap_or(Duration::ZERO).as_secs();
    RefusalStatus {
        flag: seen.flag,
        status: seen.status,
        listener: seen.listener.into(),
        route: seen.route.map(Into::into),
        upstream: seen.upstream.map(Into::into),
        limit: seen.limit.map(Into::into),
        count: seen.count,
        first_seconds_ago: ago(seen.first),
        last_seconds_ago: ago(seen.last),
    }
}

/// More than a screen shows; a gateway may have 100,000.
const MOST_ROUTES: usize = 50;
