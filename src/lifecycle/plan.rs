//! What is different between two snapshots: what a reload does, and what a dry run says
//! that it would do.
//!
//! Pure: both are told by the same value, made from the snapshot that serves and the
//! one that is to. Names keys of entries, never their values: some are secrets.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    config::{Config, Sourced},
    snapshot::Snapshot,
    upstream::{Health, Upstream},
};

/// What becomes of one snapshot with the next.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plan {
    /// What is different, in the order of the configuration; empty when nothing is.
    pub changes: Vec<Change>,
    /// What keeps what it learned.
    pub kept: Kept,
}

/// One thing that is different.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Change {
    /// In which way.
    pub what: What,
    /// As `route`; of a section its name.
    pub kind: String,
    /// What the entry is called; of a section nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Of what changed: in which of its keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

/// In which way something is different.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum What {
    Added,
    Removed,
    Changed,
    /// It forgets what it learned.
    Afresh,
}

/// How much keeps what it learned.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Kept {
    /// Limits, with all that they counted.
    pub limits: usize,
    /// Endpoints, with their health and ejections.
    pub endpoints: usize,
    /// Of these, those that probes say are down.
    pub unhealthy: usize,
    /// Of these, those that are ejected.
    pub ejected: usize,
    /// Keys of signers, with their place in the rotation.
    pub keys: usize,
}

impl Plan {
    /// What is different in `new` from `old`.
    pub fn between(old: &Snapshot, new: &Snapshot, now: Instant) -> Self {
        let mut changes = entries(old.config(), new.config());
        changes.extend(sections(old.config(), new.config()));
        changes.extend(certificates(old, new));
        let (were, are) = (keys(old), keys(new));
        let key = |what| move |name: &String| Change::new(what, "key", name);
        changes.extend(are.difference(&were).map(key(What::Added)));
        changes.extend(were.difference(&are).map(key(What::Removed)));
        let afresh: Vec<_> = new.rate_limits.afresh(&old.rate_limits).collect();
        changes.extend(afresh.iter().map(|limit| Change::new(What::Afresh, "limit", limit)));
        let mut kept = Kept { keys: are.intersection(&were).count(), ..Kept::default() };
        let names: HashSet<&str> = old.rate_limits.iter().map(|limit| &*limit.name).collect();
        let both = new.rate_limits.iter().filter(|limit| names.contains(&*limit.name)).count();
        kept.limits = both.saturating_sub(afresh.len());
        changes.extend(endpoints(old, new, &mut kept, now));
        Self { changes, kept }
    }

    /// Each change in a line of its own.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.changes.iter().map(ToString::to_string)
    }
}

impl Change {
    fn new(what: What, kind: &'static str, name: &str) -> Self {
        Self { what, kind: kind.to_owned(), name: name.to_owned(), keys: Vec::new() }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.what {
            What::Added => "added",
            What::Removed => "removed",
            What::Changed => "changed",
            What::Afresh => "afresh",
        };
        write!(f, "{word}: {}", self.kind)?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        match (self.what, self.kind.as_str()) {
            (What::Afresh, "limit") => f.write_str(" counts from zero"),
            (What::Afresh, _) => f.write_str(" has to pass its health check first"),
            _ if !self.keys.is_empty() => write!(f, " ({})", self.keys.join(", ")),
            _ => Ok(()),
        }
    }
}

fn entries(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    named("tenant", &old.tenants, &new.tenants, |s| s.name.as_str(), &mut changes);
    let (were, are) = (&old.authentication, &new.authentication);
    named("authentication", were, are, |s| s.name.as_str(), &mut changes);
    named("signer", &old.signers, &new.signers, |s| s.name.as_str(), &mut changes);
    named("limit", &old.limits, &new.limits, |s| s.name.as_str(), &mut changes);
    named("upstream", &old.upstreams, &new.upstreams, |s| s.name.as_str(), &mut changes);
    named("route", &old.routes, &new.routes, |s| s.name.as_str(), &mut changes);
    named("listener", &old.listeners, &new.listeners, |s| s.name.as_str(), &mut changes);
    changes
}

