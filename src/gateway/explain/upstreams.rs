//! What is told of the upstreams that a request can be sent to.
//!
//! All of it comes from the table that picks are drawn from; no place is taken at
//! any endpoint, and nothing is counted.

use std::time::{Duration, Instant};

use super::{
    Asked,
    answer::{EndpointTold, HashTold, RefusalTold, RetriesTold, TierTold, UpstreamTold},
};
use crate::{
    config::balance::HashKeySpec,
    gateway::{attempt, balance_key, rejection::Rejection},
    route::Route,
    upstream::{Endpoint, Upstream, rounded},
};

/// An upstream that takes this share of requests like this one.
pub(super) fn told(asked: &Asked<'_>, route: &Route, upstream: &Upstream, share: f64) -> UpstreamTold {
    let now = asked.now;
    let waits = waits(asked, upstream);
    let refuses = upstream.unavailable(now).filter(|_| waits.is_none()).map(attempt::unavailable);
    let (tiers, never) = tiers(upstream, now);
    UpstreamTold {
        name: upstream.name.to_string(),
        share: rounded(share),
        panic: upstream.view(now).panic,
        refuses: refuses.and_then(refusal),
        waits_ms: waits.map(|span| span.as_millis() as u64),
        hash: upstream.hash_key.as_ref().map(|key| hash(asked, upstream, key)),
        retries: retries(asked, route, upstream),
        tiers,
        never,
    }
}

/// How long a request waits for room, where it has to and the queue is not full.
fn waits(asked: &Asked<'_>, upstream: &Upstream) -> Option<Duration> {
    let (spec, _) = asked.snapshot.with_specs().find(|(_, other)| other.name == upstream.name)?;
    let is_open = upstream.queued().is_some_and(|queue| queue.waiting < spec.max_in_flight.queue);
    upstream.would_wait(asked.now).filter(|_| is_open)
}

/// A rejection's status and word.
pub(super) fn refusal(why: Rejection) -> Option<RefusalTold> {
    let status = why.status()?.as_u16();
    Some(RefusalTold { status, flag: why.flag().to_owned() })
}

fn hash(asked: &Asked<'_>, upstream: &Upstream, key: &HashKeySpec) -> HashTold {
    let found = balance_key::hash(key, asked.facts.headers, asked.who, &asked.snapshot.tenants);
    let endpoint = found.and_then(|found| upstream.keyed(found, asked.now));
    let by = match key {
        HashKeySpec::Header(name) => format!("header {}", name.header()),
        HashKeySpec::Cookie(name) => format!("cookie {name}"),
        HashKeySpec::ClientAddress => "client address".to_owned(),
        HashKeySpec::Tenant => "tenant".to_owned(),
        HashKeySpec::Consumer => "consumer".to_owned(),
    };
    HashTold { by, has_key: found.is_some(), endpoint: endpoint.map(|e| e.address.to_string()) }
}

fn retries(asked: &Asked<'_>, route: &Route, upstream: &Upstream) -> RetriesTold {
    let retries = &upstream.retries;
    let words = [("connect", retries.on_connect), ("reset", retries.on_reset)];
    let words = words.into_iter().filter(|(_, on)| *on).map(|(word, _)| word.to_owned());
    RetriesTold {
        attempts: retries.attempts,
        on: words.chain(retries.statuses().iter().map(u16::to_string)).collect(),
        per_try_timeout_ms: retries.per_try_timeout.map(|span| span.as_millis() as u64),
        repeatable: route.may_repeat(asked.facts.method),
    }
}

fn tiers(upstream: &Upstream, now: Instant) -> (Vec<TierTold>, Vec<EndpointTold>) {
    let view = upstream.view(now);
    let mut tiers: Vec<TierTold> = Vec::new();
    for tier in &view.tiers {
        tiers.push(TierTold {
            tier: tier.distance.to_string(),
            share: rounded(tier.share),
            in_service: rounded(tier.in_service),
            endpoints: Vec::new(),
            more: 0,
        });
    }
    let mut never = Vec::new();
    for (index, (endpoint, share)) in upstream.endpoints().iter().zip(&view.shares).enumerate() {
        let told = endpoint_told(upstream, endpoint, *share, now);
        let Some(distance) = upstream.distance(index) else {
            never.push(told);
            continue;
        };
        let at = view.tiers.iter().position(|tier| tier.distance == *distance);
        match at.and_then(|at| tiers.get_mut(at)) {
            Some(tier) if tier.endpoints.len() < MOST_ENDPOINTS => tier.endpoints.push(told),
            Some(tier) => tier.more += 1,
            None => {}
        }
    }
    never.truncate(MOST_ENDPOINTS);
    (tiers, never)
}

fn endpoint_told(upstream: &Upstream, endpoint: &Endpoint, share: f64, now: Instant) -> EndpointTold {
    EndpointTold {
        address: endpoint.address.to_string(),
        zone: endpoint.zone.as_deref().map(str::to_owned),
        weight: endpoint.weight,
        share: rounded(share),
        state: upstream.state(endpoint, now).word().to_owned(),
        health: upstream.check.is_some().then(|| endpoint.health().word().to_owned()),
        ejected_seconds: endpoint.ejected_for(now).map(|left| rounded(left.as_secs_f64())),
        in_flight: endpoint.in_flight(),
    }
}

/// As many of a tier as a screen holds.
const MOST_ENDPOINTS: usize = 30;
