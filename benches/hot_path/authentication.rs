//! What it costs to know who asks by an API key, among 100,000 of them.
//!
//! A look-up may cost 200 ns, most of which is SHA-256 over one block.

use std::{hint::black_box, time::SystemTime};

use boring::sha::sha256;
use tollgate::{
    config::{Problems, Source, Sourced, api_keys::ApiKeySpec, authentication::AuthenticatorIndex},
    identity::{ApiKeys, KeyNames, NewKey},
};

use crate::{Bench, allocations, promise};

const KEYS: u32 = 100_000;

/// What must not allocate.
pub fn promises() -> bool {
    let (keys, some) = keys();
    let now = SystemTime::now();
    let found = |key: &str| drop(black_box(keys.find(key.as_bytes(), now).cloned()));
    promise("API key", allocations(|| found(&some[0])))
        && promise("unknown API key", allocations(|| found("tgk_nobody")))
}

/// Measures them.
pub fn measure(criterion: &mut Bench) {
    let (keys, some) = keys();
    let now = SystemTime::now();
    let mut group = criterion.benchmark_group("api_key");
    group.bench_function("sha256", |bencher| bencher.iter(|| sha256(black_box(some[0].as_bytes()))));
    // Another key each time, so that the table is not in the cache.
    let mut next = some.iter().cycle();
    group.bench_function("100k", |bencher| {
        bencher.iter(|| keys.find(next.next().unwrap().as_bytes(), black_box(now)).cloned());
    });
    group.bench_function("unknown", |bencher| {
        bencher.iter(|| keys.find(black_box(b"another gateway's key"), now).cloned());
    });
    group.finish();
}

fn made(number: u32) -> NewKey {
    let mut random = [0; 40];
    random.iter_mut().zip(sha256(&number.to_le_bytes())).for_each(|(to, from)| *to = from);
    NewKey::new(&random)
}

/// The table, and some of its keys.
fn keys() -> (ApiKeys, Vec<String>) {
    let spec = |number: u32| ApiKeySpec {
        consumer: format!("partner-{number}").parse().unwrap(),
        sha256: made(number).digest,
        tenant: None,
        limits: Vec::new(),
        scopes: vec!["orders:read".to_owned()],
        expires: None,
        revoked: false,
    };
    let source = Source::file("keys.yaml").key("keys");
    let specs: Vec<_> = (0..KEYS)
        .map(|number| Sourced { source: source.entry(number as usize), spec: spec(number).into() })
        .collect();
    let names = KeyNames { authenticator: AuthenticatorIndex(0), tenant: &|_| None, limit: &|_| None };
    let keys = ApiKeys::build(&specs, &names, &mut Problems::default()).unwrap();
    assert_eq!(keys.len(), KEYS as usize);
    let some = (0..KEYS).step_by(7).map(|number| made(number).key).collect();
    (keys, some)
}
