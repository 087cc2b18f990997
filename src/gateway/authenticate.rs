//! Asks the ways of authentication about what a request presents.
//!
//! Owns where a request's credentials are found. Does not own whether they are good
//! (`jwt`, `identity` and `tls` say that) nor who has to vouch.

use std::time::SystemTime;

use http::HeaderMap;

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
pub fn ask(snapshot: &Snapshot, index: AuthenticatorIndex, _presented: &Presented<'_>) -> Said {
    let Some(authenticator) = snapshot.authentication.get(index) else { return Said::Nothing };
    match &authenticator.kind {
        AuthenticatorKind::Jwt | AuthenticatorKind::ApiKeys | AuthenticatorKind::ClientCertificate => {
            Said::Refused(Flaw::Unavailable)
        }
    }
}

/// Waits until a way of authentication that was unsettled about a request is settled.
pub async fn settle(_snapshot: &Snapshot, _index: AuthenticatorIndex, _presented: &Presented<'_>) {}
