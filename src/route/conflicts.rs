//! What is wrong between routes: requests that two of them claim alike, and
//! paths that never win.
//!
//! Two claims alike are an error, for only their names would decide. A path that
//! never matches is a warning: the route above it may be there for a while. Only
//! what is certain is told; patterns are compared as text.

use std::collections::{HashMap, HashSet};

use http::Method;

use super::{
    build::place,
    claims::spot_source,
    conditions::Conditions,
    literal::literal,
    table::{Claim, Described, Kind, Table},
};
use crate::config::{Problems, Sourced, route::RouteSpec};

/// Tells every conflict between these routes, whose table this is.
pub(super) fn tell(table: &Table, specs: &[Sourced<RouteSpec>], problems: &mut Problems) {
    let mut conflicts = Conflicts { table, specs, problems, told: HashSet::new(), shadows: HashMap::new() };
    for cell in cells(table) {
        conflicts.within(&cell);
    }
    for claim in table.claims.iter().filter(|claim| claim.kind > Kind::Prefix) {
        conflicts.above(claim);
    }
    conflicts.tell_shadows();
}

struct Conflicts<'a> {
    table: &'a Table,
    specs: &'a [Sourced<RouteSpec>],
    problems: &'a mut Problems,
    /// Pairs of routes about which something was said.
    told: HashSet<(u32, u32)>,
    /// The hosts under which a path of a route never wins, and an example of why.
    shadows: HashMap<(u32, u32), (HashSet<u32>, &'a Claim)>,
}

impl<'a> Conflicts<'a> {
    /// Looks at the claims on one host and path, which are in order.
    fn within(&mut self, cell: &[&'a Claim]) {
        let mut alike: HashMap<Vec<String>, Vec<&Claim>> = HashMap::new();
        for claim in cell {
            let group = alike.entry(self.conditions(claim).tests()).or_default();
            // The same path twice in one route harms nobody.
            if group.iter().any(|earlier| earlier.route == claim.route) {
                continue;
            }
            if !group.iter().any(|earlier| self.compare(earlier, claim)) {
                group.push(claim);
            }
        }
    }

    /// Compares two claims with the same host, path, header and query tests.
    /// Whether the later one says nothing new.
    fn compare(&mut self, earlier: &'a Claim, later: &'a Claim) -> bool {
        let (first, second) = (self.conditions(earlier), self.conditions(later));
        let wider = first.takes(second);
        if wider && second.takes(first) {
            self.tell_once(earlier, later, Told::Twice);
        } else if wider {
            self.shadow(later, earlier);
        } else if first.meets(second) {
            let method = first.common_method(second).map(Method::as_str);
            self.tell_once(earlier, later, Told::Both(method));
        }
        wider
    }

    /// Looks whether a prefix or exact path takes all that a pattern, or no path
    /// at all, could take under the same host.
    fn above(&mut self, claim: &'a Claim) {
        let table = self.table;
        let literal = literal(if claim.kind == Kind::Pattern { table.pattern(claim) } else { "" });
        let head = literal.head.as_str();
        let slashes = head.match_indices('/').filter_map(|(at, _)| head.get(..at));
        let mut wider: Vec<_> = slashes.map(|prefix| (Kind::Prefix, prefix)).collect();
        // The root takes every path.
        wider.push((Kind::Prefix, ""));
        if literal.whole {
            wider.extend([(Kind::Exact, head), (Kind::Prefix, head)]);
        }
        let host = table.key(claim.host);
        let cells = wider.into_iter().filter_map(|(kind, path)| table.first(host, kind, path));
        let mut claims = cells.flat_map(|first| table.cell(first));
        let covers = |above: &&Claim| {
            above.route != claim.route && self.conditions(above).cover(self.conditions(claim))
        };
        if let Some(above) = claims.find(covers) {
            self.shadow(claim, above);
        }
    }

    fn shadow(&mut self, claim: &'a Claim, above: &'a Claim) {
        self.shadows
            .entry((claim.route, claim.spot))
            .or_insert_with(|| (HashSet::new(), above))
            .0
            .insert(claim.host);
    }

    /// A path is told when it never wins under any host of its route.
    fn tell_shadows(&mut self) {
        let mut shadows = std::mem::take(&mut self.shadows);
        for claim in &self.table.claims {
            let spot = (claim.route, claim.spot);
            if shadows.get(&spot).is_some_and(|(hosts, _)| !hosts.contains(&claim.host)) {
                shadows.remove(&spot);
            }
        }
        let mut everywhere: Vec<_> = shadows.into_iter().collect();
        everywhere.sort_unstable_by_key(|(spot, _)| *spot);
        for ((route, spot), (_, above)) in everywhere {
            let (Some(own), Some(winner)) = (self.spec(route), self.spec(above.route)) else { continue };
            let at = spot_source(&own.spec.matches, &own.source, spot as usize);
            let text = format!(
                "it never matches: route `{}` ({}) takes all of it first, by {}",
                winner.spec.name,
                place(&winner.source),
                Described(self.table, above),
            );
            self.problems.warn(&at, text);
        }
    }

    fn tell_once(&mut self, earlier: &Claim, later: &'a Claim, what: Told<'_>) {
        let pair = (earlier.route.min(later.route), earlier.route.max(later.route));
        let (Some(first), Some(second)) = (self.spec(pair.0), self.spec(pair.1)) else { return };
        if !self.told.insert(pair) {
            return;
        }
        let (claimed, other, file) = (Described(self.table, later), &first.spec.name, place(&first.source));
        let at = second.source.key("match");
        match what {
            Told::Twice => self.problems.error(
                &at,
                format!("{claimed}: route `{other}` ({file}) claims the same; change one, or let tenants, methods, headers or query tell them apart"),
            ),
            Told::Both(method) => self.problems.warn(
                &at,
                format!("{claimed}: route `{other}` ({file}) takes {} too, and only the names decide; take it out of one", what_both_take(method, first, second)),
            ),
        }
    }

    fn conditions(&self, claim: &Claim) -> &'a Conditions {
        self.table.conditions(claim)
    }

