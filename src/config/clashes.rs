//! What two entries both claim: a name, an address or a VPC endpoint.
//!
//! Hosts and paths that two routes claim are the router's to find.

use std::{collections::HashMap, net::SocketAddr};

use super::{
    Config, Problem, Problems, Severity, Source, Sourced,
    files::Text,
    positions::Lines,
    tenant::TenantSpec,
    types::{Address, Name},
};

/// Tells of listeners, tenants, authentication, signers, limits, upstreams and routes with a name that another
/// has, in whichever file.
pub(super) fn names(config: &Config, texts: &[Text], problems: &mut Problems) {
    let listeners = twice(config.listeners.iter().map(|l| (&l.spec.name, &l.source)), "a listener");
    let tenants = twice(config.tenants.iter().map(|t| (&t.spec.name, &t.source)), "a tenant");
    let authentication =
        twice(config.authentication.iter().map(|a| (&a.spec.name, &a.source)), "an authentication");
    let signers = twice(config.signers.iter().map(|s| (&s.spec.name, &s.source)), "a signer");
    let limits = twice(config.limits.iter().map(|l| (&l.spec.name, &l.source)), "a limit");
    let upstreams = twice(config.upstreams.iter().map(|u| (&u.spec.name, &u.source)), "an upstream");
    let routes = twice(config.routes.iter().map(|r| (&r.spec.name, &r.source)), "a route");
    let clashes = [listeners, tenants, authentication, signers, limits, upstreams, routes].concat();

    let lines = Lines::find(texts, clashes.iter().map(|clash| clash.first));
    for Clash { kind, name, first, second } in clashes {
        let other = place(&lines, first);
        let text = format!("`{name}` is already the name of {kind}, in {other}; write another name");
        problems.add(Problem { severity: Severity::Error, source: second.key("name"), line: None, text });
    }
}

#[derive(Clone)]
struct Clash<'a> {
    kind: &'static str,
    name: &'a Name,
    first: &'a Source,
    second: &'a Source,
}

fn twice<'a>(
    named: impl ExactSizeIterator<Item = (&'a Name, &'a Source)>,
    kind: &'static str,
) -> Vec<Clash<'a>> {
    let mut seen = HashMap::with_capacity_and_hasher(named.len(), ahash::RandomState::new());
    let mut clashes = Vec::new();
    for (name, source) in named {
        let first = *seen.entry(name).or_insert(source);
        if first != source {
            clashes.push(Clash { kind, name, first, second: source });
        }
    }
    clashes
}

/// Tells of VPC endpoints that two tenants have, or one has twice.
pub(super) fn vpc_endpoints(config: &Config, texts: &[Text], problems: &mut Problems) {
    let of = |tenant: &Sourced<TenantSpec>| {
        let source = tenant.source.key("vpc_endpoints");
        let ids = tenant.spec.vpc_endpoints.clone().into_iter().enumerate();
        ids.map(move |(index, id)| (id, source.entry(index))).collect::<Vec<_>>()
    };
    let mut seen = HashMap::new();
    let mut clashes = Vec::new();
    for tenant in &config.tenants {
        for (id, source) in of(tenant) {
            match seen.get(&id) {
                Some((owner, first)) => clashes.push((id, *owner, Source::clone(first), source)),
                None => drop(seen.insert(id, (&tenant.spec.name, source))),
            }
        }
    }

    let lines = Lines::find(texts, clashes.iter().map(|(_, _, first, _)| first));
    for (id, owner, first, second) in clashes {
        let other = place(&lines, &first);
        let text = format!("`{id}` is of tenant `{owner}` already, in {other}; write it once");
        problems.error(&second, text);
    }
}

fn place(lines: &Lines, source: &Source) -> String {
    let line = lines.line(source).map(|line| format!(":{line}")).unwrap_or_default();
    format!("{}{line}: {}", source.file.display(), source.key)
}

/// Tells of addresses that two of the gateway's own sockets would take.
pub(super) fn addresses(config: &Config, problems: &mut Problems) {
    let listeners = config.listeners.iter().map(|l| (l.spec.address, l.source.key("address")));
    let readiness = config.readiness.iter().map(|r| (r.address, config.main.key("readiness").key("address")));
    let metrics = config.admin.metrics.iter().map(|m| (*m, config.main.key("admin").key("metrics")));
    let all: Vec<(Address, Source)> = listeners.chain(readiness).chain(metrics).collect();

    for (index, (address, source)) in all.iter().enumerate() {
        let before = all.iter().take(index);
        let taken = before.into_iter().find(|(other, _)| overlap(other.socket(), address.socket()));
        if let Some((other, first)) = taken {
            let text = format!("`{address}` is taken by {}, which is `{other}`; write another", first.key);
            problems.error(source, text);
        }
    }
}

/// Whether the kernel would refuse the second. Port 0 takes any free one.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let any = a.ip().is_unspecified() || b.ip().is_unspecified();
    let same = a.ip() == b.ip() || (any && a.is_ipv4() == b.is_ipv4());
    a.port() == b.port() && a.port() != 0 && same
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_overlaps_with_itself_and_with_any_of_its_family() {
        let overlaps = |a: &str, b: &str| overlap(a.parse().unwrap(), b.parse().unwrap());

        assert!(overlaps("127.0.0.1:80", "127.0.0.1:80"));
        assert!(overlaps("0.0.0.0:80", "127.0.0.1:80"));
        assert!(overlaps("[::1]:80", "[::]:80"));
        assert!(!overlaps("0.0.0.0:80", "[::1]:80"));
        assert!(!overlaps("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!overlaps("127.0.0.1:0", "127.0.0.1:0"));
    }
}
