//! Tokens: real ones of a signer's, and others of the same keys.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tollgate::{
    config::{
        Problems, Source, Sourced,
        signer::{Algorithm, SignerIndex, SignerSpec},
    },
    jwt::{Facts, JwtLive, Now, Signers, SigningKey, Target, Token},
};

/// A signer with one key.
pub struct Maker {
    /// Its key.
    pub key: SigningKey,
    signers: Signers,
}

impl Maker {
    /// Its tokens are bound to nothing.
    pub fn new(algorithm: Algorithm) -> Self {
        Self::with(algorithm, "")
    }

    /// `more` goes into the signer's YAML, as `bind: [method]`.
    pub fn with(algorithm: Algorithm, more: &str) -> Self {
        let key = SigningKey::generate(algorithm).unwrap();
        let signers = signers(&key, algorithm, more);
        Self { key, signers }
    }

    /// A token for `GET /`, as a signer for another algorithm makes it of the same key.
    pub fn confused(&self, algorithm: Algorithm) -> String {
        value(&signers(&self.key, algorithm, ""), &facts())
    }

    /// The value of the field for a request, as the gateway makes it.
    pub fn token(&self, request: Target<'_>, body: Option<[u8; 32]>) -> String {
        value(&self.signers, &Facts { request, body, ..facts() })
    }

    /// A token for `GET /`.
    pub fn plain(&self) -> String {
        value(&self.signers, &facts())
    }

    /// A token of this key that says something else than the gateway would.
    pub fn forged(&self, header: &Value, claims: &Value) -> String {
        self.key.compact(header.to_string().as_bytes(), claims.to_string().as_bytes()).unwrap()
    }

    /// The header of its tokens.
    pub fn header(&self) -> Value {
        let key = &self.key;
        json!({ "typ": "JWT", "alg": key.algorithm().name(), "kid": key.public.kid.as_str() })
    }

    /// The key set that the gateway publishes.
    pub fn key_set(&self) -> Value {
        serde_json::from_slice(&self.signers.key_set(Now::read()).body).unwrap()
    }
}

fn value(signers: &Signers, facts: &Facts<'_>) -> String {
    let signer = signers.get(SignerIndex(0)).unwrap();
    let value = match signer.token(facts, Now::read()).unwrap() {
        Token::Ready(value) => value,
        Token::Draft(draft) => draft.sign().unwrap(),
    };
    value.to_str().unwrap().to_owned()
}

fn signers(key: &SigningKey, algorithm: Algorithm, more: &str) -> Signers {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.pem");
    fs::write(&file, key.to_pem().unwrap()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let yaml = format!(
        "{{ name: default, issuer: {ISSUER:?}, keys: {:?}, algorithm: {algorithm}, {more} }}",
        folder.path()
    );
    let spec: SignerSpec = serde_yaml::from_str(&yaml).unwrap();
    let source = Source::file("tollgate.yaml").key("signers").entry(0);
    let mut problems = Problems::default();
    let (specs, live) = ([Sourced { source, spec: spec.into() }], JwtLive::default());
    let signers = Signers::build(&specs, &|path| path.to_owned(), &live, Now::read(), &mut problems);
    assert!(problems.is_empty(), "{problems}");
    signers
}

/// The key set of all of these.
pub fn key_set<'a>(makers: impl IntoIterator<Item = &'a Maker>) -> Value {
    let keys = makers.into_iter().flat_map(|maker| maker.key_set()["keys"].as_array().unwrap().clone());
    json!({ "keys": keys.collect::<Vec<_>>() })
}

/// One of each algorithm; keys of RSA take long to make.
pub static MAKERS: LazyLock<[Maker; 4]> = LazyLock::new(|| Algorithm::ALL.map(Maker::new));

/// What a good token says now, and nothing of its request.
pub fn claims() -> Value {
    let now = now();
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "anonymous", "iat": now, "nbf": now, "exp": now + 30, "jti": "x" })
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn facts() -> Facts<'static> {
    Facts {
        upstream: AUDIENCE,
        route: "orders-route",
        client: IpAddr::from([192, 0, 2, 1]),
        zone: None,
        tenant: None,
        vpc_endpoint: None,
        consumer: None,
        scope: None,
        certificate: None,
        token: None,
        request: Target { method: "GET", scheme: "http", host: "orders.test", path: b"/", query: None },
        body: None,
    }
}

pub const ISSUER: &str = "https://gateway.test";
pub const AUDIENCE: &str = "orders";
