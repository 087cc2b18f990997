//! Why a request takes the route that it takes, and why the others do not: for
//! people, not for the data path.
//!
//! Walks the table in the order of the look-up and asks the functions that it asks;
//! the winner is the one that the look-up found, whom the caller knows: nothing is
//! looked up again, and nothing here decides. It allocates, and looks
//! at every claim once. Always holds: a route is told of once, by the claim that
//! came nearest.

use std::{cmp::Reverse, collections::HashSet, fmt, sync::Arc};

use super::{
    Facts, Route, RouteMatch, Router, Unmet,
    nearest::nearest,
    segments::Segments,
    table::{Claim, Described, Key, Kind, Table},
};

/// What became of every route that one request could have taken.
#[derive(Debug)]
pub struct Contest<'r> {
    /// The one that takes it.
    pub winner: Option<RouteMatch<'r>>,
    /// Those whose host and path take it too, in order of precedence.
    pub losers: Vec<Loser<'r>>,
    /// Those of which only the host or only the path takes it, nearest first.
    pub near: Vec<Loser<'r>>,
    /// Where no host pattern takes it: which one may have been meant.
    pub hosts: Option<String>,
}

/// A route that does not take the request; printed, it names the host pattern and
/// the path matcher that came nearest.
#[derive(Debug)]
pub struct Loser<'r> {
    /// The route.
    pub route: &'r Arc<Route>,
    /// Why it does not.
    pub why: Why,
    table: &'r Table,
    claim: &'r Claim,
}

/// Why a route does not take a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Why {
    /// It asks for more than host and path; never empty.
    Unmet(Vec<Unmet>),
    /// The winner's host pattern is more specific.
    Host,
    /// Under the same host the winner's path is more specific.
    Path,
    /// For the same host and path the winner asks for more.
    Conditions,
    /// The winner asks for as much, and its name sorts first.
    Name,
    /// It is for this host, and for another path.
    OtherPath,
    /// It is for this path, and for another host.
    OtherHost,
}

impl fmt::Display for Loser<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Described(self.table, self.claim).fmt(f)
    }
}

impl Router {
    /// What became of every route that this request could have taken, of which it takes
    /// `winner`, by these facts. Takes as long as there are claims.
    pub fn explain<'r>(&'r self, winner: Option<RouteMatch<'r>>, facts: &Facts<'_>) -> Contest<'r> {
        let table = &self.table;
        let keys = table.keys(facts.host);
        let mut told: HashSet<u32> = winner.iter().map(|winner| winner.claim.route).collect();
        let mut losers = Vec::new();
        for claim in table.contenders(&keys, facts) {
            let why = table.why(claim, winner.as_ref().map(|winner| winner.claim), facts);
            if let (Some(why), true) = (why, told.insert(claim.route)) {
                losers.extend(self.loser(claim, why));
            }
        }
        let mut near = table.near(&keys, facts);
        // A table's order among those that are as near.
        near.sort_by_key(|(shared, ..)| Reverse(*shared));
        let near = near.into_iter().filter(|(_, claim, _)| told.insert(claim.route));
        let near = near.filter_map(|(_, claim, why)| self.loser(claim, why)).collect();
        let hosts = keys.is_empty().then(|| nearest(facts.host, table.names().iter().map(String::as_str)));
        Contest { winner, losers, near, hosts }
    }

    fn loser<'r>(&'r self, claim: &'r Claim, why: Why) -> Option<Loser<'r>> {
        let route = self.routes.get(claim.route as usize)?;
        Some(Loser { route, why, table: &self.table, claim })
    }
}

/// A claim that takes half of the request, and how much it shares with the other
/// half: bytes at the beginning of a path or at the end of a host, and, where that
/// is as much, how little else there is.
type Near<'t> = (Shared, &'t Claim, Why);
type Shared = (usize, Reverse<usize>);

impl Table {
    /// The host patterns that take this host, most specific first.
    fn keys(&self, host: &str) -> Vec<Key> {
        let exact = Some(host).filter(|host| !host.starts_with('.')).and_then(|host| self.host(host));
        exact.into_iter().chain(self.wildcards(host)).chain(self.any_host).collect()
    }

    /// The claims whose host and path take the request, most specific first,
    /// whatever else they ask.
    fn contenders<'t>(&'t self, keys: &[Key], facts: &Facts<'_>) -> Vec<&'t Claim> {
        let segments = Segments::of(facts.path, self.deepest);
        let mut found = Vec::new();
        for key in keys {
            let Some(host) = self.hosts.get(key.number as usize) else { continue };
            let cell = |kind, path: &str| self.first(*key, kind, path);
            let exact = cell(Kind::Exact, facts.path);
            let prefixes = segments.prefixes(facts.path, host.depths);
            let cells = exact.into_iter().chain(prefixes.filter_map(|path| cell(Kind::Prefix, path)));
            found.extend(cells.flat_map(|first| self.cell(first)));
            found.extend(self.range(&host.patterns).iter().filter(|claim| self.is_match(claim, facts.path)));
            found.extend(self.range(&host.any_path));
        }
        found
    }

