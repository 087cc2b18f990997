//! The vectors of the RFCs, and everything that can be wrong with a token.

use serde_json::json;

use super::*;
use crate::jwt::{
    KeySetFlaw, SigningKey, forge, forge_hs256,
    testing::{NOON, RSA, at},
};

/// The signature and nothing else; the claims of the RFCs expired in 2011.
fn signed(token: &str, keys: &str) -> Flaw {
    let keys = PublicKeys::parse(keys.as_bytes()).unwrap();
    verify(token, &keys, &Expected::default(), at(NOON)).unwrap_err()
}

const CLAIMS: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

#[test]
fn the_token_of_rfc_7515_appendix_a_3_is_signed_by_its_key() {
    let key = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

    let flaw = signed(&format!("eyJhbGciOiJFUzI1NiJ9.{CLAIMS}.{signature}"), key);

    assert!(matches!(flaw, Flaw::Expired(_)), "{flaw}");
    let other = signature.replacen('D', "E", 1);
    assert_eq!(signed(&format!("eyJhbGciOiJFUzI1NiJ9.{CLAIMS}.{other}"), key), Flaw::Signature);
}

#[test]
fn the_token_of_rfc_7515_appendix_a_2_is_signed_by_its_key() {
    let key = r#"{"keys":[{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}]}"#;
    let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

    let flaw = signed(&format!("eyJhbGciOiJSUzI1NiJ9.{CLAIMS}.{signature}"), key);

    assert!(matches!(flaw, Flaw::Expired(_)), "{flaw}");
    let other = signature.replacen('c', "d", 1);
    assert_eq!(signed(&format!("eyJhbGciOiJSUzI1NiJ9.{CLAIMS}.{other}"), key), Flaw::Signature);
}

