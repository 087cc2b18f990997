//! The key set: rotation, names that nobody knows, and keys of other kinds.

use serde_json::json;
use tollgate::config::signer::Algorithm;

use super::{
    language::Language,
    tokens::{MAKERS, Maker, claims, key_set},
    upstream::Upstream,
};
use crate::support::{PATIENCE, Puppet, eventually};

pub async fn a_key_that_is_new_is_accepted_and_one_that_is_gone_is_not(language: Language) {
    let (old, new) = (&MAKERS[0], Maker::new(Algorithm::Es256));
    let at_once = [("JWKS_REFETCH", "0"), ("JWKS_MAX_AGE", "0")];
    let upstream = Upstream::start(language, &old.key_set(), &at_once).await;
    assert!(upstream.verdict(&old.plain()).await.is_good());
    assert!(!upstream.verdict(&new.plain()).await.is_good());

    upstream.publish(Some(&key_set([old, &new])));
    assert!(upstream.verdict(&new.plain()).await.is_good());
    assert!(upstream.verdict(&old.plain()).await.is_good());

    upstream.publish(Some(&new.key_set()));
    // A request whose key is known does not wait for the set.
    eventually(PATIENCE, || async { !upstream.verdict(&old.plain()).await.is_good() }).await;
    assert!(upstream.verdict(&new.plain()).await.is_good());

    // The gateway can be away: what was known stays good.
    upstream.publish(None);
    for _ in 0..3 {
        assert!(!upstream.verdict(&old.plain()).await.is_good());
        assert!(upstream.verdict(&new.plain()).await.is_good());
    }
    eventually(PATIENCE, || async { upstream.stderr().contains("key set not fetched") }).await;
}

pub async fn made_up_names_make_it_fetch_the_key_set_once(language: Language) {
    let maker = &MAKERS[0];
    let set = maker.key_set().to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/jwk-set+json\r\nContent-Length: {}\r\n\r\n{set}",
        set.len()
    );
    let gateway = Puppet::says(answer).await;
    let url = format!("http://{}/.well-known/jwks.json", gateway.origin.address);
    let upstream = Upstream::start(language, &json!({}), &[("JWKS", &url), ("JWKS_REFETCH", "3600")]).await;
    let mut made_up = maker.header();

    for number in 0..30 {
        made_up["kid"] = json!(format!("made-up-{number}"));
        assert!(!upstream.verdict(&maker.forged(&made_up, &claims())).await.is_good());
        assert!(upstream.verdict(&maker.plain()).await.is_good());
    }

    assert_eq!(gateway.requests(), 1);
}

pub async fn what_it_cannot_use_in_a_key_set_spoils_no_other_key(language: Language) {
    let [es256, eddsa, rs256, ps256] = &*MAKERS;
    let mut set = key_set([es256]);
    let keys = set["keys"].as_array_mut().unwrap();
    let confused = [rs256, ps256].map(|maker| {
        let mut key = maker.key_set()["keys"][0].clone();
        key["alg"] = json!("ES256");
        key
    });
    let mut unnamed = eddsa.key_set()["keys"][0].clone();
    unnamed.as_object_mut().unwrap().remove("kid");
    let mut secret = json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "secret" });
    keys.splice(0..0, confused.into_iter().chain([unnamed, secret.clone()]));
    secret["alg"] = json!("ES256");
    let of_tomorrow = json!({ "kty": "AKP", "alg": "ML-DSA-65", "pub": "AA", "kid": "tomorrow" });
    let off_the_curve =
        json!({ "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA", "alg": "ES256", "kid": "p384" });
    keys.extend([secret, of_tomorrow, off_the_curve]);

    let upstream = Upstream::start(language, &set, &[("ALGORITHMS", "ES256,EdDSA,RS256")]).await;

    assert!(upstream.verdict(&es256.plain()).await.is_good());
    for rsa in [rs256, ps256] {
        let mut header = rsa.header();
        header["alg"] = json!("ES256");
        assert!(!upstream.verdict(&rsa.forged(&header, &claims())).await.is_good());
        assert!(!upstream.verdict(&rsa.plain()).await.is_good());
    }
    assert!(!upstream.verdict(&eddsa.plain()).await.is_good());
}
