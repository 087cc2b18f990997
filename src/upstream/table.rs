//! Who is in service and how much each tier takes, worked out once for many picks.
//!
//! Owns when that is worked out anew: when health or ejections changed, and when
//! time alone changes it (an ejection ends, a share rises). Always holds: an
//! endpoint of weight 0 is in no table.

use std::{
    sync::{Arc, PoisonError, TryLockError},
    time::{Duration, Instant},
};

use arc_swap::Guard;

use super::{
    Upstream,
    endpoint::{Admission, WHOLE},
    live::{Book, Health},
    place::{Distance, Plan},
    shares::{self, Held},
    turns::Turns,
};
use crate::config::failover::OnPanic;

/// What picks are drawn from.
pub(super) struct Table {
    /// What was known when it was built; `None` is the one before the first.
    built: Option<(u64, Instant)>,
    until: Option<Instant>,
    /// Too few are in service anywhere.
    pub(super) panic: bool,
    /// Nearest first, as the upstream's plans.
    pub(super) tiers: Box<[Tier]>,
    /// Tenths of the weight of each endpoint that counts; 0 is out of service.
    pub(super) levels: Box<[u8]>,
}

/// What picks within a tier are drawn from.
pub(super) struct Tier {
    /// Of the whole traffic.
    pub(super) share: f64,
    /// Of its weight, now.
    pub(super) in_service: f64,
    /// The sum of the shares up to and with it; of 2^32.
    upto: u64,
    /// Who is in service.
    pub(super) members: Box<[u32]>,
    /// The weights up to and with each; empty when all are alike.
    pub(super) sums: Box<[u64]>,
    /// For those who take turns.
    pub(super) turns: Turns,
}

impl Table {
    pub(super) fn none() -> Self {
        Self { built: None, until: None, panic: false, tiers: Box::default(), levels: Box::default() }
    }

    /// The tier that a number draws; those of higher numbers are farther.
    pub(super) fn tier(&self, draw: u32) -> Option<(usize, &Tier)> {
        let point = u64::from(draw);
        self.tiers.iter().enumerate().find(|(_, tier)| point < tier.upto)
    }

    /// Whether an endpoint is in service, or counts as if.
    pub(super) fn serves(&self, index: usize) -> bool {
        self.levels.get(index).is_some_and(|level| *level > 0)
    }

    fn is_current(&self, changes: u64, now: Instant) -> bool {
        let Some((known, at)) = self.built else { return false };
        if self.until.is_some_and(|until| until <= now) {
            return false;
        }
        // Thousands of endpoints take a while; many changes are taken together.
        let pause =
            Duration::from_micros(if self.levels.len() < MANY { 0 } else { self.levels.len() as u64 });
        known == changes || (!pause.is_zero() && now < at + pause)
    }
}

/// What all endpoints are now.
struct Survey {
    levels: Vec<u8>,
    in_service: usize,
    ejected: usize,
    next: Option<Instant>,
}

impl Upstream {
    /// The table of now.
    pub(super) fn table(&self, now: Instant) -> Guard<Arc<Table>> {
        let table = self.table.load();
        if table.is_current(self.live.changes(), now) {
            return table;
        }
        let is_first = table.built.is_none();
        drop(table);
        self.refresh(is_first, now);
        self.table.load()
    }

    /// Builds a table; while another does, the old one serves.
    fn refresh(&self, is_first: bool, now: Instant) {
        let mut book = match self.live.book.try_lock() {
            Ok(book) => book,
            Err(TryLockError::Poisoned(broken)) => broken.into_inner(),
            Err(TryLockError::WouldBlock) if is_first => {
                self.live.book.lock().unwrap_or_else(PoisonError::into_inner)
            }
            Err(TryLockError::WouldBlock) => return,
        };
        // Before the look: what changes during it is looked at again.
        let changes = self.live.changes();
        let survey = self.survey(now);
        (book.in_service, book.ejected) = (survey.in_service, survey.ejected);
        let survey = self.without_unreachable(survey, &book);
        let table = self.tabulate(survey, &mut book, (changes, now));
        self.tell_panic(&table, &mut book);
        self.table.store(Arc::new(table));
    }

