//! What is known of one key of a lease between two exchanges.

use std::time::Duration;

use super::{Reckoned, Told};
use crate::limit::{key::KeyHash, terms::Terms, time::Moment};

/// What was spent on a key and not told yet, and what the last exchange said of it.
#[derive(Default)]
pub(super) struct Entry {
    /// Ticks.
    spent: u64,
    /// Ticks that its cell was charged beyond what was spent.
    extra: u64,
    /// When the first of it was spent, at the latest; of nothing that is spent, nothing.
    since: u64,
    /// What the fleet had ever spent, at the last exchange.
    total: Option<u64>,
    /// Nanoseconds that were spent and are no whole microsecond yet.
    rest: u16,
    weight: Weight,
    /// The answer to the last telling was lost.
    unheard: bool,
    /// In which epoch of the fleet it was weighed.
    epoch: u32,
}

impl Entry {
    /// Notes what an admitted request took.
    pub(super) fn spend(&mut self, ticks: u64, now: Moment) {
        if self.spent == 0 {
            self.since = now.0;
        }
        self.since = self.since.min(now.0);
        self.spent = self.spent.saturating_add(ticks);
    }

    /// What its cell is charged on top of some ticks, in this epoch; noted here.
    pub(super) fn charge(&mut self, ticks: u64, epoch: u32) -> u64 {
        let extra = if self.epoch == epoch { self.weight.extra(ticks) } else { 0 };
        self.extra = self.extra.saturating_add(extra);
        extra
    }

    /// Whether a token costs more than one now.
    pub(super) fn is_weighed(&self) -> bool {
        self.weight > Weight::default()
    }

    /// Whether there is nothing to tell, nor to ask.
    pub(super) fn is_told(&self) -> bool {
        self.spent == 0 && !self.unheard
    }

    /// Ticks that the cell has of what is not told yet.
    pub(super) fn pending(&self) -> u64 {
        self.spent.saturating_add(self.extra)
    }

    /// Takes out what is to be told. What was spent longer ago than `told` will say is
    /// told with so much less: the key has had that time to gain it.
    pub(super) fn tell(&mut self, key: KeyHash, terms: &Terms, age: Duration, now: Moment) -> Told {
        let nanos = terms.time(self.spent).as_nanos() + u128::from(self.rest);
        let micros = (nanos / 1_000).saturating_sub(self.late(age, now).div_ceil(1_000));
        self.rest = u16::try_from(nanos % 1_000).unwrap_or(0);
        let micros = u64::try_from(micros).unwrap_or(u64::MAX).min(MOST_MICROS);
        let told = Told { key, micros, age, extra: self.extra };
        (self.spent, self.extra, self.unheard) = (0, 0, false);
        told
    }

    /// Whether something that was spent so long ago is told as less than it was.
    pub(super) fn is_late(&self, age: Duration, now: Moment) -> bool {
        self.spent > 0 && self.late(age, now) > 0
    }

    /// By how much the first of it is older than what will be told of it.
    fn late(&self, age: Duration, now: Moment) -> u128 {
        u128::from(now.0.saturating_sub(self.since)).saturating_sub(age.as_nanos())
    }

    /// Asks for the store's word though there may be nothing to tell.
    pub(super) fn ask_again(&mut self) {
        self.unheard = true;
    }

    /// Weighs the key by what the store answered.
    ///
    /// Weighed is only a key of which the fleet spent more than it had: that one was
    /// above its limit. It stays weighed by what part of the fleet's spending is this
    /// gateway's, until that is all of it; and half as much each time that the key owes
    /// nothing.
    pub(super) fn weigh(&mut self, micros: u64, reckoned: Reckoned, terms: &Terms, epoch: u32) {
        let weighed = self.epoch == epoch && self.is_weighed();
        let spent = self.total.and_then(|before| reckoned.total.checked_sub(before));
        let part = spent.filter(|_| micros > 0).map(|all| Weight::new(all, micros));
        let debt = terms.exceeds(terms.ticks_in(reckoned.ahead));
        self.weight = match part {
            Some(part) if weighed => self.weight.following(part),
            Some(part) if debt => part,
            None if weighed => self.weight,
            _ => Weight::default(),
        };
        if reckoned.ahead.is_zero() {
            self.weight = self.weight.towards(Weight::default());
        }
        (self.total, self.epoch) = (Some(reckoned.total), epoch);
    }
}

/// How much a token costs on this gateway, in sixteenths: of a key that the fleet
/// holds at its limit, so much more as others spend of it too. So they all together
/// spend what one may, between two exchanges.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Weight(u16);

impl Default for Weight {
    fn default() -> Self {
        Self(ONE)
    }
}

impl Weight {
    /// Of a gateway that spent `mine` of what all spent together.
    fn new(all: u64, mine: u64) -> Self {
        let sixteenths = u128::from(all) * u128::from(ONE) / u128::from(mine.max(1));
        Self(u16::try_from(sixteenths).unwrap_or(u16::MAX).clamp(ONE, MOST))
    }

    /// Half of the way to another: what all gateways do at once, with what they heard
    /// some time ago, must not swing.
    fn towards(self, other: Self) -> Self {
        Self(u16::midpoint(self.0, other.0))
    }

    /// As [`towards`](Self::towards), but at once where nobody else spends: there is
    /// nobody to swing with.
    fn following(self, part: Self) -> Self {
        if part == Self::default() { part } else { self.towards(part) }
    }

    fn extra(self, ticks: u64) -> u64 {
        let extra = u128::from(ticks) * u128::from(self.0.saturating_sub(ONE)) / u128::from(ONE);
        u64::try_from(extra).unwrap_or(u64::MAX)
    }
}

const ONE: u16 = 16;
const MOST: u16 = 64 * ONE;

/// Exact in a double, with the time of day added: a hundred years.
const MOST_MICROS: u64 = 100 * 365 * 86_400 * 1_000_000;
