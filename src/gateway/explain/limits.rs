//! What is told of the limits that hold for a request, in the order in which they
//! are asked. Takes from none.

use super::answer::LimitTold;
use crate::{
    config::authentication::AuthenticatorIndex,
    gateway::{
        authenticate::{self, Presented},
        decide::Outside,
        limits::{Hold, Limited, Request, Which},
        rejection::Rejection,
    },
    identity::{Consumer, Said},
    limit::{Counts, KeyHash, Limit, Moment, Source, whole_seconds},
    route::{Facts, RouteMatch},
    snapshot::Snapshot,
};

/// Looks at limits in the place of traffic, and draws no chance.
pub(super) struct Looks<'s> {
    pub(super) snapshot: &'s Snapshot,
    pub(super) presented: Presented<'s>,
    /// Who is taken to be authenticated, whatever is presented.
    pub(super) assumed: Option<Consumer>,
    pub(super) now: Moment,
    /// Which were asked.
    pub(super) limited: Limited,
    pub(super) told: Vec<LimitTold>,
    /// The first limit that refuses.
    pub(super) refuses: Option<String>,
}

impl Outside for Looks<'_> {
    fn ask(&mut self, authenticator: AuthenticatorIndex) -> Said {
        match &self.assumed {
            Some(consumer) => Said::Vouched(Consumer { vouched: authenticator, ..consumer.clone() }),
            None => authenticate::ask(self.snapshot, authenticator, &self.presented),
        }
    }

    fn limit(&mut self, found: RouteMatch<'_>, facts: &Facts<'_>, which: Which) -> Result<(), Rejection> {
        let limits = &*self.snapshot.rate_limits;
        let request = Request { snapshot: self.snapshot, limits, found, facts };
        let mut refused = Ok(());
        for index in request.chosen(which, &self.limited) {
            let Some(limit) = limits.get(index) else { continue };
            self.limited.asked(index);
            let (told, says) = self.look(&request, limit);
            if let (Err(why), Ok(()), true) = (says, refused, limit.spec().enforce) {
                refused = Err(why);
                self.refuses = Some(told.name.clone());
            }
            self.told.push(told);
        }
        refused
    }

    fn draw(&mut self) -> u64 {
        0
    }
}

impl Looks<'_> {
    fn look(&self, request: &Request<'_>, limit: &Limit) -> (LimitTold, Result<(), Rejection>) {
        let mut told = LimitTold {
            name: limit.name.to_string(),
            enforced: limit.spec().enforce,
            says: ADMITS.to_owned(),
            key: None,
            cost: None,
            remaining: None,
            most: most(limit),
            whole_in_seconds: None,
        };
        let says = match request.hold(limit) {
            Hold::For(key) => {
                told.key = (!limit.key.parts.is_empty()).then(|| key.to_string());
                self.ask(&mut told, request, limit, key)
            }
            Hold::Exempt | Hold::NoKey => {
                told.says = "does not hold".to_owned();
                Ok(())
            }
            Hold::Denied => Err(Rejection::LimitKeyMissing),
        };
        if let (Err(why), ADMITS) = (says, &*told.says) {
            told.says = why.flag().to_owned();
        }
        (told, says)
    }

    /// What the limit says of this key; what it has left goes into `told`.
    fn ask(
        &self,
        told: &mut LimitTold,
        request: &Request<'_>,
        limit: &Limit,
        key: KeyHash,
    ) -> Result<(), Rejection> {
        match (limit.source(), &limit.counts) {
            (Some(Source::Cells { cells, terms, .. }), _) => {
                let standing = cells.standing(key, self.now).under(terms);
                let cost = request.cost(limit).min(terms.burst());
                told.cost = Some(cost);
                told.remaining = Some(standing.remaining());
                let reset = standing.reset_after();
                told.whole_in_seconds = (!reset.is_zero()).then(|| whole_seconds(reset));
                (standing.remaining() >= cost).then_some(()).ok_or(Rejection::RateLimited)
            }
            (None, Counts::Concurrency(counts, most)) => {
                let left = most.get().saturating_sub(counts.under_way(key));
                told.remaining = Some(left);
                (left > 0).then_some(()).ok_or(Rejection::ConcurrencyLimited)
            }
            (Some(Source::Store), _) if request.cost(limit) == 0 => Ok(()),
            (Some(Source::Store), _) => {
                told.says = "the store does not answer, and it denies".to_owned();
                Err(Rejection::RateLimited)
            }
            (Some(Source::Nobody), _) | (None, Counts::Rate(..) | Counts::Leased(..)) => {
                told.says = "does not hold".to_owned();
                Ok(())
            }
        }
    }
}

const ADMITS: &str = "admits";

/// The most that a key can have.
fn most(limit: &Limit) -> u32 {
    match (limit.source(), &limit.counts) {
        (Some(Source::Cells { terms, .. }), _) => terms.burst(),
        (_, Counts::Rate(_, terms)) => terms.burst(),
        (_, Counts::Leased(lease, _)) => lease.terms().burst(),
        (_, Counts::Concurrency(_, most)) => most.get(),
    }
}
