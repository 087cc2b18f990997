//! An issuer made up for tests, and what its tokens are good for.

mod attacks;
mod keys;
mod vectors;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    Refused, Verified, Verifier,
    document::{Place, PlaceKind},
    key_set::KeySet,
    source::{Held, KeySource, Terms},
};
use crate::{
    config::{issuer::JwtSpec, signer::Algorithm},
    jwt::{
        SigningKey,
        testing::{NOON, RSA, later, start},
    },
    outward::connector,
};

/// An issuer with a key, and the verifier that trusts it.
pub(super) struct Issuer {
    pub key: SigningKey,
    pub verifier: Verifier,
}

impl Issuer {
    /// Of this kind; `more` goes into the spec.
    pub fn new(algorithm: Algorithm, more: &str) -> Self {
        let key = key(algorithm);
        let verifier = verifier(more, Some(&set(&[&key])));
        Self { key, verifier }
    }

    /// A token that counts, with these claims changed; `null` takes one out.
    pub fn token(&self, changes: Value) -> String {
        self.signed(self.header(), &claims(changes))
    }

    pub fn header(&self) -> Value {
        json!({ "alg": self.key.algorithm().name(), "kid": self.key.public.kid.as_str() })
    }

    pub fn signed(&self, header: Value, claims: &Value) -> String {
        self.key.compact(header.to_string().as_bytes(), claims.to_string().as_bytes()).unwrap()
    }

    pub fn verify(&self, token: &str) -> Result<Verified, Refused> {
        self.verifier.verify(token, start())
    }

    /// Why it does not count.
    pub fn refuses(&self, token: &str) -> Option<Refused> {
        self.verify(token).err()
    }
}

pub(super) fn key(algorithm: Algorithm) -> SigningKey {
    if !algorithm.is_slow() {
        return SigningKey::generate(algorithm).unwrap();
    }
    let key = boring::pkey::PKey::private_key_from_pem(RSA.as_bytes()).unwrap();
    SigningKey::new(key, algorithm).unwrap()
}

