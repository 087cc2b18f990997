//! `tollgate keys`: files in, words and exit codes out.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json as json_of};
use tempfile::TempDir;

use tollgate::config::signer::Algorithm;

use crate::{
    signing::{jwks, pem, signing},
    support::{Gateway, Origin, PATIENCE, Request, eventually, metrics::Metrics, process::Exit},
};

#[tokio::test]
async fn generated_keys_are_listed_and_exported_under_the_same_name() {
    let folder = Folder::new();

    for (algorithm, name) in [("ES256", "a"), ("eddsa", "b"), ("RS256", "c")] {
        let made =
            folder.run(&["generate", "--algorithm", algorithm, "--name", name, "--out"], &["--json"]).await;
        let made = json(&made, 0);
        let pem = fs::metadata(folder.path().join(format!("{name}.pem"))).unwrap();
        assert_eq!(pem.permissions().mode() & 0o777, 0o600);
        assert!(made["file"].as_str().unwrap().ends_with(&format!("/{name}.pem")), "{made}");
    }

    let listed = json(&folder.run(&["list"], &["--json"]).await, 0);
    let exported = json(&folder.run(&["export"], &["--jwks"]).await, 0);
    let keys = listed["folders"][0]["keys"].as_array().unwrap();
    assert_eq!(keys.iter().map(|key| &key["algorithm"]).collect::<Vec<_>>(), ["ES256", "EdDSA", "RS256"]);
    let mut kids: Vec<_> = keys.iter().map(|key| key["kid"].as_str().unwrap()).collect();
    kids.sort_unstable();
    let published = exported["keys"].as_array().unwrap();
    assert_eq!(published.iter().map(|key| key["kid"].as_str().unwrap()).collect::<Vec<_>>(), kids);
    assert!(published.iter().all(|key| key.get("d").is_none() && key["use"] == "sig"), "{exported}");
}

// As the package makes the folder. Only root can have one.
#[tokio::test]
async fn what_root_makes_in_a_folder_of_a_group_that_group_may_read() {
    let folder = Folder::new();
    if std::os::unix::fs::chown(folder.path(), Some(0), Some(4711)).is_err() {
        return eprintln!("NOT RUN: only root makes a folder of root's that another group reads");
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).unwrap();

    let made = folder.run(&["generate", "--name", "a", "--out"], &[]).await;

    assert_eq!(made.code, Some(0), "{made:?}");
    let file = fs::metadata(folder.path().join("a.pem")).unwrap();
    assert_eq!((file.uid(), file.gid(), file.permissions().mode() & 0o777), (0, 4711, 0o640));
    // And root itself, who looks at it for the gateway, finds nothing wrong with that.
    assert_eq!(folder.run(&["list"], &[]).await.code, Some(0));
}

