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
            let Some(conditions) = self.conditions(claim) else { continue };
            let group = alike.entry(conditions.tests()).or_default();
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
        let (Some(first), Some(second)) = (self.conditions(earlier), self.conditions(later)) else {
            return false;
        };
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
            let conditions = self.conditions(above).zip(self.conditions(claim));
            above.route != claim.route && conditions.is_some_and(|(above, own)| above.cover(own))
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

    fn conditions(&self, claim: &Claim) -> Option<&'a Conditions> {
        self.table.conditions.get(claim.route as usize)
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
mod tests {
    use serde_json::{Value, json};

    use crate::route::testing::problems;

    fn route(name: &str, matches: Value) -> Value {
        json!({ "name": name, "respond": { "status": 200 }, "match": matches })
    }

    fn told(matches: &[Value]) -> String {
        let names = ["a", "b", "c", "d"];
        let routes: Vec<_> = names.iter().zip(matches).map(|(name, m)| route(name, m.clone())).collect();
        problems(routes.into())
    }

    #[test]
    fn a_name_given_twice_names_both_places() {
        let told =
            problems(json!([route("a", json!({ "path": "/1" })), route("a", json!({ "path": "/2" }))]));

        assert_eq!(
            told,
            "error: t.yaml: routes[1].name: `a` is also the name of t.yaml: routes[0]; rename one\n"
        );
    }

