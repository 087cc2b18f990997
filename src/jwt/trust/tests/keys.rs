//! What of a key set verifies, and how keys come and go.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::{
    jwt::trust::{Built, TrustLive},
    telemetry::metrics::KeyFetchResult,
};

fn parsed(keys: &[Value]) -> Result<usize, KeyFetchResult> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).map(|set| set.len())
}

fn jwk(algorithm: Algorithm) -> Value {
    serde_json::from_str(&key(algorithm).public.to_json()).unwrap()
}

fn changed(mut key: Value, name: &str, value: Value) -> Value {
    key[name] = value;
    key
}

#[test]
fn a_key_that_nothing_is_verified_with_is_left_out() {
    let (ec, rsa) = (jwk(Algorithm::Es256), jwk(Algorithm::Rs256));
    assert_eq!(parsed(&[ec.clone(), rsa.clone(), jwk(Algorithm::EdDsa)]), Ok(3));
    let small = "AQAB".repeat(42);
    for odd in [
        changed(ec.clone(), "use", json!("enc")),
        changed(ec.clone(), "key_ops", json!(["sign"])),
        changed(ec.clone(), "key_ops", json!("verify")),
        changed(ec.clone(), "alg", json!("RS256")),
        changed(ec.clone(), "alg", json!("ES256K")),
        changed(ec.clone(), "crv", json!("secp256k1")),
        changed(ec.clone(), "crv", json!("P-384")),
        changed(ec.clone(), "kty", json!("ec")),
        // Not a point of the curve.
        changed(ec.clone(), "x", ec["y"].clone()),
        changed(ec.clone(), "x", json!(format!("{}=", ec["x"].as_str().unwrap()))),
        changed(ec.clone(), "x", json!(format!("AA{}", ec["x"].as_str().unwrap()))),
        // As ROCA's time left them, and what any signature verifies with.
        changed(rsa.clone(), "n", json!(small)),
        changed(rsa.clone(), "e", json!("AQ")),
        changed(rsa.clone(), "e", json!("Ag")),
        changed(rsa.clone(), "e", json!("")),
        changed(rsa.clone(), "e", json!("AQABAQABAQAB")),
        json!({ "kty": "OKP", "crv": "X25519", "x": jwk(Algorithm::EdDsa)["x"] }),
        json!({}),
        json!("key"),
    ] {
        assert_eq!(parsed(&[odd.clone(), ec.clone()]), Ok(1), "{odd:.90}");
        assert_eq!(parsed(&[odd]), Err(KeyFetchResult::NoKey));
    }
    assert_eq!(parsed(&[changed(ec, "key_ops", json!(["verify"]))]), Ok(1));
}

