//! What a client's token costs, beside the library's own verification.
//!
//! Known again it may cost 500 ns, looked at anew 1.2 times the verification alone. Its
//! claims are those of a provider's access token: 700 to 1000 bytes in all.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use boring::{
    ecdsa::EcdsaSig,
    hash::MessageDigest,
    pkey::{PKey, Public},
    sha::sha256,
    sign::Verifier as RawVerifier,
};
use serde_json::json;
use tollgate::{
    config::signer::Algorithm,
    jwt::{
        Now, SigningKey, decode,
        trust::{Built, TrustLive, Verified, Verifier},
    },
    outward::connector,
};

use crate::{Bench, allocations, promise};

/// What must not allocate.
pub fn promises() -> bool {
    let client = Client::new(Algorithm::Rs256, 8192);
    client.verify();
    promise("token that is known again", allocations(|| drop(black_box(client.verify()))))
}

/// Measures them.
pub fn measure(criterion: &mut Bench) {
    let mut group = criterion.benchmark_group("trust");
    for algorithm in [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa] {
        let client = Client::new(algorithm, 0);
        group.bench_function(format!("raw/{algorithm}"), |bencher| bencher.iter(|| client.raw()));
        group.bench_function(format!("anew/{algorithm}"), |bencher| bencher.iter(|| client.verify()));
    }
    let client = Client::new(Algorithm::Rs256, 8192);
    client.verify();
    group.bench_function("again", |bencher| bencher.iter(|| client.verify()));
    group.finish();
}

struct Client {
    algorithm: Algorithm,
    verifier: Arc<Verifier>,
    token: String,
    key: PKey<Public>,
    signature: Vec<u8>,
    now: Now,
}

impl Client {
    fn new(algorithm: Algorithm, cache_tokens: u32) -> Self {
        let key = SigningKey::generate(algorithm).unwrap();
        let now = Now { wall: UNIX_EPOCH + Duration::from_secs(1_800_000_000), ..Now::read() };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        std::fs::write(&file, format!("{{\"keys\":[{}]}}", key.public.to_json())).unwrap();
        let issuer = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE";
        let spec = json!({
            "issuer": issuer, "audience": ["api"], "jwks_file": file, "cache_tokens": cache_tokens,
            "require": [{ "claim": "token_use", "one_of": ["access"] }], "scopes": ["orders/read"],
        });
        let built = Built { file: Some(file), authorities: None, tls: connector(Some(&[])).unwrap() };
        let spec = serde_json::from_value(spec).unwrap();
        let verifier = TrustLive::default().verifier(&spec, built).unwrap();
        let header = json!({ "alg": algorithm, "kid": key.public.kid.as_str(), "typ": "JWT" }).to_string();
        let claims = json!({
            "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "token_use": "access", "aud": "api", "iss": issuer,
            "scope": "openid profile orders/read orders/write", "auth_time": 1_799_999_000,
            "iat": 1_799_999_000, "exp": 1_800_003_600, "client_id": "7hqexampleclientid0123456",
            "cognito:groups": ["buyers", "eu-west-1_pool_partners"], "username": "aaaaaaaa-bbbb-cccc",
            "jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "origin_jti": "aaaaaaaa-bbbb-cccc-dddd-ffffffffffff",
        });
        let token = key.compact(header.as_bytes(), claims.to_string().as_bytes()).unwrap();
        let signature = decode(token.rsplit_once('.').unwrap().1.as_bytes()).unwrap();
        let key = PKey::public_key_from_pem(&key.public_pem().unwrap()).unwrap();
        Self { algorithm, verifier, token, key, signature, now }
    }

    fn verify(&self) -> Verified {
        self.verifier.verify(black_box(&self.token), self.now).unwrap()
    }

    /// As the library verifies: nothing but the signature, with its parts at hand.
    fn raw(&self) {
        let signed = black_box(self.token.as_bytes());
        let signed = &signed[..signed.iter().rposition(|b| *b == b'.').unwrap()];
        let is_good = match self.algorithm {
            Algorithm::Es256 => {
                let number = |bytes| boring::bn::BigNum::from_slice(bytes).unwrap();
                let (r, s) = self.signature.split_at(32);
                let pair = EcdsaSig::from_private_components(number(r), number(s)).unwrap();
                pair.verify(&sha256(signed), self.key.ec_key().unwrap().as_ref()).unwrap()
            }
            Algorithm::EdDsa => {
                let mut verifier = RawVerifier::new_without_digest(&self.key).unwrap();
                verifier.verify_oneshot(&self.signature, signed).unwrap()
            }
            _ => {
                let mut verifier = RawVerifier::new(MessageDigest::sha256(), &self.key).unwrap();
                verifier.verify_oneshot(&self.signature, signed).unwrap()
            }
        };
        assert!(is_good);
    }
}