    #[test]
    fn the_same_claim_twice_names_both_places() {
        let told = told(&[
            json!({ "hosts": ["x.y", "API.a.b"], "paths": ["/q", "/o"] }),
            json!({ "hosts": ["api.a.b"], "path": { "prefix": "/o/" } }),
        ]);

        let wanted = "error: t.yaml: routes[1].match: host api.a.b, prefix /o: route `a` (t.yaml: routes[0]) claims the same";
        assert!(told.starts_with(wanted), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }

    #[test]
    fn every_kind_of_claim_can_be_made_twice() {
        let get = json!({ "methods": ["GET", "POST"], "headers": [{ "name": "x" }], "query": [{ "name": "q", "value": "1" }] });
        let got = json!({ "methods": ["POST", "GET", "HEAD"], "headers": [{ "name": "X" }], "query": [{ "name": "q", "value": "1" }] });

        for path in
            [json!({ "exact": "/x" }), json!({ "prefix": "/x" }), json!({ "pattern": "^/x" }), Value::Null]
        {
            let with = |matches: &Value| {
                let mut matches = matches.clone();
                matches["path"] = path.clone();
                matches
            };

            assert!(told(&[with(&get), with(&got)]).contains("claims the same"), "{path}");
            assert_eq!(told(&[with(&get), with(&json!({}))]), "", "{path}");
            assert_eq!(told(&[with(&get), with(&json!({ "methods": ["GET"] }))]), "", "{path}");
        }
    }

    #[test]
    fn different_hosts_kinds_and_tests_are_no_conflict() {
        assert_eq!(
            told(&[json!({ "hosts": ["a.b"], "path": "/x" }), json!({ "hosts": ["*.b"], "path": "/x" })]),
            ""
        );
        assert_eq!(told(&[json!({ "path": { "exact": "/x" } }), json!({ "path": "/x" })]), "");
        assert_eq!(
            told(&[
                json!({ "headers": [{ "name": "x" }] }),
                json!({ "headers": [{ "name": "x", "value": "1" }] })
            ]),
            ""
        );
        assert_eq!(told(&[json!({ "methods": ["PUT"] }), json!({ "methods": ["POST"] })]), "");
        assert_eq!(told(&[json!({ "paths": ["/x", "/x/"] })]), "");
    }

    #[test]
    fn a_method_that_only_names_decide_is_pointed_out() {
        let both = told(&[json!({ "methods": ["GET", "PUT"] }), json!({ "methods": ["POST", "GET"] })]);
        let narrower_first = told(&[json!({ "methods": ["GET"] }), json!({ "methods": ["POST", "GET"] })]);
        let own_head = told(&[json!({ "methods": ["HEAD"] }), json!({ "methods": ["GET"] })]);

        assert!(
            both.starts_with("warning: t.yaml: routes[1].match: any host, any path: route `a`"),
            "{both}"
        );
        assert!(both.contains("takes GET too"), "{both}");
        assert!(narrower_first.contains("takes GET too"), "{narrower_first}");
        assert_eq!(own_head, "");
    }

    #[test]
    fn tenants_tell_routes_apart_and_only_a_shared_one_is_pointed_out() {
        let tenants = |tenants: Value, methods: Value| json!({ "tenants": tenants, "methods": methods });
        let (none, alpha, both) = (json!([]), json!(["alpha"]), json!(["beta", "alpha"]));

        assert_eq!(told(&[tenants(alpha.clone(), none.clone()), tenants(json!(["beta"]), none.clone())]), "");
        assert_eq!(told(&[tenants(alpha.clone(), none.clone()), json!({})]), "");
        assert_eq!(told(&[tenants(alpha.clone(), none.clone()), json!({ "methods": ["GET"] })]), "");
        assert_eq!(told(&[tenants(both.clone(), json!(["GET"])), tenants(alpha.clone(), none.clone())]), "");
        let twice =
            told(&[tenants(both.clone(), none.clone()), tenants(json!(["alpha", "beta"]), none.clone())]);
        assert!(twice.contains("claims the same; change one, or let tenants,"), "{twice}");
        let shared = told(&[tenants(alpha.clone(), none.clone()), tenants(both.clone(), none.clone())]);
        assert!(shared.starts_with("warning: ") && shared.contains("takes tenant `alpha` too"), "{shared}");
        let method = told(&[tenants(alpha.clone(), json!(["GET"])), tenants(both, json!(["PUT", "GET"]))]);
        assert!(method.contains("takes GET of tenant `alpha` too"), "{method}");
        let never = told(&[tenants(json!(["alpha", "beta"]), none.clone()), tenants(alpha, none)]);
        assert!(never.contains("routes[1].match: it never matches: route `a`"), "{never}");
    }

    #[test]
    fn fewer_methods_under_a_later_name_never_match() {
        let told = told(&[json!({ "methods": ["GET", "PUT"] }), json!({ "methods": ["HEAD", "GET"] })]);

        let wanted = "warning: t.yaml: routes[1].match: it never matches: route `a` (t.yaml: routes[0]) takes all of it first";
        assert!(told.starts_with(wanted), "{told}");
    }

    #[test]
    fn a_pattern_behind_an_exact_path_or_a_prefix_never_matches() {
        let pattern = |pattern: &str| json!({ "path": { "pattern": pattern } });
        let exact = json!({ "path": { "exact": "/x" } });
        let prefix = json!({ "path": "/orders" });

        for (above, below, by) in [
            (&exact, pattern("^/x$"), "path /x"),
            (&prefix, pattern("^/orders/[0-9]+$"), "prefix /orders"),
            (&prefix, pattern("^/orders$"), "prefix /orders"),
            (&prefix, json!({ "path": { "pattern": "^/orders/a" }, "methods": ["GET"] }), "prefix /orders"),
            (&json!({ "path": "/" }), pattern("x"), "prefix /"),
            (&json!({ "path": "/" }), json!({}), "prefix /"),
        ] {
            let told = told(&[above.clone(), below]);
            assert!(
                told.contains("it never matches: route `a` (t.yaml: routes[0]) takes all of it first"),
                "{told}"
            );
            assert!(told.contains(&format!("by any host, {by}\n")), "{told}");
        }
    }

    #[test]
    fn a_pattern_that_can_match_is_not_reported() {
        let pattern = |pattern: &str| json!({ "path": { "pattern": pattern } });
        let prefix = json!({ "path": "/orders" });

        for (above, below) in [
            (&prefix, pattern("^/orders")),
            (&prefix, pattern("^/orders-old/")),
            (&prefix, pattern("^/orders/|^/x")),
            (&prefix, pattern("/orders/")),
            (&json!({ "path": { "exact": "/x" } }), pattern("^/x")),
            (&json!({ "path": "/orders", "methods": ["GET"] }), pattern("^/orders/")),
            (&json!({ "path": "/orders", "hosts": ["a.b"] }), pattern("^/orders/")),
            (&json!({ "path": { "exact": "/" } }), json!({})),
        ] {
            assert_eq!(told(&[above.clone(), below]), "");
        }
    }

    #[test]
    fn a_path_is_reported_when_it_never_wins_under_any_of_its_hosts() {
        let above = |hosts: Value| json!({ "path": "/", "hosts": hosts });
        let below = json!({ "hosts": ["a.b", "c.d"], "paths": ["/x", { "pattern": "^/y" }] });

        let half = told(&[above(json!(["a.b"])), below.clone()]);
        let all = told(&[above(json!(["a.b", "c.d"])), below]);

        assert_eq!(half, "");
        assert!(all.starts_with("warning: t.yaml: routes[1].match.paths[1]: it never matches"), "{all}");
    }
}
