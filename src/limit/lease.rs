//! A limit that gateways share: each has cells of its own with all that the limit
//! grants, and they settle up in a store, in the background.
//!
//! Owns what a gateway tells the store of each key, and what it makes of the answer.
//! Does not own the store (`store`) nor when it is asked; time is an argument. Nothing
//! here waits for anything but a lock that is held for microseconds.
//!
//! # What always holds
//!
//! *Whoever stays below the limit in the whole fleet is never refused by it*, while
//! [`Freshness::Fresh`]. What the store knows of a key is never more than what one
//! limit that saw every request at once would know: [`reckon`](reckon::reckon()) lets
//! all that it is told begin [`lenience`] ago, and what was spent before that is told
//! with so much less. A cell is moved to the store's word with what was spent since
//! on top, or stays where its own gateway's requests alone have brought it.
//!
//! *The fleet admits a bounded number beyond.* With `n` gateways that hear from the
//! store, in any time `T`, of one key at most
//!
//! ```text
//! burst + rate × (T + lenience) + (n − 1) × (burst + rate × (exchange_every + one exchange))
//! ```
//!
//! and a gateway that is alone exactly `burst + rate × T`. What is beyond is debt in
//! the store, which all of them repay: over a long time the rate is exact. Each lost
//! exchange adds what it told, and `rate × (exchange_every + one exchange)` for what
//! its gateway did not hear; each time that nothing was known adds one burst at most
//! for each gateway. Keys that found no room in a table or a ledger are each gateway's
//! alone, and counted.
//!
//! *Held at its limit, the fleet does not swing.* Without more, n gateways that hear of
//! room all take it, spend n times as much, and wait until that is repaid. So a key
//! whose fleet is in debt costs more here, by what part of its spending is this
//! gateway's; that never touches one that stayed below its limit.
//!
//! # What threads can do to each other
//!
//! A request draws on the cell, and notes it here afterwards. A cell that is settled
//! in between can lose that draw until the next exchange, which tells it: at most one
//! request for each thread, for one exchange. A decision that takes one limit and then
//! is refused by another is never noted. Nothing is told twice.

mod entry;
mod ledger;
pub mod reckon;

use std::{sync::Arc, time::Duration};

use ledger::{Fate, Ledger};

use super::{
    fleet::{FleetLive, Freshness},
    key::KeyHash,
    rate::RateLimit,
    terms::Terms,
    time::Moment,
};

/// A rate and a burst for each key, of a fleet.
pub struct Lease {
    identity: Arc<str>,
    /// What the whole fleet has, as far as it is known.
    cells: RateLimit,
    /// What this gateway grants while nothing is known. Cells of their own: what is
    /// spent meanwhile counts by other terms, and must not be held against anybody
    /// once the fleet is there again.
    alone: RateLimit,
    ledger: Ledger,
    fleet: Arc<FleetLive>,
}

/// What is told of a key: what was spent on it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Told {
    /// Whose.
    pub key: KeyHash,
    /// The time that the tokens take to come back, in microseconds; 0 only asks.
    pub micros: u64,
    /// How long ago that began, at the most; the same for every gateway and key.
    pub age: Duration,
    /// What the cell was charged beyond it, in ticks.
    extra: u64,
}

/// Where the fleet stands with a key, as the store reckons.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reckoned {
    /// How far ahead of the store's now the key is.
    pub ahead: Duration,
    /// What was ever spent on it, in microseconds; begins again at 0 after a pause.
    pub total: u64,
}

impl Lease {
    /// A limit of these terms that takes at most `memory` bytes: half of it what is to
    /// be told (192 bytes a key), a quarter each the cells that the store's word is
    /// for, and those for while there is none. `identity` names it in the store.
    pub fn new(identity: Arc<str>, terms: Terms, memory: usize, fleet: Arc<FleetLive>) -> Self {
        Self {
            identity,
            cells: RateLimit::new(terms, memory / 4),
            alone: RateLimit::new(terms, memory / 4),
            ledger: Ledger::new(memory / 2),
            fleet,
        }
    }

    /// What the store calls it: the same on every gateway that means the same limit.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// What it grants the whole fleet.
    pub fn terms(&self) -> Terms {
        self.cells.terms()
    }

    /// What this gateway grants while nothing is known: its part among so many
    /// gateways, else among as many as the store knew of last, else all of it.
    pub fn share(&self, gateways: Option<u32>) -> Terms {
        self.terms().divided(gateways.or(self.fleet.gateways()).unwrap_or(1))
    }

    /// What is known of the fleet that it belongs to.
    pub fn fleet(&self) -> &FleetLive {
        &self.fleet
    }