    /// Why a claim whose host and path take the request does not win it. `None`
    /// of the winner's own route, and where nothing speaks against it.
    fn why(&self, claim: &Claim, winner: Option<&Claim>, facts: &Facts<'_>) -> Option<Why> {
        if !self.holds(claim, facts) {
            return Some(Why::Unmet(self.conditions(claim).unmet(facts)));
        }
        let winner = winner.filter(|winner| winner.route != claim.route)?;
        let rank = |claim: &Claim| self.conditions(claim).rank();
        let less_path = winner.kind != claim.kind || winner.path.len != claim.path.len;
        Some(match () {
            () if winner.host != claim.host => Why::Host,
            () if less_path => Why::Path,
            () if rank(winner) != rank(claim) => Why::Conditions,
            () => Why::Name,
        })
    }

    /// The claims of which only the host or only the path takes the request. Who
    /// asks for no path is near to no request by it.
    fn near<'t>(&'t self, keys: &[Key], facts: &Facts<'_>) -> Vec<Near<'t>> {
        let hosts: HashSet<u32> = keys.iter().map(|key| key.number).collect();
        let segments = Segments::of(facts.path, self.deepest);
        let prefixes: HashSet<&str> = segments.prefixes(facts.path, u32::MAX).collect();
        let takes_path = |claim: &Claim| match claim.kind {
            Kind::Exact => self.text(claim.path) == facts.path,
            Kind::Prefix => prefixes.contains(self.text(claim.path)),
            Kind::Pattern => self.is_match(claim, facts.path),
            Kind::Any => true,
        };
        let claims = self.claims.iter().filter(|claim| claim.kind != Kind::Any);
        let near = claims.filter_map(|claim| match (hosts.contains(&claim.host), takes_path(claim)) {
            (true, false) => Some((self.shares_path(claim, facts.path), claim, Why::OtherPath)),
            (false, true) => Some((self.shares_host(claim, facts.host), claim, Why::OtherHost)),
            _ => None,
        });
        near.collect()
    }

    fn shares_host(&self, claim: &Claim, host: &str) -> Shared {
        let name = self.hosts.get(claim.host as usize).map(|host| self.text(host.name));
        shared(name.unwrap_or_default().bytes().rev(), host.bytes().rev())
    }

    fn shares_path(&self, claim: &Claim, path: &str) -> Shared {
        match claim.kind {
            // Nobody knows how far a path is from a pattern: behind every text.
            Kind::Pattern | Kind::Any => (0, Reverse(usize::MAX)),
            Kind::Exact | Kind::Prefix => shared(self.text(claim.path).bytes(), path.bytes()),
        }
    }

    /// Every host pattern as it is written.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.hosts.iter().map(|host| self.text(host.name)).collect();
        names.sort_unstable_by_key(|name| Reverse(name.len()));
        let written = |name: &str| if name.starts_with('.') { format!("*{name}") } else { name.to_owned() };
        names.into_iter().map(written).collect()
    }
}

