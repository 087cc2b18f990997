//! Asks the verifier of an identity provider about a request's token.

use std::time::Instant;

use serde_json::{Map, Value};

use super::Presented;
use crate::{
    config::authentication::AuthenticatorIndex,
    identity::{Consumer, Flaw, Said},
    jwt::{
        self, Now,
        trust::{self, Refused, Verified, Verifier},
    },
    tls::ClientCertificate,
};

/// What the verifier says. Of a key that nobody knows yet it is unsettled, once.
pub(super) fn ask(verifier: &Verifier, index: AuthenticatorIndex, presented: &Presented<'_>) -> Said {
    let token = match verifier.find(presented.headers) {
        trust::Presented::Nothing => return Said::Nothing,
        trust::Presented::Unclear => return Said::Refused(Flaw::Malformed),
        trust::Presented::Token(token) => token,
    };
    match verifier.verify(token, now(presented)) {
        Ok(Verified { claims, .. }) if !is_holders(&claims, presented.certificate) => {
            Said::Refused(Flaw::Binding)
        }
        Ok(Verified { consumer, scopes, claims, .. }) => {
            Said::Vouched(Consumer { scopes, claims: Some(claims), ..Consumer::new(index, consumer) })
        }
        Err(why) if why.may_be_a_new_key() && !presented.settled.contains(&index) => Said::Unsettled,
        Err(Refused::NoToken | Refused::Issuer) => Said::Foreign,
        Err(why) => Said::Refused(flaw(why)),
    }
}

/// Whether a token that is bound to a certificate (RFC 8705, 3.1) comes with it. One that
/// is bound to nothing is anybody's who has it; one that is bound to what is not checked
/// here, as a key of the client's (`jkt`), is nobody's.
fn is_holders(claims: &Map<String, Value>, certificate: Option<&ClientCertificate>) -> bool {
    let Some(cnf) = claims.get("cnf") else { return true };
    let Some(bound) = cnf.get("x5t#S256") else { return false };
    certificate.is_some_and(|certificate| {
        let shown = jwt::encode(&certificate.fingerprint);
        bound.as_str().is_some_and(|bound| bound.as_bytes() == shown.as_bytes())
    })
}

/// Waits, for a bounded time, until the issuer's keys were fetched again.
pub(super) async fn settle(verifier: &Verifier, presented: &Presented<'_>) {
    verifier.refreshed(now(presented)).await;
}

fn now(presented: &Presented<'_>) -> Now {
    Now { wall: presented.now, steady: Instant::now() }
}

fn flaw(why: Refused) -> Flaw {
    match why {
        Refused::NoToken
        | Refused::TooLong
        | Refused::Encoding
        | Refused::Json
        | Refused::Critical
        | Refused::NoKeyId => Flaw::Malformed,
        Refused::Algorithm => Flaw::Algorithm,
        Refused::UnknownKey => Flaw::Unknown,
        Refused::NoKeys => Flaw::Unavailable,
        Refused::Signature => Flaw::Signature,
        Refused::Expired => Flaw::Expired,
        Refused::NotYet => Flaw::NotYetValid,
        Refused::Issuer => Flaw::Issuer,
        Refused::Audience => Flaw::Audience,
        Refused::Type | Refused::Claim => Flaw::Claim,
        Refused::Scope => Flaw::Scope,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_token_is_bound_to_has_to_be_there_and_to_be_understood() {
        let certificate = ClientCertificate {
            subject: "CN=a".into(),
            fingerprint: [255; 32],
            serial: "1".into(),
            dns_names: Box::default(),
            uris: Box::default(),
            emails: Box::default(),
            not_after: SystemTime::UNIX_EPOCH,
        };
        let own = jwt::encode(&certificate.fingerprint);
        for (claims, with, without) in [
            (json!({}), true, true),
            (json!({ "cnf": { "x5t#S256": own } }), true, false),
            (json!({ "cnf": { "x5t#S256": "other" } }), false, false),
            (json!({ "cnf": { "x5t#S256": 1 } }), false, false),
            (json!({ "cnf": { "jkt": own } }), false, false),
            (json!({ "cnf": null }), false, false),
            (json!({ "cnf": own }), false, false),
        ] {
            let held = |shown| is_holders(claims.as_object().unwrap(), shown);

            assert_eq!((held(Some(&certificate)), held(None)), (with, without), "{claims}");
        }
    }
}