    /// The cells of the fleet: asked while it is known where that stands.
    pub fn cells(&self) -> &RateLimit {
        &self.cells
    }

    /// This gateway's own: asked, by its share of the terms, while nothing is known.
    pub fn alone(&self) -> &RateLimit {
        &self.alone
    }

    /// Notes what an admitted request took of the fleet's cells. `now` is not after
    /// that.
    pub fn spend(&self, key: KeyHash, cost: u32, now: Moment) {
        let terms = self.terms();
        let ticks = terms.ticks(cost);
        if ticks == 0 || self.fleet.freshness() == Freshness::Stale {
            return;
        }
        self.ledger.note(key, |entry| {
            entry.spend(ticks, now);
            if entry.is_weighed() {
                // Under the entry's lock: whoever settles sees both or neither.
                let extra = entry.charge(ticks, self.fleet.epoch());
                self.cells.put(key, |due| due.saturating_add(extra));
            }
        });
    }

    fn has_room(&self, key: KeyHash, now: Moment) -> bool {
        self.terms().remaining(self.cells.ahead(key, now)) > 0
    }

    /// What is to be told: at most `most` keys, those first that waited longest.
    ///
    /// `lenience` is [that of the fleet](lenience()).
    pub fn cut(&self, most: usize, lenience: Duration, now: Moment) -> Vec<Told> {
        let (terms, mut told) = (self.terms(), Vec::new());
        self.ledger.visit(|key, entry| {
            if entry.is_told() {
                // A key that is held at its limit may just not have been let spend.
                let held = entry.is_weighed() && !self.has_room(key, now);
                return Some(if held { Fate::Keep } else { Fate::Remove });
            }
            if told.len() == most {
                return None;
            }
            if entry.is_late(lenience, now) {
                self.ledger.count_untold();
            }
            told.push(entry.tell(key, &terms, lenience, now));
            Some(Fate::Keep)
        });
        told
    }

    /// Moves the key's cell to where the fleet stands, with what was spent since on
    /// top; or leaves it where its own gateway alone has brought it, if that is
    /// further. `sent_at` is when the exchange began.
    pub fn settle(&self, told: Told, reckoned: Reckoned, sent_at: Moment) {
        let terms = self.terms();
        let due = terms.now(sent_at).saturating_add(terms.ticks_in(reckoned.ahead));
        self.ledger.look(told.key, |entry| {
            let pending = entry.as_ref().map_or(0, |entry| entry.pending());
            // A key that owes nothing may owe nothing since long ago: the cell knows
            // better what has come back since.
            let least = if reckoned.ahead.is_zero() { 0 } else { due.saturating_add(pending) };
            self.cells.put(told.key, |due| due.saturating_sub(told.extra).max(least));
            if let Some(entry) = entry {
                entry.weigh(told.micros, reckoned, &terms, self.fleet.epoch());
            }
        });
    }

    /// Forgets what was told in an exchange that failed. It may have arrived: telling
    /// it twice could refuse somebody who is below the limit. The next cut asks where
    /// the fleet stands, and tells nothing of it.
    pub fn lost(&self, told: Told) {
        if told.micros > 0 {
            self.ledger.count_untold();
        }
        self.ledger.note(told.key, |entry| {
            entry.ask_again();
            self.cells.put(told.key, |due| due.saturating_sub(told.extra));
        });
    }

    /// The furthest that the store lets a key be ahead of now, so that debt ends some
    /// day. `exchange` is how long one takes together with the pause before it.
    pub fn most_ahead(&self, exchange: Duration) -> Duration {
        let terms = self.terms();
        let burst = terms.interval().saturating_mul(terms.burst());
        burst.saturating_add(exchange).saturating_mul(64).min(LONGEST)
    }

    /// How many keys wait to be told, or may soon.
    pub fn keys(&self) -> usize {
        self.ledger.keys()
    }

    /// How often something that was spent was not told, or as less than it was: there was
    /// no room to note it, its exchange was lost, or it waited longer than is told.
    pub fn untold(&self) -> u64 {
        self.ledger.untold()
    }
}

/// The longest that what any gateway spends takes to be reckoned, if no exchange takes
/// longer than `exchange`: it waits for one that is under way, for the next, and in it.
/// Every gateway of a fleet has to say the same, and `exchange` not be less than what a
/// slow one takes: what arrives later than this can make a key look later by so much.
pub fn lenience(exchange_every: Duration, exchange: Duration) -> Duration {
    exchange_every.saturating_add(exchange.saturating_mul(2))
}

/// Microseconds of so much are exact in a double with the time of day added: a
/// hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

#[cfg(test)]
mod tests;
