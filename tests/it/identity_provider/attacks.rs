//! What attackers of JWT libraries tried, through the real binary: 401 without a word of
//! why, and the reason counted. The table in full is `jwt::trust`'s own.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollgate::jwt::{encode, forge, forge_hs256};

use super::*;
use crate::support::issuer::now;

/// A token's three parts, one of them another.
fn with_part(token: &str, part: usize, other: &str) -> String {
    let mut parts: Vec<_> = token.split('.').collect();
    parts[part] = other;
    parts.join(".")
}

/// Each attack with the word that it is counted by.
fn attacks(issuer: &Issuer, thief: &Issuer) -> Vec<(&'static str, &'static str, String)> {
    let (key, token, claims) = (issuer.key(), issuer.token(json!({})), issuer.claims(json!({})));
    let kid = key.public.kid.as_str();
    let header = |changes: Value| {
        let mut header = json!({ "alg": "ES256", "kid": kid });
        header.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        header
    };
    let raw = |header: &str, claims: &str| key.compact(header.as_bytes(), claims.as_bytes()).unwrap();
    let (good_header, text) = (header(json!({})).to_string(), claims.to_string());
    let unsigned =
        |alg: &str| forge(header(json!({ "alg": alg })).to_string().as_bytes(), text.as_bytes(), b"");
    let hs256 = header(json!({ "alg": "HS256" })).to_string();
    let confused = forge_hs256(hs256.as_bytes(), text.as_bytes(), &key.public_pem().unwrap()).unwrap();
    let jwk: Value = serde_json::from_str(&thief.key().public.to_json()).unwrap();
    let signature = |bytes: &[u8]| with_part(&token, 2, &encode(bytes));
    let of_kid = |kid: &str| issuer.signed(&header(json!({ "kid": kid })), &claims);
    let stolen = |member: Value| thief.signed(&header(member), &claims);
    let expired = |secs: u64| issuer.token(json!({ "exp": now() - secs }));
    vec![
        ("alg none", "algorithm", unsigned("none")),
        ("alg None", "algorithm", unsigned("None")),
        ("the public key as a secret", "algorithm", confused),
        (
            "another algorithm than the key's",
            "algorithm",
            issuer.signed(&header(json!({ "alg": "RS256" })), &claims),
        ),
        ("kid is a path", "unknown", of_kid("../../../../dev/null")),
        ("kid is SQL", "unknown", of_kid("x' UNION SELECT 'secret")),
        ("jwk brought along", "signature", stolen(json!({ "jwk": jwk }))),
        ("jku", "signature", stolen(json!({ "jku": thief.jwks() }))),
        ("x5u", "signature", stolen(json!({ "x5u": thief.jwks() }))),
        ("crit", "malformed", issuer.signed(&header(json!({ "crit": ["exp"] })), &claims)),
        ("a claim twice", "malformed", raw(&good_header, &format!(r#"{{"sub":"root",{}"#, &text[1..]))),
        (
            "nested deeply",
            "malformed",
            raw(&good_header, &format!(r#"{{"a":{}{},{}"#, "[".repeat(99), "]".repeat(99), &text[1..])),
        ),
        ("huge", "malformed", issuer.token(json!({ "a": "x".repeat(12_500) }))),
        ("padding", "malformed", format!("{token}=")),
        ("the other alphabet", "malformed", with_part(&token, 1, "e+/9")),
        ("no signature", "signature", with_part(&token, 2, "")),
        ("r and s are zero", "signature", signature(&[0; 64])),
        ("a signature too short", "signature", signature(&[1; 63])),
        ("a signature too long", "signature", signature(&[1; 65])),
        (
            "other claims",
            "signature",
            with_part(&token, 1, &encode(issuer.claims(json!({ "sub": "root" })).to_string().as_bytes())),
        ),
        ("expired beyond leeway", "expired", expired(11)),
        ("never expires", "expired", issuer.token(json!({ "exp": null }))),
        ("not yet", "not_yet_valid", issuer.token(json!({ "nbf": now() + 600 }))),
        ("for another", "audience", issuer.token(json!({ "aud": "billing" }))),
        ("of another", "foreign", issuer.token(json!({ "iss": "https://login.test" }))),
        ("no token", "foreign", "hello".to_owned()),
        ("five parts", "foreign", format!("{token}.x.y")),
        ("nobody", "claim", issuer.token(json!({ "sub": null }))),
    ]
}

#[tokio::test]
async fn each_known_attack_is_refused_without_a_word_and_counted() {
    let (origin, issuer, thief) = (Origin::start().await, Issuer::start().await, Issuer::start().await);
    let gateway = guarded(&origin, &issuer, "leeway: 10s").start().await;
    let mut counted = BTreeMap::<_, f64>::new();
    for (attack, word, token) in attacks(&issuer, &thief) {
        let answer = send(&gateway, &token).await;

        assert_eq!(answer.status, 401, "{attack}: {answer:?}");
        let told = format!("{}{:?}", answer.text(), answer.headers).to_lowercase();
        let details = [
            "signature",
            "algorithm",
            "kid",
            "audience",
            "issuer",
            "claim",
            "expired",
            "base64",
            "malformed",
        ];
        assert!(details.iter().all(|detail| !told.contains(detail)), "{attack}: {told}");
        *counted.entry(word).or_default() += 1.0;
    }
    for (word, count) in counted {
        assert_eq!(said(&gateway, word).await, count, "{word}");
    }
    assert_eq!((said(&gateway, "vouched").await, origin.requests().await), (0.0, 0));
    assert_eq!(thief.fetches(), 0, "somebody went where a token said");
    // One at the start; a key that nobody knows has them fetched again at most once.
    assert!(issuer.fetches() <= 2, "{}", issuer.fetches());

    let within = issuer.token(json!({ "exp": now() - 5 }));
    assert_eq!(send(&gateway, &within).await.status, 200);
    let logged = gateway.stdout() + &gateway.stderr();
    assert!(!logged.contains(&within[..40]), "a token stands in a log");
}
