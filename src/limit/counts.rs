//! What traffic taught the limits: their cells and counts, which outlive snapshots.
//!
//! Always holds: a limit keeps its counts over a reload exactly if its [`Basis`]
//! stays, and then they are the same ones that requests under way hold.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{Clock, ConcurrencyLimit, FleetLive, KeyPart, KeySeeds, LimitKey, RateLimit, Terms};
use crate::config::limit::LimitSpec;

/// Every limit's counts, and what they are counted by.
pub struct LimitLive {
    /// The time that all of them count in.
    pub clock: Clock,
    /// The seeds that all of their keys are hashed with.
    pub seeds: KeySeeds,
    /// What is known of the fleet that leases belong to.
    pub fleet: Arc<FleetLive>,
    counts: Mutex<HashMap<Basis, Counts>>,
}

impl LimitLive {
    /// Nothing counted yet, by a clock that begins at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            clock: Clock::new(now),
            seeds: KeySeeds::random(),
            fleet: Arc::default(),
            counts: Mutex::default(),
        }
    }

    /// The counts on this basis: those that there are, or new ones.
    pub fn counts(&self, basis: &Basis) -> Counts {
        self.locked().entry(basis.clone()).or_insert_with(|| basis.fresh()).clone()
    }

    /// Forgets the counts that nobody holds.
    pub fn sweep(&self) {
        self.locked().retain(|_, counts| counts.is_held());
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Basis, Counts>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that a limit's counts depend on. What else it says, as whether it refuses,
/// changes without them.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Basis {
    name: Arc<str>,
    parts: Vec<KeyPart>,
    measure: Measure,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Measure {
    Rate { terms: Terms, memory: usize },
    Concurrency(NonZeroU32),
}

impl Basis {
    /// `None` of what is no limit: it has neither a rate nor a concurrency.
    pub fn of(spec: &LimitSpec) -> Option<Self> {
        let measure = match (spec.rate, spec.concurrency) {
            (Some(rate), _) => Measure::Rate {
                terms: Terms::new(rate.events(), rate.per(), spec.burst()),
                memory: usize::try_from(spec.memory.bytes()).unwrap_or(usize::MAX),
            },
            (None, most) => Measure::Concurrency(NonZeroU32::new(most?)?),
        };
        Some(Self { name: spec.name.as_str().into(), parts: LimitKey::from(spec).parts, measure })
    }

    fn fresh(&self) -> Counts {
        match self.measure {
            Measure::Rate { terms, memory } => Counts::Rate(Arc::new(RateLimit::new(terms, memory))),
            Measure::Concurrency(most) => Counts::Concurrency(Arc::new(ConcurrencyLimit::new(most))),
        }
    }
}

/// A limit's counts, of its kind.
#[derive(Clone)]
#[allow(missing_docs)]
pub enum Counts {
    Rate(Arc<RateLimit>),
    Concurrency(Arc<ConcurrencyLimit>),
}

impl Counts {
    /// Whether they are the very same.
    pub fn are(&self, others: &Self) -> bool {
        match (self, others) {
            (Self::Rate(own), Self::Rate(other)) => Arc::ptr_eq(own, other),
            (Self::Concurrency(own), Self::Concurrency(other)) => Arc::ptr_eq(own, other),
            _ => false,
        }
    }

    fn is_held(&self) -> bool {
        match self {
            Self::Rate(limit) => Arc::strong_count(limit) > 1,
            Self::Concurrency(limit) => Arc::strong_count(limit) > 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basis(text: &str) -> Basis {
        Basis::of(&serde_yaml::from_str(text).unwrap()).unwrap()
    }

    #[test]
    fn counts_stay_while_their_basis_does_and_somebody_holds_them() {
        let live = LimitLive::new(Instant::now());
        let held = live.counts(&basis("{ name: a, rate: 100/s, burst: 20 }"));

        live.sweep();

        let same = basis("{ name: a, rate: 6000/m, burst: 20, enforce: false, missing: deny }");
        assert!(live.counts(&same).are(&held));
        drop((live.counts(&same), held));
        live.sweep();
        assert!(live.locked().is_empty());
    }

    #[test]
    fn whatever_the_counts_depend_on_makes_another_basis() {
        let old = basis("{ name: a, rate: 100/s, burst: 20 }");

        for new in [
            "{ name: b, rate: 100/s, burst: 20 }",
            "{ name: a, rate: 101/s, burst: 20 }",
            "{ name: a, rate: 100/s, burst: 21 }",
            "{ name: a, rate: 100/s, burst: 20, key: [route] }",
            "{ name: a, rate: 100/s, burst: 20, memory: 1MiB }",
            "{ name: a, concurrency: 20 }",
        ] {
            assert_ne!(basis(new), old, "{new}");
        }
    }
}
