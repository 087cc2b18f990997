//! The certificates and policies of one listener in one snapshot.
//!
//! Owns building them from the configuration, or telling everything that is
//! wrong, and the choice for one ClientHello. Immutable: a renewed certificate
//! is a new table.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use boring::{error::ErrorStack, ssl::SslContext};

use super::{
    authorities::fingerprint,
    context,
    facts::TlsFacts,
    files::Files,
    inventory,
    names::{Names, Slot},
    pair::{KeyKind, Pair},
    policy::{Policies, Policy, PolicyId},
    validity,
};
use crate::config::{
    Problems, Source,
    listener::{Switch, TlsSpec, TlsVersion, UnknownServerName},
};

/// The certificates and policies of one listener in one snapshot; immutable.
pub struct TlsTable {
    certificates: Vec<Certificate>,
    /// What they were made from.
    pairs: Vec<Pair>,
    names: Names,
    /// Who answers when nobody fits; `None` means an alert.
    fallback: Option<Slot>,
    policies: Arc<Policies>,
    /// The lowest version offered.
    pub(super) min_version: TlsVersion,
    /// Whether sessions can be resumed.
    pub(super) tickets: bool,
}

impl TlsTable {
    /// Reads every file that the section names. `source` is the section's place,
    /// `resolve` makes paths of the configuration paths of the file system.
    ///
    /// `None` when anything stops it from being used; then `problems` says what.
    pub fn build(
        spec: &TlsSpec,
        source: &Source,
        resolve: &dyn Fn(&Path) -> PathBuf,
        now: SystemTime,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut found = Problems::default();
        let files = Files { resolve, now };
        let pairs = inventory::load(spec, source, files, &[], &mut found);
        let policies = Policies::build(&spec.client_auth, &source.key("client_auth"), files, &mut found);
        let built = Self::of(spec, pairs, Arc::new(policies), &mut found);
        let failed = found.has_errors();
        problems.extend(found);
        built.filter(|_| !failed)
    }

    /// The files of the same section read again. What cannot be read, or does not fit,
    /// stays what it was, and stands in `problems`: a pair that is being replaced holds
    /// up no other one.
    ///
    /// `None` when what was read cannot be used together; then all stays what it was.
    pub fn renewed(
        &self,
        spec: &TlsSpec,
        source: &Source,
        resolve: &dyn Fn(&Path) -> PathBuf,
        now: SystemTime,
        problems: &mut Problems,
    ) -> Option<Self> {
        let files = Files { resolve, now };
        let pairs = inventory::load(spec, source, files, &self.pairs, problems);
        let mut found = Problems::default();
        let policies = Policies::build(&spec.client_auth, &source.key("client_auth"), files, &mut found);
        let policies = if found.has_errors() { self.policies.clone() } else { Arc::new(policies) };
        problems.extend(found);
        Self::of(spec, pairs, policies, problems)
    }

    fn of(
        spec: &TlsSpec,
        pairs: Vec<Pair>,
        policies: Arc<Policies>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut found = Problems::default();
        let names = inventory::index(&pairs, &mut found);
        let certificates = certificates(&pairs, &policies, &mut found);
        let fallback = (spec.unknown_server_name == UnknownServerName::Default)
            .then(|| default_slot(&names, pairs.first()))
            .flatten();
        let failed = found.has_errors() || pairs.is_empty();
        problems.extend(found);
        (!failed).then_some(Self {
            certificates,
            pairs,
            names,
            fallback,
            policies,
            min_version: spec.min_version,
            tickets: spec.tickets == Switch::On,
        })
    }

    /// Each certificate, in the order of the configuration; the first is the
    /// default.
    pub fn certificates(&self) -> impl Iterator<Item = &CertificateFacts> {
        self.certificates.iter().map(|certificate| &certificate.facts)
    }

    /// The client authentication that rules a host, given without a port.
    pub fn policy(&self, host: &str) -> PolicyId {
        self.policies.of(host).id
    }

