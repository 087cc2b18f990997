//! Tests the table against what the documentation of `RouteSpec` says, done
//! slowly: of all routes that match, the one with the greatest rank wins, and why
//! the others do not is true.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Unmet, Why,
    testing::{Request, router},
};

type Rank = ((u8, usize), (u8, usize), bool, bool, usize);

fn host_rank(pattern: Option<&str>, host: &str) -> Option<(u8, usize)> {
    match pattern {
        None => Some((0, 0)),
        Some(wild) if wild.starts_with('*') => {
            let suffix = &wild[1..];
            (host.ends_with(suffix) && host.len() > suffix.len()).then_some((1, suffix.len()))
        }
        Some(exact) => (exact == host).then_some((2, 0)),
    }
}

fn path_rank(kind: &str, text: &str, path: &str) -> Option<(u8, usize)> {
    match kind {
        "exact" => (path == text).then_some((3, 0)),
        "prefix" => {
            let bare = text.trim_end_matches('/');
            let rest = path.strip_prefix(bare)?;
            (rest.is_empty() || rest.starts_with('/')).then_some((2, bare.len()))
        }
        "pattern" => regex::Regex::new(text).unwrap().is_match(path).then_some((1, text.len())),
        _ => Some((0, 0)),
    }
}

fn rank(spec: &Spec, host: &str, path: &str, [post, gold, alpha]: [bool; 3]) -> Option<Rank> {
    if (spec.post && !post) || (spec.gold && !gold) || (spec.alpha && !alpha) {
        return None;
    }
    let host = host_rank(spec.host, host)?;
    let path = path_rank(spec.path.0, spec.path.1, path)?;
    Some((host, path, spec.alpha, spec.post, usize::from(spec.gold)))
}

#[derive(Clone, Debug)]
struct Spec {
    host: Option<&'static str>,
    path: (&'static str, &'static str),
    post: bool,
    gold: bool,
    alpha: bool,
}

impl Spec {
    fn json(&self, name: &str) -> Value {
        let mut matches = json!({});
        if let Some(host) = self.host {
            matches["hosts"] = json!([host]);
        }
        if self.path.0 != "none" {
            matches["path"] = json!({ self.path.0: self.path.1 });
        }
        if self.post {
            matches["methods"] = json!(["POST"]);
        }
        if self.gold {
            matches["headers"] = json!([{ "name": "gold" }]);
        }
        if self.alpha {
            matches["tenants"] = json!(["alpha"]);
        }
        json!({ "name": name, "respond": { "status": 200 }, "match": matches })
    }
}

const HOSTS: [&str; 6] = ["a.b.c", "x.b.c", "b.c", "x.y.c", "c", "z"];
const PATTERNS: [Option<&str>; 5] = [None, Some("a.b.c"), Some("*.b.c"), Some("*.c"), Some("c")];
const PATHS: [&str; 8] = ["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/c", "/a/b/"];
const MATCHERS: [(&str, &str); 11] = [
    ("none", ""),
    ("exact", "/a"),
    ("exact", "/a/b"),
    ("exact", "/"),
    ("prefix", "/"),
    ("prefix", "/a"),
    ("prefix", "/a/"),
    ("prefix", "/a/b"),
    ("pattern", "^/a"),
    ("pattern", "b$"),
    ("pattern", "^/[ab/]+$"),
];

