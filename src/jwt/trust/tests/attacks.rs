//! What attackers of JWT libraries tried, each against the verifier.

use serde_json::{Value, json};

use super::*;
use crate::jwt::{encode, forge, forge_hs256};

/// A token's three parts, changed.
fn with_part(token: &str, part: usize, change: impl FnOnce(&str) -> String) -> String {
    let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    parts[part] = change(&parts[part]);
    parts.join(".")
}

#[test]
fn a_token_that_nobody_signed_does_not_count() {
    let issuer = Issuer::new(Algorithm::Rs256, "");
    let payload = claims(json!({})).to_string();
    for alg in ["none", "None", "NONE", "nOnE", "", "HS256", "HS512", "ES256K", "RSA-OAEP", "rs256", "RS256 "]
    {
        let mut header = issuer.header();
        header["alg"] = json!(alg);
        let header = header.to_string();

        let unsigned = forge(header.as_bytes(), payload.as_bytes(), b"");
        assert_eq!(issuer.refuses(&unsigned), Some(Refused::Algorithm), "{alg}");
        let signed = issuer.key.compact(header.as_bytes(), payload.as_bytes()).unwrap();
        assert_eq!(issuer.refuses(&signed), Some(Refused::Algorithm), "{alg}");
    }
    let stripped = with_part(&issuer.token(json!({})), 2, |_| String::new());
    assert_eq!(issuer.refuses(&stripped), Some(Refused::Signature));
    for alg in [json!(null), json!(1), json!(["RS256"])] {
        let header = json!({ "alg": alg }).to_string();
        let token = issuer.key.compact(header.as_bytes(), payload.as_bytes()).unwrap();
        assert_eq!(issuer.refuses(&token), Some(Refused::Algorithm), "{alg}");
    }
}

#[test]
fn a_public_key_is_no_secret() {
    let issuer = Issuer::new(Algorithm::Rs256, "");
    let payload = claims(json!({})).to_string();
    let (pem, set) = (issuer.key.public_pem().unwrap(), set(&[&issuer.key]));
    let trimmed = String::from_utf8(pem.clone()).unwrap().trim().to_owned();
    for secret in [&pem[..], trimmed.as_bytes(), set.as_bytes(), issuer.key.public.to_json().as_bytes(), b""]
    {
        let mut header = issuer.header();
        header["alg"] = json!("HS256");

        let token = forge_hs256(header.to_string().as_bytes(), payload.as_bytes(), secret).unwrap();

        assert_eq!(issuer.refuses(&token), Some(Refused::Algorithm));
    }
}

#[test]
fn a_key_takes_no_algorithm_but_its_own() {
    for (own, said) in [
        (Algorithm::Rs256, "PS256"),
        (Algorithm::Ps256, "RS256"),
        (Algorithm::Es256, "EdDSA"),
        (Algorithm::Es256, "RS256"),
        (Algorithm::EdDsa, "ES256"),
        (Algorithm::Es256, "ES384"),
    ] {
        let issuer = Issuer::new(own, "algorithms: [RS256, PS256, ES256, ES384, EdDSA]");
        let mut header = issuer.header();
        header["alg"] = json!(said);

        let token = issuer.signed(header, &claims(json!({})));

        assert_eq!(issuer.refuses(&token), Some(Refused::Algorithm), "{own} as {said}");
    }
    let listed = Issuer::new(Algorithm::Es256, "algorithms: [RS256]");
    assert_eq!(listed.refuses(&listed.token(json!({}))), Some(Refused::Algorithm));
}

