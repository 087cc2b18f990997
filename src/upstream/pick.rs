//! Picks where the next attempt goes.
//!
//! Owns the draw of a tier and of an endpoint in it. Does not own who is in
//! service: the table says that. Nothing here allocates, and nothing looks at
//! all endpoints unless a request was tried before or an endpoint is full.

use std::{sync::atomic::Ordering, time::Instant};

use super::{
    Upstream,
    endpoint::Lease,
    place::Distance,
    ring::spread,
    table::{Table, Tier},
    tried::Tried,
};
use crate::telemetry::metrics::OwnZone;

/// Why there is nowhere to go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unavailable {
    /// No endpoint is in service, or each that is was tried.
    NoEndpoint,
    /// Too few are in service, and the policy is to fail.
    Panic,
    /// As many requests are on their way as may be.
    Full,
}

impl Upstream {
    /// Picks where the next attempt goes: a tier by its share, an endpoint in it
    /// by the upstream's balance. After a failed attempt one that was not tried,
    /// in another zone first. The same `draw` draws the same: a random number,
    /// or the hash of the request's key.
    pub fn pick(&self, tried: &Tried, draw: u64, now: Instant) -> Result<Lease, Unavailable> {
        let table = self.table(now);
        if table.panic && self.fails_in_panic() {
            return Err(Unavailable::Panic);
        }
        let found = if tried.is_empty() { self.first(&table, draw) } else { self.next(&table, tried, draw) };
        let lease = found.and_then(|index| self.lease(index));
        let lease =
            lease.or_else(|| self.lease(self.scan(&table, tried, draw, |index| self.has_room(index))?));
        let lease = lease.map(|lease| self.noting_zones(lease, &table));
        match lease {
            Some(lease) if self.counts_all => {
                lease.within(&self.live, self.most, self.waits.is_any()).ok_or(Unavailable::Full)
            }
            Some(lease) => Ok(lease),
            None if self.scan(&table, tried, draw, |_| true).is_some() => Err(Unavailable::Full),
            None => Err(Unavailable::NoEndpoint),
        }
    }

    fn noting_zones(&self, lease: Lease, table: &Table) -> Lease {
        if self.endpoints.get(lease.index()).is_none_or(|endpoint| !endpoint.is_elsewhere) {
            return lease;
        }
        let nearest = self.plans.first().zip(table.tiers.first());
        let own_serves =
            nearest.is_some_and(|(plan, tier)| plan.distance == Distance::OwnZone && tier.in_service > 0.0);
        lease.leaving(if own_serves { OwnZone::InService } else { OwnZone::None })
    }

    pub(super) fn first(&self, table: &Table, draw: u64) -> Option<usize> {
        // Not the bits that draw the endpoint: it would be the same few in each tier.
        let tier = if let [only] = &*table.tiers { Some((0, only)) } else { table.tier(spread(draw) as u32) };
        let (nth, tier) = tier?;
        if self.takes_turns() {
            return tier.turns.take().and_then(|place| tier.member(place));
        }
        match self.rings.get(nth) {
            Some(ring) => ring.find(draw, |index| table.serves(index) && self.is_below_mean(index, tier)),
            None => self.less_busy(tier.draw(draw as u32)?, tier.draw((draw >> 32) as u32)?),
        }
    }

    /// Of two the one with less under way for its weight.
    fn less_busy(&self, first: usize, second: usize) -> Option<usize> {
        let load =
            |index: usize| self.endpoints.get(index).map(|e| (u64::from(e.in_flight()), u64::from(e.weight)));
        let ((a, weight_a), (b, weight_b)) = (load(first)?, load(second)?);
        Some(if a * weight_b > b * weight_a { second } else { first })
    }

    /// Whether its load is within the bound above the mean of its tier.
    fn is_below_mean(&self, index: usize, tier: &Tier) -> bool {
        let all = f64::from(self.live.in_flight.load(Ordering::Relaxed)) + 1.0;
        let fair = all * tier.share / tier.members.len().max(1) as f64;
        self.endpoints.get(index).is_some_and(|e| f64::from(e.in_flight()) < (fair * self.max_load).ceil())
    }

    /// After a failure: another zone of the region, then any endpoint of it,
    /// then another region.
    fn next(&self, table: &Table, tried: &Tried, draw: u64) -> Option<usize> {
        let fresh = |index: usize| !tried.contains(index) && self.has_room(index);
        let elsewhere = |index: usize| fresh(index) && !self.shares_zone(index, tried);
        let is_near = |nth: usize| {
            self.plans.get(nth).is_some_and(|plan| !matches!(plan.distance, Distance::Elsewhere(_)))
        };
        let mut near = table.tiers.iter().enumerate().filter(|(nth, _)| is_near(*nth)).map(|(_, tier)| tier);
        near.clone()
            .find_map(|tier| tier.look(draw, elsewhere))
            .or_else(|| near.find_map(|tier| tier.look(draw, fresh)))
    }

    fn shares_zone(&self, index: usize, tried: &Tried) -> bool {
        let zone = |index: usize| self.endpoints.get(index)?.zone.as_ref();
        zone(index).is_some_and(|own| tried.iter().any(|tried| zone(tried) == Some(own)))
    }

    /// The first of all in service that was not tried and is accepted, nearest
    /// tiers first.
    pub(super) fn scan(
        &self,
        table: &Table,
        tried: &Tried,
        draw: u64,
        accepts: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        table.tiers.iter().find_map(|tier| tier.scan(draw, |index| !tried.contains(index) && accepts(index)))
    }

    pub(super) fn has_room(&self, index: usize) -> bool {
        self.endpoints.get(index).is_some_and(|endpoint| endpoint.in_flight() < self.most_each)
    }

    fn lease(&self, index: usize) -> Option<Lease> {
        Lease::take(&self.endpoints.get(index)?.live, index, self.most_each)
    }
}

impl Tier {
    /// The member that a number draws by weight.
    fn draw(&self, random: u32) -> Option<usize> {
        let place = match self.sums.last() {
            None => (u64::from(random) * self.members.len() as u64) >> 32,
            Some(total) => {
                let point = ((u128::from(random) * u128::from(*total)) >> 32) as u64;
                self.sums.partition_point(|sum| *sum <= point) as u64
            }
        };
        self.member(place as usize)
    }

    fn member(&self, place: usize) -> Option<usize> {
        self.members.get(place).map(|index| *index as usize)
    }

    /// Someone who is accepted: a few draws by weight, and then, where that
    /// takes no time, everyone.
    fn look(&self, draw: u64, accepts: impl Fn(usize) -> bool) -> Option<usize> {
        let draws = (0..DRAWS).filter_map(|nth| self.draw(spread(draw.wrapping_add(nth)) as u32));
        let drawn = draws.into_iter().find(|index| accepts(*index));
        drawn.or_else(|| if self.members.len() <= FEW { self.scan(draw, accepts) } else { None })
    }

    /// The first who is accepted, from anywhere on.
    fn scan(&self, draw: u64, accepts: impl Fn(usize) -> bool) -> Option<usize> {
        let len = self.members.len();
        let start = (spread(draw) as usize).checked_rem(len)?;
        (0..len).filter_map(|step| self.member((start + step) % len)).find(|index| accepts(*index))
    }
}

const DRAWS: u64 = 16;
const FEW: usize = 256;