    fn survey(&self, now: Instant) -> Survey {
        let how = Admission {
            probed: self.probed,
            slow_start: self.returns.slow_start,
            settled: now.saturating_duration_since(self.live.born) > self.returns.slow_start,
        };
        let mut survey =
            Survey { levels: vec![0; self.endpoints.len()], in_service: 0, ejected: 0, next: None };
        for (endpoint, level) in self.endpoints.iter().zip(&mut survey.levels).filter(|(e, _)| e.weight > 0) {
            if endpoint.drained {
                endpoint.live.withdraw();
                continue;
            }
            let look = endpoint.live.look(how, now);
            *level = look.level;
            survey.in_service += usize::from(look.level > 0);
            survey.ejected += usize::from(look.ejected);
            survey.next = earlier(survey.next, look.next);
            if look.is_back && !self.live.is_copy {
                log::info!("endpoint is tried again: upstream={} endpoint={}", self.name, endpoint.address);
            }
        }
        survey
    }

    /// Where no more may be ejected, who cannot be reached is out of service all the
    /// same: a request would only wait there.
    fn without_unreachable(&self, mut survey: Survey, book: &Book) -> Survey {
        if self.outliers.as_ref().is_none_or(|outliers| outliers.allows(book, self.all)) {
            return survey;
        }
        let all = self.endpoints.iter().zip(&mut survey.levels);
        all.filter(|(endpoint, _)| endpoint.live.is_unreachable()).for_each(|(_, level)| *level = 0);
        survey
    }

    fn tabulate(&self, mut survey: Survey, book: &mut Book, built: (u64, Instant)) -> Table {
        let in_service: Vec<f64> =
            self.plans.iter().map(|plan| self.in_service(plan, &survey.levels)).collect();
        let panic = in_service.iter().all(|share| *share < self.panic_below);
        let spreads = panic && self.on_panic == OnPanic::Spread;
        let split = match spreads {
            true => self.spread(&mut survey.levels),
            false => self.split(&in_service, &survey.levels, book, built.1),
        };
        let mut sum = 0.0;
        let last = split.shares.iter().rposition(|share| *share > 0.0);
        let tiers = self.plans.iter().zip(&split.shares).zip(&in_service).enumerate();
        let tier = |(nth, ((plan, share), in_service)): (usize, ((&Plan, &f64), &f64))| {
            sum += share;
            // The last takes what rounding leaves, and none that takes nothing.
            let upto = if Some(nth) == last { 1 << 32 } else { (sum * (1_u64 << 32) as f64) as u64 };
            let spare = split.spare.as_deref().filter(|_| plan.distance == Distance::Region);
            self.tier(plan, &survey.levels, spare, (*share, *in_service, upto))
        };
        let tiers = tiers.map(tier).collect();
        let until = earlier(survey.next, split.next);
        Table { built: Some(built), until, panic, tiers, levels: survey.levels.into() }
    }

    /// How much of a tier's weight is in service; shares that rise count whole.
    /// Who was never probed is no loss: a reload that adds endpoints spills nothing.
    fn in_service(&self, plan: &Plan, levels: &[u8]) -> f64 {
        let (mut serving, mut all) = (0, 0);
        for index in &plan.members {
            let Some(endpoint) = self.endpoints.get(*index as usize) else { continue };
            let serves = level(levels, *index) > 0;
            let counts = serves || !self.probed || endpoint.health() != Health::Unproven;
            serving += u64::from(endpoint.weight) * u64::from(serves);
            all += u64::from(endpoint.weight) * u64::from(counts);
        }
        if all == 0 { 0.0 } else { serving as f64 / all as f64 }
    }

    /// All endpoints, whatever is said of them, by weight alone; but nobody who
    /// cannot be reached.
    fn spread(&self, levels: &mut [u8]) -> Split {
        let mut take = |index: &u32| {
            let endpoint = self.endpoints.get(*index as usize)?;
            let can = !endpoint.live.is_unreachable();
            *levels.get_mut(*index as usize)? = if can { WHOLE } else { 0 };
            can.then_some(f64::from(endpoint.weight))
        };
        let mut shares: Vec<f64> =
            self.plans.iter().map(|plan| plan.members.iter().filter_map(&mut take).sum()).collect();
        shares::scale(&mut shares);
        Split { shares, spare: None, next: None }
    }

    /// What each tier takes by what of it is in service.
    fn split(&self, in_service: &[f64], levels: &[u8], book: &mut Book, now: Instant) -> Split {
        self.align(&mut book.held, now);
        let mut next = None;
        let held = in_service.iter().zip(&mut book.held).map(|(share, (_, held))| {
            let (level, at) = held.follow(*share, now, self.returns);
            next = earlier(next, at);
            level / self.spill_below
        });
        let mut capacities: Vec<f64> = held.collect();
        if capacities.iter().sum::<f64>() < 1.0 {
            // What was held back is needed now.
            capacities = in_service.iter().map(|share| share / self.spill_below).collect();
        }
        let fairness = self.fairness(levels);
        if let (Some(fairness), Some(own)) = (&fairness, capacities.first_mut()) {
            *own = own.min(fairness.own);
        }
        let spare = fairness.filter(|f| f.own < 1.0 && f.spare.iter().any(|spare| *spare > 0.0));
        Split { shares: shares::split(&capacities), spare: spare.map(|fairness| fairness.spare), next }
    }

