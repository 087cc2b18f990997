//! What limits and routes say of other entries, signers and authentication too, that have
//! to be there.
//!
//! Upstreams and tenants of routes are the router's to find.

use std::collections::{HashMap, HashSet};

use super::{
    Config, Problems, Source, Sourced,
    authentication::{ANONYMOUS, AuthenticateSpec},
    fault::nearest,
    limit::{KeyPartSpec, LimitSpec},
    route::RouteSpec,
    types::Name,
};

/// Tells of limits that routes name and nobody wrote, of tenants that limits exempt
/// and routes that they have a cost for and nobody wrote, and of what limits cannot
/// do yet. Where one of the list is broken itself, a name may be its own: then nothing
/// is said.
pub(super) fn limits(config: &Config, problems: &mut Problems) {
    let names: HashSet<&Name> = config.limits.iter().map(|limit| &limit.spec.name).collect();
    let tenants: HashSet<&Name> = config.tenants.iter().map(|tenant| &tenant.spec.name).collect();
    let (limits_broken, tenants_broken) =
        (problems.has_errors_in("limits"), problems.has_errors_in("tenants"));
    let routes_broken = problems.has_errors_in("routes");

    let limited = config.routes.iter().filter(|route| !limits_broken && !route.spec.limits.is_empty());
    for route in limited {
        unknown(&route.spec.limits, &names, &route.source.key("limits"), "limit", problems);
    }
    let costs = config.limits.iter().any(|limit| !limit.spec.costs.is_empty());
    let routes = config.routes.iter().filter(|_| costs);
    let by_name = routes.map(|route| (&route.spec.name, &*route.spec)).collect();
    for limit in &config.limits {
        if !tenants_broken {
            let source = limit.source.key("exempt").key("tenants");
            unknown(&limit.spec.exempt.tenants, &tenants, &source, "tenant", problems);
        }
        if !routes_broken {
            check_costs(limit, &by_name, problems);
        }
        if config.authentication.is_empty() {
            check_consumer(&limit.spec, &limit.source, problems);
        }
    }
}

/// Tells of routes with a cost that are not there, or do not know of the limit.
fn check_costs(limit: &Sourced<LimitSpec>, routes: &HashMap<&Name, &RouteSpec>, problems: &mut Problems) {
    let costs = limit.spec.costs.iter().enumerate();
    let named = costs.flat_map(|(index, cost)| {
        let source = limit.source.key("costs").entry(index).key("routes");
        cost.routes.iter().enumerate().map(move |(nth, name)| (name, source.entry(nth)))
    });
    for (name, source) in named {
        let Some(route) = routes.get(name) else {
            let text = format!("there is no route `{name}`; write one of `routes`, or add it");
            problems.error(&source, text);
            continue;
        };
        if !limit.spec.global && !route.limits.contains(&limit.spec.name) {
            let text = format!(
                "the limit does not hold for route `{name}`, so that this is never taken; write `limits: [{}]` there, or `global: true`",
                limit.spec.name
            );
            problems.warn(&source, text);
        }
    }
}

/// Tells of signers that routes name and nobody wrote, and of routes that have nothing
/// to sign. Where one of the signers is broken itself, a name may be its own.
pub(super) fn signers(config: &Config, problems: &mut Problems) {
    let names: HashSet<&Name> = config.signers.iter().map(|signer| &signer.spec.name).collect();
    let broken = problems.iter().any(|problem| problem.source.key.starts_with("signers"));
    for route in &config.routes {
        if route.spec.jwks && names.is_empty() && !broken {
            let text = "nobody signs, and there are no keys to tell; write `signers`, or remove the route";
            problems.error(&route.source.key("jwks"), text);
        }
        let Some(name) = &route.spec.sign else { continue };
        let source = route.source.key("sign");
        if !broken && !names.contains(name) {
            problems.error(&source, none("signer", name, &names, "signers"));
        }
        if route.spec.redirect.is_some() || route.spec.respond.is_some() || route.spec.jwks {
            problems.error(&source, "the gateway answers itself, and nobody gets a token; remove the key");
        }
    }
}

/// Tells of authentication that routes name and nobody wrote, and of routes that say
/// nothing where there is some: that anybody gets in is a choice that is written.
pub(super) fn authentication(config: &Config, problems: &mut Problems) {
    let names: HashSet<&Name> = config.authentication.iter().map(|entry| &entry.spec.name).collect();
    let broken = problems.has_errors_in("authentication");
    if !problems.has_errors_in("tenants") {
        certificate_tenants(config, problems);
    }
    for route in &config.routes {
        match route.spec.authenticate.as_deref() {
            None if names.is_empty() || broken => check_anonymous(route, problems),
            // Told already.
            None if problems.has_errors_at(&route.source.key("authenticate")) => {}
            None => {
                let text = "nothing says who has to vouch for callers; write `authenticate: anonymous` to let everybody in, or names of `authentication`";
                problems.error(&route.source, text);
            }
            Some(AuthenticateSpec::Word(_)) => check_anonymous(route, problems),
            Some(written) => check_authenticate(written, &route.source, &names, broken, problems),
        }
    }
}