fn spec() -> impl Strategy<Value = Spec> {
    let parts =
        (prop::sample::select(&PATTERNS[..]), prop::sample::select(&MATCHERS[..]), any::<[bool; 3]>());
    parts.prop_map(|(host, path, [post, gold, alpha])| Spec { host, path, post, gold, alpha })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_finds_what_the_documentation_says(specs in prop::collection::vec(spec(), 1..14)) {
        let specs = without_doubles(specs);
        let router = router(specs.iter().enumerate().map(|(i, s)| s.json(&name(i))).collect());

        for (host, path) in HOSTS.iter().flat_map(|host| PATHS.iter().map(move |path| (host, path))) {
            for facts in (0..8).map(|n| [n & 1 != 0, n & 2 != 0, n & 4 != 0]) {
                let request = request(host, path, facts);
                let ranked = specs.iter().enumerate().filter_map(|(i, s)| {
                    rank(s, host, path, facts).map(|rank| (rank, std::cmp::Reverse(name(i))))
                });
                let wanted = ranked.max().map(|(_, name)| name.0);

                let found = router.find(&request.facts());
                let found = found.map(|found| &*found.route.name);

                prop_assert_eq!(found, wanted.as_deref(), "{} {} {:?}", host, path, facts);
            }
        }
    }

    #[test]
    fn the_winner_that_is_told_is_the_one_that_is_found_and_every_reason_is_true(
        specs in prop::collection::vec(spec(), 1..14),
        host in prop::sample::select(&HOSTS[..]),
        path in prop::sample::select(&PATHS[..]),
        facts in any::<[bool; 3]>(),
    ) {
        let specs = without_doubles(specs);
        let router = router(specs.iter().enumerate().map(|(i, s)| s.json(&name(i))).collect());
        let request = request(host, path, facts);

        let contest = router.explain(router.find(&request.facts()), &request.facts());

        let number = |name: &str| name[1..].parse::<usize>().unwrap();
        let winner = contest.winner.map(|winner| number(&winner.route.name));
        prop_assert_eq!(winner, router.find(&request.facts()).map(|found| number(&found.route.name)));
        let takes = |i: usize| {
            (host_rank(specs[i].host, host), path_rank(specs[i].path.0, specs[i].path.1, path))
        };
        for loser in &contest.losers {
            let i = number(&loser.route.name);
            let of = |i: usize| (takes(i), (specs[i].alpha, specs[i].post, specs[i].gold), std::cmp::Reverse(name(i)));
            let ((host, path), asks, named) = of(i);
            prop_assert!(host.is_some() && path.is_some());
            let (above, asks_of, name_of) = winner.map(of).unwrap_or(((None, None), asks, named.clone()));
            let is_true = match &loser.why {
                Why::Unmet(unmet) => are_unmet(unmet, &specs[i], facts),
                Why::Host => above.0 > host,
                Why::Path => above.0 == host && above.1 > path,
                Why::Conditions => above == (host, path) && asks_of > asks,
                Why::Name => above == (host, path) && asks_of == asks && name_of > named,
                Why::OtherPath | Why::OtherHost => false,
            };
            prop_assert!(is_true, "{} {:?}", loser, loser.why);
        }
        for loser in &contest.near {
            let (host, path) = takes(number(&loser.route.name));
            let wanted = (loser.why == Why::OtherPath, loser.why == Why::OtherHost);
            prop_assert_eq!((host.is_some(), path.is_some()), wanted, "{} {:?}", loser, loser.why);
        }
        let matched = (0..specs.len()).filter(|i| takes(*i).0.is_some() && takes(*i).1.is_some()).count();
        prop_assert_eq!(contest.losers.len() + usize::from(winner.is_some()), matched);
    }
}

/// Everything that fails of a route, and nothing else.
fn are_unmet(unmet: &[Unmet], spec: &Spec, [post, gold, alpha]: [bool; 3]) -> bool {
    let told = |like: fn(&Unmet) -> bool| unmet.iter().any(like);
    told(|u| matches!(u, Unmet::Tenant(_))) == (spec.alpha && !alpha)
        && told(|u| matches!(u, Unmet::Method(_))) == (spec.post && !post)
        && told(|u| matches!(u, Unmet::Header { .. })) == (spec.gold && !gold)
        && !unmet.is_empty()
}

fn without_doubles(specs: Vec<Spec>) -> Vec<Spec> {
    let mut claims = std::collections::HashSet::new();
    let key =
        |s: &Spec| (s.host, s.path.0, s.path.1.trim_end_matches('/').to_owned(), s.post, s.gold, s.alpha);
    specs.into_iter().filter(|s| claims.insert(key(s))).collect()
}

fn name(i: usize) -> String {
    format!("r{i:02}")
}

fn request(host: &str, path: &str, [post, gold, alpha]: [bool; 3]) -> Request {
    let request = Request::get(host, path).method(if post { "POST" } else { "PUT" });
    let request = if gold { request.header("gold", "1") } else { request };
    if alpha { request.tenant("alpha") } else { request }
}
