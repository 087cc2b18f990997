//! What the tests of this floor share: keys, folders, facts.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use boring::{asn1::Asn1Time, hash::MessageDigest, pkey::PKey, x509::X509};
use tempfile::TempDir;

use super::{Facts, JwtLive, Now, PublicKeys, Signers, SigningKey, Target};
use crate::config::{
    Problems, Source, Sourced,
    signer::{Algorithm, SignerSpec},
};

/// RSA takes long to make; one for all tests.
pub static RSA: LazyLock<String> = LazyLock::new(|| pem(Algorithm::Rs256));

/// A fresh key.
pub fn pem(algorithm: Algorithm) -> String {
    String::from_utf8(SigningKey::generate(algorithm).unwrap().to_pem().unwrap()).unwrap()
}

/// A certificate of this key, signed by itself.
pub fn certificate(key: &str) -> String {
    let key = PKey::private_key_from_pem(key.as_bytes()).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    String::from_utf8(builder.build().to_pem().unwrap()).unwrap()
}

/// A time at which tests begin.
pub fn start() -> Now {
    // Far enough from the steady clock's own beginning.
    let steady = Instant::now() + Duration::from_secs(100_000);
    Now { wall: UNIX_EPOCH + Duration::from_secs(NOON), steady }
}

pub const NOON: u64 = 1_800_000_000;

pub fn later(now: Now, secs: u64) -> Now {
    let passed = Duration::from_secs(secs);
    Now { wall: now.wall + passed, steady: now.steady + passed }
}

/// A folder of keys; each file as old as is said, seen from [`start`].
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn with(algorithm: Algorithm) -> Self {
        let folder = Self::new();
        folder.write("a.pem", &if algorithm.is_slow() { RSA.clone() } else { pem(algorithm) });
        folder
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub fn write_aged(&self, name: &str, text: &str, age: u64) {
        let path = self.write(name, text);
        let written = start().wall - Duration::from_secs(age);
        fs::File::open(path).unwrap().set_modified(written).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path().join(name)).unwrap();
    }
}

/// A signer's spec; `more` is YAML of a flow mapping.
pub fn spec(more: &str) -> Sourced<SignerSpec> {
    let name = if more.starts_with("name: ") { "" } else { "name: default, " };
    let text = format!("{{ issuer: https://gw.test, keys: keys, {name}{more} }}");
    let source = Source::file("tollgate.yaml").key("signers").entry(0);
    // Through JSON: read directly, `{ token: groups }` would have to be a YAML tag.
    let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    Sourced { source, spec: Arc::new(serde_json::from_value(value).unwrap()) }
}

/// The signers of one spec, or what is wrong with them, with `DIR` for the folder.
pub fn built(more: &str, folder: &Folder, live: &JwtLive, now: Now) -> Result<Signers, String> {
    let (signers, problems) = looked_at(more, folder, live, now);
    if problems.contains("error: ") { Err(problems) } else { Ok(signers.at_work(live, now)) }
}

/// As [`built`], not put to work; with everything that there is to say.
pub fn looked_at(more: &str, folder: &Folder, live: &JwtLive, now: Now) -> (Signers, String) {
    let mut problems = Problems::default();
    let signers = Signers::build(&[spec(more)], &|_| folder.path().to_owned(), live, now, &mut problems);
    let folder = folder.path().display().to_string();
    (signers, problems.to_string().replace(&folder, "DIR").replace("tollgate.yaml: signers[0].keys: ", ""))
}

pub fn verifiable(signers: &Signers, now: Now) -> PublicKeys {
    PublicKeys::parse(&signers.key_set(now).body).unwrap()
}

/// Of a request about which nothing is known.
pub fn facts() -> Facts<'static> {
    Facts {
        upstream: "orders",
        route: "orders-route",
        client: IpAddr::from([192, 0, 2, 1]),
        zone: None,
        tenant: None,
        vpc_endpoint: None,
        consumer: None,
        scope: None,
        certificate: None,
        token: None,
        request: Target { method: "POST", scheme: "http", host: "a.test", path: b"/orders/7", query: None },
        body: None,
    }
}

pub fn at(secs: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(secs)
}
