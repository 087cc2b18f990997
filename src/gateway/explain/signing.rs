//! Who would sign for a request, and which claims the token could have.

use super::answer::SignedTold;
use crate::{
    config::signer::{BindSpec, ClaimSpec, ProfileSpec, SignerSpec},
    route::Route,
    snapshot::Snapshot,
};

/// The signer of a route.
pub(super) fn told(snapshot: &Snapshot, route: &Route) -> Option<SignedTold> {
    let spec = &snapshot.config().signers.get(route.signer?.0)?.spec;
    Some(SignedTold {
        signer: spec.name.to_string(),
        header: spec.header.header().to_string(),
        algorithm: spec.algorithm().name().to_owned(),
        claims: claims(spec),
    })
}

/// The names of the claims, in no order of the token's.
fn claims(spec: &SignerSpec) -> Vec<String> {
    let always: &[&str] = match spec.profile {
        ProfileSpec::Native => &["iss", "aud", "sub", "iat", "nbf", "exp", "jti"],
        ProfileSpec::KongUpstreamJwt => {
            &["iss", "aud", "iat", "exp", "jti", "consumerid", "consumername", "payloadhash"]
        }
    };
    let listed = spec.claims.iter().map(|claim| match claim {
        ClaimSpec::Tenant => "tenant",
        ClaimSpec::Vpce => "vpce",
        ClaimSpec::Consumer => "consumer",
        ClaimSpec::ClientIp => "client_ip",
        ClaimSpec::Zone => "zone",
        ClaimSpec::Route => "route",
        ClaimSpec::Scope => "scope",
        ClaimSpec::ClientCertificate => "cnf",
        ClaimSpec::Token(name) => name,
    });
    // The host stands in `htu`.
    let bound = spec.bind.iter().filter_map(|bind| match bind {
        BindSpec::Method => Some("htm"),
        BindSpec::Path => Some("htu"),
        BindSpec::Query => Some("qh"),
        BindSpec::Host => None,
        BindSpec::Body => Some("bh"),
    });
    always.iter().copied().chain(listed).chain(bound).map(str::to_owned).collect()
}
