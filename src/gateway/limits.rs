//! Asks the limits that hold for a request, and remembers what they said.
//!
//! Owns the order: first a place among what is under way, then all rates together,
//! all or none; then what only counts, each by itself. A lease is told what it gave
//! once all have. Does not own where a key's parts are in a request (`hold`), what a
//! limit grants (`limit`) nor when it is asked (`decide`). Finds everything by index,
//! and allocates nothing while few limits hold (but where a key is new to a
//! concurrency limit or a lease).

mod hold;
mod names;

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName};
use smallvec::SmallVec;

pub use self::hold::Hold;
use super::{context::RequestContext, rejection::Rejection};
use crate::{
    limit::{
        Ask, Counts, KeyHash, Lease, Limit, LimitKind, Limits, Moment, Permit, Source, Standing, Verdict,
        decide, whole_seconds,
    },
    route::{Facts, RouteMatch},
    snapshot::Snapshot,
    telemetry::metrics::LimitDecision,
};

/// What the limits said of a request. Its places among what is under way are given
/// back when this is dropped, whatever ended the request.
#[derive(Default)]
pub struct Limited {
    permits: SmallVec<[Permit; 2]>,
    standing: Option<(usize, Standing)>,
    refused: Option<usize>,
    retry_after: Option<Duration>,
    would_refuse: Few<usize>,
    /// Those that were asked before it was known who asks.
    asked: Few<usize>,
}

impl Limited {
    /// In how many seconds a client that was refused may come again; `None` where
    /// waiting does not help.
    pub fn retry_after(&self) -> Option<u64> {
        self.retry_after.map(whole_seconds)
    }

    /// Which limit refused.
    pub fn refused_by<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s str> {
        name(snapshot, self.refused?)
    }

    /// Which limits would have, if they were enforced.
    pub fn would_refuse<'s>(&self, snapshot: &'s Snapshot) -> Few<&'s str> {
        self.would_refuse.iter().filter_map(|index| name(snapshot, *index)).collect()
    }

    /// This one was asked, and is not asked again.
    pub fn asked(&mut self, limit: usize) {
        self.asked.push(limit);
    }

    fn refuse(&mut self, limit: usize, retry_after: Option<Duration>) {
        self.permits.clear();
        self.refused = Some(limit);
        self.retry_after = retry_after;
    }
}

/// Which of the limits that hold for a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Which {
    /// All of them at once: nobody is authenticated.
    All,
    /// Those that count by the client's address: whoever guesses keys is slowed down.
    /// Others wait, for what counts a tenant, a route or everybody together must not be
    /// used up by strangers.
    BeforeAuthentication,
    /// Those that were not asked before, and the caller's own.
    Rest,
}

/// Asks these of the limits that hold for a request of this route, and takes from all
/// of them or from none.
pub fn take(request: &Request<'_>, which: Which, limited: &mut Limited) -> Result<(), Rejection> {
    let lists = request.limits.of(request.found.route.index);
    let own = request.facts.consumer.map(|consumer| consumer.limits).unwrap_or_default();
    if which == Which::All && own.is_empty() {
        return lists
            .filter(|lists| !lists.is_empty())
            .map_or(Ok(()), |lists| request.take(&lists.at_once, &lists.rates, &lists.on_trial, limited));
    }
    let chosen = request.chosen(which, limited);
    if which == Which::BeforeAuthentication {
        limited.asked.extend(chosen.iter().copied());
    }
    let of = |kind: LimitKind| -> Few<usize> {
        let is_of = |index: &usize| request.limits.get(*index).is_some_and(|limit| limit.kind() == kind);
        chosen.iter().copied().filter(is_of).collect()
    };
    let (at_once, rates, on_trial) = (of(LimitKind::AtOnce), of(LimitKind::Rate), of(LimitKind::OnTrial));
    request.take(&at_once, &rates, &on_trial, limited)
}

