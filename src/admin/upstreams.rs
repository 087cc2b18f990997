//! What is told of upstreams: to people by `tollgate status`, to scrapes by zone.
//! All of it comes from the table that picks are drawn from.

use std::{sync::Arc, time::Instant};

use serde::Serialize;

use crate::{
    limit::{Counts, Limit},
    snapshot::{Current, Snapshot},
    telemetry::{
        Metrics,
        metrics::{LimitGauges, UpstreamGauges, ZoneGauges},
    },
    upstream::{
        Endpoint, Health, Upstream, View,
        discovery::{Discovery, SourceView},
    },
};

/// An upstream.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct UpstreamStatus {
    pub name: String,
    /// Too few endpoints are in service anywhere.
    pub panic: bool,
    /// Since the process runs.
    pub ejections: u64,
    /// Nearest first.
    pub tiers: Vec<TierStatus>,
    /// Names and files that stand for endpoints.
    pub sources: Vec<SourceStatus>,
    pub endpoints: Vec<EndpointStatus>,
}

/// A tier.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct TierStatus {
    /// `own zone`, `region`, or a region's name.
    pub tier: String,
    /// Of the traffic.
    pub share: f64,
    /// Of its weight.
    pub in_service: f64,
}

/// An endpoint.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct EndpointStatus {
    pub address: String,
    pub zone: Option<String>,
    /// None for one that is never picked.
    pub tier: Option<String>,
    pub weight: u16,
    /// Of the traffic.
    pub share: f64,
    /// What probes say; `None` when nobody asks.
    pub health: Option<&'static str>,
    /// Whether an operator took its zone out.
    pub drained: bool,
    /// How much longer it is ejected.
    pub ejected_seconds: Option<f64>,
    pub in_flight: u32,
}

/// A name or a file.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct SourceStatus {
    pub source: String,
    /// None while it was never found, or not for too long.
    pub endpoints: Option<usize>,
    /// `fresh`; `stale` when look-ups fail and the last answer serves; `unknown`
    /// when there is none.
    pub state: &'static str,
    /// Since when look-ups fail.
    pub failing_seconds: Option<u64>,
    /// How.
    pub last_error: Option<&'static str>,
    pub next_look_seconds: f64,
}

/// Every upstream now.
pub(super) fn status(snapshot: &Snapshot, discovery: &Discovery, now: Instant) -> Vec<UpstreamStatus> {
    let one = |upstream: &Arc<Upstream>| one(upstream, discovery.sources(&upstream.name, now), now);
    snapshot.upstreams.iter().map(one).collect()
}

fn source(view: SourceView) -> SourceStatus {
    let state = match (view.endpoints, view.failing) {
        (None, _) => "unknown",
        (Some(_), Some(_)) => "stale",
        (Some(_), None) => "fresh",
    };
    SourceStatus {
        source: view.source,
        endpoints: view.endpoints,
        state,
        failing_seconds: view.failing.map(|(since, _)| since.as_secs()),
        last_error: view.failing.map(|(_, why)| why),
        next_look_seconds: rounded(view.next.as_secs_f64()),
    }
}

fn one(upstream: &Upstream, sources: Vec<SourceView>, now: Instant) -> UpstreamStatus {
    let view = upstream.view(now);
    let endpoint = |(index, (endpoint, share)): (usize, (&Endpoint, &f64))| EndpointStatus {
        address: endpoint.address.to_string(),
        zone: endpoint.zone.as_deref().map(str::to_owned),
        tier: upstream.distance(index).map(ToString::to_string),
        weight: endpoint.weight,
        share: rounded(*share),
        health: upstream.check.is_some().then(|| endpoint.health().word()),
        drained: endpoint.is_drained(),
        ejected_seconds: endpoint.ejected_for(now).map(|left| rounded(left.as_secs_f64())),
        in_flight: endpoint.in_flight(),
    };
    let endpoints = upstream.endpoints().iter().zip(&view.shares).enumerate();
    let tier = |tier: &crate::upstream::TierView| TierStatus {
        tier: tier.distance.to_string(),
        share: rounded(tier.share),
        in_service: rounded(tier.in_service),
    };
    UpstreamStatus {
        name: upstream.name.to_string(),
        panic: view.panic,
        ejections: view.ejections,
        tiers: view.tiers.iter().map(tier).collect(),
        sources: sources.into_iter().map(source).collect(),
        endpoints: endpoints.map(endpoint).collect(),
    }
}

/// To a ten-thousandth: what is told is for people.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

/// Every scrape looks at the upstreams and limits of the snapshot that serves then.
pub fn watch(metrics: &Metrics, current: Arc<Current>) {
    let limits = current.clone();
    metrics.watch_limits(move || limits.load().rate_limits.iter().map(limit).collect());
    metrics.watch_upstreams(move || {
        let (snapshot, now) = (current.load(), Instant::now());
        snapshot.upstreams.iter().map(|upstream| gauges(upstream, &upstream.view(now), now)).collect()
    });
}

fn limit(limit: &Limit) -> LimitGauges {
    match &limit.counts {
        Counts::Rate(rate) => LimitGauges::Overflowed(limit.name.to_string(), rate.overflowed()),
        Counts::Concurrency(counts) => LimitGauges::InFlight(limit.name.to_string(), counts.in_flight()),
    }
}

fn gauges(upstream: &Upstream, view: &View, now: Instant) -> UpstreamGauges {
    let mut zones: Vec<_> = upstream
        .zones()
        .iter()
        .map(|zone| ZoneGauges { zone: zone.to_string(), ..ZoneGauges::default() })
        .collect();
    for (index, (endpoint, share)) in upstream.endpoints().iter().zip(&view.shares).enumerate() {
        let zone = upstream.zone_index(index).and_then(|zone| zones.get_mut(zone));
        let Some(zone) = zone.filter(|_| endpoint.weight > 0) else { continue };
        zone.share += share;
        if endpoint.is_drained() {
            zone.drained += 1;
            continue;
        }
        zone.endpoints += 1;
        zone.ejected += u64::from(endpoint.ejected_for(now).is_some());
        zone.unhealthy += u64::from(endpoint.health() == Health::Unhealthy);
    }
    UpstreamGauges {
        upstream: upstream.name.to_string(),
        panic: view.panic,
        ejections: view.ejections,
        queue: upstream.queued().map(|q| [q.waiting.into(), q.served, q.gave_up]),
        spill: view.tiers.iter().skip(1).map(|tier| tier.share).sum(),
        zones,
    }
}