#[test]
fn what_is_no_set_of_public_keys_is_refused_whole() {
    let ec = jwk(Algorithm::Es256);
    for (text, why) in [
        ("<html><body>Sign in</body></html>", KeyFetchResult::NoKeySet),
        ("", KeyFetchResult::NoKeySet),
        ("[]", KeyFetchResult::NoKeySet),
        (r#"{"keys":{}}"#, KeyFetchResult::NoKeySet),
        (r#"{"keys":[],"keys":[]}"#, KeyFetchResult::NoKeySet),
        (r#"{"keys":[]}"#, KeyFetchResult::NoKey),
        (r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#, KeyFetchResult::PrivateKey),
    ] {
        assert_eq!(KeySet::parse(text.as_bytes()).err(), Some(why), "{text}");
    }
    assert_eq!(parsed(&[changed(ec.clone(), "d", json!("AA"))]), Err(KeyFetchResult::PrivateKey));
    assert_eq!(parsed(&vec![ec.clone(); 100]), Ok(100));
    assert_eq!(parsed(&vec![ec; 10_000]), Err(KeyFetchResult::TooManyKeys));
}

#[test]
fn without_a_name_the_only_key_that_fits_is_meant() {
    let (issuer, second) = (Issuer::new(Algorithm::Es256, "cache_tokens: 0"), key(Algorithm::Es256));
    let unnamed = issuer.signed(json!({ "alg": "ES256" }), &claims(json!({})));
    let refuses = |keys: &[&SigningKey]| {
        issuer.verifier.source().hold(held(&set(keys), start().steady));
        issuer.refuses(&unnamed)
    };

    assert_eq!(refuses(&[&issuer.key, &key(Algorithm::EdDsa)]), None);
    assert_eq!(refuses(&[&issuer.key, &second]), Some(Refused::NoKeyId));
    assert_eq!(refuses(&[&key(Algorithm::EdDsa)]), Some(Refused::UnknownKey));
}

#[test]
fn keys_of_several_kinds_may_share_a_name() {
    let (one, other) = (Issuer::new(Algorithm::Es256, ""), key(Algorithm::EdDsa));
    let rename = |key: &SigningKey| key.public.to_json().replace(key.public.kid.as_str(), "shared");
    let keys = format!(r#"{{"keys":[{},{}]}}"#, rename(&other), rename(&one.key));
    one.verifier.source().hold(held(&keys, start().steady));
    let token = |key: &SigningKey| {
        let header = json!({ "alg": key.algorithm().name(), "kid": "shared" }).to_string();
        key.compact(header.as_bytes(), claims(json!({})).to_string().as_bytes()).unwrap()
    };

    assert_eq!([one.refuses(&token(&one.key)), one.refuses(&token(&other))], [None, None]);
}

fn built(authorities: Option<&[u8]>) -> Built {
    let authorities = authorities.map(|der| vec![der.to_vec()]);
    Built { file: None, authorities, tls: connector(Some(&[])).unwrap() }
}

#[test]
fn a_reload_that_leaves_an_issuer_as_it_is_keeps_its_keys_and_what_was_verified() {
    let (live, jwks) = (TrustLive::default(), "jwks: 'https://login.test/jwks', ");
    let build = |more: &str, ca| live.verifier(&spec(&format!("{jwks}{more}")), built(ca)).unwrap();
    let first = build("", None);
    first.source().hold(held(&set(&[&key(Algorithm::Es256)]), Instant::now()));

    assert!(Arc::ptr_eq(&first, &build("", None)));
    let other = build("scopes: [r]", None);
    assert!(!Arc::ptr_eq(&first, &other) && Arc::ptr_eq(first.source(), other.source()));
    // Other times are another source, which begins with the same keys.
    let slower = build("refresh_every: 1h", None);
    assert!(!Arc::ptr_eq(first.source(), slower.source()));
    assert_eq!(slower.source().view(Instant::now()).kids, first.source().view(Instant::now()).kids);
    // Whoever was believed before may not be by now.
    assert!(!build("", Some(b"other")).source().has_keys());
    assert!(!build("insecure_http: true", None).source().has_keys());

    drop((first, other, slower));
    live.sweep();
    assert!(!build("", None).source().has_keys());
}

#[test]
fn the_next_process_knows_the_keys_and_how_old_they_are() {
    let (before, after) = (TrustLive::default(), TrustLive::default());
    let spec = spec("jwks: 'https://login.test/jwks', serve_stale_for: 1h");
    let own = key(Algorithm::Es256);
    let verifier = before.verifier(&spec, built(None)).unwrap();
    verifier.source().hold(held(&set(&[&own]), Instant::now()));

    let told = before.remember(Instant::now() + Duration::from_secs(10));
    after.recall(serde_json::from_str(&serde_json::to_string(&told).unwrap()).unwrap());

    let view = after.verifier(&spec, built(None)).unwrap().source().view(Instant::now());
    assert_eq!(view.kids, [own.public.kid.as_str()]);
    assert!(view.age.unwrap() >= Duration::from_secs(10), "{view:?}");
    // Not from who is trusted otherwise, and nothing odd.
    assert!(!after.verifier(&spec, built(Some(b"other"))).unwrap().source().has_keys());
    let told = serde_json::to_value(&told).unwrap();
    for (name, value) in [("document", json!("<html>")), ("from", json!("https://login.test/jwks"))] {
        let mut odd = told.clone();
        odd["sets"][0][name] = value;
        odd["later"] = json!(1);
        let next = TrustLive::default();
        next.recall(serde_json::from_value(odd).unwrap());
        assert!(!next.verifier(&spec, built(None)).unwrap().source().has_keys(), "{name}");
    }
}

#[test]
fn a_file_without_keys_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let live = TrustLive::default();
    let build = || {
        let built = Built { file: Some(file.clone()), ..built(None) };
        live.verifier(&spec("jwks_file: keys.json"), built)
            .map(|verifier| verifier.source().view(Instant::now()).keys)
    };

    assert_eq!(build(), Err(KeyFetchResult::Unreadable));
    std::fs::write(&file, "{}").unwrap();
    assert_eq!(build(), Err(KeyFetchResult::NoKeySet));
    std::fs::write(&file, set(&[&key(Algorithm::Es256)])).unwrap();
    assert_eq!(build(), Ok(1));
}
