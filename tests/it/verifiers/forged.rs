//! Signatures, algorithms and the claims that say for whom and when.

use serde_json::{Value, json};
use tollgate::{
    config::signer::Algorithm,
    jwt::{decode, forge, forge_hs256},
};

use super::{
    language::Language,
    tokens::{AUDIENCE, ISSUER, MAKERS, Maker, claims, key_set, now},
    upstream::{Upstream, Verdict},
};

pub async fn each_algorithm_of_ours_is_accepted(language: Language) {
    let makers = &*MAKERS;
    let upstream = Upstream::start(language, &key_set(makers), &[("ALGORITHMS", EVERY)]).await;

    for maker in makers {
        let verdict = upstream.verdict(&maker.plain()).await;

        let Verdict::Good(claims) = verdict else { panic!("{:?}: {verdict:?}", maker.key) };
        let said = ["iss", "aud", "sub"].map(|name| claims[name].as_str().unwrap());
        assert_eq!(said, [ISSUER, AUDIENCE, "anonymous"]);
    }
}

pub async fn a_token_of_a_key_for_an_algorithm_that_is_not_allowed_is_refused(language: Language) {
    let makers = &*MAKERS;
    let upstream = Upstream::start(language, &key_set(makers), &[("ALGORITHMS", "EdDSA,PS256")]).await;

    for maker in makers {
        let allowed = matches!(maker.key.algorithm(), Algorithm::EdDsa | Algorithm::Ps256);

        assert_eq!(upstream.verdict(&maker.plain()).await.is_good(), allowed, "{:?}", maker.key);
    }
}

pub async fn what_is_wrong_with_a_token_refuses_it(language: Language) {
    let makers = &*MAKERS;
    let upstream = Upstream::start(language, &key_set(makers), &[("ALGORITHMS", EVERY)]).await;

    for maker in makers {
        let good = maker.forged(&maker.header(), &claims());
        assert!(upstream.verdict(&good).await.is_good(), "{:?}", maker.key);
        for (what, token) in wrong_claims(maker).into_iter().chain(wrong_proofs(maker)) {
            let verdict = upstream.verdict(&token).await;

            let Verdict::Refused(why) = verdict else { panic!("{:?} {what}: {verdict:?}", maker.key) };
            assert!(!why.is_empty(), "{what}");
            assert!(!token.split('.').any(|part| part.len() > 20 && why.contains(part)), "{what}: {why}");
        }
    }
    assert!(!upstream.stderr().contains("Traceback"), "{}", upstream.stderr());
}

pub async fn a_key_verifies_with_its_own_algorithm_alone(language: Language) {
    let [.., rs256, ps256] = &*MAKERS;
    let upstream = Upstream::start(language, &key_set([rs256, ps256]), &[("ALGORITHMS", EVERY)]).await;

    for (maker, other) in [(rs256, Algorithm::Ps256), (ps256, Algorithm::Rs256)] {
        // It is what its header says, and signed with the key that it names.
        let token = maker.confused(other);
        let header = decode(token.split('.').next().unwrap().as_bytes()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!((&header["alg"], &header["kid"]), (&json!(other.name()), &maker.header()["kid"]));

        let verdict = upstream.verdict(&token).await;

        assert!(!verdict.is_good(), "{:?}: {verdict:?}", maker.key);
    }
    assert!(upstream.verdict(&rs256.plain()).await.is_good());
}

pub async fn clocks_may_differ_by_five_seconds(language: Language) {
    let maker = &MAKERS[0];
    let upstream = Upstream::start(language, &maker.key_set(), &[]).await;
    let shifted = |name: &str, seconds: i64| {
        let time = now().checked_add_signed(seconds).unwrap();
        maker.forged(&maker.header(), &with(claims(), name, json!(time)))
    };

    // As close to the five seconds as a busy machine lets it be.
    for (name, seconds) in [("exp", -2), ("nbf", 4), ("iat", 4)] {
        assert!(upstream.verdict(&shifted(name, seconds)).await.is_good(), "{name} {seconds}");
    }
    for (name, seconds) in [("exp", -6), ("nbf", 60), ("iat", 60)] {
        assert!(!upstream.verdict(&shifted(name, seconds)).await.is_good(), "{name} {seconds}");
    }
}

/// Signed with the right key, and not for this upstream at this time.
fn wrong_claims(maker: &Maker) -> Vec<(String, String)> {
    let past = now() - 3600;
    let changed = [
        ("iss", json!("https://other.test")),
        ("iss", json!(format!("{ISSUER}/"))),
        ("iss", json!(["https://other.test"])),
        ("aud", json!("billing")),
        ("aud", json!("")),
        ("aud", json!(["billing"])),
        ("exp", json!(past)),
        ("exp", json!("tomorrow")),
        ("exp", Value::Null),
        ("nbf", json!(now() + 3600)),
        ("nbf", json!("yesterday")),
        ("iat", json!(now() + 3600)),
        ("iat", json!("yesterday")),
    ];
    let changed = changed.map(|(name, value)| (format!("{name} {value}"), with(claims(), name, value)));
    let missing = ["iss", "aud", "exp", "iat"].map(|name| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        (format!("no {name}"), claims)
    });
    let others = [("a list", json!([claims()])), ("a text", json!("x"))];
    let others = others.map(|(what, payload)| (what.to_owned(), payload));
    let all = changed.into_iter().chain(missing).chain(others);
    all.map(|(what, claims)| (what, maker.forged(&maker.header(), &claims))).collect()
}

