//! From what routes match to the table: each host of a route times each of its
//! paths is a claim.
//!
//! Paths are made canonical here by the same rule as those of requests, and stand in
//! the table as routes see them; one that cannot be is a problem. Does not own the order
//! of claims (`assemble`).

use std::collections::HashMap;

use ahash::RandomState;
use regex::Regex;

use super::{
    assemble::{Hashed, assemble},
    build::Site,
    conditions::Conditions,
    path,
    segments::{DEEPEST, depth},
    table::{ANY_HOST, Claim, Kind, Table},
    text::Text,
};
use crate::config::{
    Problems, Source,
    route::{MatchSpec, PathKindSpec, PathSpec, RouteSpec},
    server::PathsSpec,
    types::{HostPattern, Invalid},
};

/// Claims as they come in, route by route.
pub(super) struct Claims<'a> {
    rules: PathsSpec,
    names: Vec<&'a str>,
    hosts: HashMap<&'a str, u32, RandomState>,
    claims: Vec<Hashed>,
    /// Without claims and indexes yet.
    table: Table,
}

impl<'a> Claims<'a> {
    /// None yet.
    pub(super) fn new(rules: PathsSpec) -> Self {
        Self {
            rules,
            names: Vec::new(),
            hosts: HashMap::default(),
            claims: Vec::new(),
            table: Table::default(),
        }
    }

    /// Adds what the next route claims: nothing if any of it is not usable.
    pub(super) fn add(&mut self, route: &'a RouteSpec, site: &mut Site<'_>) {
        let spec = &route.matches;
        let conditions = Conditions::build(spec, site);
        let paths = self.paths(spec, site.source, site.problems);
        if let (Some(conditions), Some(paths)) = (&conditions, paths) {
            let hosts = self.hosts(spec);
            if self.claims.len() + hosts.len() * paths.len() > MOST_CLAIMS {
                let text = format!("hosts times paths of all routes are more than {MOST_CLAIMS}");
                site.error("match", text);
            } else {
                self.claim(&hosts, &paths, conditions);
            }
        }
        self.names.push(route.name.as_str());
        self.table.conditions.push(conditions.filter(|asked| !asked.is_empty()).map(Box::new));
    }

    fn claim(&mut self, hosts: &[u32], paths: &[(Kind, Text)], conditions: &Conditions) {
        let (route, conditional) = (self.names.len() as u32, !conditions.is_empty());
        for &host in hosts {
            for (spot, &(kind, path)) in paths.iter().enumerate() {
                let spot = spot as u32;
                let claim = Claim { host, route, spot, path, kind, conditional, more: false };
                self.claims.push((self.table.hash_of(&claim), claim));
            }
        }
    }

