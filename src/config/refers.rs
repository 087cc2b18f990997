//! What limits and routes say of other entries, signers too, that have to be there.
//!
//! Upstreams and tenants of routes are the router's to find.

use std::{collections::HashSet, fmt::Display};

use super::{
    Config, Problems, Source,
    limit::{KeyPartSpec, LimitSpec, ScopeSpec},
    types::Name,
};

/// Tells of limits that routes name and nobody wrote, of tenants that limits exempt
/// and nobody wrote, and of what limits cannot do yet. Where one of the list is broken
/// itself, a name may be its own: then nothing is said.
pub(super) fn limits(config: &Config, problems: &mut Problems) {
    let names: HashSet<&Name> = config.limits.iter().map(|limit| &limit.spec.name).collect();
    let tenants: HashSet<&Name> = config.tenants.iter().map(|tenant| &tenant.spec.name).collect();
    let broken = |section: &str| problems.iter().any(|problem| problem.source.key.starts_with(section));
    let (limits_broken, tenants_broken) = (broken("limits"), broken("tenants"));

    let routes = config.routes.iter().map(|route| (&route.spec.limits, route.source.key("limits")));
    for (named, source) in routes.filter(|_| !limits_broken) {
        unknown(named, &names, &source, "limit", problems);
    }
    for limit in &config.limits {
        if !tenants_broken {
            let source = limit.source.key("exempt").key("tenants");
            unknown(&limit.spec.exempt.tenants, &tenants, &source, "tenant", problems);
        }
        check_scope(&limit.spec, &limit.source, problems);
        check_consumer(&limit.spec, &limit.source, problems);
    }
}

/// Tells of signers that routes name and nobody wrote, and of routes that have nothing
/// to sign. Where one of the signers is broken itself, a name may be its own.
pub(super) fn signers(config: &Config, problems: &mut Problems) {
    let names: HashSet<&Name> = config.signers.iter().map(|signer| &signer.spec.name).collect();
    let broken = problems.iter().any(|problem| problem.source.key.starts_with("signers"));
    for route in &config.routes {
        let Some(name) = &route.spec.sign else { continue };
        let source = route.source.key("sign");
        if !broken && !names.contains(name) {
            problems
                .error(&source, format!("there is no signer `{name}`; write one of `signers`, or add it"));
        }
        if route.spec.redirect.is_some() || route.spec.respond.is_some() {
            problems.error(&source, "the gateway answers itself, and nobody gets a token; remove the key");
        }
    }
}

fn unknown(
    named: &[Name],
    known: &HashSet<&Name>,
    source: &Source,
    kind: impl Display,
    problems: &mut Problems,
) {
    for (index, name) in named.iter().enumerate() {
        let source = source.entry(index);
        if !known.contains(name) {
            problems
                .error(&source, format!("there is no {kind} `{name}`; write one of `{kind}s`, or add it"));
        } else if named.iter().take(index).any(|other| other == name) {
            problems.error(&source, format!("`{name}` stands here already; write it once"));
        }
    }
}

fn check_scope(limit: &LimitSpec, source: &Source, problems: &mut Problems) {
    if limit.scope == ScopeSpec::Fleet {
        let text =
            "gateways do not count together yet; write `instance`, and this gateway's share of the rate";
        problems.error(&source.key("scope"), text);
    }
}

fn check_consumer(limit: &LimitSpec, source: &Source, problems: &mut Problems) {
    if let Some(index) = limit.key.iter().position(|part| *part == KeyPartSpec::Consumer) {
        let text = "nobody is authenticated yet: every request lacks this part, and `missing` says what becomes of it";
        problems.warn(&source.key("key").entry(index), text);
    }
}
