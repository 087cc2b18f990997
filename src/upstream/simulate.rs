//! What would become of an upstream's traffic: the same tables and picks as the
//! data path's, over a copy of what is known.
//!
//! Owns the copy, what a fault does to it, and the comparison of before and
//! after. Always holds: asking changes nothing, and is told nobody.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};

use super::{
    Distance, Endpoint, EndpointState, Health, Place, Resolved, Tried, Upstream, View, live::Memory,
    split::Split,
};
use crate::config::upstream::UpstreamSpec;

/// An upstream and from where it is looked at: what a question is about.
#[derive(Clone, Copy)]
pub struct Seen<'s> {
    /// What it was built from.
    pub spec: &'s UpstreamSpec,
    /// The upstream at work.
    pub upstream: &'s Upstream,
    /// Where the gateway is.
    pub home: &'s Place,
    /// From where it is looked at; mostly the same.
    pub place: &'s Place,
}

/// What fails or is taken out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct WhatIf {
    /// Zones whose endpoints all fail.
    pub zones_down: Vec<Arc<str>>,
    /// Regions whose endpoints all fail.
    pub regions_down: Vec<Arc<str>>,
    /// Single endpoints that fail.
    pub endpoints_down: Vec<SocketAddr>,
    /// Zones that an operator takes out.
    pub zones_drained: Vec<Arc<str>>,
}

/// What would become of an upstream's traffic. Shares are of all of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Simulation {
    /// Its name.
    pub upstream: String,
    /// As it is now.
    pub before: Split,
    /// Once hold-down and slow start are over.
    pub after: Split,
    /// The first instant, where that is different.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<Split>,
    /// By name.
    pub zones: Vec<ZoneSplit>,
    /// In the order of the configuration.
    pub endpoints: Vec<EndpointSplit>,
    /// How far, at most, the share of an endpoint in the requests that were drawn
    /// is from the one that is told; 0 where a key decides, since those are told.
    pub drawn_off: f64,
    /// What else someone should know.
    pub notes: Vec<String>,
}

/// What a zone takes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct ZoneSplit {
    pub zone: String,
    pub endpoints: usize,
    /// The sum of its endpoints'.
    pub weight: u64,
    pub before: f64,
    pub after: f64,
    /// Requests per second afterwards, where it is said how many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rps: Option<f64>,
}

/// What an endpoint takes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct EndpointSplit {
    pub address: String,
    pub zone: Option<String>,
    /// `own zone`, `region`, or a region's name.
    pub tier: String,
    pub weight: u16,
    /// What it is afterwards: `in service`, `down`, `drained`, `ejected`,
    /// `unhealthy`, `unproven` or `weight 0`.
    pub state: String,
    pub before: f64,
    pub after: f64,
    /// Of the requests that were drawn.
    pub drawn_before: f64,
    pub drawn_after: f64,
    /// Its load per unit of weight, in parts of the largest before.
    pub load: f64,
    /// Requests per second afterwards, where it is said how many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rps: Option<f64>,
}

