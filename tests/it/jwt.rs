//! `tollgate jwt verify`: what it says of real tokens, and from where it takes keys.

use std::{
    fs::File,
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    signing::{jwks, only_token, signing},
    support::{Gateway, Origin, Request, certs, process::Exit},
};

#[tokio::test]
async fn a_token_of_a_request_is_good_for_it_and_bad_for_another() {
    let case = Case::new("bind: [method, path, query, body]").await;
    case.write("body", "hello");
    case.write("other", "hullo");
    let (body, other) = (case.path("body"), case.path("other"));
    let right = ["--issuer", "https://gw.test", "--audience", "origin", "--method", "POST"];
    let bound = ["--path", "/orders/7", "--query", "full=yes", "--body", &body];

    let good = case.verify(&[&right[..], &bound].concat()).await;
    let told = case.verify(&["--json"]).await;

    assert_eq!((good.code, good.stderr.as_str()), (Some(0), ""), "{good:?}");
    assert!(good.stdout.starts_with("good\nHEADER\n"), "{good:?}");
    for shown in ["\"ES256\"", "\"https://gw.test\"", "(in "] {
        assert!(good.stdout.contains(shown), "no {shown} in {}", good.stdout);
    }
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((&told["ok"], &told["claims"]["htm"]), (&true.into(), &"POST".into()), "{told}");
    for (arguments, words) in [
        (&["--issuer", "https://other.test"][..], "it is of issuer `https://gw.test`"),
        (&["--audience", "stock"], "it is for `origin`"),
        (&["--method", "GET"], "it is for another method: `htm` is `POST`"),
        (&["--path", "/orders"], "it is for another path"),
        (&["--query", ""], "it is for another query"),
        (&["--body", &other], "it is for another body"),
        (&["--at", "4102444800"], "it expired"),
        (&["--at", "2026-01-01T00:00:00Z"], "do the clocks agree?"),
    ] {
        let bad = case.verify(arguments).await;

        assert_eq!(bad.code, Some(1), "{bad:?}");
        assert!(bad.stderr.starts_with("bad: ") && bad.stderr.contains(words), "no {words} in {bad:?}");
        assert!(bad.stdout.starts_with("BAD: nobody vouches"), "{bad:?}");
    }
}

#[tokio::test]
async fn a_token_that_was_changed_or_is_none_is_told_in_words() {
    let case = Case::new("bind: [path]").await;
    let keys = case.path("jwks.json");
    let parts: Vec<_> = case.token.split('.').collect();
    let none = tollgate::jwt::forge(b"{\"alg\":\"none\"}", b"{}", b"");

    for (token, words) in [
        ("x", "a token has 3 parts"),
        (
            &format!("{}.{}.{}", parts[0], tollgate::jwt::encode(b"{}"), parts[2]),
            "the signature is not the key's",
        ),
        (&none, "it is not signed: `alg` is `none`"),
    ] {
        let bad = Gateway::cli(&["jwt", "verify", token, "--jwks", &keys, "--json"]).await;

        let told: Value = serde_json::from_str(&bad.stdout).unwrap();
        assert_eq!((bad.code, &told["ok"]), (Some(1), &false.into()), "{bad:?}");
        assert!(told["problems"][0].as_str().unwrap().contains(words), "{told}");
    }
    case.write("none.json", "{}");
    let no_set = Gateway::cli(&["jwt", "verify", "x", "--jwks", &case.path("none.json")]).await;
    assert_eq!(no_set.code, Some(1));
    assert!(no_set.stderr.contains("it is no key set"), "{no_set:?}");
}

#[tokio::test]
async fn token_and_keys_come_from_standard_input_too() {
    let case = Case::new("").await;
    case.write("token", &format!("Bearer {}\n", case.token));
    let run = async |token: &str, keys: &str, input: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(["jwt", "verify", token, "--jwks", keys]);
        command.stdin(Stdio::from(File::open(case.path(input)).unwrap()));
        Exit::of(command).await
    };

    let token = run("-", &case.path("jwks.json"), "token").await;
    let keys = run(&case.token, "-", "jwks.json").await;
    let both = run("-", "-", "token").await;

    assert_eq!((token.code, keys.code, both.code), (Some(0), Some(0), Some(2)), "{token:?} {keys:?}");
}

#[tokio::test]
async fn keys_are_fetched_over_http_and_https() {
    let case = Case::new("").await;
    let metrics = case.gateway.address("metrics");
    let ca = case.path("ca.pem");
    case.write("ca.pem", &case.authority.pem().unwrap());
    let verify = async |jwks: &str, more: &[&str]| {
        Gateway::cli(&[&["jwt", "verify", &case.token, "--jwks", jwks], more].concat()).await
    };

    let plain = verify(&format!("http://{metrics}/jwks.json"), &[]).await;
    let https = format!("https://localhost:{}/keys", case.gateway.tls.port());
    let trusted = verify(&https, &["--ca", &ca]).await;
    let unknown = verify(&https, &[]).await;
    let missing = verify(&format!("http://{metrics}/none"), &[]).await;

    assert_eq!((plain.code, trusted.code), (Some(0), Some(0)), "{plain:?} {trusted:?}");
    assert_eq!((unknown.code, missing.code), (Some(1), Some(1)));
    assert!(unknown.stderr.contains("no TLS with localhost"), "{unknown:?}");
    assert!(missing.stderr.contains("answered 404"), "{missing:?}");
}

/// A gateway, a token of a request of it, and its key set.
struct Case {
    gateway: Gateway,
    authority: certs::Authority,
    token: String,
    folder: TempDir,
}

impl Case {
    async fn new(more: &str) -> Self {
        let origin = Origin::start().await;
        let authority = certs::authority();
        let gateway = signing(&origin, more)
            .certificate(&certs::server(&authority, &["localhost"]))
            .yaml_more(
                "routes: [{ name: all, sign: default, to: [{ upstream: origin }] }, { name: keys, match: { path: /keys }, jwks: true }]",
            )
            .start()
            .await;
        let echo = gateway.send(&Request::post("/orders/7?full=yes", "hello")).await.echo();
        let token = only_token(&echo).to_owned();
        let case = Self { gateway, authority, token, folder: tempfile::tempdir().unwrap() };
        case.write("jwks.json", &jwks(&case.gateway, &Request::get("/jwks.json")).await.text());
        case
    }

    async fn verify(&self, more: &[&str]) -> Exit {
        let keys = self.path("jwks.json");
        Gateway::cli(&[&["jwt", "verify", &self.token, "--jwks", &keys], more].concat()).await
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }
}
