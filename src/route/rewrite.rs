//! How path and host of a request change on the way upstream.
//!
//! Owns that a rewritten path is canonical again. Does not own the query, which
//! always stays.

use std::borrow::Cow;

use http::HeaderValue;
use regex::Regex;

use super::{
    authority::authority,
    build::Site,
    claims::spots,
    path::{self, PathError},
    template,
};
use crate::config::{
    route::{MatchSpec, PathKindSpec, PathSpec, ReplacePatternSpec, RewriteSpec},
    types::Invalid,
};

/// Changes of path and host.
#[derive(Debug)]
pub struct Rewrite {
    path: Option<PathRewrite>,
    /// The `Host` that the upstream gets; `None` is the client's.
    pub host: Option<HeaderValue>,
}

#[derive(Debug)]
enum PathRewrite {
    /// Both without slash at the end: the root is empty. The first as routes see paths.
    Prefix {
        from: Box<str>,
        to: Box<str>,
    },
    Pattern {
        from: Box<Regex>,
        to: Box<str>,
    },
}

impl Rewrite {
    /// The path that the upstream gets for this canonical path. Canonical
    /// again; borrowed where possible. A prefix or pattern that the path, as routes see
    /// it, does not have changes nothing: a path that a route takes is rewritten by it
    /// in each of its spellings. What follows a prefix goes on as it came; a pattern
    /// sends what it sees.
    ///
    /// # Errors
    /// When a pattern, with what it captured, does not make a path: above all
    /// when it makes a `..`. The request has to be refused: neither the old
    /// path nor a resolved one is what was checked.
    pub fn path<'p>(&self, path: &'p str) -> Result<Cow<'p, str>, PathError> {
        match &self.path {
            None => Ok(Cow::Borrowed(path)),
            Some(PathRewrite::Prefix { from, to }) => Ok(replace_prefix(path, from, to)),
            Some(PathRewrite::Pattern { from, to }) => match replace_pattern(path, from, to) {
                None => Ok(Cow::Borrowed(path)),
                Some(made) => canonical_again(made).map(Cow::Owned),
            },
        }
    }

    /// `None` when any of it is not usable.
    pub(super) fn build(spec: &RewriteSpec, matches: &MatchSpec, site: &mut Site<'_>) -> Option<Self> {
        let path = path_rewrite(spec, site);
        if let Some(Some(PathRewrite::Prefix { from, .. })) = &path {
            warn_if_no_path_has(from, matches, site);
        }
        let host = spec.host.as_deref().map(authority).transpose();
        let host = host.map_err(|why| site.error("rewrite.host", why.to_string())).ok()?;
        let host = host.map(HeaderValue::try_from).transpose().ok()?;
        Some(Self { path: path?, host })
    }
}

fn replace_prefix<'p>(path: &'p str, from: &str, to: &str) -> Cow<'p, str> {
    let rest = path::strip_prefix(path, from).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    match rest {
        None => Cow::Borrowed(path),
        Some("") if to.is_empty() => Cow::Borrowed("/"),
        Some(rest) if to.is_empty() => Cow::Borrowed(rest),
        Some(rest) => Cow::Owned([to, rest].concat()),
    }
}

// Of the path as it came, what is captured would depend on how the client spelled it.
fn replace_pattern(path: &str, from: &Regex, to: &str) -> Option<String> {
    match from.replace_all(&path::matched(path), to) {
        Cow::Borrowed(_) => None,
        Cow::Owned(made) => Some(made),
    }
}

fn canonical_again(mut made: String) -> Result<String, PathError> {
    if !made.starts_with('/') {
        made.insert(0, '/');
    }
    path::canonical_without_dots(made.as_bytes()).map(Cow::into_owned)
}

/// The one way in which the path changes, if any; `None` when it is not usable.
fn path_rewrite(spec: &RewriteSpec, site: &mut Site<'_>) -> Option<Option<PathRewrite>> {
    let strip =
        spec.strip_prefix.as_ref().map(|from| prefix_rewrite((from, "strip_prefix"), ("/", ""), site));
    let replace = spec.replace_prefix.as_ref().map(|replace| {
        prefix_rewrite(
            (&replace.prefix, "replace_prefix.prefix"),
            (&replace.with, "replace_prefix.with"),
            site,
        )
    });
    let pattern = spec.pattern.as_ref().map(|pattern| pattern_rewrite(pattern, site));
    let mut given = [strip, replace, pattern].into_iter().flatten();
    let first = given.next();
    if given.next().is_some() {
        site.error(
            "rewrite",
            "`strip_prefix`, `replace_prefix` and `pattern` exclude each other; keep one of them",
        );
        return None;
    }
    first.map_or(Some(None), |rewrite| rewrite.map(Some))
}

