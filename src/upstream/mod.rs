//! Chooses the endpoint of an upstream for one attempt of one request.
//!
//! `place` says how far endpoints are, `live` remembers what became of them,
//! `table` works out who is in service and what `shares` each tier takes, `pick`
//! draws from it, `outlier` ejects, `trial` finds out who can be reached again,
//! `budget` counts retries, `queue` keeps those in order for whom there is no room,
//! `idle` keeps connections that nobody uses. Does not own those in use, retries or the
//! outcome: the caller says what was tried and what time it is, and gives the [`Lease`]
//! back by dropping it. An endpoint of weight 0 is never picked.

mod budget;
pub mod discovery;
mod endpoint;
mod found;
pub mod health;
mod idle;
mod live;
mod outlier;
pub mod peer;
mod pick;
mod place;
mod queue;
mod retries;
mod ring;
mod shares;
mod simulate;
mod split;
mod table;
mod timeouts;
mod trial;
mod tried;
mod turns;
mod view;
mod zone_drain;

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use health::Check;

pub use endpoint::{Endpoint, Lease};
pub use found::{EndpointSource, Found, FoundSet, Resolved};
pub use idle::Idle;
pub use live::{EndpointLive, Health, UpstreamLive};
pub use outlier::Outcome;
pub use pick::Unavailable;
pub use place::{Distance, Place};
pub use queue::{Queued, Waiting};
pub use retries::Retries;
pub use ring::hash;
pub use simulate::{EndpointSplit, Seen, Simulation, WhatIf, ZoneSplit};
pub use split::{Split, TierSplit};
pub use timeouts::Timeouts;
pub use trial::Trial;
pub use tried::Tried;
pub use view::{EndpointState, TierView, View, ZoneView, rounded};
pub use zone_drain::{DrainEffect, Overload};

use crate::config::{
    balance::{BalanceSpec, HashKeySpec},
    failover::{MaxInFlightSpec, OnPanic},
    upstream::{Protocol, UpstreamSpec},
};
use outlier::Outliers;
use place::Plan;
use queue::Waits;
use ring::Ring;
use shares::Return;
use table::Table;

/// A named group of endpoints that answer alike.
pub struct Upstream {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// How endpoints are asked whether they can serve; `None` takes all to.
    pub check: Option<Arc<Check>>,
    /// What is tried again, and how often.
    pub retries: Retries,
    /// What keeps a request on an endpoint.
    pub hash_key: Option<HashKeySpec>,
    /// Whether it is told the client's certificate.
    pub wants_certificate: bool,
    /// Whether it may speak HTTP/2, as gRPC needs.
    pub knows_calls: bool,
    endpoints: Box<[Endpoint]>,
    /// The zones of its endpoints, each once.
    zones: Box<[Arc<str>]>,
    /// How many gateways there are in each of `zones`.
    gateways: Box<[u32]>,
    /// The endpoints that may be picked, by distance.
    plans: Box<[Plan]>,
    /// How many may be picked.
    all: usize,
    spill_below: f64,
    panic_below: f64,
    on_panic: OnPanic,
    returns: Return,
    probed: bool,
    outliers: Option<Outliers>,
    in_turn: bool,
    /// By tier, where a key decides.
    rings: Box<[Ring]>,
    /// The bound above the mean, where a key decides.
    max_load: f64,
    /// Requests in flight, all together and to each.
    most: u32,
    most_each: u32,
    /// Who may wait for room.
    waits: Waits,
    /// Whether all requests are counted together.
    counts_all: bool,
    live: Arc<UpstreamLive>,
    table: ArcSwap<Table>,
}

