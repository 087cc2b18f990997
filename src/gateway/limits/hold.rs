//! Whether a limit holds for a request, and per what: where a key's parts are in it.
//!
//! Always holds: the same parts are the same key, on every gateway where the limit is a
//! lease. What goes into a hash is bytes that no version writes in another way.

use std::{hash::Hasher, net::IpAddr};

use serde_json::Value;

use super::Request;
use crate::{
    gateway::balance_key::cookie,
    identity::ClientKey,
    limit::{Counts, KeyHash, KeyHasher, KeyPart, Limit, Missing},
};

/// Whether a limit holds for a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hold {
    /// It does, and counts it under this key.
    For(KeyHash),
    /// It does not: who asks is exempt.
    Exempt,
    /// It does not: the request lacks a part of the key.
    NoKey,
    /// It refuses the request, which lacks a part of the key.
    Denied,
}

impl Request<'_> {
    /// Whether this limit holds for it, and per what.
    pub fn hold(&self, limit: &Limit) -> Hold {
        let facts = self.facts;
        if limit.exempts(facts.client, facts.vpc_endpoint.is_some(), facts.tenant) {
            return Hold::Exempt;
        }
        // Keys of a lease are the same on every gateway.
        match &limit.counts {
            Counts::Leased(lease, _) => self.hash(limit, lease.fleet().seeds().hasher()),
            Counts::Rate(..) | Counts::Concurrency(..) => self.hash(limit, self.limits.seeds.hasher()),
        }
    }

    fn hash(&self, limit: &Limit, mut hasher: KeyHasher<impl Hasher>) -> Hold {
        for part in &limit.key.parts {
            if self.add(part, &mut hasher).is_some() {
                continue;
            }
            match limit.key.missing {
                Missing::Allow => return Hold::NoKey,
                Missing::Deny => return Hold::Denied,
                Missing::Share => hasher.missing(),
            }
        }
        Hold::For(hasher.finish())
    }

    /// Adds a part of a key; `None` when the request has none.
    fn add(&self, part: &KeyPart, hasher: &mut KeyHasher<impl Hasher>) -> Option<()> {
        let facts = self.facts;
        match part {
            KeyPart::ClientAddress => client(ClientKey::new(facts.vpc_endpoint, facts.client), hasher),
            KeyPart::Tenant => hasher.part(self.snapshot.tenants.name(facts.tenant?)?.as_bytes()),
            KeyPart::Consumer => {
                let consumer = facts.consumer?;
                // By name: gateways that count together may know it by another number.
                hasher.part(self.snapshot.authentication.get(consumer.vouched)?.name.as_bytes());
                hasher.part(consumer.name.as_bytes());
            }
            KeyPart::Claim(name) => match name.find(facts.consumer?.claims?)? {
                Value::String(text) => hasher.part(text.as_bytes()),
                // As JSON: it is no text that looks like it.
                other => {
                    hasher.number(1);
                    hasher.part(other.to_string().as_bytes());
                }
            },
            KeyPart::Header(name) => {
                let lines = facts.headers.get_all(name);
                lines.iter().next()?;
                hasher.number(lines.iter().count() as u64);
                lines.iter().for_each(|line| hasher.part(line.as_bytes()));
            }
            KeyPart::Cookie(name) => hasher.part(cookie(facts.headers, name)?),
            KeyPart::Query(name) => hasher.part(parameter(facts.query?, name)?.as_bytes()),
            KeyPart::Route => hasher.part(self.found.route.name.as_bytes()),
            KeyPart::Method => hasher.part(facts.method.as_str().as_bytes()),
            KeyPart::PathTemplate => {
                let (kind, text) = self.found.template();
                hasher.number(kind.into());
                hasher.part(text.as_bytes());
            }
        }
        Some(())
    }
}

fn client(client: ClientKey<'_>, hasher: &mut KeyHasher<impl Hasher>) {
    let (vpc_endpoint, network) = client.parts();
    match vpc_endpoint {
        Some(endpoint) => hasher.part(endpoint.as_bytes()),
        None => hasher.missing(),
    }
    match network {
        IpAddr::V4(v4) => hasher.part(&v4.octets()),
        IpAddr::V6(v6) => hasher.part(&v6.octets()),
    }
}

/// The first parameter of this name, as it was sent.
pub(super) fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| {
        let (own, value) = pair.split_once('=').unwrap_or((pair, ""));
        (own == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_the_first_of_its_name_as_it_was_sent() {
        let of = |query| parameter(query, "key");

        assert_eq!(of("a=1&key=%41&key=2"), Some("%41"));
        assert_eq!((of("key"), of("key="), of("key=a=b")), (Some(""), Some(""), Some("a=b")));
        assert_eq!((of(""), of("keys=1"), of("a=key")), (None, None, None));
    }
}