/// With the right claims, and not signed by the key that it names.
fn wrong_proofs(maker: &Maker) -> Vec<(String, String)> {
    let (header, payload) = (maker.header(), claims().to_string().into_bytes());
    let other = Maker::new(match maker.key.algorithm() {
        // One that is made fast.
        Algorithm::Rs256 | Algorithm::Ps256 => Algorithm::Es256,
        same => same,
    });
    let named = |name: &str, value: Value| with(header.clone(), name, value);
    let (alg, kid) = (|alg: &str| named("alg", json!(alg)), |kid: Value| named("kid", kid));
    let jwk = maker.key_set()["keys"][0].clone();
    let jwk_text = jwk.to_string();
    let pem = maker.key.public_pem().unwrap();
    let without_kid = json!({ "typ": "JWT", "alg": maker.key.algorithm().name() });
    let own_key = with(other.header(), "jwk", other.key_set()["keys"][0].clone());
    let hs256 = |header: &Value, secret: &[u8]| forge_hs256(header.to_string().as_bytes(), &payload, secret);
    let good = maker.forged(&header, &claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut tokens = vec![
        ("alg none", forge(alg("none").to_string().as_bytes(), &payload, b"")),
        ("alg None", forge(alg("None").to_string().as_bytes(), &payload, b"")),
        ("no signature", format!("{signed}.")),
        ("a part less", signed.to_owned()),
        ("a part more", format!("{good}.{signature}")),
        ("a signature of one byte", format!("{signed}.AA")),
        ("a signature of zeros", forge(header.to_string().as_bytes(), &payload, &[0; 64])),
        ("HS256, the PEM is the secret", hs256(&alg("HS256"), &pem).unwrap()),
        ("HS256, the JWK is the secret", hs256(&alg("HS256"), jwk_text.as_bytes()).unwrap()),
        ("HS256 that says our algorithm", hs256(&header, &pem).unwrap()),
        ("HS256 without kid", hs256(&json!({ "alg": "HS256" }), &pem).unwrap()),
        ("an unknown kid", maker.forged(&kid(json!("unknown")), &claims())),
        ("an empty kid", maker.forged(&kid(json!("")), &claims())),
        ("a kid that is a number", maker.forged(&kid(json!(7)), &claims())),
        ("a kid of every object", maker.forged(&kid(json!("__proto__")), &claims())),
        ("a kid that is a path", maker.forged(&kid(json!("../../dev/null")), &claims())),
        ("no kid", maker.forged(&without_kid, &claims())),
        ("no alg", maker.forged(&json!({ "kid": header["kid"] }), &claims())),
        ("crit", maker.forged(&named("crit", json!(["exp"])), &claims())),
        ("crit b64", maker.forged(&with(named("crit", json!(["b64"])), "b64", json!(false)), &claims())),
        ("another's key under our kid", other.forged(&header, &claims())),
        ("another's key under its kid", other.forged(&other.header(), &claims())),
        ("a key that it brings itself", other.forged(&own_key, &claims())),
        ("empty", String::new()),
        ("no token", "nothing".to_owned()),
        ("dots", "..".to_owned()),
        ("twice", format!("{good},{good}")),
        ("padded", format!("{good}==")),
        ("Bearer", format!("Bearer {good}")),
    ];
    for other in Algorithm::ALL.into_iter().filter(|other| *other != maker.key.algorithm()) {
        tokens.push(("another algorithm in the header", maker.forged(&alg(other.name()), &claims())));
    }
    tokens.into_iter().map(|(what, token)| (what.to_owned(), token)).collect()
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

const EVERY: &str = "ES256,EdDSA,RS256,PS256";