impl Seen<'_> {
    /// What becomes of the traffic, with so many requests drawn. The same
    /// question gets the same answer as long as nothing changes.
    pub fn simulate(&self, what_if: &WhatIf, requests: u32, now: Instant) -> Simulation {
        let memory = if self.place == self.home { Memory::Kept } else { Memory::Settled };
        let nothing = WhatIf::default();
        let before = Drawn::from(self.copy(&nothing, memory, now), requests, now);
        let after = Drawn::from(self.copy(what_if, Memory::Settled, now), requests, now);
        let at_once = Drawn::from(self.copy(what_if, memory, now), 0, now);
        let most_before = before.load();
        let split = |drawn: &Drawn, what_if| drawn.split(self, what_if, most_before);
        let is_other = !at_once.by_key() && off(&at_once.shares, &after.shares) > POINT / 10.0;
        Simulation {
            upstream: self.upstream.name.to_string(),
            before: split(&before, &nothing),
            after: split(&after, what_if),
            at_once: is_other.then(|| split(&at_once, what_if)),
            zones: self.zones(&before, &after),
            endpoints: self.endpoint_splits(&before, &after, what_if, now),
            drawn_off: off(&before.drawn, &before.shares).max(off(&after.drawn, &after.shares)),
            notes: after.notes(self, what_if),
        }
    }

    /// The upstream as it would be, over a copy of what is known of it.
    pub(super) fn copy(&self, what_if: &WhatIf, memory: Memory, now: Instant) -> Upstream {
        let live = Arc::new(self.upstream.live.copy(memory, now));
        let mut place = self.place.clone();
        place.drained.extend(what_if.zones_drained.iter().cloned());
        let build = || Upstream::new(self.spec, self.endpoints(), None, &place, live.clone());
        let copy = build();
        // Who else is in service has to be known before anyone is ejected.
        drop(copy.table(now));
        copy.endpoints.iter().filter(|e| self.is_down(e, what_if)).for_each(|e| copy.fail(e, now));
        // With many endpoints a table is not built anew at once; a new one is.
        build()
    }

    /// Its endpoints; who looks from another region has those without one in the
    /// gateway's own.
    fn endpoints(&self) -> Vec<Resolved> {
        let moved = self.place.region != self.home.region;
        let home = || Some(self.home.region.clone().unwrap_or(OWN_REGION.into()));
        let resolved = |e: &Endpoint| Resolved {
            address: e.address,
            zone: e.zone.clone(),
            region: if moved { e.region.clone().or_else(home) } else { e.region.clone() },
            weight: e.weight,
        };
        self.upstream.endpoints.iter().map(resolved).collect()
    }

    pub(super) fn distance(&self, endpoint: &Endpoint) -> Distance {
        self.place.distance(endpoint.zone.as_deref(), endpoint.region.as_deref())
    }

    fn is_down(&self, endpoint: &Endpoint, what_if: &WhatIf) -> bool {
        let is_one = |name: Option<&str>, list: &[Arc<str>]| {
            name.is_some_and(|name| list.iter().any(|other| **other == *name))
        };
        let region = endpoint.region.as_deref().or(self.home.region.as_deref());
        is_one(endpoint.zone.as_deref(), &what_if.zones_down)
            || is_one(region, &what_if.regions_down)
            || what_if.endpoints_down.contains(&endpoint.address)
    }

    fn zones(&self, before: &Drawn, after: &Drawn) -> Vec<ZoneSplit> {
        let zone = |(nth, name): (usize, &Arc<str>)| {
            let members =
                || self.upstream.endpoints.iter().enumerate().filter(move |(_, e)| e.zone_index == nth);
            let sum = |shares: &[f64]| members().filter_map(|(index, _)| shares.get(index)).sum();
            ZoneSplit {
                zone: name.to_string(),
                endpoints: members().count(),
                weight: members().map(|(_, e)| u64::from(e.weight)).sum(),
                before: sum(&before.shares),
                after: sum(&after.shares),
                rps: None,
            }
        };
        self.upstream.zones.iter().enumerate().map(zone).collect()
    }

    fn endpoint_splits(
        &self,
        before: &Drawn,
        after: &Drawn,
        what_if: &WhatIf,
        now: Instant,
    ) -> Vec<EndpointSplit> {
        let most_before = before.load();
        let of = |shares: &[f64], index: usize| shares.get(index).copied().unwrap_or_default();
        let one = |(index, endpoint): (usize, &Endpoint)| EndpointSplit {
            address: endpoint.address.to_string(),
            zone: endpoint.zone.as_deref().map(str::to_owned),
            tier: self.distance(endpoint).to_string(),
            weight: endpoint.weight,
            state: match after.upstream.state(endpoint, now) {
                state @ (EndpointState::Never | EndpointState::Drained) => state.word(),
                _ if self.is_down(endpoint, what_if) => DOWN,
                state => state.word(),
            }
            .to_owned(),
            before: of(&before.shares, index),
            after: of(&after.shares, index),
            drawn_before: of(&before.drawn, index),
            drawn_after: of(&after.drawn, index),
            load: relative(load(endpoint, of(&after.shares, index)), most_before),
            rps: None,
        };
        after.upstream.endpoints.iter().enumerate().map(one).collect()
    }
}