#[test]
fn the_signature_of_rfc_8037_appendix_a_4_comes_out_and_verifies() {
    let private = crate::jwt::decode(b"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    // PrivateKeyInfo of RFC 8410.
    let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let key = boring::pkey::PKey::private_key_from_der(&[&prefix[..], &private].concat()).unwrap();
    let key = SigningKey::new(key, Algorithm::EdDsa).unwrap();

    let token = key.compact(br#"{"alg":"EdDSA"}"#, b"Example of Ed25519 signing").unwrap();

    let expected = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(token, expected);
    let set = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    assert_eq!(signed(&token, set), Flaw::Json(Part::Claims));
}

/// A signer, what it publishes, and someone else.
struct Keys {
    own: SigningKey,
    other: SigningKey,
    set: PublicKeys,
}

impl Keys {
    fn new(algorithm: Algorithm) -> Self {
        let [own, other] = [(); 2].map(|()| match algorithm.is_slow() {
            true => {
                let key = boring::pkey::PKey::private_key_from_pem(RSA.as_bytes()).unwrap();
                SigningKey::new(key, algorithm).unwrap()
            }
            false => SigningKey::generate(algorithm).unwrap(),
        });
        let set = PublicKeys::parse(format!(r#"{{"keys":[{}]}}"#, own.public.to_json()).as_bytes()).unwrap();
        Self { own, other, set }
    }

    fn header(&self) -> Vec<u8> {
        let (alg, kid) = (self.own.algorithm(), &self.own.public.kid);
        format!(r#"{{"alg":"{alg}","kid":"{kid}"}}"#).into_bytes()
    }

    fn told(&self, token: &str) -> String {
        let expected = Expected {
            issuer: Some("https://gw.test"),
            audience: Some("orders"),
            leeway: Duration::from_secs(5),
        };
        match verify(token, &self.set, &expected, at(NOON)) {
            Ok(_) => "good".to_owned(),
            Err(flaw) => flaw.to_string(),
        }
    }

    fn claiming(&self, change: &[(&str, Value)]) -> String {
        let mut claims = json!({ "iss": "https://gw.test", "aud": "orders", "iat": NOON, "exp": NOON + 30 });
        for (name, value) in change {
            claims[*name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.own.compact(&self.header(), claims.to_string().as_bytes()).unwrap()
    }
}

#[test]
fn every_claim_that_is_wrong_is_told() {
    let keys = Keys::new(Algorithm::Es256);
    let told = |name, value| keys.told(&keys.claiming(&[(name, value)]));

    assert_eq!(keys.told(&keys.claiming(&[])), "good");
    assert_eq!(told("exp", json!(NOON - 5)), "it expired 5 s ago");
    assert_eq!(told("exp", json!(NOON - 4)), "good");
    assert_eq!(told("exp", Value::Null), "there is no `exp`");
    assert_eq!(told("exp", json!("soon")), "`exp` is of a wrong type");
    assert_eq!(told("nbf", json!(NOON + 6)), "by `nbf` it counts in 6 s; do the clocks agree?");
    assert_eq!(told("iat", json!(NOON + 60)), "by `iat` it counts in 60 s; do the clocks agree?");
    assert_eq!(told("iat", json!(NOON + 5)), "good");
    assert_eq!(told("iss", json!("https://evil.test")), "it is of issuer `https://evil.test`");
    assert_eq!(told("iss", Value::Null), "there is no `iss`");
    assert_eq!(told("iss", json!(7)), "`iss` is of a wrong type");
    assert_eq!(told("aud", json!(["users", "search"])), "it is for `users`, `search`");
    assert_eq!(told("aud", json!(["users", "orders"])), "good");
    assert_eq!(told("aud", Value::Null), "there is no `aud`");
    assert_eq!(told("aud", json!(7)), "`aud` is of a wrong type");
}

#[test]
fn every_forged_header_is_told() {
    let keys = Keys::new(Algorithm::Es256);
    let kid = keys.own.public.kid.as_str();
    let token = keys.claiming(&[]);
    let payload = crate::jwt::decode(token.split('.').nth(1).unwrap().as_bytes()).unwrap();
    let signed =
        |header: Value| keys.told(&keys.own.compact(header.to_string().as_bytes(), &payload).unwrap());

    for none in ["none", "NoNe"] {
        let header = json!({ "alg": none }).to_string();
        assert_eq!(keys.told(&forge(header.as_bytes(), &payload, b"")), "it is not signed: `alg` is `none`");
    }
    let header = json!({ "alg": "HS256", "kid": kid }).to_string();
    assert_eq!(
        keys.told(&forge_hs256(header.as_bytes(), &payload, &keys.own.public_pem().unwrap()).unwrap()),
        "`HS256` signs with a shared secret, and a key set holds public keys alone"
    );
    assert_eq!(
        signed(json!({ "alg": "RS256", "kid": kid })),
        "the header says RS256, and the key that it names is P-256"
    );
    assert_eq!(
        signed(json!({ "alg": "ES384", "kid": kid })),
        "`ES384` is not one of ES256, EdDSA, RS256 and PS256"
    );
    assert_eq!(signed(json!({ "kid": kid })), "the header names no algorithm (`alg`)");
    assert_eq!(
        signed(json!({ "alg": "ES256", "kid": kid, "crit": ["exp"] })),
        "the header asks for an extension (`crit`) that is not known"
    );
    assert_eq!(signed(json!({ "alg": "ES256", "kid": "x" })), "no key of the set is called `x`");
    assert_eq!(signed(json!({ "alg": "ES256" })), "good");
    assert_eq!(
        keys.told(&keys.other.compact(&keys.header(), &payload).unwrap()),
        "the signature is not the key's: another signed it, or it was changed"
    );
}

#[test]
fn a_token_without_a_key_id_needs_a_set_where_one_key_could_be_meant() {
    let keys = Keys::new(Algorithm::Es256);
    let both = [&keys.own, &keys.other].map(|key| key.public.to_json()).join(",");
    let set = PublicKeys::parse(format!(r#"{{"keys":[{both}]}}"#).as_bytes()).unwrap();
    let token = keys.own.compact(br#"{"alg":"ES256"}"#, b"{}").unwrap();

    assert_eq!(verify(&token, &set, &Expected::default(), at(NOON)), Err(Flaw::NoKeyId));
}

#[test]
fn a_key_for_one_algorithm_does_not_verify_another() {
    let keys = Keys::new(Algorithm::Rs256);
    let kid = keys.own.public.kid.as_str();
    let header = json!({ "alg": "PS256", "kid": kid }).to_string();

    assert_eq!(
        keys.told(&keys.own.compact(header.as_bytes(), b"{}").unwrap()),
        "the header says PS256, and the key that it names is for `RS256`"
    );
}

#[test]
fn whatever_is_not_three_encoded_parts_is_told() {
    let keys = Keys::new(Algorithm::Es256);
    let token = keys.claiming(&[]);
    let parts: Vec<_> = token.split('.').collect();
    let told =
        |header: &str, claims: &str, signature: &str| keys.told(&[header, claims, signature].join("."));
    let der =
        "MEUCIQDZ0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000";

    assert_eq!(keys.told(""), "a token has 3 parts with dots between, and this has 1");
    assert_eq!(keys.told(&format!("{token}.x")), "a token has 3 parts with dots between, and this has 4");
    assert_eq!(told("!", parts[1], parts[2]), "the header is not base64url without padding");
    assert_eq!(told("e30=", parts[1], parts[2]), "the header is not base64url without padding");
    assert_eq!(told("W10", parts[1], parts[2]), "the header is no JSON object");
    assert_eq!(told(parts[0], parts[1], "?"), "the signature is not base64url without padding");
    assert_eq!(
        told(parts[0], parts[1], der),
        "the signature has 72 bytes and should have 64; of ES256 it is r and s, not DER"
    );
    assert_eq!(
        told(parts[0], parts[1], ""),
        "the signature has 0 bytes and should have 64; of ES256 it is r and s, not DER"
    );
    assert_eq!(
        told(parts[0], "e30", parts[2]),
        "the signature is not the key's: another signed it, or it was changed"
    );
    assert_eq!(
        keys.told(&keys.own.compact(&keys.header(), b"[]").unwrap()),
        "the claims part is no JSON object"
    );
}

#[test]
fn what_is_no_set_of_public_keys_is_told() {
    let told = |text: &str| PublicKeys::parse(text.as_bytes()).err();

    assert_eq!(told("hello"), Some(KeySetFlaw::NotAKeySet));
    assert_eq!(told("{}"), Some(KeySetFlaw::NotAKeySet));
    assert_eq!(told(r#"{"keys":[]}"#), Some(KeySetFlaw::NoKey));
    assert_eq!(told(r#"{"keys":[{"kty":"EC","crv":"P-521"}]}"#), Some(KeySetFlaw::NoKey));
    assert_eq!(told(r#"{"keys":[{"kty":"oct","k":"AA"}]}"#), Some(KeySetFlaw::Private));
    let point = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    let off_curve = format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"{point}","y":"{point}"}}]}}"#);
    assert_eq!(told(&off_curve), Some(KeySetFlaw::NoKey));
}

#[test]
fn no_signature_verifies_after_any_change_of_the_token() {
    for algorithm in Algorithm::ALL {
        let keys = Keys::new(algorithm);
        let token = keys.claiming(&[]);
        assert_eq!(keys.told(&token), "good", "{algorithm}");

        let step = if algorithm.is_slow() { 17 } else { 5 };
        for at in (0..token.len()).step_by(step) {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_ne!(keys.told(&changed), "good", "{algorithm}: {changed}");
        }
    }
}