/// Tells of rules about who was authenticated on a route where nobody is.
fn check_anonymous(route: &Sourced<RouteSpec>, problems: &mut Problems) {
    for (key, callers) in [("allow", &route.spec.allow), ("deny", &route.spec.deny)] {
        let Some(callers) = callers else { continue };
        let parts = [
            ("authenticators", callers.authenticators.is_empty()),
            ("consumers", callers.consumers.is_empty()),
            ("claims", callers.claims.is_empty()),
            ("scopes", callers.scopes.is_empty()),
        ];
        for (part, _) in parts.iter().filter(|(_, is_empty)| !is_empty) {
            let follows = if key == "allow" { "nobody would get in" } else { "this would refuse nobody" };
            let text = format!(
                "nobody vouches for callers of this route, and {follows}; write `authenticate` with names of `authentication`"
            );
            problems.error(&route.source.key(key).key(part), text);
        }
    }
}

/// Tells of tenants that certificates are of and nobody wrote.
fn certificate_tenants(config: &Config, problems: &mut Problems) {
    let known: HashSet<&Name> = config.tenants.iter().map(|tenant| &tenant.spec.name).collect();
    for entry in &config.authentication {
        let source = entry.source.key("client_certificate").key("consumers");
        let consumers = entry.spec.client_certificate.iter().flat_map(|spec| &spec.consumers);
        for (at, name) in consumers.enumerate().filter_map(|(at, one)| Some((at, one.tenant.as_ref()?))) {
            if !known.contains(name) {
                let text = format!("there is no tenant `{name}`; write one of `tenants`, or add it");
                problems.error(&source.entry(at).key("tenant"), text);
            }
        }
    }
}

fn check_authenticate(
    written: &AuthenticateSpec,
    route: &Source,
    known: &HashSet<&Name>,
    broken: bool,
    problems: &mut Problems,
) {
    let source = route.key("authenticate");
    let (key, names) = written.names();
    let list = if key.is_empty() { source.clone() } else { source.key(key) };
    let is_word = matches!(written, AuthenticateSpec::Word(_));
    if !is_word && names.iter().all(|name| name.as_str() == ANONYMOUS) {
        problems
            .error(&list, "nobody is named; write names of `authentication`, or the word `anonymous` alone");
    }
    for (index, name) in names.iter().enumerate() {
        let source = list.entry(index);
        if name.as_str() == ANONYMOUS {
            if written.needs_all() {
                problems.error(
                    &source,
                    "everyone has to vouch, and `anonymous` is nobody; take it out, or write `any`",
                );
            }
        } else if !broken && !known.contains(name) {
            problems.error(&source, none("authentication", name, known, "authentication"));
        }
        if names.iter().take(index).any(|other| other == name) {
            problems.error(&source, format!("`{name}` stands here already; write it once"));
        }
    }
}

/// That nothing is called so, with the name that was probably meant.
fn none(kind: &str, name: &Name, known: &HashSet<&Name>, section: &str) -> String {
    let mut known: Vec<_> = known.iter().map(|name| name.as_str()).collect();
    known.sort_unstable();
    match nearest(name.as_str(), &known) {
        Some(meant) => format!("there is no {kind} `{name}`; did you mean `{meant}`?"),
        None => format!("there is no {kind} `{name}`; write one of `{section}`, or add it"),
    }
}

fn unknown(named: &[Name], known: &HashSet<&Name>, source: &Source, kind: &str, problems: &mut Problems) {
    for (index, name) in named.iter().enumerate() {
        let source = source.entry(index);
        if !known.contains(name) {
            problems.error(&source, none(kind, name, known, &format!("{kind}s")));
        } else if named.iter().take(index).any(|other| other == name) {
            problems.error(&source, format!("`{name}` stands here already; write it once"));
        }
    }
}

fn check_consumer(limit: &LimitSpec, source: &Source, problems: &mut Problems) {
    let is_late = |part: &KeyPartSpec| matches!(part, KeyPartSpec::Consumer | KeyPartSpec::Claim(_));
    if let Some(index) = limit.key.iter().position(is_late) {
        let text = "nobody is authenticated: every request lacks this part, and `missing` says what becomes of it; write `authentication`";
        problems.warn(&source.key("key").entry(index), text);
    }
}
