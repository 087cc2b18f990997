//! Files that cannot be used: `check`, a start and a reload say the same of
//! them, and a gateway that runs goes on with what it had.

use std::{fs, time::Duration};

use boring::{pkey::PKey, symm::Cipher};
use tokio::time::Instant;

use crate::support::{
    Gateway, PATIENCE, certs,
    certs::{Kind, VALID},
    config::Files,
    eventually,
};

#[tokio::test]
async fn what_is_wrong_in_the_text_is_told_alike_by_check_start_and_reload() {
    let house = House::start().await;
    let long = "- a\n".repeat(12 << 20);

    for (text, told) in [
        (&b"listenrs: []\n"[..], &["tollgate.yaml:1: ", "did you mean `listeners`?"][..]),
        (b"listeners: []\nconnections: { max: many }\n", &["tollgate.yaml:2: connections.max: ", "whole number"]),
        (b"listeners: {}\n", &["tollgate.yaml:1: listeners: ", "list"]),
        (b"requests: {}\nlisteners: []\nrequests: {}\n", &["tollgate.yaml:3: requests: ", "lines 1 and 3"]),
        (b"listeners: []\nroutes: [\n", &["tollgate.yaml:", "error: "]),
        (b"", &["tollgate.yaml: ", "the file is empty"]),
        (b"# later\n", &["tollgate.yaml: ", "the file is empty"]),
        (b"listeners: []\nname: caf\xe9\n", &["tollgate.yaml:2: ", "UTF-8"]),
        (b"\xff\xfel\0i\0", &["tollgate.yaml:1: ", "UTF-8"]),
        (b"a: &a [1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nlisteners: *c\n", &["tollgate.yaml"]),
        (long.as_bytes(), &["tollgate.yaml: ", "larger than", "bytes"]),
    ] {
        fs::write(house.gateway.files.main(), text).unwrap();
        let begun = Instant::now();

        house.refuses(told).await;

        assert!(begun.elapsed() < Duration::from_secs(30), "{told:?}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn what_does_not_fit_together_is_told_alike_by_check_start_and_reload() {
    let house = House::start().await;
    let upstream = "upstreams: [{ name: a, endpoints: [{ address: \"127.0.0.1:1\" }] }]\n";

    for (text, told) in [
        (
            "routes:\n  - { name: a, respond: { status: 200 } }\n  - { name: a, match: { path: /a }, respond: { status: 200 } }",
            &["tollgate.yaml:3: routes[1].name: ", "`a`"][..],
        ),
        (
            "routes:\n  - name: a\n    to: [{ upstream: nowhere }]",
            &["tollgate.yaml:3: routes[0].to[0].upstream: ", "`nowhere`"],
        ),
        (
            "routes:\n  - { name: a, match: { path: /x }, respond: { status: 200 } }\n  - { name: b, match: { path: /x }, respond: { status: 201 } }",
            &["tollgate.yaml:3: ", "`a`"],
        ),
        (
            "routes:\n  - { name: a, match: { path: { pattern: \"[\" } }, respond: { status: 200 } }",
            &["tollgate.yaml:2: "],
        ),
        ("forwarded:\n  trusted: [10.0.0.0/33]", &["tollgate.yaml:2: forwarded.trusted[0]: "]),
        (
            "listeners:\n  - { name: a, address: \"127.0.0.1:99999\" }",
            &["tollgate.yaml:2: listeners[0].address: "],
        ),
        (
            "listeners:\n  - { name: a, address: \"{plain}\" }\n  - { name: b, address: \"{plain}\" }",
            &["tollgate.yaml:3: listeners[1].address: "],
        ),
        ("upstreams: [{ name: a, endpoints: [] }]", &["tollgate.yaml:1: upstreams[0].endpoints: "]),
        (
            "upstreams: [{ name: a, endpoints: [{ address: \"127.0.0.1:1\" }], tls: {} }]",
            &["tollgate.yaml:1: upstreams[0].tls", "server_name"],
        ),
        (
            "upstreams: [{ name: \"${env:TOLLGATE_IT_UNSET}\", endpoints: [{ address: \"127.0.0.1:1\" }] }]",
            &["TOLLGATE_IT_UNSET"],
        ),
    ] {
        let text = if text.starts_with("routes") { format!("{text}\n{upstream}") } else { text.to_owned() };
        house.gateway.write_config(&text);

        house.refuses(told).await;
    }
}

#[tokio::test]
async fn a_pair_that_cannot_be_used_is_told_alike_by_check_start_and_reload() {
    let house = House::start().await;
    let authority = certs::authority();
    let [good, other] = [["a.test"], ["b.test"]].map(|names| certs::server(&authority, &names));
    let weak = certs::server_with(&authority, &["c.test"], Kind::Rsa(1024), VALID);
    let key = PKey::private_key_from_pem(good.key.as_bytes()).unwrap();
    let encrypted = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"secret").unwrap();
    let encrypted = String::from_utf8(encrypted).unwrap();

    for (chain, key, told) in [
        (Some(&good.chain), None, &["[0].key: ", "tls.key` does not exist"][..]),
        (None, Some(&good.key), &["[0].chain: ", "tls.pem` does not exist"]),
        (Some(&good.chain), Some(&other.key), &["[0].key: ", "is not the key of the first certificate"]),
        (
            Some(&good.chain),
            Some(&encrypted),
            &["[0].key: ", "tls.key` is encrypted", "without a passphrase"],
        ),
        (Some(&good.key), Some(&good.chain), &["[0].chain: ", "swap `chain` and `key`"]),
        (Some(&String::new()), Some(&good.key), &["[0].chain: ", "tls.pem` is empty"]),
        (Some(&good.chain[..100].to_owned()), Some(&good.key), &["[0].chain: ", "tls.pem`"]),
        (Some(&weak.chain), Some(&weak.key), &["[0].key: ", "1024 bits"]),
    ] {
        for (name, content) in [("tls.pem", chain), ("tls.key", key)] {
            let _ = fs::remove_file(house.gateway.files.path(name));
            if let Some(content) = content {
                house.gateway.files.write_key(name, content);
            }
        }
        house.gateway.write_config(WITH_TLS);

        // No key material, and no certificate either, gets into a message.
        let text = house.refuses(told).await;
        assert!(!text.contains("-----BEGIN") && !text.contains(&good.key[60..80]), "{text}");
    }
}

#[tokio::test]
async fn what_is_no_file_is_told_alike_by_check_start_and_reload() {
    let house = House::start().await;
    let (main, fragments) = (house.gateway.files.main(), house.gateway.files.path("conf.d"));

    fs::remove_file(&main).unwrap();
    house.refuses(&["tollgate.yaml: ", "there is no such file"]).await;
    fs::create_dir(&main).unwrap();
    house.refuses(&["tollgate.yaml: ", "this is a directory"]).await;
    fs::remove_dir(&main).unwrap();
    std::os::unix::fs::symlink(&main, &main).unwrap();
    house.refuses(&["tollgate.yaml: ", "cannot be read"]).await;
    fs::remove_file(&main).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&main).status().unwrap().success());
    house.refuses(&["tollgate.yaml: ", "a device, pipe or socket"]).await;
    fs::remove_file(&main).unwrap();

    house.gateway.write_config(GOOD);
    fs::write(&fragments, "").unwrap();
    house.refuses(&["conf.d: "]).await;
    fs::remove_file(&fragments).unwrap();
    fs::create_dir_all(fragments.join("team.yaml")).unwrap();
    house.refuses(&["conf.d/team.yaml: ", "this is a directory"]).await;
    fs::remove_dir(fragments.join("team.yaml")).unwrap();
    std::os::unix::fs::symlink("nowhere", fragments.join("team.yaml")).unwrap();
    house.refuses(&["conf.d/team.yaml: ", "there is no such file"]).await;
    if !may_read_everything() {
        fs::remove_file(fragments.join("team.yaml")).unwrap();
        house.gateway.files.write("conf.d/team.yaml", "routes: []\n");
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(fragments.join("team.yaml"), fs::Permissions::from_mode(0o0)).unwrap();
        house.refuses(&["conf.d/team.yaml: ", "permission denied"]).await;
    }
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let house = House::start().await;
    house.gateway.write_config(
        "
        connections: { max: many }
        requests: { max_bodi: 1MiB }
        routes:
          - { name: a, to: [{ upstream: nowhere }] }
          - { name: b, match: { path: /b }, respond: { status: 99 } }
        ",
    );
    house
        .gateway
        .files
        .write("conf.d/10.yaml", "routes: [{ name: c, match: { path: /c }, to: [{ upstream: neither }] }]\n");
    house.gateway.files.write("conf.d/20.yaml", "readiness: {}\n");

    let text = house
        .refuses(&[
            "connections.max",
            "max_bodi",
            "nowhere",
            "99",
            "conf.d/10.yaml:1: ",
            "neither",
            "conf.d/20.yaml:1: ",
        ])
        .await;

    assert_eq!(text.lines().filter(|line| line.starts_with("error: ")).count(), 6, "{text}");
}

