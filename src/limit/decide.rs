//! One decision over every limit that holds for a request: all of them, or none.
//!
//! All are looked at first and then taken from, in the order given; where another
//! request was faster in between, what was taken is given back. So a request that
//! one limit refuses takes from none.
//!
//! Between taking and giving back, a request that is going to be refused holds its
//! cost for some nanoseconds. A key can be refused for that only if it would be
//! above its limit with every request counted that asked for it. What is given back
//! late, after the key gained it anyway, is its to have again: at most the cost of
//! one request each time that such a race is lost.

use std::time::Duration;

use super::{
    key::KeyHash,
    rate::RateLimit,
    terms::Terms,
    time::Moment,
    verdict::{Standing, Verdict},
};

/// One limit that holds for a request.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The limit.
    pub limit: &'a RateLimit,
    /// What it grants now: all of its terms, or a share of them.
    pub terms: Terms,
    /// For whom.
    pub key: KeyHash,
    /// How many tokens; what is above the burst counts as the burst, 0 takes
    /// nothing and always passes.
    pub cost: u32,
}

/// Takes the cost from every limit, or nothing from any.
///
/// One `now` for all of them, read right before. A limit that only counts is asked
/// in a decision of its own, once this one admits; permits of concurrency limits are
/// taken before, for they give themselves back. `None` if no limit was asked.
pub fn decide(asks: &[Ask<'_>], now: Moment) -> Option<Verdict> {
    match asks {
        [] => None,
        [only] => Some(take(0, only, now)),
        several => refused(several, now).or_else(|| take_all(several, now)),
    }
}

fn take(index: usize, ask: &Ask<'_>, now: Moment) -> Verdict {
    let terms = ask.terms;
    let drawn = ask.limit.draw(&terms, ask.key, ask.cost, now);
    let standing = Standing { limit: index, terms, ahead: drawn.ahead };
    match drawn.granted {
        true => Verdict::Admitted(standing),
        false => refusal(standing, terms.ticks(ask.cost)),
    }
}

/// Of what was asked together with its cost: what the key has without it.
fn refusal(with_cost: Standing, ticks: u64) -> Verdict {
    let terms = with_cost.terms;
    let retry_after = terms.time(terms.wait(with_cost.ahead));
    let standing = Standing { ahead: with_cost.ahead.saturating_sub(ticks), ..with_cost };
    Verdict::Refused { standing, retry_after }
}

/// The refusal that keeps waiting longest, if anything refuses.
fn refused(asks: &[Ask<'_>], now: Moment) -> Option<Verdict> {
    let mut longest: Option<(Duration, Verdict)> = None;
    for (index, ask) in asks.iter().enumerate() {
        let terms = ask.terms;
        let ticks = terms.ticks(ask.cost);
        let ahead = ask.limit.ahead(ask.key, now) + ticks;
        if ticks == 0 || !terms.exceeds(ahead) {
            continue;
        }
        let wait = terms.time(terms.wait(ahead));
        if longest.as_ref().is_none_or(|(other, _)| wait > *other) {
            longest = Some((wait, refusal(Standing { limit: index, terms, ahead }, ticks)));
        }
    }
    longest.map(|(_, verdict)| verdict)
}

fn take_all(asks: &[Ask<'_>], now: Moment) -> Option<Verdict> {
    let mut tightest: Option<Standing> = None;
    for (index, ask) in asks.iter().enumerate() {
        let verdict = take(index, ask, now);
        let Verdict::Admitted(standing) = verdict else {
            asks.iter()
                .take(index)
                .for_each(|taken| taken.limit.give_back(&taken.terms, taken.key, taken.cost));
            return Some(verdict);
        };
        if tightest.is_none_or(|other| standing.left() < other.left()) {
            tightest = Some(standing);
        }
    }
    tightest.map(Verdict::Admitted)
}

#[cfg(test)]
mod tests;