    /// Whether a request for a host, given without a port, belongs on a connection, else
    /// 421: what the client showed has not expired, and the connection was made under that host's policy, or the host that it named
    /// has that policy by now and what the client showed satisfies it. So a renewed list
    /// or bundle ends the connections alone that it is about.
    pub fn admits(&self, facts: &TlsFacts, host: &str, now: impl FnOnce() -> SystemTime) -> bool {
        let rule = self.policies.of(host);
        if rule.id == facts.policy {
            return facts.client_certificate.as_ref().is_none_or(|shown| now() < shown.not_after);
        }
        let named = self.policies.of(facts.server_name.as_deref().unwrap_or_default());
        let policy = self.policies.get(rule).filter(|_| named.id == rule.id);
        policy.is_some_and(|policy| facts.satisfy(policy, now()))
    }

    /// Each list of revoked certificates, and when it has to be renewed.
    pub fn revocation_lists(&self) -> impl Iterator<Item = (&Path, SystemTime)> {
        self.policies.iter().filter_map(|policy| policy.trust.as_ref()).flat_map(|trust| trust.renewals())
    }

    /// What answers a client that named `host` and takes ECDSA certificates of
    /// the kinds for which `ecdsa` says so. `None` means an alert.
    pub(super) fn choose(&self, host: Option<&str>, ecdsa: impl Fn(KeyKind) -> bool) -> Option<Choice<'_>> {
        let rule = self.policies.of(host.unwrap_or_default());
        let slot = host.and_then(|host| self.names.find(host)).or(self.fallback)?;
        let at = |index: Option<usize>| self.certificates.get(index?);
        let taken = at(slot.ecdsa).filter(|certificate| ecdsa(certificate.facts.kind));
        let certificate = taken.or_else(|| at(slot.rsa)).or_else(|| at(slot.ecdsa))?;
        let context = certificate.contexts.get(rule.index)?;
        Some(Choice { context, policy: self.policies.get(rule)? })
    }
}

/// What answers a ClientHello.
pub(super) struct Choice<'a> {
    /// Certificate, names of authorities and session group.
    pub context: &'a SslContext,
    /// What is demanded of the client.
    pub policy: &'a Policy,
}

/// What operators want to know of a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFacts {
    /// The chain's file.
    pub file: PathBuf,
    /// The hosts it answers for, lower case, wildcards with their asterisk.
    pub names: Box<[Box<str>]>,
    /// Until when it is valid.
    pub not_after: SystemTime,
    /// What kind of key it has.
    pub kind: KeyKind,
    /// SHA-256 of the leaf: tells a renewed one from what it was.
    pub fingerprint: [u8; 32],
}

struct Certificate {
    facts: CertificateFacts,
    /// One for each policy of the listener, in their order.
    contexts: Vec<SslContext>,
}

impl Certificate {
    fn new(pair: &Pair, policies: &Policies) -> Result<Self, ErrorStack> {
        let names = pair.dns_names();
        let context = |policy: &Policy| context::context(pair, policy, &names);
        let contexts = policies.iter().map(context).collect::<Result<_, ErrorStack>>()?;
        let (file, not_after) = (pair.file.clone(), validity::not_after(&pair.leaf));
        let fingerprint = fingerprint(&pair.leaf).unwrap_or_default();
        let facts = CertificateFacts { file, names: names.into(), not_after, kind: pair.kind, fingerprint };
        Ok(Self { facts, contexts })
    }
}

fn certificates(pairs: &[Pair], policies: &Policies, problems: &mut Problems) -> Vec<Certificate> {
    let mut certificates = Vec::new();
    for pair in pairs {
        match Certificate::new(pair, policies) {
            Ok(certificate) => certificates.push(certificate),
            Err(error) => {
                let text = format!("`{}` cannot be used: {error}", pair.file.display());
                problems.error(&pair.source, text);
            }
        }
    }
    certificates
}

/// The first certificate, with the one of the other kind for the same name.
fn default_slot(names: &Names, first: Option<&Pair>) -> Option<Slot> {
    let pair = first?;
    let alone = || match pair.kind {
        KeyKind::Rsa => Slot { ecdsa: None, rsa: Some(0) },
        _ => Slot { ecdsa: Some(0), rsa: None },
    };
    let name = pair.dns_names().into_iter().next();
    Some(name.and_then(|name| names.slot(&name)).unwrap_or_else(alone))
}
