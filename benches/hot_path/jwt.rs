//! What a token costs, beside what the library's own signature does.
//!
//! A bound token may cost 1.15 times the signature alone, one that is used again
//! 300 ns. Compare `raw` with `openssl speed ecdsap256 ed25519 rsa2048` of the machine.

use std::{
    hint::black_box,
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    time::{Duration, UNIX_EPOCH},
};

use boring::{
    hash::MessageDigest,
    pkey::{PKey, Private},
    sign::Signer as RawSigner,
};
use http::HeaderValue;
use serde_json::json;
use tollgate::{
    config::{Problems, Source, Sourced, signer::Algorithm},
    jwt::{Consumer, Draft, Facts, JwtLive, Now, Signer, Signers, SigningKey, Target, Token, encode},
};

use crate::{Bench, allocations, promise};

/// What must not allocate.
pub fn promises() -> bool {
    let unbound = Gateway::new(Algorithm::Es256, &[]);
    let bound = Gateway::new(Algorithm::Es256, &["method", "path", "query"]);
    let now = Now::read();
    drop((unbound.token(now), bound.token(now)));
    let kept = promise("token that is used again", allocations(|| drop(black_box(unbound.token(now)))));
    // Its own bytes alone; BoringSSL's are not Rust's to count.
    let signed = allocations(|| drop(black_box(bound.token(now))));
    println!("allocations per bound token: {signed}, its bytes");
    kept && signed == 1
}

/// Measures them.
pub fn measure(criterion: &mut Bench) {
    let mut group = criterion.benchmark_group("jwt");
    for algorithm in Algorithm::ALL {
        let gateway = Gateway::new(algorithm, &["method", "path", "query"]);
        let (token, now) = (gateway.token(Now::read()), Now::read());
        let input = token.as_bytes();
        let input = input.get(..input.iter().rposition(|b| *b == b'.').unwrap()).unwrap().to_vec();
        group.bench_function(format!("raw/{algorithm}"), |bencher| {
            let mut room = [0; 512];
            bencher.iter(|| raw(&gateway.key, algorithm, black_box(&input), &mut room));
        });
        group.bench_function(format!("bound/{algorithm}"), |bencher| {
            bencher.iter(|| gateway.token(black_box(now)));
        });
    }
    let gateway = Gateway::new(Algorithm::Es256, &["method", "path", "query"]);
    group.bench_function("draft", |bencher| bencher.iter(|| gateway.draft(black_box(Now::read()))));
    let gateway = Gateway::new(Algorithm::Es256, &[]);
    let now = Now::read();
    group.bench_function("again", |bencher| bencher.iter(|| gateway.token(black_box(now))));
    let bytes = [0xa5; 300];
    group.bench_function("base64url/300", |bencher| bencher.iter(|| encode(black_box(&bytes))));
    group.bench_function("base64url/300 of BoringSSL", |bencher| {
        bencher.iter(|| boring::base64::encode_block(black_box(&bytes)));
    });
    group.finish();
}

/// As the library signs: nothing but the signature.
fn raw(key: &PKey<Private>, algorithm: Algorithm, input: &[u8], room: &mut [u8]) -> usize {
    let mut signer = match algorithm {
        Algorithm::EdDsa => RawSigner::new_without_digest(key).unwrap(),
        _ => RawSigner::new(MessageDigest::sha256(), key).unwrap(),
    };
    signer.sign_oneshot(room, input).unwrap()
}

struct Gateway {
    signers: Signers,
    key: PKey<Private>,
}

impl Gateway {
    fn new(algorithm: Algorithm, bind: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pem = SigningKey::generate(algorithm).unwrap().to_pem().unwrap();
        let path = folder.path().join("a.pem");
        std::fs::write(&path, &pem).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let spec = json!({
            "name": "default", "issuer": "https://gateway.example.com", "keys": folder.path(),
            "algorithm": algorithm, "bind": bind, "claims": ["tenant", "vpce", "consumer", "route"],
        });
        let source = Source::file("bench.yaml");
        let spec = Sourced { source, spec: std::sync::Arc::new(serde_json::from_value(spec).unwrap()) };
        let mut problems = Problems::default();
        let resolve = |path: &std::path::Path| path.to_owned();
        let now = Now { wall: UNIX_EPOCH + Duration::from_secs(1_800_000_000), ..Now::read() };
        let signers = Signers::build(&[spec], &resolve, &JwtLive::default(), now, &mut problems);
        assert!(!problems.has_errors(), "{problems}");
        Self { signers, key: PKey::private_key_from_pem(&pem).unwrap() }
    }

    fn signer(&self) -> &Signer {
        self.signers.iter().next().unwrap()
    }

    fn token(&self, now: Now) -> HeaderValue {
        match self.signer().token(&facts(), now).unwrap() {
            Token::Ready(value) => value,
            Token::Draft(draft) => draft.sign().unwrap(),
        }
    }

    /// A bound token is signed each time.
    fn draft(&self, now: Now) -> Option<Draft> {
        match self.signer().token(&facts(), now).unwrap() {
            Token::Ready(_) => None,
            Token::Draft(draft) => Some(draft),
        }
    }
}

fn facts() -> Facts<'static> {
    Facts {
        upstream: "orders",
        route: "orders",
        client: IpAddr::from([192, 0, 2, 1]),
        zone: Some("use1-az1"),
        tenant: Some("billing"),
        vpc_endpoint: Some("vpce-08d2bf15fac5001c9"),
        consumer: Some(Consumer { id: "6f1c1d7e", name: "alice" }),
        scope: None,
        certificate: None,
        token: None,
        request: Target {
            method: "POST",
            scheme: "http",
            host: "api.example.com",
            path: b"/orders/4711/items",
            query: Some(b"page=2&size=50"),
        },
        body: None,
    }
}