/// Writes how the client stands into the answer's header, in the place of what an
/// upstream said of limits of its own (draft-ietf-httpapi-ratelimit-headers-10).
pub fn tell(headers: &mut HeaderMap, ctx: &RequestContext) {
    let Some((index, standing)) = &ctx.limited.standing else { return };
    let limits = &ctx.snapshot.rate_limits;
    let told = limits.get(*index).and_then(|limit| limit.told(standing));
    let lists = ctx.route.as_ref().and_then(|route| limits.of(route.index));
    let Some(told) = told else { return };
    let is_own = !lists.is_some_and(|lists| lists.rates.contains(index));
    let own = is_own.then(|| limits.policy_of(*index)).flatten();
    let policies = lists.and_then(|lists| lists.policy.clone()).into_iter().chain(own);
    headers.remove(&RATELIMIT_POLICY);
    for policy in policies {
        headers.append(&RATELIMIT_POLICY, policy);
        headers.insert(&RATELIMIT, told.clone());
    }
}

/// A request, as limits ask.
pub struct Request<'a> {
    /// Its snapshot.
    pub snapshot: &'a Snapshot,
    /// The limits of it.
    pub limits: &'a Limits,
    /// Its route.
    pub found: RouteMatch<'a>,
    /// What it is.
    pub facts: &'a Facts<'a>,
}