    /// One for each tier, in their order; what is held of a tier stays with it.
    /// Tiers that are gone stand behind, as lost: their return is to be slow.
    fn align(&self, held: &mut Vec<(Distance, Held)>, now: Instant) {
        let there = || self.plans.iter().map(|plan| &plan.distance);
        if !held.iter().map(|(distance, _)| distance).take(self.plans.len()).eq(there()) {
            let mut before = std::mem::take(held);
            for distance in there() {
                let known = before.iter().position(|(other, _)| other == distance);
                held.push(known.map_or((distance.clone(), Held::default()), |at| before.swap_remove(at)));
            }
            held.append(&mut before);
        }
        for (_, gone) in held.iter_mut().skip(self.plans.len()) {
            gone.follow(0.0, now, self.returns);
        }
    }

    /// Only where there is an own zone, and it is known who else is where.
    fn fairness(&self, levels: &[u8]) -> Option<shares::Fairness> {
        let own = self.plans.first().filter(|plan| plan.distance == Distance::OwnZone)?;
        let own = self.endpoints.get(*own.members.first()? as usize)?.zone_index;
        if self.gateways.iter().all(|gateways| *gateways == 0) {
            return None;
        }
        let mut ready = vec![0; self.zones.len()];
        let near = self.plans.iter().filter(|plan| !matches!(plan.distance, Distance::Elsewhere(_)));
        for index in near.flat_map(|plan| &plan.members).filter(|index| level(levels, **index) > 0) {
            let zone = self.endpoints.get(*index as usize).map(|endpoint| endpoint.zone_index);
            zone.and_then(|zone| ready.get_mut(zone)).into_iter().for_each(|w| *w += self.weight(*index));
        }
        shares::fairness(&ready, &self.gateways, own)
    }

    fn tier(&self, plan: &Plan, levels: &[u8], spare: Option<&[f64]>, told: (f64, f64, u64)) -> Tier {
        let members: Box<[u32]> =
            plan.members.iter().copied().filter(|index| level(levels, *index) > 0).collect();
        let factor = |index: u32| {
            let zone = self.endpoints.get(index as usize).map_or(0, |endpoint| endpoint.zone_index);
            spare.and_then(|spare| spare.get(zone)).map_or(1, |spare| (spare * 1000.0) as u64)
        };
        let weigh = |index: &u32| self.weight(*index) * u64::from(level(levels, *index)) * factor(*index);
        let mut weights: Vec<u64> = members.iter().map(weigh).collect();
        if weights.iter().all(|weight| *weight == 0) {
            weights.fill(1);
        }
        let turns = if self.takes_turns() { Turns::new(&weights) } else { Turns::default() };
        let even = weights.windows(2).all(|pair| pair.first() == pair.last());
        let sums = weights.iter().scan(0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        let sums = if even { Box::default() } else { sums.collect() };
        let (share, in_service, upto) = told;
        Tier { share, in_service, upto, members, sums, turns }
    }

    fn weight(&self, index: u32) -> u64 {
        self.endpoints.get(index as usize).map_or(0, |endpoint| endpoint.weight.into())
    }

    fn tell_panic(&self, table: &Table, book: &mut Book) {
        if self.live.is_copy {
            return;
        }
        let began = table.panic && !book.panic;
        if began {
            let policy = if self.on_panic == OnPanic::Spread { "spread" } else { "fail" };
            log::warn!(
                "upstream panics: upstream={} in_service={} policy={policy}",
                self.name,
                book.in_service
            );
        } else if book.panic && !table.panic {
            log::info!("upstream is calm again: upstream={} in_service={}", self.name, book.in_service);
        }
        book.panic = table.panic;
    }
}

struct Split {
    shares: Vec<f64>,
    /// By zone: what the region tier's weights are multiplied with.
    spare: Option<Vec<f64>>,
    next: Option<Instant>,
}

fn level(levels: &[u8], index: u32) -> u8 {
    levels.get(index as usize).copied().unwrap_or(0)
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

const MANY: usize = 256;