#[test]
fn a_kid_is_a_name_and_nothing_else() {
    let issuer = Issuer::new(Algorithm::Es256, "");
    let kid = issuer.key.public.kid.as_str().to_owned();
    for bad in [
        json!("../../../../dev/null"),
        json!("/proc/self/environ"),
        json!("' OR 1=1 --"),
        json!("x' UNION SELECT 'secret"),
        json!("https://evil.test/jwks"),
        json!("|/usr/bin/id"),
        json!(format!("{kid} ")),
        json!(format!("{kid}\u{0}")),
        json!(kid.to_ascii_uppercase()),
        json!(""),
        json!("k".repeat(10_000)),
    ] {
        let token = issuer.signed(json!({ "alg": "ES256", "kid": bad }), &claims(json!({})));
        assert_eq!(issuer.refuses(&token), Some(Refused::UnknownKey), "{bad:.60}");
    }
    for bad in [json!(0), json!([kid]), json!({ "kid": kid }), json!(true), Value::Null] {
        let token = issuer.signed(json!({ "alg": "ES256", "kid": bad }), &claims(json!({})));
        assert_eq!(issuer.refuses(&token), Some(Refused::Json), "{bad}");
    }
}

#[test]
fn a_token_brings_no_key_along() {
    let (issuer, thief) = (Issuer::new(Algorithm::Es256, ""), Issuer::new(Algorithm::Es256, ""));
    let jwk: Value = serde_json::from_str(&thief.key.public.to_json()).unwrap();
    for member in [
        json!({ "jwk": jwk }),
        json!({ "jku": "https://evil.test/jwks" }),
        json!({ "x5u": "https://evil.test/chain.pem" }),
        json!({ "x5c": ["MIIB"] }),
        json!({ "x5t#S256": "x" }),
    ] {
        let mut header = issuer.header();
        header.as_object_mut().unwrap().extend(member.as_object().unwrap().clone());

        let stolen = thief.signed(header.clone(), &claims(json!({})));
        assert_eq!(issuer.refuses(&stolen), Some(Refused::Signature), "{member}");
        // It says so, and that is all.
        assert_eq!(issuer.refuses(&issuer.signed(header, &claims(json!({})))), None, "{member}");
    }
    let unnamed = thief.signed(json!({ "alg": "ES256", "jwk": jwk }), &claims(json!({})));
    assert_eq!(issuer.refuses(&unnamed), Some(Refused::Signature));
}

#[test]
fn an_extension_that_nobody_knows_is_refused() {
    let issuer = Issuer::new(Algorithm::Es256, "");
    for crit in [json!(["exp"]), json!(["b64"]), json!([]), json!("exp"), Value::Null] {
        let mut header = issuer.header();
        header["crit"] = crit.clone();
        header["b64"] = json!(false);
        assert_eq!(
            issuer.refuses(&issuer.signed(header, &claims(json!({})))),
            Some(Refused::Critical),
            "{crit}"
        );
    }
}

