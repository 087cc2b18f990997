//! Which route takes a request: the look-up itself.
//!
//! Owns the order in which claims are tried, most specific first; that order is
//! the whole of precedence. Does not own how claims come about (`claims`) nor
//! what routes do. A look-up allocates nothing, and costs a few hash probes for
//! the host and one for each depth at which the host has a prefix, however many
//! routes there are. Only patterns, and claims on the same host and path, are
//! tried one by one.

use std::{
    fmt,
    hash::{BuildHasher, Hasher},
    ops::Range,
    sync::LazyLock,
};

use ahash::RandomState;
use regex::Regex;

use super::{
    Facts,
    conditions::Conditions,
    index::Index,
    segments::Segments,
    text::{Text, slice},
};

/// Every claim of every route, in order of host, then path, then conditions.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) hosts: Vec<Host>,
    pub(super) host_index: Index,
    /// The host pattern `*`.
    pub(super) any_host: Option<Key>,
    /// Bit n: there is a wildcard of n labels. Bit 63 is 63 and more.
    pub(super) wildcard_labels: u64,
    pub(super) claims: Vec<Claim>,
    /// From host, kind and path to the first claim of the cell.
    pub(super) cell_index: Index,
    /// The path patterns that claims refer to.
    pub(super) patterns: Vec<Regex>,
    /// What each route asks beside host and path, by the route's number; most ask nothing.
    pub(super) conditions: Vec<Option<Box<Conditions>>>,
    /// The text of hosts and paths, end to end.
    pub(super) text: String,
    /// The segments of the deepest prefix.
    pub(super) deepest: u8,
    pub(super) hash: Seeds,
}

/// A host pattern and what is claimed under it.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// `a.b`, `.a.b` for `*.a.b`, or `*`.
    pub(super) name: Text,
    /// Whether any exact path is claimed.
    pub(super) exact: bool,
    /// Bit n: there is a prefix of n segments.
    pub(super) depths: u32,
    /// Its pattern claims, then its claims on every path; both in `claims`.
    pub(super) patterns: Range<u32>,
    pub(super) any_path: Range<u32>,
}

/// One host pattern and one path matcher of one route. Claims of the same host,
/// kind and path are a cell and stand together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) host: u32,
    pub(super) route: u32,
    /// Which of the route's paths, counted as they are written.
    pub(super) spot: u32,
    /// Of a pattern: its number and the length of its text.
    pub(super) path: Text,
    pub(super) kind: Kind,
    /// Whether the route asks for more than host and path.
    pub(super) conditional: bool,
    /// Whether the next claim is of the same cell.
    pub(super) more: bool,
}

/// How a path is matched, most specific first.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    Exact,
    /// Without slash at the end: the root is empty.
    Prefix,
    Pattern,
    /// No path was given. After patterns: who gives none wants what is left.
    Any,
}

/// A host: its number and the hash of its name. Cells are hashed with the name
/// and not with the number, which is known only when memory has answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) number: u32,
    pub(super) hash: u64,
}

impl Table {
    /// The most specific claim that takes the request.
    pub(super) fn find(&self, facts: &Facts<'_>) -> Option<&Claim> {
        let segments = Segments::of(facts.path, self.deepest);
        let under = |host| self.under(host, &segments, facts);
        // With a dot in front it would be the name of a wildcard.
        let exact = Some(facts.host).filter(|host| !host.starts_with('.'));
        let exact = exact.and_then(|host| self.host(host)).and_then(under);
        let wildcard = || self.wildcards(facts.host).find_map(under);
        exact.or_else(wildcard).or_else(|| self.any_host.and_then(under))
    }

    /// Whether any route is for some consumers alone.
    pub(super) fn asks_for_consumers(&self) -> bool {
        self.conditions.iter().flatten().any(|asked| asked.ask_for_consumers())
    }

    /// What the route of a claim asks beside host and path.
    pub(super) fn conditions(&self, claim: &Claim) -> &Conditions {
        static NOTHING: LazyLock<Conditions> = LazyLock::new(Conditions::default);
        self.conditions.get(claim.route as usize).and_then(Option::as_deref).unwrap_or(&NOTHING)
    }

    /// The claims of the cell that begins with this one.
    pub(super) fn cell(&self, first: u32) -> impl Iterator<Item = &Claim> {
        let claims = self.claims.get(first as usize..).unwrap_or_default();
        let mut more = true;
        claims.iter().take_while(move |claim| std::mem::replace(&mut more, claim.more))
    }

    /// The first claim with this host, kind (exact or prefix) and path.
    pub(super) fn first(&self, host: Key, kind: Kind, path: &str) -> Option<u32> {
        self.cell_index.find(self.hash.cell(host, kind, path), path, &self.text, |number| {
            let claim = self.claims.get(number as usize);
            claim.is_some_and(|claim| claim.host == host.number && claim.kind == kind)
        })
    }

    /// A host by its name: `a.b`, or `.a.b` for `*.a.b`.
    pub(super) fn host(&self, name: &str) -> Option<Key> {
        let hash = self.hash.text(name);
        let number = self.host_index.find(hash, name, &self.text, |_| true)?;
        Some(Key { number, hash })
    }

