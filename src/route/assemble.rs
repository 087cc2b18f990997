//! Puts claims into the order in which they are tried, and makes the indexes of
//! a table from it.
//!
//! Owns precedence under one host: exact path, longest prefix, longest pattern,
//! no path; then conditions by their rank; then the route's name. (Longest
//! prefixes need no order: the look-up asks for the longest first.)

use std::{cmp::Ordering, mem, ops::Range};

use regex::Regex;

use super::{
    index::Index,
    segments::depth,
    table::{ANY_HOST, Claim, Host, Key, Kind, Table, label_bit},
    text::{Text, slice},
};

/// A claim and the hash of its cell.
pub(super) type Hashed = (u64, Claim);

/// The table of these claims; `names` are those of the routes.
pub(super) fn assemble(mut table: Table, mut claims: Vec<Hashed>, names: &[&str]) -> Table {
    claims.sort_unstable_by(|a, b| table.order(a, b, names));
    table.mark_cells(&mut claims);
    table.index_cells(&claims);
    table.claims = claims.into_iter().map(|(_, claim)| claim).collect();
    table.fill_hosts();
    table.index_hosts();
    table.text.shrink_to_fit();
    table
}

impl Table {
    /// Adds a host without claims.
    pub(super) fn add_host(&mut self, name: &str) -> u32 {
        let name = self.add_text(name);
        self.hosts.push(Host { name, ..Host::default() });
        last(&self.hosts)
    }

    /// Adds a path pattern.
    pub(super) fn add_pattern(&mut self, pattern: &Regex) -> Text {
        self.patterns.push(pattern.clone());
        Text { at: last(&self.patterns), len: pattern.as_str().len() as u32 }
    }

    /// Adds text.
    pub(super) fn add_text(&mut self, text: &str) -> Text {
        let at = self.text.len() as u32;
        self.text.push_str(text);
        Text { at, len: text.len() as u32 }
    }

    /// The hash of a claim's cell; 0 without a literal path.
    pub(super) fn hash_of(&self, claim: &Claim) -> u64 {
        match claim.kind {
            Kind::Exact | Kind::Prefix => {
                self.hash.cell(self.key(claim.host), claim.kind, self.text(claim.path))
            }
            Kind::Pattern | Kind::Any => 0,
        }
    }

    /// Which of two claims is tried first; cells of one kind are in the order
    /// of their hashes, which means nothing.
    fn order(&self, (hash_a, a): &Hashed, (hash_b, b): &Hashed, names: &[&str]) -> Ordering {
        let path = || match a.kind {
            Kind::Exact | Kind::Prefix => {
                hash_a.cmp(hash_b).then_with(|| self.text(a.path).cmp(self.text(b.path)))
            }
            Kind::Pattern => b.path.len.cmp(&a.path.len),
            Kind::Any => Ordering::Equal,
        };
        let rank = |claim: &Claim| self.conditions(claim).rank();
        let name = |claim: &Claim| names.get(claim.route as usize);
        (a.host, a.kind)
            .cmp(&(b.host, b.kind))
            .then_with(path)
            .then_with(|| rank(b).cmp(&rank(a)))
            .then_with(|| name(a).cmp(&name(b)))
            .then_with(|| (a.route, a.spot).cmp(&(b.route, b.spot)))
    }

    fn mark_cells(&self, sorted: &mut [Hashed]) {
        let mut next: Option<Hashed> = None;
        for (hash, claim) in sorted.iter_mut().rev() {
            claim.more = next.is_some_and(|(next_hash, next)| {
                let alike = *hash == next_hash && self.text(claim.path) == self.text(next.path);
                claim.host == next.host && claim.kind == next.kind && claim.kind <= Kind::Prefix && alike
            });
            next = Some((*hash, *claim));
        }
    }

    fn index_cells(&mut self, sorted: &[Hashed]) {
        let mut inside = false;
        let mut cells = Vec::with_capacity(sorted.len());
        for (number, (hash, claim)) in (0..).zip(sorted) {
            if !mem::replace(&mut inside, claim.more) && claim.kind <= Kind::Prefix {
                cells.push((*hash, claim.path, number));
            }
        }
        self.cell_index = Index::new(&cells);
    }

    /// Notes at each host what is claimed under it.
    fn fill_hosts(&mut self) {
        for (number, claim) in (0..).zip(&self.claims) {
            let Some(host) = self.hosts.get_mut(claim.host as usize) else { continue };
            match claim.kind {
                Kind::Exact => host.exact = true,
                Kind::Prefix => {
                    let depth = depth(slice(&self.text, claim.path)).unwrap_or_default();
                    host.depths |= 1 << depth;
                    self.deepest = self.deepest.max(depth);
                }
                Kind::Pattern => extend(&mut host.patterns, number),
                Kind::Any => extend(&mut host.any_path, number),
            }
        }
    }

    fn index_hosts(&mut self) {
        let mut names = Vec::with_capacity(self.hosts.len());
        for (number, host) in (0..).zip(&self.hosts) {
            let name = slice(&self.text, host.name);
            let hash = self.hash.text(name);
            if name == ANY_HOST {
                self.any_host = Some(Key { number, hash });
                continue;
            }
            if name.starts_with('.') {
                self.wildcard_labels |= label_bit(name.split('.').skip(1).count());
            }
            names.push((hash, host.name, number));
        }
        self.host_index = Index::new(&names);
    }
}

fn extend(range: &mut Range<u32>, number: u32) {
    let start = if range.start == range.end { number } else { range.start };
    *range = start..number + 1;
}

fn last<T>(list: &[T]) -> u32 {
    list.len().saturating_sub(1) as u32
}