#[tokio::test]
async fn a_file_of_50_mb_costs_no_memory() {
    let house = House::start().await;
    let before = house.gateway.rss_kib();
    fs::write(house.gateway.files.main(), "a".repeat(50 << 20)).unwrap();

    house.refuses(&["larger than"]).await;

    let grown = house.gateway.rss_kib().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB");
}

/// A gateway whose files go bad while it serves.
struct House {
    gateway: Gateway,
}

impl House {
    async fn start() -> Self {
        Self { gateway: Gateway::builder().yaml(GOOD).start().await }
    }

    /// `check`, a start and a reload refuse the files as they are now, in the
    /// same words, and it goes on serving. What they said.
    async fn refuses(&self, told: &[&str]) -> String {
        let main = self.gateway.files.main().display().to_string();
        let checked = Gateway::cli(&["check", &main]).await;
        let started = Gateway::cli(&["run", "--config", &main]).await;
        let reloaded = self.gateway.reload().await;

        assert_eq!(
            [checked.code, started.code, reloaded.code],
            [Some(78); 3],
            "{checked:?} {started:?} {reloaded:?}"
        );
        for told in told {
            assert!(checked.stderr.contains(told), "no `{told}` in {}", checked.stderr);
        }
        assert_eq!(errors(&checked.stderr), errors(&started.stderr));
        assert_eq!(errors(&checked.stderr), errors(&reloaded.stderr));
        let last = errors(&reloaded.stderr);
        let is_logged = || last.iter().all(|line| self.gateway.stderr().contains(line));
        eventually(PATIENCE, || async { is_logged() }).await;
        assert_eq!(self.gateway.get("/").await.text(), "good");
        assert_eq!(self.gateway.metric("tollgate_config_last_reload_successful", &[]).await, 0.0);
        assert_eq!(self.gateway.status().await["generation"], 1);
        checked.stderr
    }
}

/// What stops a configuration, a line each.
fn errors(text: &str) -> Vec<&str> {
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(!lines.is_empty(), "{text}");
    lines
}

/// Whether permissions do not stop this user: root, as a rule.
fn may_read_everything() -> bool {
    let files = Files::new();
    files.write("locked", "");
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(files.path("locked"), fs::Permissions::from_mode(0o0)).unwrap();
    fs::read(files.path("locked")).is_ok()
}

const GOOD: &str = "routes: [{ name: hello, respond: { status: 200, body: good } }]\n";

const WITH_TLS: &str = "
listeners:
  - { name: plain, address: \"{plain}\" }
  - name: public
    address: \"{tls}\"
    tls: { certificates: [{ chain: tls.pem, key: tls.key }] }
";