    /// The key of a host that is there.
    pub(super) fn key(&self, number: u32) -> Key {
        let name = self.hosts.get(number as usize).map(|host| self.text(host.name));
        Key { number, hash: self.hash.text(name.unwrap_or_default()) }
    }

    /// A piece of text.
    pub(super) fn text(&self, text: Text) -> &str {
        slice(&self.text, text)
    }

    /// The text of the path of a claim; empty where any path will do.
    pub(super) fn template(&self, claim: &Claim) -> &str {
        match claim.kind {
            Kind::Pattern => self.pattern(claim),
            Kind::Exact | Kind::Prefix | Kind::Any => self.text(claim.path),
        }
    }

    /// The text of the pattern of a claim.
    pub(super) fn pattern(&self, claim: &Claim) -> &str {
        self.patterns.get(claim.path.at as usize).map(Regex::as_str).unwrap_or_default()
    }

    /// The wildcards that this host falls under, longest first.
    pub(super) fn wildcards(&self, host: &str) -> impl Iterator<Item = Key> {
        let dots = || host.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'.');
        let labels = if self.wildcard_labels == 0 { 0 } else { dots().count() };
        let suffixes = dots().zip((1..=labels).rev());
        let known = suffixes.filter(|(_, labels)| self.wildcard_labels & label_bit(*labels) != 0);
        known.filter_map(move |((at, _), _)| self.host(host.get(at..)?))
    }

    /// The first claim under a host that takes the request.
    fn under(&self, key: Key, segments: &Segments, facts: &Facts<'_>) -> Option<&Claim> {
        let host = self.hosts.get(key.number as usize)?;
        let exact = || host.exact.then(|| self.in_cell(key, Kind::Exact, facts.path, facts))?;
        let mut prefixes = segments.prefixes(facts.path, host.depths);
        let prefix = || prefixes.find_map(|prefix| self.in_cell(key, Kind::Prefix, prefix, facts));
        let pattern = || self.range(&host.patterns).iter().find(|c| self.matches(c, facts));
        let any = || self.range(&host.any_path).iter().find(|c| self.holds(c, facts));
        exact().or_else(prefix).or_else(pattern).or_else(any)
    }

    fn in_cell(&self, host: Key, kind: Kind, path: &str, facts: &Facts<'_>) -> Option<&Claim> {
        let first = self.first(host, kind, path)?;
        self.cell(first).find(|claim| self.holds(claim, facts))
    }

    pub(super) fn holds(&self, claim: &Claim, facts: &Facts<'_>) -> bool {
        !claim.conditional || self.conditions(claim).hold(facts)
    }

    fn matches(&self, claim: &Claim, facts: &Facts<'_>) -> bool {
        self.holds(claim, facts) && self.is_match(claim, facts.path)
    }

    /// Whether the pattern of a claim matches.
    pub(super) fn is_match(&self, claim: &Claim, path: &str) -> bool {
        self.patterns.get(claim.path.at as usize).is_some_and(|pattern| pattern.is_match(path))
    }

    pub(super) fn range(&self, range: &Range<u32>) -> &[Claim] {
        self.claims.get(range.start as usize..range.end as usize).unwrap_or_default()
    }
}

/// A claim as the operator wrote it.
pub(super) struct Described<'a>(pub(super) &'a Table, pub(super) &'a Claim);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(table, claim) = self;
        let host = table.hosts.get(claim.host as usize).map(|host| table.text(host.name));
        match host.unwrap_or_default() {
            ANY_HOST => f.write_str("any host, ")?,
            host if host.starts_with('.') => write!(f, "host *{host}, ")?,
            host => write!(f, "host {host}, ")?,
        }
        match claim.kind {
            Kind::Exact => write!(f, "path {}", table.text(claim.path)),
            Kind::Prefix if claim.path.len == 0 => f.write_str("prefix /"),
            Kind::Prefix => write!(f, "prefix {}", table.text(claim.path)),
            Kind::Pattern => write!(f, "pattern {}", table.pattern(claim)),
            Kind::Any => f.write_str("any path"),
        }
    }
}

/// The hash of names and paths. Fixed seeds: what is in the table was written
/// by operators, so nobody can fill one slot, and a table is the same each time.
#[derive(Clone, Debug)]
pub(super) struct Seeds(RandomState);

impl Default for Seeds {
    fn default() -> Self {
        Self(RandomState::with_seeds(1, 2, 3, 4))
    }
}

impl Seeds {
    pub(super) fn text(&self, text: &str) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(text.as_bytes());
        hasher.finish()
    }

    pub(super) fn cell(&self, host: Key, kind: Kind, path: &str) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write_u64(host.hash ^ kind as u64);
        hasher.write(path.as_bytes());
        hasher.finish()
    }
}

/// The bit of a wildcard of so many labels.
pub(super) fn label_bit(labels: usize) -> u64 {
    1 << labels.min(63)
}

/// The name of the host pattern that takes every host.
pub(super) const ANY_HOST: &str = "*";
