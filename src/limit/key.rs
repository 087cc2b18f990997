//! Per what a limit counts: the parts of a key, and their hash.
//!
//! Does not own where the parts are in a request. A limit knows its keys by their
//! hash alone: 64 bits, with seeds that no client knows, so that nobody can choose
//! a key that meets another's. By chance a new key meets one of a million others
//! once in 2^44 times (they would share one limit).

use std::{
    fmt,
    hash::{BuildHasher, Hasher},
    num::NonZeroU64,
    sync::Arc,
};

use ahash::{AHasher, RandomState};
use http::HeaderName;

use crate::config::{
    limit::{KeyPartSpec, LimitSpec, MissingSpec},
    types::ClaimName,
};

/// Per what a limit counts: for each different value of all these parts together.
/// Without parts everything counts together.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct LimitKey {
    /// In the order that they were written.
    pub parts: Vec<KeyPart>,
    /// What becomes of a request that lacks a part.
    pub missing: Missing,
}

impl From<&LimitSpec> for LimitKey {
    fn from(spec: &LimitSpec) -> Self {
        let missing = match spec.missing {
            MissingSpec::Allow => Missing::Allow,
            MissingSpec::Deny => Missing::Deny,
            MissingSpec::Share => Missing::Share,
        };
        Self { parts: spec.key.iter().map(KeyPart::from).collect(), missing }
    }
}

impl LimitKey {
    /// Whether it counts by the client's address and asks for nothing that is known only
    /// of who was authenticated.
    pub fn counts_addresses(&self) -> bool {
        let is_late = |part: &KeyPart| matches!(part, KeyPart::Consumer | KeyPart::Claim(_));
        self.parts.contains(&KeyPart::ClientAddress) && !self.parts.iter().any(is_late)
    }
}

/// A part of a key.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum KeyPart {
    /// The client's address behind its VPC endpoint, if any; of IPv6 the first 64
    /// bits.
    ClientAddress,
    /// Whose VPC endpoint it came through.
    Tenant,
    /// Who was authenticated.
    Consumer,
    /// What this claim of their token says.
    Claim(ClaimName),
    /// The value of this header field, all of its lines.
    Header(HeaderName),
    /// The value of this cookie.
    Cookie(Arc<str>),
    /// The value of this query parameter, as it was sent.
    Query(Arc<str>),
    /// The route's name.
    Route,
    /// The method.
    Method,
    /// The text of the route's path, not the request's: `/orders/{id}` is one key.
    PathTemplate,
}

impl From<&KeyPartSpec> for KeyPart {
    fn from(spec: &KeyPartSpec) -> Self {
        match spec {
            KeyPartSpec::ClientAddress => Self::ClientAddress,
            KeyPartSpec::Tenant => Self::Tenant,
            KeyPartSpec::Consumer => Self::Consumer,
            KeyPartSpec::Claim(name) => Self::Claim(name.clone()),
            KeyPartSpec::Header(name) => Self::Header(name.header().clone()),
            KeyPartSpec::Cookie(name) => Self::Cookie(name.as_str().into()),
            KeyPartSpec::Query(name) => Self::Query(name.as_str().into()),
            KeyPartSpec::Route => Self::Route,
            KeyPartSpec::Method => Self::Method,
            KeyPartSpec::PathTemplate => Self::PathTemplate,
        }
    }
}

/// What becomes of a request that lacks a part of a limit's key.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Missing {
    /// The limit does not hold for it.
    Allow,
    /// It is refused.
    Deny,
    /// All that lack the same parts share one key: nobody escapes a limit by
    /// leaving out what it counts by.
    #[default]
    Share,
}

/// A key as limits know it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyHash(NonZeroU64);

impl KeyHash {
    pub(super) fn tag(self) -> u64 {
        self.0.get()
    }

    pub(super) fn from_tag(tag: u64) -> Option<Self> {
        NonZeroU64::new(tag).map(Self)
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The seeds of this process, for limits that no other gateway counts with. Limits
/// that outlive a snapshot need the ones that they were filled with: there is one for
/// a process.
#[derive(Clone, Debug)]
pub struct KeySeeds(RandomState);

impl KeySeeds {
    /// Seeds that nobody knows.
    pub fn random() -> Self {
        Self(RandomState::new())
    }

    /// Begins a key.
    pub fn hasher(&self) -> KeyHasher {
        KeyHasher::new(self.0.build_hasher())
    }
}

/// Takes the parts of a key in their order. Allocates nothing.
///
/// What was given stays apart: `a`, `bc` and `ab`, `c` are two keys, and a part that
/// is missing is none that is empty. Every byte of a part counts, so that two long
/// values never share a limit for a common beginning. The gate bounds how long a
/// header can be; 64 KiB take 4 µs.
#[derive(Clone, Debug)]
pub struct KeyHasher<H = AHasher>(H);

impl<H: Hasher> KeyHasher<H> {
    pub(super) fn new(hasher: H) -> Self {
        Self(hasher)
    }

    /// Adds a part.
    pub fn part(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.write(bytes);
    }

    /// Adds a part that is a number. No part is a value of some type: what its `Hash`
    /// makes of it may be another thing in another version.
    pub fn number(&mut self, number: u64) {
        self.0.write_u64(number.to_le());
    }

    /// Adds a part that the request lacks, for [`Missing::Share`].
    pub fn missing(&mut self) {
        self.number(u64::MAX);
    }

    /// The key of the parts so far.
    pub fn finish(&self) -> KeyHash {
        KeyHash(NonZeroU64::new(self.0.finish()).unwrap_or(NonZeroU64::MIN))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn key(seeds: &KeySeeds, parts: &[&str]) -> KeyHash {
        let mut hasher = seeds.hasher();
        parts.iter().for_each(|part| hasher.part(part.as_bytes()));
        hasher.finish()
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let seeds = KeySeeds::random();
        let (mut missing, long) = (seeds.hasher(), "x".repeat(65_536));
        missing.missing();

        let keys = [
            key(&seeds, &[]),
            key(&seeds, &[""]),
            key(&seeds, &["", ""]),
            key(&seeds, &["abc"]),
            key(&seeds, &["a", "bc"]),
            key(&seeds, &["ab", "c"]),
            key(&seeds, &[&long]),
            key(&seeds, &[&long, ""]),
            key(&seeds, &[&format!("{long}y")]),
            key(&seeds, &[&format!("{long}z")]),
            missing.finish(),
        ];

        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
    }

    #[test]
    fn equal_parts_are_one_key_under_the_same_seeds_alone() {
        let (seeds, others) = (KeySeeds::random(), KeySeeds::random());

        assert_eq!(key(&seeds, &["a", "b"]), key(&seeds.clone(), &["a", "b"]));
        assert_ne!(key(&seeds, &["a", "b"]), key(&others, &["a", "b"]));
    }

    #[test]
    fn a_million_keys_are_a_million_hashes() {
        let seeds = KeySeeds::random();

        let keys: HashSet<_> = (0..1_000_000u32).map(|i| key(&seeds, &[&i.to_string()])).collect();

        assert_eq!(keys.len(), 1_000_000);
    }
}
