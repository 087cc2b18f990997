//! What a 401 says of how to come in (RFC 9110, 11.6.1).
//!
//! Says which credentials a route takes and, of a token that was there, that it is not
//! good; never why.

use http::{HeaderValue, header};

use crate::{
    gateway::context::RequestContext,
    identity::Flaw,
    snapshot::{Authenticator, AuthenticatorKind},
};

/// A challenge for each scheme that the route takes, in the order in which those who
/// vouch are written.
pub fn challenges(ctx: &RequestContext) -> Vec<HeaderValue> {
    let Some(route) = &ctx.route else { return Vec::new() };
    let mut challenges: Vec<(Scheme, bool)> = Vec::new();
    let flawed = ctx.flaw.and_then(|(index, _): (_, Flaw)| ctx.snapshot.authentication.get(index));
    for authenticator in ctx.snapshot.authentication.asked(route.index) {
        let scheme = Scheme::of(authenticator);
        // Of one issuer: the token that others share the field for is theirs too.
        let is_bad = flawed.is_some_and(|flawed| Scheme::of(flawed) == scheme);
        if !challenges.iter().any(|(known, _)| *known == scheme) {
            challenges.push((scheme, is_bad));
        }
    }
    challenges.iter().filter_map(|(scheme, is_bad)| scheme.challenge(ctx.host(), *is_bad)).collect()
}

/// What a 403 says of a token that is good and allows too little (RFC 6750, 3.1).
pub fn needs_scope(ctx: &RequestContext) -> Option<HeaderValue> {
    let (index, _) = ctx.flaw.filter(|(_, flaw)| *flaw == Flaw::Scope)?;
    let AuthenticatorKind::Jwt(verifier) = &ctx.snapshot.authentication.get(index)?.kind else { return None };
    let (host, scopes) = (ctx.host(), verifier.spec().scopes.join(" "));
    let text = format!("Bearer realm=\"{host}\", error=\"insufficient_scope\", scope=\"{scopes}\"");
    HeaderValue::try_from(text).ok()
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scheme {
    /// RFC 6750.
    Bearer,
    /// A key in a field of its own; nobody registered a scheme for that.
    ApiKey,
    /// A certificate of the connection; nor for that.
    ClientCertificate,
}

impl Scheme {
    fn of(authenticator: &Authenticator) -> Self {
        match &authenticator.kind {
            AuthenticatorKind::ApiKeys(method) if method.header == header::AUTHORIZATION => Self::Bearer,
            AuthenticatorKind::ApiKeys(_) => Self::ApiKey,
            AuthenticatorKind::Jwt(_) => Self::Bearer,
            AuthenticatorKind::ClientCertificate(_) => Self::ClientCertificate,
        }
    }

    /// A host is of letters, digits, dots, dashes, brackets and colons: it needs no escape
    /// in quotes, where it is one.
    fn challenge(self, host: &str, is_bad: bool) -> Option<HeaderValue> {
        let name = match self {
            Self::Bearer => "Bearer",
            Self::ApiKey => "ApiKey",
            Self::ClientCertificate => "ClientCertificate",
        };
        let error = if is_bad && self == Self::Bearer { ", error=\"invalid_token\"" } else { "" };
        HeaderValue::try_from(format!("{name} realm=\"{}\"{error}", host.replace(['"', '\\'], ""))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_names_the_host_and_a_bad_token_and_nothing_else() {
        let told = |scheme: Scheme, is_bad| scheme.challenge("api.example.com", is_bad).unwrap();

        assert_eq!(told(Scheme::Bearer, false), "Bearer realm=\"api.example.com\"");
        assert_eq!(told(Scheme::Bearer, true), "Bearer realm=\"api.example.com\", error=\"invalid_token\"");
        assert_eq!(told(Scheme::ApiKey, true), "ApiKey realm=\"api.example.com\"");
        assert_eq!(Scheme::Bearer.challenge("a\"b\\", false).unwrap(), "Bearer realm=\"ab\"");
    }
}
