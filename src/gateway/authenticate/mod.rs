//! Asks the ways of authentication about what a request presents.
//!
//! Owns where a request's credentials are found. Does not own whether they are good
//! (`jwt`, `identity` and `tls` say that) nor who has to vouch.

mod bearer;

use std::time::SystemTime;

use http::HeaderMap;
use smallvec::SmallVec;

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
    /// Who is settled about it: they fetched what they had to.
    pub settled: SmallVec<[AuthenticatorIndex; 2]>,
}

/// What a way of authentication says of a request. Nothing is counted.
pub fn ask(snapshot: &Snapshot, index: AuthenticatorIndex, presented: &Presented<'_>) -> Said {
    let Some(authenticator) = snapshot.authentication.get(index) else { return Said::Nothing };
    match &authenticator.kind {
        AuthenticatorKind::Jwt(verifier) => bearer::ask(verifier, index, presented),
        AuthenticatorKind::ApiKeys | AuthenticatorKind::ClientCertificate => Said::Refused(Flaw::Unavailable),
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