pub(super) fn set(keys: &[&SigningKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.public.to_json()).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

pub(super) fn spec(more: &str) -> JwtSpec {
    let audience = if more.contains("audience:") { "" } else { "audience: [api], " };
    let text = format!("{{ issuer: 'https://login.test', {audience}{more} }}");
    // Through JSON, as the configuration is.
    serde_json::from_value(serde_yaml::from_str(&text).unwrap()).unwrap()
}

/// A verifier with these keys, which were fetched at [`start`].
pub(super) fn verifier(more: &str, keys: Option<&str>) -> Verifier {
    let spec = spec(more);
    let kind = PlaceKind::Url("https://login.test/jwks".parse().unwrap());
    let place = Place { kind, authorities: None, insecure: false };
    let source = KeySource::new(place, Terms::new(&spec), connector(Some(&[])).unwrap());
    if let Some(keys) = keys {
        source.hold(held(keys, start().steady));
    }
    Verifier::new(spec, source.into())
}

pub(super) fn held(keys: &str, since: Instant) -> Held {
    let document = keys.as_bytes();
    Held { keys: KeySet::parse(document).unwrap(), document: document.into(), since }
}

/// What every good token says, with these changed.
pub(super) fn claims(changes: Value) -> Value {
    let mut claims = json!({ "iss": "https://login.test", "aud": "api", "sub": "alice", "exp": NOON + 60 });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

#[test]
fn a_token_of_each_kind_of_key_counts_and_says_who_asks() {
    for algorithm in Algorithm::ALL {
        let issuer = Issuer::new(algorithm, "");

        let verified = issuer.verify(&issuer.token(json!({ "scope": "a  b", "x": 1 }))).unwrap();

        assert_eq!((&*verified.consumer, &*verified.scopes), ("alice", "a b"), "{algorithm}");
        assert_eq!(verified.claims["x"], 1);
        assert_eq!(verified.expires, (NOON + 60 + 30) * 1000);
    }
}

#[test]
fn times_count_to_the_second_beyond_leeway() {
    let issuer = Issuer::new(Algorithm::Es256, "leeway: 10s");
    let refuses = |changes: Value| issuer.refuses(&issuer.token(changes));

    assert_eq!(refuses(json!({ "exp": NOON - 9 })), None);
    assert_eq!(refuses(json!({ "exp": NOON - 10 })), Some(Refused::Expired));
    assert_eq!(refuses(json!({ "exp": NOON - 11 })), Some(Refused::Expired));
    assert_eq!(refuses(json!({ "nbf": NOON + 10 })), None);
    assert_eq!(refuses(json!({ "nbf": NOON + 11 })), Some(Refused::NotYet));
    assert_eq!(refuses(json!({ "exp": (NOON as f64) + 0.5 })), None);
    assert_eq!(refuses(json!({ "exp": 1e300 })), None);
    for exp in [json!(null), json!("never"), json!(-1), json!([NOON + 60]), json!(-1e300)] {
        assert_eq!(refuses(json!({ "exp": exp })), Some(Refused::Expired), "{exp}");
    }
    for nbf in [json!("now"), json!([]), json!(1e300)] {
        assert_eq!(refuses(json!({ "nbf": nbf })), Some(Refused::NotYet), "{nbf}");
    }
}

#[test]
fn it_is_of_the_issuer_and_for_us() {
    let issuer = Issuer::new(Algorithm::Es256, "audience: [api, web]");
    let refuses = |changes: Value| issuer.refuses(&issuer.token(changes));

    for aud in [json!("api"), json!("web"), json!(["other", "web"])] {
        assert_eq!(refuses(json!({ "aud": aud })), None, "{aud}");
    }
    for aud in
        [json!(null), json!("ap"), json!("API"), json!([]), json!([["api"]]), json!({ "api": 1 }), json!(1)]
    {
        assert_eq!(refuses(json!({ "aud": aud })), Some(Refused::Audience), "{aud}");
    }
    for iss in [
        json!(null),
        json!("https://login.test/"),
        json!("HTTPS://login.test"),
        json!(["https://login.test"]),
    ] {
        assert_eq!(refuses(json!({ "iss": iss })), Some(Refused::Issuer), "{iss}");
    }
}

#[test]
fn required_claims_and_scopes_are_there() {
    let terms = "require: [{ claim: token_use, one_of: [access] }, { claim: realm.roles, one_of: [buyer, '7'] }, { claim: jti }], scopes: [r, w]";
    let issuer = Issuer::new(Algorithm::Es256, terms);
    let good =
        json!({ "token_use": "access", "realm": { "roles": ["x", "buyer"] }, "jti": "1", "scope": "w r" });
    let with = |name: &str, value: Value| {
        let mut changed = good.clone();
        changed[name] = value;
        issuer.refuses(&issuer.token(changed))
    };

    assert_eq!(with("x", json!(1)), None);
    assert_eq!(with("token_use", json!("id")), Some(Refused::Claim));
    assert_eq!(with("token_use", json!(null)), Some(Refused::Claim));
    assert_eq!(with("realm", json!({ "roles": ["seller"] })), Some(Refused::Claim));
    assert_eq!(with("realm", json!({ "roles": 7 })), None);
    assert_eq!(with("realm", json!("roles")), Some(Refused::Claim));
    assert_eq!(with("jti", json!(null)), Some(Refused::Claim));
    assert_eq!(with("scope", json!("r")), Some(Refused::Scope));
    assert_eq!(with("scope", json!("rw")), Some(Refused::Scope));
    assert_eq!(with("scope", json!(["r", "w"])), None);

    let scp = Issuer::new(Algorithm::Es256, "scopes: [r]");
    assert_eq!(scp.refuses(&scp.token(json!({ "scp": ["r"] }))), None);
}

#[test]
fn a_claim_says_who_asks() {
    let issuer = Issuer::new(Algorithm::Es256, "consumer: client_id");
    let named = |name: Value| issuer.verify(&issuer.token(json!({ "client_id": name }))).map(|v| v.consumer);

    assert_eq!(&*named(json!("shop")).unwrap(), "shop");
    assert_eq!(&*named(json!(7)).unwrap(), "7");
    assert_eq!(&*named(json!(u64::MAX)).unwrap(), "18446744073709551615");
    for bad in [
        json!(null),
        json!(""),
        json!("a\nb"),
        json!(["shop"]),
        json!("x".repeat(256)),
        json!(1e20),
        json!(7.0),
    ] {
        assert_eq!(named(bad.clone()), Err(Refused::Claim), "{bad}");
    }
}

#[test]
fn a_type_is_looked_at_where_one_is_written() {
    let issuer = Issuer::new(Algorithm::Es256, "typ: [at+jwt]");
    let of_type = |typ: Value| {
        let mut header = issuer.header();
        header["typ"] = typ;
        issuer.refuses(&issuer.signed(header, &claims(json!({}))))
    };

    assert_eq!(of_type(json!("at+jwt")), None);
    assert_eq!(of_type(json!("application/AT+JWT")), None);
    assert_eq!(of_type(json!("JWT")), Some(Refused::Type));
    assert_eq!(of_type(json!(1)), Some(Refused::Json));
    assert_eq!(issuer.refuses(&issuer.token(json!({}))), Some(Refused::Type));
}

#[test]
fn what_was_verified_is_known_again_for_a_while() {
    let issuer = Issuer::new(Algorithm::Es256, "cache_for: 20s, leeway: 1s");
    let token = issuer.token(json!({ "exp": NOON + 29 }));
    let at = |secs| issuer.verifier.verify(&token, later(start(), secs)).map(|verified| verified.claims);

    let first = at(0).unwrap();

    assert!(std::sync::Arc::ptr_eq(&first, &at(19).unwrap()), "verified again within its time");
    let second = at(20).unwrap();
    assert!(!std::sync::Arc::ptr_eq(&first, &second), "known beyond its time");
    assert!(std::sync::Arc::ptr_eq(&second, &at(29).unwrap()));
    assert_eq!(at(30), Err(Refused::Expired));
}

#[test]
fn what_was_verified_ends_with_its_key() {
    let issuer = Issuer::new(Algorithm::Es256, "");
    let (token, other) = (issuer.token(json!({})), key(Algorithm::Es256));
    let hold = |keys: &[&SigningKey]| issuer.verifier.source().hold(held(&set(keys), start().steady));
    let first = issuer.verify(&token).unwrap();

    hold(&[&other, &issuer.key]);
    assert!(std::sync::Arc::ptr_eq(&first.claims, &issuer.verify(&token).unwrap().claims));
    hold(&[&other]);
    assert_eq!(issuer.refuses(&token), Some(Refused::UnknownKey));

    // The same name, and another key.
    let known = issuer.key.public.kid.as_str();
    hold(&[&issuer.key]);
    assert_eq!(issuer.refuses(&token), None);
    let renamed = set(&[&other]).replace(other.public.kid.as_str(), known);
    issuer.verifier.source().hold(held(&renamed, start().steady));
    assert_eq!(issuer.refuses(&token), Some(Refused::Signature));
}

#[test]
fn keys_serve_on_for_a_time_and_no_longer() {
    let issuer = Issuer::new(Algorithm::Es256, "serve_stale_for: 1h, refresh_every: 1m");
    let token = issuer.token(json!({ "exp": NOON + 100_000 }));
    let at = |secs| issuer.verifier.verify(&token, later(start(), secs)).err();

    assert_eq!([0, 3590].map(at), [None, None]);
    // It was verified before, and that ended with the keys.
    assert_eq!(issuer.verifier.verify(&token, later(start(), 3601)).err(), Some(Refused::NoKeys));
    assert_eq!(verifier("", None).verify(&token, start()), Err(Refused::NoKeys));
}
