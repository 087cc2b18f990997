//! Asks the ways of authentication about what a request presents.
//!
//! Owns where a request's credentials are found. Does not own whether they are good
//! (`jwt`, `identity` and `tls` say that) nor who has to vouch.

mod api_key;
mod challenge;

use std::time::SystemTime;

use http::HeaderMap;

pub use self::challenge::challenges;
use super::context::RequestContext;
use crate::{
    config::authentication::AuthenticatorIndex,
    identity::{Flaw, Said, Tenancy},
    snapshot::{AuthenticatorKind, Snapshot},
    tls::ClientCertificate,
};

/// What a request presents.
pub struct Presented<'a> {
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// The certificate of its connection, verified.
    pub certificate: Option<&'a ClientCertificate>,
    /// Whose VPC endpoint it comes through.
    pub tenancy: Tenancy,
    /// When it came.
    pub now: SystemTime,
}

/// What a way of authentication says of a request. Nothing is counted.
pub fn ask(snapshot: &Snapshot, index: AuthenticatorIndex, presented: &Presented<'_>) -> Said {
    let Some(authenticator) = snapshot.authentication.get(index) else { return Said::Nothing };
    match &authenticator.kind {
        AuthenticatorKind::ApiKeys(method) => api_key::ask(method, presented),
        AuthenticatorKind::Jwt | AuthenticatorKind::ClientCertificate => Said::Refused(Flaw::Unavailable),
    }
}

/// Takes off what a caller presented to those who vouch for the route's requests, unless
/// the upstream is meant to get it. What is sent to others is the upstream's own.
pub fn take_off(headers: &mut HeaderMap, ctx: &RequestContext) {
    let Some(route) = &ctx.route else { return };
    for authenticator in ctx.snapshot.authentication.asked(route.index) {
        match &authenticator.kind {
            AuthenticatorKind::ApiKeys(method) if !method.forward => {
                headers.remove(&method.header);
            }
            AuthenticatorKind::ApiKeys(_) | AuthenticatorKind::Jwt | AuthenticatorKind::ClientCertificate => {
            }
        }
    }
}

/// Waits until a way of authentication that was unsettled about a request is settled.
pub async fn settle(_snapshot: &Snapshot, _index: AuthenticatorIndex, _presented: &Presented<'_>) {}