fn named<T: PartialEq + Serialize>(
    kind: &'static str,
    old: &[Sourced<T>],
    new: &[Sourced<T>],
    name: impl Fn(&T) -> &str,
    changes: &mut Vec<Change>,
) {
    // Not in order, which costs more than all the rest where there are many: what is
    // different is put in order.
    let mut left: HashMap<&str, &Arc<T>, ahash::RandomState> =
        old.iter().map(|entry| (name(&entry.spec), &entry.spec)).collect();
    let mut found = Vec::new();
    for is in new.iter().map(|entry| &entry.spec) {
        match left.remove(name(is)) {
            None => found.push(Change::new(What::Added, kind, name(is))),
            Some(was) if !Arc::ptr_eq(was, is) && was != is => {
                let keys = differing(&**was, &**is);
                found.push(Change { keys, ..Change::new(What::Changed, kind, name(is)) });
            }
            Some(_) => {}
        }
    }
    found.extend(left.into_keys().map(|gone| Change::new(What::Removed, kind, gone)));
    found.sort_by(|one, other| one.name.cmp(&other.name));
    changes.extend(found);
}

/// The keys in which two values of a kind differ.
fn differing(old: &impl Serialize, new: &impl Serialize) -> Vec<String> {
    let map = |value| match value {
        Ok(Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let (old, new) = (map(serde_json::to_value(old)), map(serde_json::to_value(new)));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    keys.into_iter().filter(|key| old.get(*key) != new.get(*key)).cloned().collect()
}

fn sections(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    section("connections", &old.connections, &new.connections, &mut changes);
    section("requests", &old.requests, &new.requests, &mut changes);
    section("forwarded", &old.forwarded, &new.forwarded, &mut changes);
    section("location", &old.location, &new.location, &mut changes);
    section("discovery", &old.discovery, &new.discovery, &mut changes);
    section("fleet", &old.fleet, &new.fleet, &mut changes);
    section("privatelink", &old.privatelink, &new.privatelink, &mut changes);
    section("tracing", &old.tracing, &new.tracing, &mut changes);
    changes
}

fn section<T: PartialEq + Serialize>(name: &'static str, old: &T, new: &T, changes: &mut Vec<Change>) {
    if old != new {
        changes.push(Change { keys: differing(old, new), ..Change::new(What::Changed, name, "") });
    }
}

/// Certificates of listeners, and terms towards upstreams, that stay where they were
/// named and are others: their files are no part of the configuration.
fn certificates(old: &Snapshot, new: &Snapshot) -> Vec<Change> {
    let shown = |snapshot: &Snapshot| -> BTreeMap<String, [u8; 32]> {
        let each = snapshot.certificates();
        each.map(|(listener, facts)| {
            (format!("{} of listener {listener}", facts.file.display()), facts.fingerprint)
        })
        .collect()
    };
    let terms = |snapshot: &Snapshot| -> HashMap<String, u64> {
        snapshot.upstream_identities().map(|(name, identity)| (name.to_owned(), identity)).collect()
    };
    let (were, are) = (shown(old), shown(new));
    let change = |name: &String, what| Change::new(what, "certificate", name);
    let mut changes: Vec<_> = are
        .iter()
        .filter_map(|(name, is)| match were.get(name) {
            None => Some(change(name, What::Added)),
            Some(was) => (was != is).then(|| change(name, What::Changed)),
        })
        .collect();
    changes.extend(were.keys().filter(|name| !are.contains_key(*name)).map(|n| change(n, What::Removed)));
    let were = terms(old);
    let differs = |(name, is): &(&str, u64)| were.get(*name).is_some_and(|was| was != is);
    let others = new.upstream_identities().filter(differs);
    changes.extend(others.map(|(name, _)| Change::new(What::Changed, "certificates of upstream", name)));
    changes
}

/// Keys of signers: their files are no part of the configuration.
fn keys(snapshot: &Snapshot) -> BTreeSet<String> {
    let keys = snapshot.signing.signers.keys();
    keys.map(|(signer, _, key)| format!("{} of signer {}", key.public.kid, signer.name)).collect()
}

/// Counts the endpoints that stay, and tells of upstreams whose endpoints have to prove
/// themselves because nobody asked them before.
fn endpoints(old: &Snapshot, new: &Snapshot, kept: &mut Kept, now: Instant) -> Vec<Change> {
    let were: HashMap<&str, &Upstream> = old.upstreams.iter().map(|u| (&*u.name, &**u)).collect();
    let mut afresh = Vec::new();
    for upstream in &new.upstreams {
        let Some(was) = were.get(&*upstream.name) else { continue };
        let known: HashSet<SocketAddr> = was.endpoints().iter().map(|e| e.address).collect();
        let stays = || upstream.endpoints().iter().filter(|e| known.contains(&e.address));
        if was.check.is_none() && upstream.check.is_some() && stays().next().is_some() {
            afresh.push(Change::new(What::Afresh, "upstream", &upstream.name));
        }
        for endpoint in stays() {
            kept.endpoints += 1;
            kept.unhealthy += usize::from(endpoint.health() == Health::Unhealthy);
            kept.ejected += usize::from(endpoint.ejected_for(now).is_some());
        }
    }
    afresh
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, lifecycle::frozen::frozen};

    const BEFORE: &str = "listeners: [{ name: web, address: '127.0.0.1:0' }]\n";

    /// Of each key a file that says something else there than [`BEFORE`].
    const AFTER: [(&str, &str); 19] = [
        ("listeners", "listeners: [{ name: web, address: '127.0.0.1:0', proxy_protocol: { mode: off } }]\n"),
        ("readiness", "readiness: { address: '127.0.0.1:1' }"),
        ("admin", "admin: { socket: other.sock }"),
        ("runtime", "runtime: { threads: 1 }"),
        ("connections", "connections: { max: 7 }"),
        ("requests", "requests: { max_header_fields: 7 }"),
        ("forwarded", "forwarded: { trusted: [10.0.0.0/8] }"),
        ("tracing", "tracing: { sampling: { ratio: 50% } }"),
        ("access_log", "access_log: { path: 'off' }"),
        ("location", "location: { zone: use1-az1 }"),
        ("discovery", "discovery: { min_ttl: 7s }"),
        ("fleet", "fleet: { gateways: 7 }"),
        ("tenants", "tenants: [{ name: t, vpc_endpoints: [vpce-0a1b2c3d] }]"),
        ("privatelink", "privatelink: { unknown_endpoint: refuse }"),
        ("authentication", "authentication: [{ name: a, api_keys: { files: [keys.yaml] } }]"),
        ("signers", "signers: [{ name: s, issuer: 'https://s.test', keys: s }]"),
        ("limits", "limits: [{ name: l, rate: 1/s, burst: 1 }]"),
        ("upstreams", "upstreams: [{ name: u, endpoints: [{ address: '127.0.0.1:1' }] }]"),
        ("routes", "routes: [{ name: r, respond: { status: 200 } }]"),
    ];

    fn config(folder: &tempfile::TempDir, text: &str) -> Config {
        let path = folder.path().join("tollgate.yaml");
        std::fs::write(&path, text).unwrap();
        config::load(&path).map_err(|problems| format!("{text}: {problems}")).unwrap().config
    }

    #[test]
    fn whatever_key_says_something_else_it_is_told_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let before = config(&folder, BEFORE);
        let Value::Object(keys) = serde_json::to_value(&before).unwrap() else { panic!() };

        for key in keys.keys() {
            let says = AFTER.iter().find(|(name, _)| name == key);
            let (_, says) =
                says.unwrap_or_else(|| panic!("write in AFTER what says something else at {key}"));
            let text = if key == "listeners" { (*says).to_owned() } else { format!("{BEFORE}{says}\n") };
            let after = config(&folder, &text);

            let told = [entries(&before, &after), sections(&before, &after)].concat();
            assert!(before != after && (!told.is_empty() || frozen(&before, &after).has_errors()), "{key}");
        }
    }
}