/// From one prefix to another; each with its key below `rewrite`.
fn prefix_rewrite(from: (&str, &str), to: (&str, &str), site: &mut Site<'_>) -> Option<PathRewrite> {
    let rules = site.defaults.paths;
    let mut prefix = |path: Result<Cow<'_, str>, Invalid>, key: &str| match path {
        Ok(path) => Some(Box::from(path.strip_suffix('/').unwrap_or(&path))),
        Err(why) => {
            site.error(&format!("rewrite.{key}"), why.to_string());
            None
        }
    };
    let from = prefix(path::written(from.0, rules), from.1);
    let to = prefix(path::sent(to.0, rules), to.1);
    Some(PathRewrite::Prefix { from: from?, to: to? })
}

fn pattern_rewrite(spec: &ReplacePatternSpec, site: &mut Site<'_>) -> Option<PathRewrite> {
    let regex = spec.matches.regex();
    if let Err(doubt) = path::check_pattern(regex.as_str()) {
        site.warn("rewrite.pattern.match", doubt.to_string());
    }
    match template::check(&spec.with, regex) {
        Ok(()) => Some(PathRewrite::Pattern { from: Box::new(regex.clone()), to: spec.with.as_str().into() }),
        Err(why) => {
            site.error("rewrite.pattern.with", why.to_string());
            None
        }
    }
}

