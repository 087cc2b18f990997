//! Callers by who they are, as `allow` and `deny` name them.
//!
//! Owns which parts of what is written hold for a request. Does not own what follows
//! from that: `access` says it.

use ipnet::IpNet;

use super::{Caller, Facts, build::Site};
use crate::config::{
    authentication::AuthenticatorIndex,
    route::{CallersSpec, ClaimMatchSpec},
    tenant::TenantIndex,
    types::{ClaimName, claim_says},
};

/// Callers by who they are. A part that is empty was not written.
#[derive(Debug, Default)]
pub struct Callers {
    networks: Box<[IpNet]>,
    tenants: Box<[TenantIndex]>,
    authenticators: Box<[AuthenticatorIndex]>,
    consumers: Box<[Box<str>]>,
    claims: Box<[(ClaimName, Box<[String]>)]>,
    scopes: Box<[Box<str>]>,
}

/// A part of who callers are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// Where they are.
    Networks,
    /// Whose they are.
    Tenants,
    /// Who vouched for them.
    Authenticators,
    /// What they are called.
    Consumers,
    /// What their token says of them.
    Claims,
    /// What they may do.
    Scopes,
}

impl Part {
    /// Every one, in the order in which they are looked at.
    pub const ALL: [Self; 6] =
        [Self::Networks, Self::Tenants, Self::Authenticators, Self::Consumers, Self::Claims, Self::Scopes];

    /// Whether it is known only of who was authenticated.
    pub fn needs_consumer(self) -> bool {
        !matches!(self, Self::Networks | Self::Tenants)
    }

    /// The key.
    pub fn word(self) -> &'static str {
        match self {
            Self::Networks => "networks",
            Self::Tenants => "tenants",
            Self::Authenticators => "authenticators",
            Self::Consumers => "consumers",
            Self::Claims => "claims",
            Self::Scopes => "scopes",
        }
    }
}

impl Callers {
    /// `None` when they cannot be as written at `key`; the site hears why.
    pub(super) fn build(spec: &CallersSpec, key: &str, site: &mut Site<'_>) -> Option<Self> {
        if *spec == CallersSpec::default() {
            // With `allow` everyone would be refused, and who forgot to fill it in
            // meant everyone.
            site.error(key, "nobody is named; write at least one of its keys, as `tenants`, or remove it");
            return None;
        }
        let tenants = site.tenants(&spec.tenants, &format!("{key}.tenants"));
        let authenticators = site.authenticators(&spec.authenticators, &format!("{key}.authenticators"));
        let texts = |texts: &[String]| texts.iter().map(|text| text.as_str().into()).collect();
        let claim = |claim: &ClaimMatchSpec| (claim.name.clone(), claim.any.clone().into());
        Some(Self {
            networks: spec.networks.clone().into(),
            tenants: tenants?,
            authenticators: authenticators?,
            consumers: texts(&spec.consumers),
            claims: spec.claims.iter().map(claim).collect(),
            scopes: texts(&spec.scopes),
        })
    }

    /// The tenants that are named.
    pub fn tenants(&self) -> &[TenantIndex] {
        &self.tenants
    }

    /// Those who vouch that are named.
    pub fn authenticators(&self) -> &[AuthenticatorIndex] {
        &self.authenticators
    }

    /// What is named beside tenants and who vouches, as `consumer alice`.
    pub fn others(&self) -> impl Iterator<Item = String> {
        let networks = self.networks.iter().map(|network| format!("network {network}"));
        let consumers = self.consumers.iter().map(|name| format!("consumer {name}"));
        let claims = self.claims.iter().map(|(name, any)| match any.is_empty() {
            true => format!("claim {name}"),
            false => format!("claim {name} {}", any.join("|")),
        });
        let scopes = self.scopes.iter().map(|scope| format!("scope {scope}"));
        networks.chain(consumers).chain(claims).chain(scopes)
    }

    /// The parts that are written.
    pub fn written(&self) -> impl Iterator<Item = Part> {
        Part::ALL.into_iter().filter(|part| match part {
            Part::Networks => !self.networks.is_empty(),
            Part::Tenants => !self.tenants.is_empty(),
            Part::Authenticators => !self.authenticators.is_empty(),
            Part::Consumers => !self.consumers.is_empty(),
            Part::Claims => !self.claims.is_empty(),
            Part::Scopes => !self.scopes.is_empty(),
        })
    }

    /// Whether a part holds as `allow` means it: any of the networks, tenants,
    /// authenticators and consumers; all of the claims and scopes.
    pub(super) fn hold_all(&self, part: Part, facts: &Facts<'_>) -> bool {
        match part {
            Part::Claims => self.claims.iter().all(|claim| is_said(claim, facts.consumer)),
            Part::Scopes => self.scopes.iter().all(|scope| has_scope(scope, facts.consumer)),
            other => self.hold_any(other, facts),
        }
    }

    /// Whether a part holds as `deny` means it: anything of it.
    pub(super) fn hold_any(&self, part: Part, facts: &Facts<'_>) -> bool {
        let consumer = facts.consumer;
        match part {
            Part::Networks => {
                // 10.0.0.5 behind an endpoint is not 10.0.0.5 here.
                facts.vpc_endpoint.is_none()
                    && self.networks.iter().any(|network| network.contains(&facts.client))
            }
            Part::Tenants => facts.tenant.is_some_and(|tenant| self.tenants.contains(&tenant)),
            Part::Authenticators => {
                consumer.is_some_and(|consumer| self.authenticators.contains(&consumer.vouched))
            }
            Part::Consumers => consumer.is_some_and(|consumer| is_one_of(&self.consumers, consumer.name)),
            Part::Claims => self.claims.iter().any(|claim| is_said(claim, consumer)),
            Part::Scopes => self.scopes.iter().any(|scope| has_scope(scope, consumer)),
        }
    }
}

/// Whether a name is in a list.
pub(super) fn is_one_of(names: &[Box<str>], name: &str) -> bool {
    names.iter().any(|one| **one == *name)
}

fn is_said((name, any): &(ClaimName, Box<[String]>), consumer: Option<Caller<'_>>) -> bool {
    let claim = consumer.and_then(|consumer| name.find(consumer.claims?));
    claim.is_some_and(|claim| any.is_empty() || any.iter().any(|text| claim_says(claim, text)))
}

fn has_scope(scope: &str, consumer: Option<Caller<'_>>) -> bool {
    consumer.is_some_and(|consumer| consumer.scopes.split(' ').any(|own| own == scope))
}