    fn spec(&self, route: u32) -> Option<&'a Sourced<RouteSpec>> {
        self.specs.get(route as usize)
    }
}

/// What is said about two routes.
enum Told<'a> {
    /// They claim exactly the same.
    Twice,
    /// They share this method, a tenant, or both.
    Both(Option<&'a str>),
}

fn what_both_take(method: Option<&str>, first: &Sourced<RouteSpec>, second: &Sourced<RouteSpec>) -> String {
    let (ours, theirs) = (&first.spec.matches.tenants, &second.spec.matches.tenants);
    let tenant = ours.iter().find(|tenant| theirs.contains(tenant));
    match (method, tenant) {
        (Some(method), Some(tenant)) => format!("{method} of tenant `{tenant}`"),
        (Some(method), None) => method.to_owned(),
        (None, tenant) => format!("tenant {}", tenant.map(|name| format!("`{name}`")).unwrap_or_default()),
    }
}

/// Claims on the same host and path, where there are more than one; each list
/// in the order in which they are tried.
fn cells(table: &Table) -> Vec<Vec<&Claim>> {
    let mut cells: HashMap<(u32, Kind, &str), Vec<&Claim>> = HashMap::new();
    let mut inside = false;
    for claim in &table.claims {
        // A literal path that is claimed once, as most are, needs no list.
        let alone = claim.kind <= Kind::Prefix && !claim.more && !inside;
        inside = claim.more;
        if !alone {
            let path =
                if claim.kind == Kind::Pattern { table.pattern(claim) } else { table.text(claim.path) };
            cells.entry((claim.host, claim.kind, path)).or_default().push(claim);
        }
    }
    let mut cells: Vec<_> = cells.into_values().filter(|cell| cell.len() > 1).collect();
    // As they were written, so that the same file is told the same way.
    cells.sort_unstable_by_key(|cell| cell.iter().map(|claim| (claim.route, claim.spot, claim.host)).min());
    cells
}

#[cfg(test)]
mod tests;
