//! What is told of upstreams: to people by `tollgate status`, to scrapes by zone.
//! All of it comes from the table that picks are drawn from.

use std::{sync::Arc, time::Instant};

use serde::Serialize;

use super::keys;
use crate::{
    jwt::Now,
    limit::{Counts, FleetLive, Limit},
    snapshot::{Current, Snapshot},
    telemetry::{
        Metrics,
        metrics::{LimitGauges, UpstreamGauges, ZoneGauges},
    },
    upstream::{
        Endpoint, EndpointState, Upstream, View, ZoneView,
        discovery::{Discovery, SourceView},
        rounded,
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
    /// What it is, in a word or two.
    pub state: &'static str,
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
        state: upstream.state(endpoint, now).word(),
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

/// Every scrape looks at the upstreams, limits and keys of the snapshot that serves then.
pub fn watch(metrics: &Metrics, current: Arc<Current>, fleet: Arc<FleetLive>) {
    let limits = current.clone();
    metrics.watch_limits(move || {
        let snapshot = limits.load();
        let gateways = snapshot.gateways().or(fleet.gateways());
        let gateways = gateways.map(|gateways| LimitGauges::Gateways(gateways.into()));
        snapshot.rate_limits.iter().flat_map(limit).chain(gateways).collect()
    });
    let signers = current.clone();
    metrics.watch_keys(move || keys::gauges(&signers.load(), Now::read()));
    metrics.watch_upstreams(move || {
        let (snapshot, now) = (current.load(), Instant::now());
        snapshot.upstreams.iter().map(|upstream| gauges(upstream, &upstream.view(now), now)).collect()
    });
}

fn limit(limit: &Limit) -> Vec<LimitGauges> {
    let name = || limit.name.to_string();
    match &limit.counts {
        Counts::Rate(rate, _) => vec![LimitGauges::Overflowed(name(), rate.overflowed())],
        Counts::Leased(lease, _) => {
            let overflowed = lease.cells().overflowed() + lease.alone().overflowed();
            let ledger = LimitGauges::Ledger(name(), lease.untold(), lease.keys() as u64);
            vec![LimitGauges::Overflowed(name(), overflowed), ledger]
        }
        Counts::Concurrency(counts, _) => vec![LimitGauges::InFlight(name(), counts.in_flight())],
    }
}

fn gauges(upstream: &Upstream, view: &View, now: Instant) -> UpstreamGauges {
    let views = upstream.zone_views(view, now);
    let zone = |(name, zone): (&Arc<str>, &ZoneView)| ZoneGauges {
        zone: name.to_string(),
        share: zone.share,
        endpoints: SERIES.iter().map(|(state, word)| (*word, zone.count(*state) as u64)).collect(),
    };
    UpstreamGauges {
        upstream: upstream.name.to_string(),
        panic: view.panic,
        ejections: view.ejections,
        queue: upstream.queued().map(|q| [q.waiting.into(), q.served, q.gave_up]),
        spill: view.tiers.iter().skip(1).map(|tier| tier.share).sum(),
        zones: upstream.zones().iter().zip(&views).map(zone).collect(),
    }
}

/// What has a series of endpoints, and its `state`; those of weight 0 have none.
const SERIES: [(EndpointState, &str); 6] = [
    (EndpointState::InService, "in_service"),
    (EndpointState::Ejected, "ejected"),
    (EndpointState::Unhealthy, "unhealthy"),
    (EndpointState::Unreachable, "unreachable"),
    (EndpointState::Unproven, "unproven"),
    (EndpointState::Drained, "drained"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{Found, Health, Place};

    #[test]
    fn an_endpoint_counts_as_one_thing_and_only_what_serves_as_in_service() {
        let text = r#"{ name: u, health_check: { path: / }, endpoints: [
            { address: "10.0.0.1:1", zone: z1 }, { address: "10.0.0.1:2", zone: z1 },
            { address: "10.0.0.1:3", zone: z1 }, { address: "10.0.0.1:4", zone: z1, weight: 0 },
            { address: "10.0.0.1:5", zone: z2 }] }"#;
        let spec = serde_yaml::from_str(text).unwrap();
        let place = Place { drained: vec!["z2".into()], ..Place::default() };
        let upstream =
            Upstream::new(&spec, Found::default().resolve(&spec, None), None, &place, Arc::default());
        for (endpoint, health) in upstream.endpoints().iter().zip([Health::Healthy, Health::Unhealthy]) {
            endpoint.assume(health);
        }

        let now = Instant::now();
        let gauges = gauges(&upstream, &upstream.view(now), now);

        let told: Vec<_> = gauges.zones.iter().map(|zone| zone.endpoints.clone()).collect();
        let counts =
            |counts: [u64; 6]| SERIES.map(|(_, word)| word).into_iter().zip(counts).collect::<Vec<_>>();
        assert_eq!(told, [counts([1, 0, 1, 0, 1, 0]), counts([0, 0, 0, 0, 0, 1])]);
    }
}
