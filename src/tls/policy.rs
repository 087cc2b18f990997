//! Which hosts ask clients for a certificate, and of whom.
//!
//! Owns the choice by host and the identity of a policy. A policy is the same
//! wherever mode, authorities, names and what is revoked are the same: across entries,
//! listeners, reloads and processes. What follows from it for sessions is `context`'s.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::Arc,
};

use ahash::AHashMap;
use boring::{sha::Sha256, ssl::SslVerifyMode};

use super::{files::Files, names::canonical, trust::Trust};
use crate::config::{
    Problems, Source,
    listener::{ClientAuthMode, ClientAuthSpec},
    types::HostPattern,
};

/// Identifies what a host demands of clients: equal ids, equal demands. A
/// connection made under one id may carry requests for hosts of that id alone.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PolicyId([u8; 16]);

impl PolicyId {
    /// Clients are not asked for a certificate.
    pub const OPEN: Self = Self([0; 16]);

    fn new(verify: SslVerifyMode, trust: &Trust) -> Self {
        let mut hash = Sha256::new();
        let demands = verify.contains(SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        hash.update(if demands { b"required" } else { b"optional" });
        hash.update(&trust.digest());
        let mut id = [0; 16];
        id.iter_mut().zip(hash.finish()).for_each(|(to, from)| *to = from);
        Self(id)
    }

    /// The id as bytes, to hash on.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What some hosts demand of clients.
pub(super) struct Policy {
    /// Its identity.
    pub id: PolicyId,
    /// What BoringSSL does about it.
    pub verify: SslVerifyMode,
    /// Which certificates are accepted; `None` when nobody is asked.
    pub trust: Option<Arc<Trust>>,
}

impl Policy {
    fn open() -> Self {
        Self { id: PolicyId::OPEN, verify: SslVerifyMode::NONE, trust: None }
    }

    fn load(
        spec: &ClientAuthSpec,
        files: Files<'_>,
        source: &Source,
        problems: &mut Problems,
    ) -> Option<Self> {
        let verify = match spec.mode {
            ClientAuthMode::Off => return Some(Self::open()),
            ClientAuthMode::Optional => SslVerifyMode::PEER,
            ClientAuthMode::Required => SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
        };
        let trust = Trust::load(spec, files, source, problems)?;
        Some(Self { id: PolicyId::new(verify, &trust), verify, trust: Some(Arc::new(trust)) })
    }

    /// Whether there is no connection without a client certificate.
    pub fn is_demanding(&self) -> bool {
        self.verify.contains(SslVerifyMode::FAIL_IF_NO_PEER_CERT)
    }
}

/// Which policy rules a host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Rule {
    /// Its place in [`Policies::iter`].
    pub index: usize,
    /// Its identity.
    pub id: PolicyId,
}

/// The policies of a listener. The first is the one of hosts that no entry names.
pub(super) struct Policies {
    list: Vec<Policy>,
    exact: AHashMap<Box<str>, Rule>,
    /// By suffix, which begins with its dot; covers any number of labels, as
    /// host patterns of routes do.
    wildcard: AHashMap<Box<str>, Rule>,
    any: Rule,
}

impl Policies {
    /// Reads every entry of `client_auth`; entries with problems are left out.
    pub fn build(
        specs: &[ClientAuthSpec],
        source: &Source,
        files: Files<'_>,
        problems: &mut Problems,
    ) -> Self {
        let any = Rule { index: 0, id: PolicyId::OPEN };
        let mut policies =
            Self { list: vec![Policy::open()], exact: AHashMap::new(), wildcard: AHashMap::new(), any };
        let mut claimed = HashMap::new();
        for (at, spec) in specs.iter().enumerate() {
            let source = source.entry(at);
            claim(&mut claimed, &spec.hosts, &source.key("hosts"), problems);
            let Some(policy) = Policy::load(spec, files, &source, problems) else { continue };
            let rule = policies.add(policy);
            spec.hosts.iter().for_each(|host| policies.rule(host, rule));
        }
        policies
    }

    /// Each policy, in the order of indices.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.list.iter()
    }

    /// The policy of a rule.
    pub fn get(&self, rule: Rule) -> Option<&Policy> {
        self.list.get(rule.index)
    }

    /// What rules a host: its exact name before the longest suffix before `*`.
    pub fn of(&self, host: &str) -> Rule {
        let host = canonical(host);
        let exact = self.exact.get(&*host).copied();
        exact.or_else(|| self.longest_suffix(&host)).unwrap_or(self.any)
    }

    fn longest_suffix(&self, host: &str) -> Option<Rule> {
        if self.wildcard.is_empty() {
            return None;
        }
        let suffixes = host.match_indices('.').filter_map(|(at, _)| host.get(at..));
        suffixes.filter_map(|suffix| self.wildcard.get(suffix)).next().copied()
    }

    fn add(&mut self, policy: Policy) -> Rule {
        let id = policy.id;
        let same = self.list.iter().position(|there| there.id == id);
        let index = same.unwrap_or_else(|| {
            self.list.push(policy);
            self.list.len() - 1
        });
        Rule { index, id }
    }

    fn rule(&mut self, host: &HostPattern, rule: Rule) {
        match host {
            HostPattern::Exact(host) => drop(self.exact.insert(host.as_str().into(), rule)),
            HostPattern::Wildcard(suffix) => drop(self.wildcard.insert(suffix.as_str().into(), rule)),
            HostPattern::Any => self.any = rule,
        }
    }
}

/// Tells of hosts that two entries claim, and of an entry that claims none.
fn claim<'a>(
    claimed: &mut HashMap<&'a HostPattern, Source>,
    hosts: &'a [HostPattern],
    source: &Source,
    problems: &mut Problems,
) {
    if hosts.is_empty() {
        problems.error(source, "no host; write hosts, or leave the key out for every host");
    }
    for (at, host) in hosts.iter().enumerate() {
        let source = source.entry(at);
        match claimed.entry(host) {
            Entry::Vacant(free) => drop(free.insert(source)),
            Entry::Occupied(there) => {
                problems.error(&source, format!("`{host}` is at {} too; keep one", there.get().key));
            }
        }
    }
}
