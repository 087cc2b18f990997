//! Who was authenticated, and what a way of authentication says of a request.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::config::{authentication::AuthenticatorIndex, tenant::TenantIndex};

/// Who was authenticated. Cheap to clone.
///
/// A name is one of its authenticator's: `alice` of one issuer is not `alice` of
/// another, and what counts consumers counts them together with their authenticator.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    /// Who vouched.
    pub vouched: AuthenticatorIndex,
    /// What rules, limits, logs and claims call it. Never empty.
    pub name: Arc<str>,
    /// What it may do, with one space between (RFC 6749, 3.3); may be empty.
    pub scopes: Arc<str>,
    /// What was said of it: the claims of its token.
    pub claims: Option<Arc<Map<String, Value>>>,
    /// Whose it is.
    pub tenant: Option<TenantIndex>,
    /// Limits of its own, by their place.
    pub limits: Option<Arc<[usize]>>,
}

impl Consumer {
    /// Of this name, with nothing else known.
    pub fn new(vouched: AuthenticatorIndex, name: Arc<str>) -> Self {
        Self { vouched, name, scopes: Arc::default(), claims: None, tenant: None, limits: None }
    }

    /// Takes from another, who was authenticated for the same request, what is not
    /// known of this one.
    pub(crate) fn learn(&mut self, other: Self) {
        if self.scopes.is_empty() {
            self.scopes = other.scopes;
        }
        self.claims = self.claims.take().or(other.claims);
        self.tenant = self.tenant.or(other.tenant);
        self.limits = self.limits.take().or(other.limits);
    }
}

/// What a way of authentication says of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// Nothing was presented to it.
    Nothing,
    /// In its place something was presented that others gave out: a token of another
    /// issuer, a token where keys are.
    Foreign,
    /// What was presented is good.
    Vouched(Consumer),
    /// What was presented is not good.
    Refused(Flaw),
    /// It has to fetch a key first; asked again after that, it does not say so again.
    Unsettled,
}

/// Why what was presented is not good. The client does not hear it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Flaw {
    /// It was presented more than once, or is nothing that was ever given out.
    Malformed,
    /// Nobody gave it out: no such API key, no such key of an issuer.
    Unknown,
    /// Its signature is not one of its key.
    Signature,
    /// Its algorithm is not accepted.
    Algorithm,
    /// It expired.
    Expired,
    /// It does not count yet.
    NotYetValid,
    /// Somebody else made it.
    Issuer,
    /// It is for somebody else.
    Audience,
    /// A claim that has to be there is not, or is another.
    Claim,
    /// A scope that has to be there is not.
    Scope,
    /// It was taken back.
    Revoked,
    /// It names nobody that is accepted here.
    Name,
    /// It is of one tenant, and came through another's VPC endpoint.
    Tenant,
    /// It is bound to a certificate that the client did not show.
    Binding,
    /// Nobody can tell: keys to verify it with were never had, or are too old.
    Unavailable,
}

impl Flaw {
    /// Every one.
    pub const ALL: [Self; 15] = [
        Self::Malformed,
        Self::Unknown,
        Self::Signature,
        Self::Algorithm,
        Self::Expired,
        Self::NotYetValid,
        Self::Issuer,
        Self::Audience,
        Self::Claim,
        Self::Scope,
        Self::Revoked,
        Self::Name,
        Self::Tenant,
        Self::Binding,
        Self::Unavailable,
    ];

    /// The word for log and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Signature => "signature",
            Self::Algorithm => "algorithm",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Claim => "claim",
            Self::Scope => "scope",
            Self::Revoked => "revoked",
            Self::Name => "name",
            Self::Tenant => "tenant",
            Self::Binding => "binding",
            Self::Unavailable => "unavailable",
        }
    }
}