// Debian's folders below /usr/local are `root:staff`, for everyone to read.
#[tokio::test]
async fn what_root_makes_in_a_folder_that_everyone_reads_is_roots_alone() {
    let folder = Folder::new();
    if std::os::unix::fs::chown(folder.path(), Some(0), Some(4711)).is_err() {
        return eprintln!("NOT RUN: only root makes a folder of root's that another group reads");
    }

    for (mode, name) in [(0o755, "a"), (0o2755, "b")] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        let made = folder.run(&["generate", "--name", name, "--out"], &[]).await;

        assert_eq!(made.code, Some(0), "{made:?}");
        let file = fs::metadata(folder.path().join(format!("{name}.pem"))).unwrap();
        assert_eq!((file.uid(), file.permissions().mode() & 0o777), (0, 0o600), "{mode:o}");
    }
    assert_eq!(folder.run(&["list"], &[]).await.code, Some(0));
    // Of another group than its folder.
    std::os::unix::fs::chown(folder.path().join("a.pem"), Some(0), Some(4712)).unwrap();
    fs::set_permissions(folder.path().join("a.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    let listed = folder.run(&["list"], &[]).await;
    assert_eq!(listed.code, Some(1), "{listed:?}");
    assert!(listed.stderr.contains("a.pem can be read or changed by others (mode 0640)"), "{listed:?}");
}

#[tokio::test]
async fn taking_the_signing_key_away_too_early_is_warned_of() {
    let origin = Origin::start().await;
    let gateway = signing(&origin, "").start().await;
    gateway.files.write_key("keys/b.pem", &pem(Algorithm::Es256));
    let added = gateway.reload().await;
    fs::remove_file(gateway.files.path("keys/a.pem")).unwrap();

    let told = [gateway.ask(&["reload", "--dry-run"]).await, gateway.reload().await];
    let again = gateway.reload().await;

    let is_warned = |told: &Exit| told.stdout.contains("the key that signed for `default` is gone");
    assert!(told.iter().all(is_warned), "{told:?}");
    assert!(![&added, &again].into_iter().any(is_warned), "{added:?} {again:?}");
    assert!([added, again].iter().all(|told| told.code == Some(0)));
}

#[tokio::test]
async fn a_key_is_never_overwritten_and_a_folder_never_made() {
    let folder = Folder::new();
    folder.key("a").await;
    let before = fs::read(folder.path().join("a.pem")).unwrap();

    let again = folder.run(&["generate", "--name", "a", "--out"], &[]).await;
    let nowhere = folder.path().join("none").display().to_string();
    let nowhere = Gateway::cli(&["keys", "generate", "--out", &nowhere]).await;

    assert_eq!((again.code, nowhere.code), (Some(1), Some(1)));
    assert!(again.stderr.contains("is there already"), "{again:?}");
    assert!(nowhere.stderr.contains("install -d -m 0700"), "{nowhere:?}");
    assert_eq!(fs::read(folder.path().join("a.pem")).unwrap(), before);
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_said_and_the_others_are_listed() {
    let folder = Folder::new();
    folder.key("good").await;
    fs::write(folder.path().join("bad.pem"), "nothing").unwrap();
    fs::set_permissions(folder.path().join("bad.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::copy(folder.path().join("good.pem"), folder.path().join("open.pem")).unwrap();
    fs::set_permissions(folder.path().join("open.pem"), fs::Permissions::from_mode(0o644)).unwrap();

    let listed = folder.run(&["list"], &[]).await;
    let exported = folder.run(&["export"], &["--jwks"]).await;

    assert_eq!((listed.code, exported.code, exported.stdout.as_str()), (Some(1), Some(1), ""));
    assert!(listed.stdout.contains("good.pem") && listed.stdout.contains("ES256"), "{listed:?}");
    for told in ["bad.pem holds no private key in PEM", "open.pem can be read or changed by others"] {
        assert!(listed.stderr.contains(told), "no `{told}` in {}", listed.stderr);
    }
}

#[tokio::test]
async fn with_a_configuration_keys_are_looked_at_as_its_signers_would() {
    let folder = Folder::new();
    folder.key("a").await;
    let yaml = |algorithm: &str| {
        let keys = folder.path().display();
        format!(
            "listeners: [{{ name: plain, address: \"127.0.0.1:8080\" }}]\nsigners: [{{ name: default, issuer: \"https://gw.test\", algorithm: {algorithm}, keys: {keys} }}]"
        )
    };

    let fitting = check(&folder, &yaml("ES256")).await;
    let other = check(&folder, &yaml("EdDSA")).await;
    let unknown = check(&folder, "signrs: []").await;

    assert_eq!((fitting.code, other.code, unknown.code), (Some(0), Some(1), Some(78)), "{fitting:?}");
    assert!(fitting.stdout.contains("SIGNER default"), "{fitting:?}");
    assert!(other.stderr.contains("a.pem is a P-256 key, and EdDSA needs an Ed25519 key"), "{other:?}");
}

#[tokio::test]
async fn public_keys_are_exported_as_pem_and_by_name() {
    let folder = Folder::new();
    folder.key("a").await;
    folder.key("b").await;
    let set = json(&folder.run(&["export"], &["--jwks"]).await, 0);
    let kid = set["keys"][1]["kid"].as_str().unwrap();

    let one = folder.run(&["export"], &["--pem", &format!("--kid={}", &kid[..10])]).await;
    let both = folder.run(&["export"], &["--pem"]).await;
    let none = folder.run(&["export"], &["--pem", "--kid", "nothing"]).await;
    let certificates = folder.run(&["export"], &["--x5c"]).await;

    assert!(one.stdout.starts_with("-----BEGIN PUBLIC KEY-----"), "{one:?}");
    assert!(both.stdout.contains(&format!("kid {kid}\n{}", one.stdout)), "{both:?}");
    assert!(!both.stdout.contains("PRIVATE"), "{both:?}");
    assert_eq!((none.code, certificates.code), (Some(1), Some(1)), "{none:?} {certificates:?}");
    assert!(certificates.stderr.contains("has no certificate"), "{certificates:?}");
}

#[tokio::test]
async fn a_key_with_its_certificate_is_what_the_plugins_profile_needs() {
    let folder = Folder::new();
    let name = ["--name", "a", "--certificate", "gw.test"];
    let made = folder.run(&["generate", "--algorithm", "RS256", "--out"], &name).await;
    let eddsa =
        folder.run(&["generate", "--algorithm", "EdDSA", "--out"], &["--certificate", "gw.test"]).await;
    let keys = folder.path().display();
    let signer = format!("signers: [{{ name: kong, profile: kong_upstream_jwt, keys: {keys} }}]");

    let listed =
        check(&folder, &format!("listeners: [{{ name: a, address: \"127.0.0.1:1\" }}]\n{signer}")).await;
    let exported = json(&folder.run(&["export"], &["--x5c"]).await, 0);

    assert_eq!((made.code, eddsa.code, listed.code), (Some(0), Some(2), Some(0)), "{eddsa:?} {listed:?}");
    let der = boring::base64::decode_block(exported["keys"][0]["x5c"][0].as_str().unwrap()).unwrap();
    let certificate = boring::x509::X509::from_der(&der).unwrap();
    let pem = String::from_utf8(certificate.public_key().unwrap().public_key_to_pem().unwrap()).unwrap();
    assert_eq!(pem, folder.run(&["export"], &["--pem"]).await.stdout);
}

#[tokio::test]
async fn status_names_the_laggards_and_says_until_when_a_retired_key_is_told() {
    let origin = Origin::start().await;
    let verifiers =
        "verifiers: [{ name: orders, networks: [127.0.0.0/8] }, { name: stock, networks: [10.9.9.9/32] }]";
    let gateway = signing(&origin, verifiers).start().await;
    gateway.get("/").await;
    let states = async || {
        let told = json(&gateway.ask(&["keys", "status", "--json"]).await, 0);
        told.as_array().unwrap().clone()
    };
    let first = states().await;

    gateway.files.write_key("keys/b.pem", &pem(Algorithm::Es256));
    assert_eq!(gateway.reload().await.code, Some(0));
    let (second, shown) = (states().await, gateway.ask(&["keys", "status"]).await);
    jwks(&gateway, &Request::get("/jwks.json")).await;
    // It counts once the answer has surely arrived.
    eventually(PATIENCE, || async { states().await[1]["laggards"] == serde_json::json!(["stock"]) }).await;
    let before = gateway.metrics().await;
    fs::remove_file(gateway.files.path("keys/a.pem")).unwrap();
    assert_eq!(gateway.reload().await.code, Some(0));
    let last = states().await;
    let after = gateway.metrics().await;

    assert_eq!((&first[0]["state"], &first[0]["file"]), (&"signing".into(), &"a.pem".into()));
    assert_eq!((&second[0]["state"], &second[1]["state"]), (&"signing".into(), &"published".into()));
    assert_eq!(second[1]["laggards"], serde_json::json!(["orders", "stock"]));
    assert!((500..=600).contains(&second[1]["ready_in_seconds"].as_u64().unwrap()), "{second:?}");
    assert!(shown.stdout.contains("or once these fetched the key set: orders, stock"), "{shown:?}");
    let retired = last.iter().find(|key| key["state"] == "retired").unwrap();
    assert_eq!((&retired["kid"], &retired["file"]), (&first[0]["kid"], &Value::Null));
    assert!((60..=95).contains(&retired["gone_in_seconds"].as_u64().unwrap()), "{retired}");
    assert_eq!(last.iter().find(|key| key["file"] == "b.pem").unwrap()["state"], "signing");
    let fetches = json_of!({ "name": "orders", "fetches": 1, "addresses": 1, "instances": 1 });
    assert_eq!(last.iter().find(|key| key["file"] == "b.pem").unwrap()["verifiers"][0], fetches);

    let [old, new] = [&first[0], &second[1]].map(|key| key["kid"].as_str().unwrap());
    let is = |metrics: &Metrics, kid: &str, state: &str| {
        metrics.metric("tollgate_jwt_signing_key", &[("signer", "default"), ("kid", kid), ("state", state)])
    };
    assert_eq!((is(&before, old, "signing"), is(&before, new, "published")), (1.0, 1.0));
    assert_eq!((is(&after, old, "retired"), is(&after, new, "signing")), (1.0, 1.0));
    assert_eq!((is(&after, old, "signing"), is(&after, new, "published")), (0.0, 0.0));
    let at = |metrics: &Metrics, what: &str, kid: &str| {
        metrics.metric(&format!("tollgate_jwt_signing_key_{what}_timestamp_seconds"), &[("kid", kid)])
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let ready = at(&before, "ready", new) - now;
    assert!((300.0..=601.0).contains(&ready), "{ready}");
    assert_eq!(at(&after, "ready", new), 0.0);
    assert_eq!(at(&after, "published_until", old), retired["published_until"].as_f64().unwrap());
}

#[tokio::test]
async fn status_without_a_gateway_is_not_now() {
    let folder = Folder::new();
    let socket = folder.path().join("none.sock").display().to_string();

    let told = Gateway::cli(&["keys", "status", "--socket", &socket]).await;

    assert_eq!(told.code, Some(75), "{told:?}");
}

async fn check(folder: &Folder, yaml: &str) -> Exit {
    let file = folder.0.path().join("tollgate.yaml");
    fs::write(&file, yaml).unwrap();
    Gateway::cli(&["keys", "list", "--config", &file.display().to_string()]).await
}

/// A folder of keys, `keys/` in a folder of its own.
struct Folder(TempDir, std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        let keys = outer.path().join("keys");
        fs::create_dir(&keys).unwrap();
        Self(outer, keys)
    }

    fn path(&self) -> &Path {
        &self.1
    }

    async fn key(&self, name: &str) {
        let made = self.run(&["generate", "--name", name, "--out"], &[]).await;
        assert_eq!(made.code, Some(0), "{made:?}");
    }

    /// `tollgate keys`, these, the folder, and these.
    async fn run(&self, before: &[&str], after: &[&str]) -> Exit {
        let folder = self.path().display().to_string();
        Gateway::cli(&[&["keys"], before, &[&folder], after].concat()).await
    }
}

fn json(told: &Exit, code: i32) -> Value {
    assert_eq!((told.code, told.stderr.as_str()), (Some(code), ""), "{told:?}");
    serde_json::from_str(&told.stdout).unwrap_or_else(|why| panic!("{why}: {}", told.stdout))
}