impl Request<'_> {
    /// What it takes of a rate.
    pub fn cost(&self, limit: &Limit) -> u32 {
        limit.cost(self.facts.method, self.found.route.index)
    }

    /// These limits, in their order, each once.
    pub fn chosen(&self, which: Which, limited: &Limited) -> Few<usize> {
        let lists = self.limits.of(self.found.route.index);
        let listed = lists
            .into_iter()
            .flat_map(|lists| lists.at_once.iter().chain(&lists.rates).chain(&lists.on_trial).copied());
        let own = self.facts.consumer.map(|consumer| consumer.limits).unwrap_or_default();
        let mut chosen = Few::new();
        for index in listed.chain(own.iter().copied()) {
            let Some(limit) = self.limits.get(index) else { continue };
            let is_due = which != Which::BeforeAuthentication || limit.key.counts_addresses();
            if is_due && !limited.asked.contains(&index) && !chosen.contains(&index) {
                chosen.push(index);
            }
        }
        chosen
    }

    fn take(
        &self,
        at_once: &[usize],
        rates: &[usize],
        on_trial: &[usize],
        limited: &mut Limited,
    ) -> Result<(), Rejection> {
        let mut held = Few::new();
        self.enter(at_once, limited, &mut held)?;
        self.draw(rates, limited, &mut held)?;
        held.iter().for_each(|index| self.count(*index, LimitDecision::Admitted));
        on_trial.iter().for_each(|index| self.try_out(*index, limited));
        Ok(())
    }

    /// Takes a place among what is under way, at each limit that counts it.
    fn enter(
        &self,
        at_once: &[usize],
        limited: &mut Limited,
        held: &mut Few<usize>,
    ) -> Result<(), Rejection> {
        for (index, limit) in self.each(at_once) {
            let Counts::Concurrency(counts, most) = &limit.counts else { continue };
            let Some(key) = self.key(index, limit, limited)? else { continue };
            let Some(permit) = counts.enter(key, *most) else {
                self.remember(limit, key);
                // Whoever is under way may be done at any moment.
                limited.refuse(index, Some(Duration::from_secs(1)));
                self.count(index, LimitDecision::Refused);
                return Err(Rejection::ConcurrencyLimited);
            };
            limited.permits.push(permit);
            held.push(index);
        }
        Ok(())
    }

    /// Takes from every rate, or from none.
    fn draw(&self, rates: &[usize], limited: &mut Limited, held: &mut Few<usize>) -> Result<(), Rejection> {
        let (mut asks, mut asked, mut leases) = (Few::new(), Few::new(), Few::new());
        for (index, limit) in self.each(rates) {
            let Some(source) = limit.source() else { continue };
            let Some(key) = self.key(index, limit, limited)? else { continue };
            let (cells, terms, lease) = match source {
                Source::Cells { cells, terms, lease } => (cells, terms, lease),
                Source::Nobody => {
                    self.count(index, LimitDecision::StoreAllowed);
                    continue;
                }
                // What costs nothing always passes.
                Source::Store if self.cost(limit) == 0 => continue,
                Source::Store => {
                    // It may answer at any moment.
                    limited.refuse(index, Some(Duration::from_secs(1)));
                    self.count(index, LimitDecision::StoreDenied);
                    return Err(Rejection::RateLimited);
                }
            };
            let ask = Ask { limit: cells, terms, key, cost: self.cost(limit) };
            leases.extend(lease.map(|lease| (lease, ask)));
            asks.push(ask);
            asked.push(index);
        }
        let Some(verdict) = self.decide_leased(&asks, &leases) else { return Ok(()) };
        let Some(index) = asked.get(verdict.standing().limit()).copied() else { return Ok(()) };
        limited.standing = Some((index, *verdict.standing()));
        self.remember_busy(index, &asks, &verdict);
        if let Verdict::Refused { retry_after, .. } = verdict {
            limited.refuse(index, Some(retry_after));
            self.count(index, LimitDecision::Refused);
            return Err(Rejection::RateLimited);
        }
        held.extend(asked);
        Ok(())
    }

    /// Asks a limit that refuses nobody.
    fn try_out(&self, index: usize, limited: &mut Limited) {
        let Some(limit) = self.limits.get(index) else { return };
        let admitted = match (self.hold(limit), &limit.counts) {
            (Hold::Exempt, _) => return self.count(index, LimitDecision::Exempt),
            (Hold::NoKey, _) => return,
            (Hold::Denied, _) => false,
            (Hold::For(key), Counts::Concurrency(counts, most)) => {
                let permit = counts.enter(key, *most);
                let admitted = permit.is_some();
                limited.permits.extend(permit);
                admitted
            }
            (Hold::For(key), Counts::Rate(..) | Counts::Leased(..)) => match limit.source() {
                Some(Source::Cells { cells, terms, lease }) => {
                    let ask = Ask { limit: cells, terms, key, cost: self.cost(limit) };
                    let lease: Few<_> = lease.map(|lease| (lease, ask)).into_iter().collect();
                    self.decide_leased(&[ask], &lease).is_none_or(|verdict| verdict.is_admitted())
                }
                Some(Source::Store) => self.cost(limit) == 0,
                Some(Source::Nobody) => return self.count(index, LimitDecision::StoreAllowed),
                None => return,
            },
        };
        if admitted {
            self.count(index, LimitDecision::Admitted);
        } else {
            limited.would_refuse.push(index);
            self.count(index, LimitDecision::WouldRefuse);
        }
    }

    /// Decides, and tells the leases what they gave once all have.
    fn decide_leased(&self, asks: &[Ask<'_>], leases: &[(&Lease, Ask<'_>)]) -> Option<Verdict> {
        if leases.is_empty() {
            return self.decide(asks);
        }
        // Before the decision: what is told as spent later than it was would come back
        // later than it may.
        let began = self.now();
        let verdict = self.decide(asks)?;
        if verdict.is_admitted() {
            leases.iter().for_each(|(lease, ask)| lease.spend(ask.key, ask.cost, began));
        }
        Some(verdict)
    }

    fn decide(&self, asks: &[Ask<'_>]) -> Option<Verdict> {
        match decide(asks, self.now())? {
            // Another thread may have counted by a later moment than this one's, and
            // then it would be refused for that.
            Verdict::Refused { .. } => decide(asks, self.now()),
            admitted => Some(admitted),
        }
    }

    fn now(&self) -> Moment {
        self.limits.clock.at(Instant::now())
    }

    /// The key at an enforced limit; `None` where it does not hold.
    fn key(&self, index: usize, limit: &Limit, limited: &mut Limited) -> Result<Option<KeyHash>, Rejection> {
        match self.hold(limit) {
            Hold::For(key) => Ok(Some(key)),
            Hold::NoKey => Ok(None),
            Hold::Exempt => {
                self.count(index, LimitDecision::Exempt);
                Ok(None)
            }
            Hold::Denied => {
                limited.refuse(index, None);
                self.count(index, LimitDecision::MissingDenied);
                Err(Rejection::LimitKeyMissing)
            }
        }
    }

    fn each(&self, list: &[usize]) -> impl Iterator<Item = (usize, &Limit)> {
        list.iter().filter_map(|index| Some((*index, self.limits.get(*index)?)))
    }

    fn count(&self, index: usize, decision: LimitDecision) {
        if let Some(series) = self.snapshot.limit_series(index) {
            series.record(decision);
        }
    }
}

fn name(snapshot: &Snapshot, index: usize) -> Option<&str> {
    snapshot.rate_limits.get(index).map(|limit| &*limit.name)
}

/// A list that is on the stack while it is short; more limits rarely hold.
pub type Few<T> = SmallVec<[T; 4]>;

static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
static RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

#[cfg(test)]
mod tests;
