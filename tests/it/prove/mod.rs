//! `tollgate prove`: it finds each hole of a verifier, and nothing in one without.

mod verifier;

use std::{fs, net::SocketAddr, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use verifier::{Hole, Verifier};

use crate::support::{Gateway, process::Exit};

/// Everything that a native token can be bound to but the host.
pub const BOUND: &str = "bind: [method, path, query, body]";

#[tokio::test]
async fn a_verifier_without_a_hole_is_found_clean() {
    let fixture = Fixture::new(BOUND).await;
    let verifier = Verifier::start(Hole::None, &fixture.set);

    let report = fixture.prove(verifier, &[]).await.json(0);
    let shown = fixture.show(verifier, &["--method", "POST", "--body", "hello"]).await;

    assert_eq!((&report["ok"], &report["failed"]), (&true.into(), &0.into()), "{report}");
    let sent = report["probes"].as_array().unwrap().iter().filter(|probe| probe["got"] != "not sent");
    assert!(sent.count() >= 30, "{report}");
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("it verifies: "), "{shown:?}");
}

#[tokio::test]
async fn each_hole_is_found_by_its_probes_alone() {
    let fixture = Fixture::new(BOUND).await;
    for (hole, wanted) in [
        (Hole::NoToken, &["none"][..]),
        (Hole::Expiry, &["expired", "no-expiry"]),
        (Hole::Beginning, &["not-yet"]),
        (Hole::Audience, &["other-audience", "no-audience"]),
        (Hole::Issuer, &["other-issuer", "no-issuer"]),
        (Hole::OwnKey, &["own-key"]),
        (Hole::AlgNone, &["alg-none", "alg-none-mixed"]),
        (Hole::Hs256, &["hs256-pem"]),
        (Hole::KidPath, &["kid-path"]),
        (Hole::Critical, &["critical"]),
        (Hole::Method, &["another-method"]),
        (Hole::Path, &["another-path"]),
        (Hole::Query, &["another-query"]),
        (Hole::Body, &["another-body"]),
        (Hole::NotBound, &["not-bound"]),
        (Hole::FirstField, &["twice-good-first"]),
        (Hole::LastField, &["twice-good-last"]),
        (Hole::Replay, &["replayed"]),
    ] {
        let verifier = Verifier::start(hole, &fixture.set);

        let report = fixture.prove(verifier, &[]).await.json(1);

        assert_eq!(wrong(&report, "accepted"), wanted, "{hole:?}: {report}");
        assert_eq!(wrong(&report, "refused"), [""; 0], "{hole:?}: {report}");
    }
}

#[tokio::test]
async fn a_verifier_that_looks_at_no_signature_takes_every_forgery() {
    let fixture = Fixture::new(BOUND).await;
    let verifier = Verifier::start(Hole::Signature, &fixture.set);

    let shown = fixture.show(verifier, &[]).await;
    let report = fixture.prove(verifier, &[]).await.json(1);

    for probe in ["forged", "changed-signature", "zero-signature", "changed-claims", "no-signature"] {
        assert!(wrong(&report, "accepted").contains(&probe), "{probe}: {report}");
    }
    assert_eq!(shown.code, Some(1));
    assert!(shown.stdout.contains("WRONG forged"), "{}", shown.stdout);
    assert!(shown.stdout.contains("it should be refused: "), "{}", shown.stdout);
}

#[tokio::test]
async fn an_upstream_that_breaks_or_says_nothing_does_not_verify() {
    let fixture = Fixture::new(BOUND).await;

    let breaks = fixture.prove(Verifier::start(Hole::Breaks, &fixture.set), &[]).await.json(1);
    let silent = fixture.prove(Verifier::start(Hole::Silent, &fixture.set), &[]).await.json(1);

    assert_eq!(wrong(&breaks, "failed"), ["empty", "not-a-token"], "{breaks}");
    assert!(wrong(&silent, "no answer").contains(&"forged"), "{silent}");
    assert_eq!(silent["accepted_wrongly"], 0, "{silent}");
}

#[tokio::test]
async fn refusals_prove_nothing_where_a_good_token_is_refused() {
    let fixture = Fixture::new(BOUND).await;

    let shut = fixture.prove(Verifier::start(Hole::Shut, &fixture.set), &[]).await.json(1);
    let locked = fixture.prove(Verifier::start(Hole::LocksOut, &fixture.set), &[]).await.json(1);
    let dead = fixture.prove("127.0.0.1:1".parse().unwrap(), &[]).await.json(1);

    assert_eq!(shut["probes"].as_array().unwrap().len(), 1, "{shut}");
    assert!(shut["hint"].as_str().unwrap().contains("no refusal would prove anything"), "{shut}");
    assert_eq!(shut["probes"][0]["note"], "it said: no");
    assert!(wrong(&locked, "refused").contains(&"valid-again"), "{locked}");
    assert_eq!((&dead["failed"], dead["probes"].as_array().unwrap().len()), (&1.into(), 1), "{dead}");
}