fn shared(a: impl Iterator<Item = u8> + Clone, b: impl Iterator<Item = u8> + Clone) -> Shared {
    let common = a.clone().zip(b.clone()).take_while(|(a, b)| a == b).count();
    (common, Reverse(a.count() + b.count()))
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;

    use super::*;
    use crate::route::testing::{Request, router};

    fn explain<'r>(router: &'r Router, request: &Request) -> Contest<'r> {
        router.explain(router.find(&request.facts()), &request.facts())
    }

    fn told(list: &[Loser<'_>]) -> Vec<(String, String, Why)> {
        list.iter().map(|l| (l.route.name.to_string(), l.to_string(), l.why.clone())).collect()
    }

    fn one<'l>(list: &'l [Loser<'_>], name: &str) -> &'l Why {
        &list.iter().find(|loser| &*loser.route.name == name).unwrap_or_else(|| panic!("no {name}")).why
    }

    #[test]
    fn losers_stand_in_order_of_precedence_each_with_its_reason() {
        let route =
            |name: &str, matches| json!({ "name": name, "respond": { "status": 200 }, "match": matches });
        let router = router(json!([
            route("all", json!({})),
            route("deep", json!({ "hosts": ["a.b"], "path": "/x/y" })),
            route("shallow", json!({ "hosts": ["a.b"], "path": "/x" })),
            route("post", json!({ "hosts": ["a.b"], "path": "/x/y", "methods": ["POST"] })),
            route("gold", json!({ "hosts": ["a.b"], "path": "/x/y", "headers": [{ "name": "gold" }] })),
            route("wild", json!({ "hosts": ["*.b"], "path": { "exact": "/x/y/z" } })),
            route("elsewhere", json!({ "hosts": ["c.d"], "path": "/q" })),
        ]));

        let request = Request::get("a.b", "/x/y/z").header("gold", "1");
        let contest = explain(&router, &request);

        assert_eq!(&*contest.winner.unwrap().route.name, "gold");
        let row = |name: &str, by: &str, why| (name.to_owned(), by.to_owned(), why);
        let wanted = [
            row("post", "host a.b, prefix /x/y", Why::Unmet(vec![Unmet::Method([Method::POST].into())])),
            row("deep", "host a.b, prefix /x/y", Why::Conditions),
            row("shallow", "host a.b, prefix /x", Why::Path),
            row("wild", "host *.b, path /x/y/z", Why::Host),
            row("all", "any host, any path", Why::Host),
        ];
        assert_eq!(told(&contest.losers), wanted);
        assert_eq!(told(&contest.near), []);
    }

    #[test]
    fn every_condition_that_fails_is_named() {
        let router = router(json!([{ "name": "a", "respond": { "status": 200 }, "match": {
            "tenants": ["beta"], "methods": ["GET"],
            "headers": [{ "name": "x-canary" }, { "name": "x-tier", "value": "gold" }, { "name": "x-ok" }],
            "query": [{ "name": "v", "pattern": "^[0-9]$" }]
        } }]));
        let request = Request::get("h", "/").method("PUT").query("v=ten").header("x-tier", "silver");

        let request = request.header("x-ok", "");
        let contest = explain(&router, &request);

        let Why::Unmet(unmet) = one(&contest.losers, "a") else { panic!("{contest:?}") };
        let header = |name: &'static str, how: &str| Unmet::Header {
            name: http::HeaderName::from_static(name),
            how: how.to_owned(),
        };
        let wanted = [
            Unmet::Tenant([crate::config::tenant::TenantIndex(1)].into()),
            Unmet::Method([Method::GET, Method::HEAD].into()),
            header("x-canary", "is missing"),
            header("x-tier", "is not `gold`"),
            Unmet::Query { name: "v".into(), how: "does not match `^[0-9]$`".to_owned() },
        ];
        assert_eq!(unmet, &wanted);
    }

    #[test]
    fn where_nothing_matches_the_nearest_are_named() {
        let route = |name: &str, host: &str, path: &str| json!({ "name": name, "respond": { "status": 200 }, "match": { "hosts": [host], "path": path } });
        let router = router(json!([
            route("far", "api.example.com", "/zzz"),
            route("orders", "api.example.com", "/orders"),
            route("billing", "billing.internal", "/ordres"),
            json!({ "name": "root", "respond": { "status": 200 },
                    "match": { "hosts": ["api.example.com"], "path": { "exact": "/" } } }),
        ]));

        let request = Request::get("api.example.com", "/ordres/7");
        let contest = explain(&router, &request);

        assert!(contest.winner.is_none() && contest.losers.is_empty() && contest.hosts.is_none());
        let names: Vec<_> = contest.near.iter().map(|loser| &*loser.route.name).collect();
        assert_eq!(names, ["orders", "root", "far", "billing"]);
        assert_eq!(
            [one(&contest.near, "far"), one(&contest.near, "billing")],
            [&Why::OtherPath, &Why::OtherHost]
        );
        let stranger = Request::get("api.exmaple.com", "/");
        let told = explain(&router, &stranger).hosts;
        assert_eq!(told.as_deref(), Some("write `api.example.com` if you mean that"));
    }

    #[test]
    fn a_route_is_told_of_once() {
        let router = router(json!([
            { "name": "a", "respond": { "status": 200 },
              "match": { "hosts": ["a.b", "*.b"], "paths": ["/x", "/x/y", "/q"], "methods": ["POST"] } },
            { "name": "b", "respond": { "status": 200 }, "match": { "hosts": ["a.b", "*.b"], "paths": ["/x", "/"] } },
        ]));

        let request = Request::get("a.b", "/x/y");
        let contest = explain(&router, &request);

        assert_eq!(contest.winner.unwrap().to_string(), "host a.b, prefix /x");
        let rows = told(&contest.losers);
        assert_eq!((rows.len(), rows[0].1.as_str()), (1, "host a.b, prefix /x/y"), "{rows:?}");
        assert_eq!(told(&contest.near), []);
    }
}