impl Upstream {
    /// The upstream at work with these endpoints, seen from `place`. `live` is what
    /// is known of it.
    pub fn new(
        spec: &UpstreamSpec,
        endpoints: Vec<Resolved>,
        tls: Option<&peer::PeerTls>,
        place: &Place,
        live: Arc<UpstreamLive>,
    ) -> Self {
        let timeouts = Timeouts::from(&spec.timeouts);
        let zones: BTreeSet<&str> = endpoints.iter().map(zone_of).collect();
        let zones: Box<[Arc<str>]> = zones.into_iter().map(Arc::from).collect();
        let plans = place::tiers(&endpoints, place);
        let towards =
            |e: &Resolved| timeouts.towards(&place.distance(e.zone.as_deref(), e.region.as_deref()));
        let endpoint = |e: Resolved| Endpoint {
            zone_index: zones.iter().position(|zone| **zone == *zone_of(&e)).unwrap_or(0),
            is_elsewhere: place.is_left_for(&e),
            live: live.endpoint(e.address),
            peer: peer::template(e.address, spec.protocol, &towards(&e), tls),
            drained: place.is_drained(e.zone.as_deref()),
            address: e.address,
            zone: e.zone,
            region: e.region,
            weight: e.weight,
        };
        let endpoints: Box<[Endpoint]> = endpoints.into_iter().map(endpoint).collect();
        let (hash_key, max_load) = match &spec.balance {
            BalanceSpec::ConsistentHash(hash) => (Some(hash.key.clone()), hash.max_load.share()),
            BalanceSpec::LeastRequest | BalanceSpec::RoundRobin => (None, f64::INFINITY),
        };
        Self {
            name: spec.name.as_str().into(),
            timeouts,
            check: Check::new(spec, tls).map(Arc::new),
            retries: Retries::from(&spec.retries),
            rings: if hash_key.is_some() { rings(&plans, &endpoints) } else { Box::default() },
            gateways: zones.iter().map(|zone| gateways_in(place, zone)).collect(),
            all: plans.iter().map(|plan| plan.members.len()).sum(),
            plans: plans.into(),
            spill_below: spec.locality.spill_below.share(),
            panic_below: spec.locality.panic_below.share(),
            on_panic: spec.locality.on_panic,
            returns: Return {
                hold_down: spec.locality.hold_down.duration(),
                slow_start: spec.slow_start.duration(),
            },
            probed: spec.is_probed(),
            outliers: spec.outlier_detection.as_ref().map(Outliers::from),
            in_turn: spec.balance == BalanceSpec::RoundRobin,
            max_load,
            most: spec.max_in_flight.upstream.unwrap_or(u32::MAX),
            most_each: spec.max_in_flight.endpoint.unwrap_or(u32::MAX),
            waits: Waits::from(&spec.max_in_flight),
            counts_all: hash_key.is_some() || counts_all(&spec.max_in_flight),
            hash_key,
            wants_certificate: spec.forward_client_cert,
            knows_calls: spec.protocol != Protocol::Http1,
            endpoints,
            zones,
            live,
            table: ArcSwap::from_pointee(Table::none()),
        }
    }

    /// The endpoint that a lease stands for.
    pub fn endpoint(&self, lease: &Lease) -> Option<&Endpoint> {
        self.endpoints.get(lease.index())
    }

    /// Every endpoint, in the order of the configuration.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Its endpoints as they were given.
    pub fn resolved(&self) -> Vec<Resolved> {
        let resolved = |e: &Endpoint| Resolved {
            address: e.address,
            zone: e.zone.clone(),
            region: e.region.clone(),
            weight: e.weight,
        };
        self.endpoints.iter().map(resolved).collect()
    }

    /// The zones of its endpoints; `-` is that of those without.
    pub fn zones(&self) -> &[Arc<str>] {
        &self.zones
    }

    /// Whether it has exactly these endpoints, in this order.
    pub fn has(&self, endpoints: &[Resolved]) -> bool {
        self.endpoints.len() == endpoints.len() && self.endpoints.iter().zip(endpoints).all(|(e, r)| e.is(r))
    }

    /// Which of its zones an endpoint is in.
    pub fn zone_index(&self, endpoint: usize) -> Option<usize> {
        self.endpoints.get(endpoint).map(|endpoint| endpoint.zone_index)
    }

    /// Counts a request's first attempt, of which its retries are a share.
    pub fn begin(&self, now: Instant) {
        self.live.budget.request(now);
    }

    fn takes_turns(&self) -> bool {
        self.in_turn
    }

    fn fails_in_panic(&self) -> bool {
        self.on_panic == OnPanic::Fail
    }
}

/// A ring for each tier.
fn rings(plans: &[Plan], endpoints: &[Endpoint]) -> Box<[Ring]> {
    let ring = |plan: &Plan| {
        let members = plan
            .members
            .iter()
            .filter_map(|index| endpoints.get(*index as usize).map(|e| (*index, e.address, e.weight)));
        Ring::new(&members.collect::<Vec<(u32, SocketAddr, u16)>>())
    };
    plans.iter().map(ring).collect()
}

fn zone_of(endpoint: &Resolved) -> &str {
    endpoint.zone.as_deref().unwrap_or(NO_ZONE)
}

/// Whoever waits for room has to hear of each place that is given back.
fn counts_all(spec: &MaxInFlightSpec) -> bool {
    spec.upstream.is_some() || spec.queue > 0
}

fn gateways_in(place: &Place, zone: &str) -> u32 {
    place.gateways.iter().find(|(name, _)| **name == *zone).map_or(0, |(_, gateways)| *gateways)
}

/// The zone of endpoints that have none; no configured name is spelled like it.
const NO_ZONE: &str = "-";

#[cfg(test)]
mod tests;
