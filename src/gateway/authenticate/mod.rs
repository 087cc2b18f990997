//! Asks the ways of authentication about what a request presents.
//!
//! Owns where a request's credentials are found. Does not own whether they are good
//! (`jwt`, `identity` and `tls` say that) nor who has to vouch.

mod api_key;
mod bearer;
mod certificate;
mod challenge;

use std::time::SystemTime;

use http::HeaderMap;
use smallvec::SmallVec;

pub use self::challenge::{challenges, needs_scope};
use super::context::RequestContext;
use crate::{
    config::authentication::AuthenticatorIndex,
    identity::{Said, Tenancy},
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
    /// Who is settled about it: they fetched what they had to.
    pub settled: SmallVec<[AuthenticatorIndex; 2]>,
}

/// What a way of authentication says of a request. Nothing is counted.
pub fn ask(snapshot: &Snapshot, index: AuthenticatorIndex, presented: &Presented<'_>) -> Said {
    let Some(authenticator) = snapshot.authentication.get(index) else { return Said::Nothing };
    match &authenticator.kind {
        AuthenticatorKind::ApiKeys(method) => api_key::ask(method, presented),
        AuthenticatorKind::Jwt(verifier) => bearer::ask(verifier, index, presented),
        AuthenticatorKind::ClientCertificate(consumers) => certificate::ask(consumers, presented),
    }
}

/// Takes off what a caller presented to those who vouch for the route's requests, or for
/// those of the route that said who asks, unless the upstream is meant to get it. What is
/// sent to others is the upstream's own.
pub fn take_off(headers: &mut HeaderMap, ctx: &RequestContext) {
    let Some(route) = &ctx.route else { return };
    let before = ctx.first.filter(|first| *first != route.index);
    let asked = [before, Some(route.index)].into_iter().flatten();
    for authenticator in asked.flat_map(|route| ctx.snapshot.authentication.asked(route)) {
        match &authenticator.kind {
            AuthenticatorKind::ApiKeys(method) if !method.forward => {
                headers.remove(&method.header);
            }
            AuthenticatorKind::Jwt(verifier) if !verifier.spec().forward => verifier.take_off(headers),
            AuthenticatorKind::ApiKeys(_)
            | AuthenticatorKind::Jwt(_)
            | AuthenticatorKind::ClientCertificate(_) => {}
        }
    }
}

/// Waits until a way of authentication that was unsettled about a request is settled; it
/// is asked again then, and has an answer.
pub async fn settle(snapshot: &Snapshot, index: AuthenticatorIndex, presented: &mut Presented<'_>) {
    if let Some(AuthenticatorKind::Jwt(verifier)) = snapshot.authentication.get(index).map(|one| &one.kind) {
        bearer::settle(verifier, presented).await;
    }
    presented.settled.push(index);
}
