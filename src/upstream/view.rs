//! What an upstream is now, for people and metrics: from the same table that
//! picks are drawn from.

use std::{sync::atomic::Ordering, time::Instant};

use super::{Distance, Endpoint, Health, Tried, Unavailable, Upstream, UpstreamLive};

/// An upstream now.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Too few endpoints are in service anywhere.
    pub panic: bool,
    /// Nearest first.
    pub tiers: Vec<TierView>,
    /// By endpoint, in the order of the configuration: its share of the traffic.
    pub shares: Vec<f64>,
    /// Ejections since the upstream is known.
    pub ejections: u64,
}

/// A tier now.
#[derive(Clone, Debug, PartialEq)]
pub struct TierView {
    /// How far it is.
    pub distance: Distance,
    /// Of the whole traffic.
    pub share: f64,
    /// Of its weight.
    pub in_service: f64,
}

/// What an endpoint is; the first that applies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndpointState {
    /// Of weight 0: never picked.
    Never,
    /// An operator took its zone out.
    Drained,
    /// Traffic took it out for a while.
    Ejected,
    /// Its last probes failed.
    Unhealthy,
    /// The last attempts did not reach it.
    Unreachable,
    /// It was never probed, and has to be.
    Unproven,
    /// It takes traffic.
    InService,
}

impl EndpointState {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Never => "weight 0",
            Self::Drained => "drained",
            Self::Ejected => "ejected",
            Self::Unhealthy => "unhealthy",
            Self::Unreachable => "unreachable",
            Self::Unproven => "unproven",
            Self::InService => "in service",
        }
    }
}

impl Upstream {
    /// What one of its endpoints is now.
    pub fn state(&self, endpoint: &Endpoint, now: Instant) -> EndpointState {
        match endpoint.health() {
            _ if endpoint.weight == 0 => EndpointState::Never,
            _ if endpoint.is_drained() => EndpointState::Drained,
            _ if endpoint.ejected_for(now).is_some() => EndpointState::Ejected,
            Health::Unhealthy => EndpointState::Unhealthy,
            _ if endpoint.live.is_unreachable() => EndpointState::Unreachable,
            Health::Unproven if self.probed => EndpointState::Unproven,
            Health::Healthy | Health::Unproven => EndpointState::InService,
        }
    }

    /// What it is now.
    pub fn view(&self, now: Instant) -> View {
        let table = self.table(now);
        let mut shares = vec![0.0; self.endpoints.len()];
        for tier in &table.tiers {
            let total = tier.sums.last().map_or(tier.members.len() as f64, |total| *total as f64);
            let mut before = 0;
            for (place, index) in tier.members.iter().enumerate() {
                let upto = tier.sums.get(place).copied().unwrap_or(place as u64 + 1);
                let share = shares.get_mut(*index as usize).into_iter();
                share.for_each(|share| *share = tier.share * (upto - before) as f64 / total);
                before = upto;
            }
        }
        let tiers = self.plans.iter().zip(&table.tiers).map(|(plan, tier)| TierView {
            distance: plan.distance.clone(),
            share: tier.share,
            in_service: tier.in_service,
        });
        View { panic: table.panic, tiers: tiers.collect(), shares, ejections: self.live.ejections() }
    }

    /// Whether no endpoint is in service at all.
    pub fn is_down(&self, now: Instant) -> bool {
        self.table(now).tiers.iter().all(|tier| tier.in_service <= 0.0)
    }

    /// Why a first attempt would find nowhere to go now: what
    /// [`pick`](Self::pick) answers, without taking a place.
    pub fn unavailable(&self, now: Instant) -> Option<Unavailable> {
        let table = self.table(now);
        let (nobody, full) = (Tried::default(), || self.live.in_flight.load(Ordering::Relaxed) >= self.most);
        if table.panic && self.fails_in_panic() {
            return Some(Unavailable::Panic);
        }
        match self.scan(&table, &nobody, 0, |_| true) {
            None => Some(Unavailable::NoEndpoint),
            Some(_) if self.counts_all && full() => Some(Unavailable::Full),
            Some(_) => {
                let room = self.scan(&table, &nobody, 0, |index| self.has_room(index));
                room.is_none().then_some(Unavailable::Full)
            }
        }
    }

    /// The endpoint that a first attempt with this key goes to now; `None` where
    /// no key decides, and where there is nowhere to go.
    pub fn keyed(&self, key: u64, now: Instant) -> Option<&Endpoint> {
        if self.hash_key.is_none() || self.unavailable(now).is_some() {
            return None;
        }
        let table = self.table(now);
        let has_room = |index| self.has_room(index);
        let first = self.first(&table, key).filter(|index| has_room(*index));
        let index = first.or_else(|| self.scan(&table, &Tried::default(), key, has_room))?;
        self.endpoints.get(index)
    }

    /// How far an endpoint is; `None` for one that is never picked.
    pub fn distance(&self, endpoint: usize) -> Option<&Distance> {
        let has =
            |members: &[u32]| members.binary_search(&u32::try_from(endpoint).unwrap_or(u32::MAX)).is_ok();
        self.plans.iter().find(|plan| has(&plan.members)).map(|plan| &plan.distance)
    }
}

impl UpstreamLive {
    /// Ejections since the upstream is known.
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }
}
