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

use siphasher::sip::SipHasher13;

use super::{
    Clock, ConcurrencyLimit, FleetLive, KeyHasher, KeyNames, KeyPart, KeySeeds, Lease, LimitKey, RateLimit,
    Terms,
};
use crate::config::{Share, limit::LimitSpec};

/// Every limit's counts, and what they are counted by.
pub struct LimitLive {
    /// The time that all of them count in.
    pub clock: Clock,
    /// The seeds that all of their keys are hashed with, but those of leases.
    pub seeds: KeySeeds,
    /// What is known of the fleet, with the seeds of leases.
    pub fleet: Arc<FleetLive>,
    counts: Mutex<HashMap<Basis, (Counts, Arc<KeyNames>)>>,
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

    /// The counts on this basis, and the names of their keys: those that there are,
    /// or new ones.
    pub fn counts(&self, basis: &Basis) -> (Counts, Arc<KeyNames>) {
        self.locked()
            .entry(basis.clone())
            .or_insert_with(|| (basis.fresh(&self.fleet), Arc::default()))
            .clone()
    }

    /// Forgets the counts that nobody holds.
    pub fn sweep(&self) {
        self.locked().retain(|_, (counts, _)| counts.is_held());
    }

    /// How many limits have counts.
    #[cfg(test)]
    pub fn known(&self) -> usize {
        self.locked().len()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Basis, (Counts, Arc<KeyNames>)>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that a limit's counts depend on. What else it says, as whether it refuses, and
/// how many gateways share it, changes without them.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Basis {
    name: Arc<str>,
    parts: Vec<KeyPart>,
    measure: Measure,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Measure {
    Rate { terms: Terms, memory: usize },
    Leased { terms: Terms, memory: usize, identity: Arc<str> },
    Concurrency(NonZeroU32),
}

impl Basis {
    /// `None` of what is no limit: it has neither a rate nor a concurrency.
    pub fn of(spec: &LimitSpec, share: Share) -> Option<Self> {
        let memory = usize::try_from(spec.memory.bytes()).unwrap_or(usize::MAX);
        let terms = spec.rate.map(|rate| Terms::new(rate.events(), rate.per(), spec.burst()));
        let measure = match (terms, share) {
            (None, _) => Measure::Concurrency(NonZeroU32::new(spec.concurrency?)?),
            (Some(terms), Share::Leased) => {
                Measure::Leased { terms, memory, identity: identity(spec).into() }
            }
            (Some(terms), Share::Instance | Share::Divided) => Measure::Rate { terms, memory },
        };
        Some(Self { name: spec.name.as_str().into(), parts: LimitKey::from(spec).parts, measure })
    }

    fn fresh(&self, fleet: &Arc<FleetLive>) -> Counts {
        match &self.measure {
            Measure::Rate { terms, memory } => {
                Counts::Rate(Arc::new(RateLimit::new(*terms, *memory)), *terms)
            }
            Measure::Leased { terms, memory, identity } => {
                let lease = Lease::new(identity.clone(), *terms, *memory, fleet.clone());
                Counts::Leased(Arc::new(lease), None)
            }
            Measure::Concurrency(most) => Counts::Concurrency(Arc::default(), *most),
        }
    }
}

/// What the store calls a limit: its name, and a hash of all that must be the same on
/// two gateways that count together. A limit that changed is another one there.
fn identity(spec: &LimitSpec) -> String {
    // In the words of the configuration, which stay what they are over versions.
    let words = (&spec.rate, spec.burst(), &spec.key);
    let text = serde_json::to_string(&words).unwrap_or_default();
    let mut hasher = KeyHasher::new(SipHasher13::new());
    hasher.part(text.as_bytes());
    format!("{}-{}", spec.name, hasher.finish())
}

/// A limit's counts, of its kind, and what it grants by now.
#[derive(Clone)]
pub enum Counts {
    /// Of this gateway alone, and its terms or its share of them.
    Rate(Arc<RateLimit>, Terms),
    /// Of the fleet, and how many gateways it has, where that is written or counted.
    Leased(Arc<Lease>, Option<u32>),
    /// What is under way here, and how much may be.
    Concurrency(Arc<ConcurrencyLimit>, NonZeroU32),
}

impl Counts {
    /// The same counts, and what one of `gateways` grants that share them; all of it
    /// where nobody says how many there are.
    pub fn among(self, gateways: Option<u32>) -> Self {
        let each = gateways.unwrap_or(1).max(1);
        match self {
            Self::Rate(rate, terms) => Self::Rate(rate, terms.divided(each)),
            Self::Leased(lease, _) => Self::Leased(lease, gateways),
            Self::Concurrency(counts, most) => {
                let share = NonZeroU32::new(most.get().div_ceil(each));
                Self::Concurrency(counts, share.unwrap_or(most))
            }
        }
    }

    /// Whether they are the very same.
    pub fn are(&self, others: &Self) -> bool {
        match (self, others) {
            (Self::Rate(own, _), Self::Rate(other, _)) => Arc::ptr_eq(own, other),
            (Self::Leased(own, _), Self::Leased(other, _)) => Arc::ptr_eq(own, other),
            (Self::Concurrency(own, _), Self::Concurrency(other, _)) => Arc::ptr_eq(own, other),
            _ => false,
        }
    }

    fn is_held(&self) -> bool {
        match self {
            Self::Rate(limit, _) => Arc::strong_count(limit) > 1,
            Self::Leased(limit, _) => Arc::strong_count(limit) > 1,
            Self::Concurrency(limit, _) => Arc::strong_count(limit) > 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basis(text: &str) -> Basis {
        shared(text, Share::Instance)
    }

    fn shared(text: &str, share: Share) -> Basis {
        Basis::of(&serde_yaml::from_str(text).unwrap(), share).unwrap()
    }

    #[test]
    fn counts_stay_while_their_basis_does_and_somebody_holds_them() {
        let live = LimitLive::new(Instant::now());
        let (held, names) = live.counts(&basis("{ name: a, rate: 100/s, burst: 20 }"));

        live.sweep();

        let same = basis("{ name: a, rate: 6000/m, burst: 20, enforce: false, missing: deny }");
        let (again, named) = live.counts(&same);
        assert!(again.are(&held) && Arc::ptr_eq(&names, &named));
        drop((again, held));
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

    #[test]
    fn a_lease_is_the_same_in_the_store_as_long_as_it_counts_the_same() {
        let identity = |text| match shared(text, Share::Leased).measure {
            Measure::Leased { identity, .. } => identity,
            other => panic!("{other:?}"),
        };

        // Gateways of two versions must agree on it.
        let own = "{ name: a, rate: 100/s, burst: 20, key: [tenant] }";
        assert_eq!(&*identity(own), "a-c4219b257bb92274");
        assert_eq!(
            identity("{ name: a, rate: 100/s, burst: 20, key: [tenant], memory: 1MiB }"),
            identity(own)
        );
        for other in [
            "{ name: b, rate: 100/s, burst: 20, key: [tenant] }",
            "{ name: a, rate: 101/s, burst: 20, key: [tenant] }",
            "{ name: a, rate: 100/s, burst: 21, key: [tenant] }",
            "{ name: a, rate: 100/s, burst: 20, key: [!header tenant] }",
        ] {
            assert_ne!(identity(other), identity(own), "{other}");
        }
    }

    #[test]
    fn what_is_counted_stays_while_the_number_of_gateways_changes() {
        let live = LimitLive::new(Instant::now());
        let basis = shared("{ name: a, concurrency: 20 }", Share::Divided);

        let (three, four) = (live.counts(&basis).0.among(Some(3)), live.counts(&basis).0.among(Some(4)));

        assert!(three.are(&four));
        let (Counts::Concurrency(_, three), Counts::Concurrency(_, four)) = (three, four) else { panic!() };
        assert_eq!((three.get(), four.get()), (7, 5));
    }
}
