//! Whether an upstream can do without a zone: what is left when an operator
//! takes it out, by the same tables as the data path's.

use std::{fmt, sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};

use super::{Distance, EndpointState, Seen, Upstream, WhatIf, live::Memory};

/// What taking a zone out leaves of an upstream.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DrainEffect {
    /// Its name.
    pub upstream: String,
    /// Its endpoints in the zone that may be picked.
    pub endpoints: usize,
    /// Endpoints that are in service now, anywhere.
    pub in_service_before: usize,
    /// Endpoints that would be left in service, anywhere.
    pub in_service: usize,
    /// What is in service in the region now, of all that it has there.
    pub near_before: Option<f64>,
    /// What would be left in service in the region, of all that it has there;
    /// `None` where it has nothing there.
    pub near: Option<f64>,
    /// Below this share of it nothing is to be taken out.
    pub panic_below: f64,
    /// The share of its traffic that leaves the region now.
    pub region_spill_before: f64,
    /// The share that would leave it, at once or later.
    pub region_spill: f64,
    /// Why the rest would be overloaded, if it would be.
    pub overload: Option<Overload>,
}

/// Why the rest would be overloaded: only what the drain would add to. A zone that
/// has nothing in service can always be taken out, and what is broken already
/// keeps nobody from it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Overload {
    /// No endpoint would be left in service, and some are now.
    NothingLeft,
    /// Less than `panic_below` would be left in the region, and less than now.
    TooThin,
    /// Traffic would begin to leave the region, or more of it.
    LeavesRegion,
}

impl Seen<'_> {
    /// What is left of the upstream without a zone; `None` when it has no
    /// endpoint there that could be picked.
    pub fn without_zone(&self, zone: &str, now: Instant) -> Option<DrainEffect> {
        let is_there = |e: &&super::Endpoint| e.weight > 0 && e.zone.as_deref() == Some(zone);
        let endpoints = self.upstream.endpoints.iter().filter(is_there).count();
        if endpoints == 0 {
            return None;
        }
        let what_if = WhatIf { zones_drained: vec![Arc::from(zone)], ..WhatIf::default() };
        let after = self.copy(&what_if, Memory::Settled, now);
        let spill = |upstream: &Upstream| {
            let tiers = upstream.view(now).tiers;
            let far = tiers.iter().filter(|tier| matches!(tier.distance, Distance::Elsewhere(_)));
            far.map(|tier| tier.share).sum::<f64>()
        };
        let mut effect = DrainEffect {
            upstream: self.upstream.name.to_string(),
            endpoints,
            in_service_before: in_service(self.upstream, now),
            in_service: in_service(&after, now),
            near_before: self.near(self.upstream, now),
            near: self.near(&after, now),
            panic_below: self.upstream.panic_below,
            region_spill_before: spill(&self.copy(&WhatIf::default(), Memory::Kept, now)),
            region_spill: spill(&after).max(spill(&self.copy(&what_if, Memory::Kept, now))),
            overload: None,
        };
        effect.overload = effect.judge();
        Some(effect)
    }

    /// What is in service in the region, of all that is there. Drained endpoints
    /// count as gone, not as if they had never been.
    fn near(&self, upstream: &Upstream, now: Instant) -> Option<f64> {
        let (mut serving, mut all) = (0, 0);
        let is_near = |e: &&super::Endpoint| !matches!(self.distance(e), Distance::Elsewhere(_));
        for endpoint in upstream.endpoints.iter().filter(is_near) {
            all += u64::from(endpoint.weight);
            serving += u64::from(endpoint.weight) * u64::from(serves(upstream, endpoint, now));
        }
        (all > 0).then(|| serving as f64 / all as f64)
    }
}

fn in_service(upstream: &Upstream, now: Instant) -> usize {
    upstream.endpoints.iter().filter(|endpoint| serves(upstream, endpoint, now)).count()
}

fn serves(upstream: &Upstream, endpoint: &super::Endpoint, now: Instant) -> bool {
    upstream.state(endpoint, now) == EndpointState::InService
}

impl DrainEffect {
    fn judge(&self) -> Option<Overload> {
        let is_thin = |near: &f64| *near < self.panic_below;
        let is_less = |near: f64| self.near_before.is_none_or(|before| near < before - NOTHING);
        match () {
            () if self.in_service == 0 && self.in_service_before > 0 => Some(Overload::NothingLeft),
            () if self.near.filter(is_thin).is_some_and(is_less) => Some(Overload::TooThin),
            () if self.region_spill > self.region_spill_before + NOTHING => Some(Overload::LeavesRegion),
            () => None,
        }
    }
}

impl fmt::Display for DrainEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| format!("{:.0}%", share * 100.0);
        write!(f, "{}: ", self.upstream)?;
        match self.overload {
            Some(Overload::NothingLeft) => f.write_str("no endpoint would be left in service"),
            Some(Overload::TooThin) => write!(
                f,
                "{} of its weight in the region would be left in service, `panic_below` is {}",
                percent(self.near.unwrap_or_default()),
                percent(self.panic_below)
            ),
            Some(Overload::LeavesRegion) => write!(
                f,
                "{} of its traffic would go to another region, now it is {}",
                percent(self.region_spill),
                percent(self.region_spill_before)
            ),
            None => {
                let plural = if self.in_service == 1 { "" } else { "s" };
                write!(f, "{} endpoint{plural} would be left in service", self.in_service)
            }
        }
    }
}

/// A share that nobody would see.
const NOTHING: f64 = 0.001;