/// A prefix that none of the route's paths can have is a slip.
fn warn_if_no_path_has(from: &str, matches: &MatchSpec, site: &mut Site<'_>) {
    let within = |path: &str, prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let bare = |text: &str| path::matched(text.strip_suffix('/').unwrap_or(text)).into_owned();
    let meets = |path: &str| within(&bare(path), from) || within(from, &bare(path));
    let can_have = |path: &PathSpec| match path {
        PathSpec::Prefix(path) => meets(path),
        PathSpec::Kind(kind) => match &**kind {
            PathKindSpec::Pattern(_) => true,
            PathKindSpec::Exact(path) => within(&path::matched(path), from),
            PathKindSpec::Prefix(path) => meets(path),
        },
    };
    let mut paths = spots(matches).peekable();
    if paths.peek().is_some() && !paths.any(can_have) {
        site.warn(
            "rewrite",
            format!("no path of this route has the prefix `{from}`, so that nothing changes"),
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::route::{
        Router,
        testing::{Request, problems, router},
    };

    fn routes(rewrite: &Value) -> Value {
        json!([{ "name": "a", "to": [{ "upstream": "orders" }], "rewrite": rewrite }])
    }

    fn rewritten(rewrite: Value, path: &str) -> Result<String, PathError> {
        let router: Router = router(routes(&rewrite));
        let route = router.find(&Request::get("h", "/").facts()).unwrap().route;
        route.rewrite.as_ref().unwrap().path(path).map(Cow::into_owned)
    }

    #[track_caller]
    fn becomes(rewrite: &Value, cases: &[(&str, &str)]) {
        for (path, wanted) in cases {
            assert_eq!(rewritten(rewrite.clone(), path).as_deref(), Ok(*wanted), "{path}");
        }
    }

    #[test]
    fn a_prefix_goes_in_whole_segments() {
        let strip = json!({ "strip_prefix": "/orders/" });

        becomes(
            &strip,
            &[("/orders/7", "/7"), ("/orders", "/"), ("/orders/", "/"), ("/orders-old/7", "/orders-old/7")],
        );
        becomes(&json!({ "strip_prefix": "/" }), &[("/a/", "/a/"), ("/", "/")]);
    }

    #[test]
    fn another_prefix_takes_its_place() {
        let replace = json!({ "replace_prefix": { "prefix": "/a", "with": "/b/c" } });

        becomes(&replace, &[("/a/x/", "/b/c/x/"), ("/a", "/b/c"), ("/a/", "/b/c/"), ("/ab", "/ab")]);
        becomes(
            &json!({ "replace_prefix": { "prefix": "/a", "with": "/" } }),
            &[("/a/x", "/x"), ("/a", "/")],
        );
        becomes(
            &json!({ "replace_prefix": { "prefix": "/", "with": "/b" } }),
            &[("/x", "/b/x"), ("/", "/b/")],
        );
    }

    #[test]
    fn what_a_pattern_matches_is_replaced() {
        let version =
            json!({ "pattern": { "match": "^/v([0-9]+)/(?P<rest>.*)$", "with": "/api/${1}x/${rest}" } });

        becomes(&version, &[("/v2/users/7", "/api/2x/users/7"), ("/v2/", "/api/2x/"), ("/other", "/other")]);
        becomes(&json!({ "pattern": { "match": "^/", "with": "" } }), &[("/x/y", "/x/y"), ("/", "/")]);
        becomes(&json!({ "pattern": { "match": "/a", "with": "/" } }), &[("/a/a/b", "/b")]);
    }

    #[test]
    fn a_pattern_takes_each_spelling_of_a_path_for_one_and_sends_what_it_sees() {
        let action = json!({ "pattern": { "match": r"^/users/([^/:]+)(:(\w+))?", "with": "/svc/$1/$3" } });
        let mail = json!({ "pattern": { "match": "^/mail/([^/@]+)$", "with": "/box/$1" } });

        becomes(&action, &[("/users/7:delete", "/svc/7/delete"), ("/users/7%3Adelete", "/svc/7/delete")]);
        becomes(&json!({ "pattern": { "match": "^/a", "with": "/b" } }), &[("/a/x%2Cy%20", "/b/x,y%20")]);
        // What does not match goes on as it came.
        becomes(&mail, &[("/mail/a%40b", "/mail/a%40b"), ("/mail/a@b", "/mail/a@b")]);
    }

    #[test]
    fn a_pattern_that_waits_for_an_escape_that_is_never_seen_is_pointed_out() {
        let told = problems(routes(&json!({ "pattern": { "match": "^/a%40(.*)", "with": "/$1" } })));

        assert!(told.contains("warning: t.yaml: routes[0].rewrite.pattern.match: "), "{told}");
        assert!(told.contains("routes see `%40` as `@`"), "{told}");
    }

    #[test]
    fn captures_make_no_dot_segments() {
        let cut = json!({ "pattern": { "match": "^/a/x(.*)$", "with": "/v1/$1" } });

        assert_eq!(rewritten(cut.clone(), "/a/x../admin"), Err(PathError::DotSegment));
        assert_eq!(rewritten(cut.clone(), "/a/x..;/admin"), Err(PathError::DotParameter));
        assert_eq!(rewritten(cut, "/a/xy").as_deref(), Ok("/v1/y"));
        let halved = json!({ "pattern": { "match": "^/a%(.*)$", "with": "/$1" } });
        assert_eq!(rewritten(halved, "/a%C3%A9"), Err(PathError::NotUtf8));
    }

    #[test]
    fn the_host_changes_if_asked() {
        let router = router(routes(&json!({ "host": "Orders.internal:8080" })));

        let rewrite = router.routes().next().unwrap().rewrite.as_ref().unwrap();

        assert_eq!(rewrite.host.as_ref().unwrap(), "orders.internal:8080");
        assert!(matches!(rewrite.path("/a"), Ok(Cow::Borrowed("/a"))));
    }

    #[test]
    fn everything_wrong_with_a_rewrite_is_told() {
        let told = |rewrite: Value| problems(routes(&rewrite));
        let pattern = |with: &str| told(json!({ "pattern": { "match": "^/(a)(?P<b>.)", "with": with } }));

        assert!(told(json!({ "strip_prefix": "a" })).contains("rewrite.strip_prefix: `a` is not a path"));
        assert!(
            told(json!({ "replace_prefix": { "prefix": "/a", "with": "/b?c" } }))
                .contains("replace_prefix.with: `/b?c`")
        );
        assert!(
            told(json!({ "strip_prefix": "/a", "pattern": { "match": "a", "with": "b" } }))
                .contains("exclude each other")
        );
        assert!(told(json!({ "host": "a b" })).contains("rewrite.host: `a b` is not one host"));
        assert!(pattern("/$3").contains("rewrite.pattern.with: there is no capture `3`"));
        assert!(pattern("/$1a").contains("if you mean capture 1 and then `a`, write `${1}a`"));
        assert!(pattern("/${c}").contains("there is no capture `c`"));
        assert!(pattern("/x/../$1").contains("does not make a path"));
        assert!(pattern("/x?y=$1").contains("`?` begins the query"));
        assert_eq!(pattern("/$$/$1/${b}/$b/$0"), "");
    }

    #[test]
    fn a_prefix_that_no_path_of_the_route_has_is_pointed_out() {
        let told = |strip: &str, paths: Value| {
            problems(json!([{
                "name": "a", "to": [{ "upstream": "orders" }],
                "match": { "paths": paths }, "rewrite": { "strip_prefix": strip }
            }]))
        };

        assert!(
            told("/order", json!(["/orders/"]))
                .contains("warning: t.yaml: routes[0].rewrite: no path of this route")
        );
        for fine in [
            json!(["/orders/"]),
            json!(["/x", { "exact": "/orders/a" }]),
            json!(["/"]),
            json!([{ "pattern": "x" }]),
            json!([]),
        ] {
            assert_eq!(told("/orders", fine), "");
        }
    }
}