    /// The numbers of the route's hosts, each once.
    fn hosts(&mut self, spec: &'a MatchSpec) -> Vec<u32> {
        if spec.hosts.is_empty() {
            return vec![self.host(&HostPattern::Any)];
        }
        let mut numbers: Vec<_> = spec.hosts.iter().map(|host| self.host(host)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn host(&mut self, pattern: &'a HostPattern) -> u32 {
        let name = match pattern {
            HostPattern::Exact(name) | HostPattern::Wildcard(name) => name,
            HostPattern::Any => ANY_HOST,
        };
        *self.hosts.entry(name).or_insert_with(|| self.table.add_host(name))
    }

    /// The route's paths in the order of [`spots`]; `None` when any is not usable.
    fn paths(
        &mut self,
        spec: &MatchSpec,
        source: &Source,
        problems: &mut Problems,
    ) -> Option<Vec<(Kind, Text)>> {
        let each = |(spot, path)| {
            let source = || spot_source(spec, source, spot);
            if let Some(pattern) = pattern_of(path)
                && let Err(doubt) = path::check_pattern(pattern.as_str())
            {
                problems.warn(&source(), doubt.to_string());
            }
            let made = self.path(path);
            made.map_err(|why| problems.error(&source(), why.to_string())).ok()
        };
        let paths: Vec<_> = spots(spec).enumerate().map(each).collect();
        if paths.is_empty() {
            return Some(vec![(Kind::Any, Text::default())]);
        }
        paths.into_iter().collect()
    }

    fn path(&mut self, spec: &PathSpec) -> Result<(Kind, Text), Invalid> {
        let (kind, text) = match spec {
            PathSpec::Prefix(text) => (Kind::Prefix, &**text),
            PathSpec::Kind(kind) => match &**kind {
                PathKindSpec::Pattern(pattern) => {
                    return Ok((Kind::Pattern, self.table.add_pattern(pattern.regex())));
                }
                PathKindSpec::Exact(text) => (Kind::Exact, text.as_str()),
                PathKindSpec::Prefix(text) => (Kind::Prefix, text.as_str()),
            },
        };
        let path = path::written(text, self.rules)?;
        if kind == Kind::Exact {
            return Ok((kind, self.table.add_text(&path)));
        }
        let prefix = path.strip_suffix('/').unwrap_or(&path);
        // As it is written: `/%2A` is how a segment `*` is asked for.
        if text.strip_suffix('/').unwrap_or(text).ends_with("/*") {
            let why = format!("`{text}`: a prefix takes everything below it; write it without `/*`");
            return Err(Invalid::new(why));
        }
        if depth(prefix).is_none() {
            let why = format!("`{text}`: a prefix has at most {DEEPEST} segments; write a pattern");
            return Err(Invalid::new(why));
        }
        Ok((kind, self.table.add_text(prefix)))
    }

    /// The table of all routes that were added.
    pub(super) fn into_table(self) -> Table {
        assemble(self.table, self.claims, &self.names)
    }
}

fn pattern_of(spec: &PathSpec) -> Option<&Regex> {
    match spec {
        PathSpec::Kind(kind) => match &**kind {
            PathKindSpec::Pattern(pattern) => Some(pattern.regex()),
            PathKindSpec::Exact(_) | PathKindSpec::Prefix(_) => None,
        },
        PathSpec::Prefix(_) => None,
    }
}

/// Every path of a match, as it is written: `path`, then `paths`.
pub(super) fn spots(spec: &MatchSpec) -> impl Iterator<Item = &PathSpec> {
    spec.path.iter().chain(&spec.paths)
}

/// Where the path with this number in [`spots`] was written; the match itself
/// when it has none. `source` is the route's.
pub(super) fn spot_source(spec: &MatchSpec, source: &Source, spot: usize) -> Source {
    let source = source.key("match");
    match (&spec.path, spec.paths.len()) {
        (Some(_), _) if spot == 0 => source.key("path"),
        (None, 0) => source,
        (path, _) => source.key("paths").entry(spot - usize::from(path.is_some())),
    }
}

/// Beyond it a table is a mistake: a list of hosts times a list of paths.
const MOST_CLAIMS: usize = 4_000_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::route::testing::problems;

    #[test]
    fn a_path_that_cannot_be_is_told_with_what_to_write() {
        let told = problems(json!([{
            "name": "a", "respond": { "status": 200 },
            "match": {
                "path": "/orders\\",
                "paths": [{ "exact": "/a%zz" }, "/x/*", { "prefix": "/a/../.." }, "/a%2Fb", "/fine"]
            }
        }]));

        let wanted = [
            r"routes[0].match.path: `/orders\` is not a path: `\\` has to be written `%5C`",
            "match.paths[0]: `/a%zz` is not a path: a `%` is not followed by two hex digits",
            "match.paths[1]: `/x/*`: a prefix takes everything below it",
            "match.paths[2]: `/a/../..` is not a path: `..` goes above the root",
            "match.paths[3]: `/a%2Fb` is not a path: it holds `%2F`",
        ];
        assert!(wanted.iter().all(|line| told.contains(line)), "{told}");
        assert_eq!(told.lines().count(), wanted.len(), "{told}");
    }

    #[test]
    fn a_path_of_parameters_is_one_that_is_always_refused_and_two_spellings_are_one_path() {
        let route = |name: &str, path: &str| json!({ "name": name, "respond": { "status": 200 }, "match": { "path": { "exact": path } } });

        for path in ["/a;b", "/a%3Bb"] {
            let told = problems(json!([route("a", path)]));
            assert!(
                told.contains("it holds `;` or `%3B` and requests.path_parameters is `reject`"),
                "{told}"
            );
        }
        let twice = problems(json!([route("a", "/users:delete"), route("b", "/users%3adelete")]));
        assert!(twice.contains("path /users:delete"), "{twice}");
        // These go to others, who may want them.
        let out = json!([
            { "name": "a", "redirect": { "path": "/new;v=1" } },
            { "name": "b", "match": { "path": "/b" }, "to": [{ "upstream": "orders" }],
              "rewrite": { "replace_prefix": { "prefix": "/b", "with": "/c;d" } } },
        ]);
        assert_eq!(problems(out), "");
    }

    #[test]
    fn a_pattern_that_waits_for_an_escape_that_is_never_seen_is_told() {
        let told = |pattern: &str| {
            let matches = json!({ "path": { "pattern": pattern } });
            problems(json!([{ "name": "a", "respond": { "status": 200 }, "match": matches }]))
        };

        for (pattern, written) in
            [("^/users%3Adelete$", "`%3A` as `:`"), ("^/a%40b", "`%40` as `@`"), ("%7e", "`%7e` as `~`")]
        {
            assert!(told(pattern).contains(&format!("routes see {written}")), "{}", told(pattern));
        }
        // It matches what it did, and more: nothing that ends a start.
        let class = told("^/[^%40]+$");
        assert!(
            class.contains("warning: t.yaml: routes[0].match.path: ") && !class.contains("error"),
            "{class}"
        );
        assert_eq!(told("^/caf%C3%A9/100%25/[^%]%2F%20%"), "");
    }

    #[test]
    fn a_prefix_may_end_with_a_star_that_is_written_as_its_escape() {
        let told = |prefix: &str| {
            problems(json!([{ "name": "a", "respond": { "status": 200 }, "match": { "path": prefix } }]))
        };

        assert_eq!(told("/files/%2A"), "");
        for prefix in ["/files/*", "/files/*/", "/files//*"] {
            assert!(told(prefix).contains("write it without `/*`"), "{prefix}");
        }
    }

    #[test]
    fn a_prefix_deeper_than_the_table_knows_is_refused() {
        let route = |depth| json!([{ "name": "a", "respond": { "status": 200 }, "match": { "path": "/x".repeat(depth) } }]);

        assert!(problems(route(32)).contains("at most 31 segments"));
        assert_eq!(problems(route(31)), "");
    }

    #[test]
    fn hosts_times_paths_have_a_ceiling() {
        let hosts: Vec<_> = (0..2100).map(|n| format!("h{n}")).collect();
        let paths: Vec<_> = (0..2100).map(|n| format!("/p{n}")).collect();

        let told = problems(json!([{
            "name": "a", "respond": { "status": 200 }, "match": { "hosts": hosts, "paths": paths }
        }]));

        assert!(told.contains("routes[0].match: hosts times paths"), "{told}");
    }
}
