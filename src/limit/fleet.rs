//! What is known of the fleet as a whole: whether its store answers, how many
//! gateways count in it, and the seeds of their keys.
//!
//! Owns what the exchange writes and requests read; one for the process, so that a
//! limit that is new knows it at once. Nothing here waits.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{
        AtomicBool, AtomicU32,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

use arc_swap::ArcSwap;
use siphasher::sip::SipHasher13;

use super::key::KeyHasher;
use crate::telemetry::random::random;

/// What is known of the fleet. Begins stale, with seeds of its own.
pub struct FleetLive {
    fresh: AtomicBool,
    /// Whether asking the store has ended once, be it with a failure.
    asked: AtomicBool,
    /// Counts how often it became fresh.
    epoch: AtomicU32,
    /// 0: nobody was heard of.
    gateways: AtomicU32,
    seeds: ArcSwap<FleetSeeds>,
}

/// Whether leases know where the fleet stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Freshness {
    /// The store answers.
    Fresh,
    /// It does not: what a limit says of that holds, and nothing is recorded.
    Stale,
}

impl Default for FleetLive {
    fn default() -> Self {
        Self {
            fresh: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            epoch: AtomicU32::new(0),
            gateways: AtomicU32::new(0),
            seeds: ArcSwap::from_pointee(FleetSeeds::random()),
        }
    }
}

impl FleetLive {
    /// Whether leases know where the fleet stands.
    pub fn freshness(&self) -> Freshness {
        match self.fresh.load(Acquire) {
            true => Freshness::Fresh,
            false => Freshness::Stale,
        }
    }

    /// Says whether the store answers. The seeds come before the first `Fresh`.
    pub fn stand(&self, freshness: Freshness) {
        self.note_asked();
        let fresh = freshness == Freshness::Fresh;
        if !self.fresh.swap(fresh, AcqRel) && fresh {
            self.epoch.fetch_add(1, Relaxed);
        }
    }

    /// Whether it is known that the store answers, or that it does not. Until then it is
    /// not down: what a limit says of a store that is, does not hold yet.
    pub fn was_asked(&self) -> bool {
        self.asked.load(Acquire)
    }

    /// Says that asking the store has ended once, whatever came of it.
    pub(super) fn note_asked(&self) {
        self.asked.store(true, Release);
    }

    /// Says that there is another store, or none: nobody has asked it yet.
    pub(super) fn begin(&self, has_store: bool) {
        self.asked.store(false, Release);
        if !has_store {
            self.fresh.store(false, Release);
        }
    }

    /// Another one after every time that nobody knew.
    pub(super) fn epoch(&self) -> u32 {
        self.epoch.load(Relaxed)
    }

    /// How many gateways count in the store; `None` before it said so.
    pub fn gateways(&self) -> Option<u32> {
        Some(self.gateways.load(Relaxed)).filter(|gateways| *gateways > 0)
    }

    /// Remembers how many gateways count in the store.
    pub fn learn_gateways(&self, gateways: u32) {
        self.gateways.store(gateways, Relaxed);
    }

    /// The seeds that keys are hashed with now.
    pub fn seeds(&self) -> FleetSeeds {
        **self.seeds.load()
    }

    /// Takes the fleet's seeds; says whether they are others than before. Every key
    /// has another hash then, and begins afresh.
    pub fn learn_seeds(&self, seeds: FleetSeeds) -> bool {
        let changes = seeds != self.seeds();
        if changes {
            self.seeds.store(seeds.into());
        }
        changes
    }
}

/// What keys that count together are hashed with. Written as 32 hex digits, as the
/// store keeps it.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct FleetSeeds(u128);

impl FleetSeeds {
    /// Seeds that nobody knows.
    pub fn random() -> Self {
        Self(u128::from_le_bytes(random()))
    }

    /// Begins a key: the same hash on every machine and in every version.
    pub fn hasher(&self) -> KeyHasher<SipHasher13> {
        KeyHasher::new(SipHasher13::new_with_key(&self.0.to_le_bytes()))
    }
}

impl fmt::Display for FleetSeeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Not told: who knows them can choose keys that meet.
impl fmt::Debug for FleetSeeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetSeeds(..)")
    }
}

impl FromStr for FleetSeeds {
    type Err = NoSeeds;

    fn from_str(text: &str) -> Result<Self, NoSeeds> {
        let hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let seeds = hex.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        seeds.map(Self).ok_or(NoSeeds)
    }
}

/// What the store has in the place of seeds is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoSeeds;

impl fmt::Display for NoSeeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the seeds of a fleet; delete the key, and the next gateway writes new ones")
    }
}

impl std::error::Error for NoSeeds {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_come_back_from_the_store_as_they_were() {
        let seeds = FleetSeeds::random();

        assert_eq!(seeds.to_string().parse(), Ok(seeds));
        for bad in ["", "0", "+0000000000000000000000000000000", &"g".repeat(32), &"0".repeat(33)] {
            assert_eq!(bad.parse::<FleetSeeds>(), Err(NoSeeds), "{bad}");
        }
    }

    /// A change here makes gateways of two versions count apart.
    #[test]
    fn a_key_has_the_same_hash_on_every_machine_and_in_every_version() {
        let seeds: FleetSeeds = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
        let mut hasher = seeds.hasher();

        hasher.part(b"tenant-a");
        hasher.missing();
        hasher.number(3);

        assert_eq!(hasher.finish().to_string(), "eeb9c62e08ac6468");
    }

    #[test]
    fn a_fleet_is_stale_until_the_store_answered() {
        let fleet = FleetLive::default();
        assert_eq!((fleet.freshness(), fleet.gateways()), (Freshness::Stale, None));
        assert!(!fleet.was_asked());

        fleet.stand(Freshness::Fresh);
        fleet.learn_gateways(3);

        assert_eq!((fleet.freshness(), fleet.gateways()), (Freshness::Fresh, Some(3)));
        assert!(fleet.was_asked());
        fleet.begin(true);
        assert_eq!((fleet.freshness(), fleet.was_asked()), (Freshness::Fresh, false));
        fleet.begin(false);
        assert_eq!((fleet.freshness(), fleet.was_asked()), (Freshness::Stale, false));
        let seeds = FleetSeeds::random();
        assert!(fleet.learn_seeds(seeds) && !fleet.learn_seeds(seeds));
    }
}