#[test]
fn json_has_one_reading_and_an_end() {
    let issuer = Issuer::new(Algorithm::Es256, "");
    let header = issuer.header().to_string();
    let sign =
        |header: &str, payload: &str| issuer.key.compact(header.as_bytes(), payload.as_bytes()).unwrap();
    let payload = claims(json!({})).to_string();
    let twice = format!(r#"{{"sub":"mallory",{}"#, &payload[1..]);
    let deep = format!(r#"{{"x":{}1{},{}"#, "[".repeat(40), "]".repeat(40), &payload[1..]);
    for bad in [&twice, &deep, "[]", "null", "\"x\"", "{", "", &format!("{payload}{payload}"), "\u{feff}{}"] {
        assert_eq!(issuer.refuses(&sign(&header, bad)), Some(Refused::Json), "{bad:.60}");
    }
    let other = format!(r#"{{"alg":"none",{}"#, &header[1..]);
    assert_eq!(issuer.refuses(&sign(&other, &payload)), Some(Refused::Json));

    let huge = issuer.token(json!({ "x": "y".repeat(13_000) }));
    assert_eq!(issuer.refuses(&huge), Some(Refused::TooLong));
    assert_eq!(issuer.refuses(&"a.b.c".repeat(1 << 16)), Some(Refused::NoToken));
}

#[test]
fn a_part_has_one_spelling() {
    let issuer = Issuer::new(Algorithm::Es256, "");
    let token = issuer.token(json!({}));
    for part in 0..3 {
        for change in [
            |text: &str| format!("{text}="),
            |text: &str| format!("{text}\n"),
            |text: &str| format!(" {text}"),
            |text: &str| format!("{text}+"),
            |text: &str| format!("{text}/"),
            |text: &str| format!("{text}%3D"),
        ] {
            let refused = issuer.refuses(&with_part(&token, part, change));
            assert_eq!(refused, Some(Refused::Encoding), "{part}");
        }
    }
    // The last letter of 64 bytes has four bits that stand for nothing.
    let same_bytes = with_part(&token, 2, |text| {
        let last = text.chars().last().unwrap();
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let next = alphabet.chars().nth(alphabet.find(last).unwrap() + 1).unwrap();
        format!("{}{next}", &text[..text.len() - 1])
    });
    assert_eq!(issuer.refuses(&same_bytes), Some(Refused::Encoding));
}

#[test]
fn a_signature_has_one_length_and_two_numbers_that_are_not_zero() {
    let issuer = Issuer::new(Algorithm::Es256, "");
    let token = issuer.token(json!({}));
    let good = crate::jwt::decode(token.rsplit_once('.').unwrap().1.as_bytes()).unwrap();
    let (r, s) = good.split_at(32);
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let zero = [0; 32];
    let der = [&[0x30, 68, 2, 32][..], r, &[2, 32], s].concat();
    let long = [&[0; 33][..], &good[..]].concat();
    for bad in [
        // CVE-2022-21449.
        [zero, zero].concat(),
        [&zero[..], s].concat(),
        [r, &zero].concat(),
        [order, order].concat(),
        [&zero[..], &order].concat(),
        [r, &order].concat(),
        [&[0xff; 32][..], s].concat(),
        good[..63].to_vec(),
        good[1..].to_vec(),
        [&good[..], &[0]].concat(),
        [&[0], &good[..]].concat(),
        vec![],
        vec![0],
        der,
        long,
    ] {
        let forged = with_part(&token, 2, |_| encode(&bad));
        assert_eq!(issuer.refuses(&forged), Some(Refused::Signature), "{bad:x?}");
    }
    let rsa = Issuer::new(Algorithm::Rs256, "");
    let token = rsa.token(json!({}));
    for length in [0, 1, 255, 257, 512] {
        let forged = with_part(&token, 2, |_| encode(&vec![1; length]));
        assert_eq!(rsa.refuses(&forged), Some(Refused::Signature), "{length}");
    }
}

#[test]
fn what_was_signed_is_what_is_read() {
    let (issuer, other) = (Issuer::new(Algorithm::Es256, ""), Issuer::new(Algorithm::Es256, ""));
    let token = issuer.token(json!({}));
    let richer = encode(claims(json!({ "sub": "root" })).to_string().as_bytes());

    assert_eq!(issuer.refuses(&with_part(&token, 1, |_| richer)), Some(Refused::Signature));
    let spaced = encode(issuer.header().to_string().replace(':', ": ").as_bytes());
    assert_eq!(issuer.refuses(&with_part(&token, 0, |_| spaced)), Some(Refused::Signature));
    assert_eq!(other.refuses(&token), Some(Refused::UnknownKey));
    // A token that was good, then changed, is looked at anew.
    assert_eq!(issuer.refuses(&token), None);
    let changed = with_part(&token, 2, |text| text.replacen(|c: char| c != 'A', "A", 1));
    assert_eq!(issuer.refuses(&changed), Some(Refused::Signature));
}

#[test]
fn what_is_no_token_says_so() {
    let issuer = Issuer::new(Algorithm::Es256, "");
    let token = issuer.token(json!({}));
    for bad in
        ["", ".", "..", "a", "a.b", ".b.c", &format!("{token}."), &format!("{token}.x.y"), "tg_0123456789"]
    {
        assert_eq!(issuer.refuses(bad), Some(Refused::NoToken), "{bad:.20}");
    }
    let general = r#"{"payload":"e30","signatures":[{"protected":"e30","signature":"AA"}]}"#;
    assert_eq!(issuer.refuses(general), Some(Refused::NoToken));
}
