//! Rules for `routes`.

use super::{At, Rules};
use crate::config::route::{MatchSpec, RedirectSpec, RewriteSpec, RouteSpec};

impl Rules for RouteSpec {
    fn check(&self, at: &mut At<'_>) {
        check_action(self, at);
        check_match(&self.matches, at);
        check_overrides(self, at);
        if let Some(redirect) = &self.redirect {
            check_redirect(redirect, at);
        }
        if let Some(respond) = &self.respond {
            at.range("respond.status", respond.status, 200, 599);
        }
        if let Some(rewrite) = &self.rewrite {
            check_rewrite(rewrite, at);
        }
    }
}

fn check_action(route: &RouteSpec, at: &mut At<'_>) {
    let given = [
        ("to", !route.to.is_empty()),
        ("redirect", route.redirect.is_some()),
        ("respond", route.respond.is_some()),
    ];
    let named = given.iter().filter(|(_, given)| *given).map(|(key, _)| *key).collect::<Vec<_>>();
    match named.as_slice() {
        [_] => {}
        [] if given.iter().all(|(key, _)| at.is_whole(key)) => {
            at.error("name", "the route does nothing; write one of: to, redirect, respond");
        }
        [] => {}
        [.., last] => at.error(last, format!("one route does one thing; keep one of: {}", named.join(", "))),
    }
    if !route.to.is_empty() && route.to.iter().all(|target| target.weight == 0) && at.is_whole("to") {
        at.error("to", "every weight is 0; give at least one upstream a share");
    }
}

fn check_match(matches: &MatchSpec, at: &mut At<'_>) {
    let headers = matches.headers.iter().map(|h| h.value.is_some() && h.pattern.is_some());
    let query = matches.query.iter().map(|q| q.value.is_some() && q.pattern.is_some());
    let both = headers.enumerate().filter(|(_, both)| *both).map(|(i, _)| format!("match.headers[{i}]"));
    let both =
        both.chain(query.enumerate().filter(|(_, both)| *both).map(|(i, _)| format!("match.query[{i}]")));
    for key in both {
        at.error(key, "`value` and `pattern` exclude each other; keep one");
    }
    for (index, parameter) in matches.query.iter().enumerate() {
        if parameter.name.is_empty() {
            at.error(format!("match.query[{index}].name"), "the name is empty; write the parameter's name");
        }
    }
}

fn check_overrides(route: &RouteSpec, at: &mut At<'_>) {
    for (key, given) in [("overrides", !route.overrides.is_empty()), ("sticky", route.sticky.is_some())] {
        if given && route.to.is_empty() && at.is_whole("to") {
            at.error(
                key,
                format!("`{key}` chooses among the upstreams of `to`; write `to`, or remove `{key}`"),
            );
        }
    }
    for (index, rule) in route.overrides.iter().enumerate() {
        let key = format!("overrides[{index}]");
        if rule.header.is_some() == rule.cookie.is_some() && at.is_whole(&key) {
            at.error(key, "write exactly one of: header, cookie");
        }
    }
}

fn check_redirect(redirect: &RedirectSpec, at: &mut At<'_>) {
    if ![301, 302, 303, 307, 308].contains(&redirect.status) {
        let text = format!("`{}` is no redirect; write one of: 301, 302, 303, 307, 308", redirect.status);
        at.error("redirect.status", text);
    }
    if let Some(host) = &redirect.host {
        at.authority("redirect.host", host);
    }
    if let Some(path) = &redirect.path {
        at.path("redirect.path", path);
    }
    let same = redirect.scheme.is_none() && redirect.host.is_none() && redirect.path.is_none();
    if same && at.is_whole("redirect") {
        at.error(
            "redirect",
            "it leads back to where it came from; write at least one of: scheme, host, path",
        );
    }
}

fn check_rewrite(rewrite: &RewriteSpec, at: &mut At<'_>) {
    let given = [
        ("strip_prefix", rewrite.strip_prefix.is_some()),
        ("replace_prefix", rewrite.replace_prefix.is_some()),
        ("pattern", rewrite.pattern.is_some()),
    ];
    let named = given.iter().filter(|(_, given)| *given).map(|(key, _)| *key).collect::<Vec<_>>();
    if named.len() > 1 {
        at.error("rewrite", format!("a path is rewritten in one way; keep one of: {}", named.join(", ")));
    }
    if let Some(prefix) = &rewrite.strip_prefix {
        at.path("rewrite.strip_prefix", prefix);
    }
    if let Some(replace) = &rewrite.replace_prefix {
        at.path("rewrite.replace_prefix.prefix", &replace.prefix);
        at.path("rewrite.replace_prefix.with", &replace.with);
    }
    if let Some(host) = &rewrite.host {
        at.authority("rewrite.host", host);
    }
}