#[tokio::test]
async fn what_the_signer_does_not_bind_is_said_and_no_failure() {
    let fixture = Fixture::new("bind: []").await;

    let shown = fixture.show(Verifier::start(Hole::Unbound, &fixture.set), &[]).await;

    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("-     another-path"), "{}", shown.stdout);
    assert!(shown.stdout.contains("`bind: [path]`"), "{}", shown.stdout);
}

#[tokio::test]
async fn an_upstream_that_takes_a_token_once_would_refuse_unbound_ones_of_the_gateway() {
    let fixture = Fixture::new("bind: []").await;

    let report = fixture.prove(Verifier::start(Hole::NotBound, &fixture.set), &[]).await.json(1);

    assert_eq!(wrong(&report, "refused"), ["replayed", "valid-again"], "{report}");
    assert_eq!(report["accepted_wrongly"], 0, "{report}");
}

#[tokio::test]
async fn replays_may_be_allowed() {
    let fixture = Fixture::new(BOUND).await;

    let report =
        fixture.prove(Verifier::start(Hole::Replay, &fixture.set), &["--allow-replay"]).await.json(0);

    let replayed =
        report["probes"].as_array().unwrap().iter().find(|row| row["probe"] == "replayed").unwrap();
    assert_eq!((&replayed["expected"], &replayed["got"]), (&"either".into(), &"accepted".into()));
}

#[tokio::test]
async fn names_that_nothing_has_and_files_that_cannot_be_used_are_told_apart() {
    let fixture = Fixture::new(BOUND).await;
    let config = fixture.config.display().to_string();
    let run = async |arguments: &[&str]| {
        Gateway::cli(&[&["prove", "127.0.0.1:1", "--config", &config], arguments].concat()).await
    };

    let route = run(&["--route", "nothing"]).await;
    let signer = run(&["--signer", "default"]).await;
    fs::remove_dir_all(fixture.config.with_file_name("keys")).unwrap();
    let keys = run(&["--route", "orders"]).await;

    assert_eq!((route.code, signer.code, keys.code), (Some(2), Some(2), Some(78)), "{keys:?}");
    assert!(route.stderr.contains("there is no route `nothing`"), "{route:?}");
    assert!(signer.stderr.contains("--upstream"), "{signer:?}");
    assert!(keys.stderr.contains("signers[0].keys"), "{keys:?}");
}

/// The probes that went wrong in this way.
pub fn wrong<'a>(report: &'a Value, got: &str) -> Vec<&'a str> {
    let rows = report["probes"].as_array().unwrap();
    let wrong = rows.iter().filter(|row| row["ok"] == false && row["got"] == got);
    wrong.map(|row| row["probe"].as_str().unwrap()).collect()
}

/// A configuration with a key, and its key set.
pub struct Fixture {
    config: PathBuf,
    /// The public keys.
    pub set: Value,
    _folder: TempDir,
}

impl Fixture {
    /// With more keys of the signer.
    pub async fn new(more: &str) -> Self {
        Self::with(more, &["--algorithm", "ES256"]).await
    }

    /// With a key that is made so.
    pub async fn with(more: &str, made: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        fs::create_dir(&keys).unwrap();
        let config = folder.path().join("tollgate.yaml");
        let text = format!(
            "listeners: [{{ name: plain, address: \"127.0.0.1:8080\" }}]\n\
             signers: [{{ name: default, issuer: \"https://gw.test\", keys: keys, {more} }}]\n\
             upstreams: [{{ name: orders, endpoints: [{{ address: \"127.0.0.1:1\" }}] }}]\n\
             routes: [{{ name: orders, to: [{{ upstream: orders }}], sign: default }}]\n"
        );
        fs::write(&config, text).unwrap();
        let keys = keys.display().to_string();
        let made = Gateway::cli(&[&["keys", "generate", "--out", &keys], made].concat()).await;
        assert_eq!(made.code, Some(0), "{made:?}");
        let file = config.display().to_string();
        // Of an RSA key only the signer says for which algorithm it is.
        let set = Gateway::cli(&["keys", "export", "--config", &file, "--jwks"]).await;
        let set = serde_json::from_str(&set.stdout).unwrap();
        Self { config, set, _folder: folder }
    }

    /// Runs it for machines.
    pub async fn prove(&self, upstream: SocketAddr, more: &[&str]) -> Proved {
        self.run(upstream, &[more, &["--json"]].concat()).await
    }

    /// Runs it for people.
    async fn show(&self, upstream: SocketAddr, more: &[&str]) -> Exit {
        self.run(upstream, more).await.0
    }

    async fn run(&self, upstream: SocketAddr, more: &[&str]) -> Proved {
        let (upstream, config) = (upstream.to_string(), self.config.display().to_string());
        let path = "/orders/7?full=yes";
        let arguments = ["prove", &upstream, "--config", &config, "--route", "orders", "--path", path];
        Proved(Gateway::cli(&[&arguments, more].concat()).await)
    }
}

/// How it ended.
pub struct Proved(Exit);

impl Proved {
    /// The report; panics unless it ended with this code.
    pub fn json(&self, code: i32) -> Value {
        assert_eq!((self.0.code, self.0.stderr.as_str()), (Some(code), ""), "{:?}", self.0);
        serde_json::from_str(&self.0.stdout).unwrap()
    }
}