impl Upstream {
    /// What probes and traffic make of an endpoint that answers nobody; nothing
    /// where neither is looked at.
    fn fail(&self, endpoint: &Endpoint, now: Instant) {
        if self.watches() {
            endpoint.live.lose();
        }
        if self.probed {
            endpoint.live.set_health(Health::Unhealthy);
        } else if let Some(outliers) = self.outliers.as_ref().filter(|outliers| outliers.sees_failures()) {
            self.eject(outliers, endpoint, "what_if", now);
        }
    }
}

/// A copy, and what was drawn from it.
struct Drawn {
    upstream: Upstream,
    view: View,
    /// By endpoint: what is told.
    shares: Vec<f64>,
    /// By endpoint: what was drawn.
    drawn: Vec<f64>,
}

impl Drawn {
    fn from(upstream: Upstream, requests: u32, now: Instant) -> Self {
        let view = upstream.view(now);
        let drawn = draw(&upstream, requests, now);
        let shares = match () {
            () if view.panic && upstream.fails_in_panic() => vec![0.0; view.shares.len()],
            // Where keys fall on the ring is not by weight alone.
            () if upstream.hash_key.is_some() && requests > 0 => drawn.clone(),
            () => view.shares.clone(),
        };
        Self { upstream, view, shares, drawn }
    }

    fn by_key(&self) -> bool {
        self.upstream.hash_key.is_some()
    }

    /// The largest load per unit of weight.
    fn load(&self) -> f64 {
        let loads = self.upstream.endpoints.iter().zip(&self.shares).map(|(e, share)| load(e, *share));
        loads.fold(0.0, f64::max)
    }

    fn split(&self, seen: &Seen<'_>, what_if: &WhatIf, most_before: f64) -> Split {
        let mut split = Split::new(&self.view, seen.place);
        split.max_load = relative(self.load(), most_before);
        let mut zones = vec![0.0; self.upstream.zones.len()];
        for (endpoint, share) in self.upstream.endpoints.iter().zip(&self.shares) {
            split.add(&seen.distance(endpoint), *share);
            split.to_dead += if seen.is_down(endpoint, what_if) { *share } else { 0.0 };
            zones.get_mut(endpoint.zone_index).into_iter().for_each(|zone| *zone += share);
        }
        split.max_zone_share = zones.into_iter().fold(0.0, f64::max);
        split.settle()
    }

    fn notes(&self, seen: &Seen<'_>, what_if: &WhatIf) -> Vec<String> {
        let mut notes = Vec::new();
        let down = |share: f64, e: &Endpoint| if seen.is_down(e, what_if) { share } else { 0.0 };
        let to_dead: f64 = self.upstream.endpoints.iter().zip(&self.shares).map(|(e, s)| down(*s, e)).sum();
        if to_dead > 0.0 {
            let why = match self.upstream.watches() {
                false => "nothing tells that they are: write `health_check` or `outlier_detection`",
                true => "`outlier_detection` is told to see no failures in a row",
            };
            notes.push(format!("{:.1}% goes to endpoints that are down: {why}", to_dead * 100.0));
        }
        notes
    }
}

/// Which share of so many first attempts each endpoint gets, by the pick itself.
fn draw(upstream: &Upstream, requests: u32, now: Instant) -> Vec<f64> {
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut counts = vec![0_u32; upstream.endpoints.len()];
    for _ in 0..requests {
        let lease = upstream.pick(&Tried::default(), random.u64(..), now);
        let count = lease.ok().and_then(|lease| counts.get_mut(lease.index()));
        count.into_iter().for_each(|count| *count += 1);
    }
    counts.into_iter().map(|count| f64::from(count) / f64::from(requests.max(1))).collect()
}

fn load(endpoint: &Endpoint, share: f64) -> f64 {
    if endpoint.weight == 0 { 0.0 } else { share / f64::from(endpoint.weight) }
}

/// With nothing before there is nothing to compare with.
fn relative(load: f64, before: f64) -> f64 {
    if before > 0.0 { load / before } else { f64::from(u8::from(load > 0.0)) }
}

fn off(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Any number; the same one, so that the same question gets the same answer.
const SEED: u64 = 0x70_11_9a_7e;
const POINT: f64 = 0.01;
const DOWN: &str = "down";
/// What a region is called that has no name in the configuration.
const OWN_REGION: &str = "own region";

#[cfg(test)]
mod tests;
