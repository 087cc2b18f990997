//! `tollgate status --watch`: what is drawn on a terminal and told without one, over
//! reloads, upgrades and gateways that are gone; and what it and the page ask for.

use std::process::Command;

use serde_json::Value;

use crate::{
    support::{Gateway, Http1, Origin, PATIENCE, Request, eventually, process::Process, pty::Pty},
    zones::Fleet,
};

#[tokio::test]
async fn a_terminal_shows_what_changes_and_is_as_it_was_afterwards() {
    let fleet = Fleet::start([2, 2, 0]).await;
    let gateway = fleet.gateway("z1", "").await;
    let watch = Pty::spawn(watch(&gateway, &["1"]), (80, 24));

    watch.shows("all in service").await;
    watch.shows("generation 1").await;
    let limited = fleet.config("z1", "").replace("name: all,", "name: all, limits: [one],");
    gateway.write_config(&format!("{limited}\nlimits: [{{ name: one, key: [], rate: 1/h }}]"));
    assert_eq!(gateway.reload().await.code, Some(0));
    watch.shows("generation 2").await;
    eventually(PATIENCE, || async {
        gateway.get("/").await;
        watch.picture().iter().any(|line| line.contains("429 rate_limited  route all  limit one"))
    })
    .await;
    let picture = watch.shows("z1*").await;
    assert!(picture.len() <= 24 && picture.iter().all(|line| line.chars().count() <= 80), "{picture:#?}");
    assert!(picture[2].starts_with("requests ") && picture[2].contains("/s  refused "), "{picture:#?}");
    let latency = watch.shows("latency p50 ").await;
    assert!(latency[3].contains(" ms  p95 ") && latency[3].contains(" ms  p99 "), "{latency:#?}");

    assert_eq!(gateway.ask(&["zone", "drain", "z2"]).await.code, Some(0));
    watch.shows("zone z2 drained").await;
    gateway.write_config(&fleet.config("z1", ""));
    assert_eq!(gateway.ask(&["reload", "--confirm", "10m"]).await.code, Some(0));
    watch.shows("generation 3").await;
    watch.shows("UNCONFIRMED, goes back in ").await;

    watch.resize(40, 6);
    eventually(PATIENCE, || async { watch.picture().len() <= 6 }).await;
    assert!(watch.picture().iter().all(|line| line.chars().count() <= 40), "{:#?}", watch.picture());

    watch.press(CTRL_C);
    assert_eq!(watch.ended().await, Some(0));
    let written = watch.written();
    assert!(written.starts_with(ENTER) && written.trim_end_matches("^C").ends_with(LEAVE), "{written:?}");
    assert!(written.contains("\x1b[32mall in service\x1b[0m"), "{written:?}");
}

#[tokio::test]
async fn without_colours_nothing_is_coloured_and_a_stop_gives_the_terminal_back() {
    let gateway = Gateway::builder().start().await;
    let mut command = watch(&gateway, &["1"]);
    command.env("NO_COLOR", "1");
    let watch = Pty::spawn(command, (80, 24));
    watch.shows("all in service").await;

    watch.press(CTRL_Z);
    eventually(PATIENCE, || async { watch.written().trim_end_matches("^Z").ends_with(LEAVE) }).await;
    eventually(PATIENCE, || async { state(watch.pid()) == 'T' }).await;
    // SAFETY: a plain system call; the child is waited for by `watch` alone, which is here.
    unsafe { libc::kill(watch.pid(), libc::SIGCONT) };
    eventually(PATIENCE, || async { watch.written().matches(ENTER).count() == 2 }).await;
    // SAFETY: the same.
    unsafe { libc::kill(watch.pid(), libc::SIGTERM) };

    assert_eq!(watch.ended().await, Some(0));
    let written = watch.written();
    assert!(
        written.ends_with(LEAVE) && !written.contains("\x1b[1m") && !written.contains("\x1b[3"),
        "{written:?}"
    );
}

#[tokio::test]
async fn an_upgrade_and_a_gateway_that_is_gone_are_told_and_looked_beyond() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder().installed().origin("origin", &origin).start().await;
    let first = gateway.pid();
    let watch = Pty::spawn(watch(&gateway, &["1"]), (100, 24));
    watch.shows(&format!("pid {first} ")).await;

    assert_eq!(gateway.upgrade().await.code, Some(0));
    watch.shows(&format!("follows pid {first}")).await;
    let second = gateway.serving_pid().await;
    watch.shows(&format!("  pid {second}  ")).await;
    assert_eq!(gateway.ask(&["drain"]).await.code, Some(0));
    watch.shows("no gateway listens at ").await;
    assert!(watch.is_running());
    watch.press(CTRL_C);
    assert_eq!(watch.ended().await, Some(0));
}

#[tokio::test]
async fn a_gateway_that_comes_later_is_found_and_a_pipe_gets_blocks_without_escapes() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let blocks = Process::spawn(watch(&gateway, &["1"]));
    let lines = Process::spawn(watch(&gateway, &["1", "--json"]));
    let absent = {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(["status", "--watch", "1", "--socket"]).arg(gateway.files.path("absent.sock"));
        Process::spawn(command)
    };

    eventually(PATIENCE, || async { blocks.stdout().matches("all in service").count() >= 2 }).await;
    eventually(PATIENCE, || async { lines.stdout().lines().count() >= 2 }).await;
    eventually(PATIENCE, || async { absent.stdout().matches("no gateway listens at ").count() >= 2 }).await;

    let told = blocks.stdout();
    assert!(!told.contains('\x1b') && told.contains("UPSTREAM, ENDPOINT"), "{told}");
    let first: Value = serde_json::from_str(lines.stdout().lines().next().unwrap()).unwrap();
    assert_eq!((&first["pid"], &first["generation"]), (&gateway.pid().into(), &1.into()));
    let other = Gateway::in_front_of(&origin).await;
    std::os::unix::fs::symlink(other.files.path("admin.sock"), gateway.files.path("absent.sock")).unwrap();
    eventually(PATIENCE, || async { absent.stdout().contains("all in service") }).await;
}

#[tokio::test]
async fn an_interval_is_whole_seconds_and_goes_with_no_configuration() {
    for bad in [&["--watch", "0"][..], &["--watch", "often"], &["--watch", "--config"]] {
        let told = Gateway::cli(&[&["status"], bad].concat()).await;
        assert_eq!(told.code, Some(2), "{bad:?}: {told:?}");
    }
}

#[tokio::test]
async fn status_counts_requests_and_kinds_of_refusals_and_no_client_is_in_them() {
    let origin = Origin::start().await;
    let dead = Origin::dead();
    let gateway =
        Gateway::builder().origin("shop", &origin).origin("gone", &dead).yaml(COUNTED).start().await;
    for _ in 0..3 {
        assert_eq!(gateway.send(&secret("/shop/SECRETPATH")).await.status, 200);
        assert_eq!(gateway.send(&secret("/SECRETPATH")).await.status, 404);
    }
    assert_eq!(gateway.send(&secret("/gone/SECRETPATH")).await.status, 502);
    assert_eq!(gateway.send(&secret("/one/SECRETPATH")).await.status, 200);
    assert_eq!(gateway.send(&secret("/one/SECRETPATH")).await.status, 429);

    eventually(PATIENCE, || async {
        gateway.status().await["traffic"]["requests"]["2xx"] == 4
            && gateway.status().await["traffic"]["refusals"]["rate_limited"] == 1
    })
    .await;
    let traffic = gateway.status().await["traffic"].clone();
    assert_eq!(traffic["requests"], serde_json::json!({ "2xx": 4, "4xx": 4, "5xx": 1 }));
    let refusals = serde_json::json!({ "connect_failed": 1, "no_route": 3, "rate_limited": 1 });
    assert_eq!(traffic["refusals"], refusals);
    let named = |list: &str, key: &str, name: &str| {
        traffic[list].as_array().unwrap().iter().find(|one| one[key] == name).cloned().unwrap()
    };
    assert_eq!(named("upstreams", "upstream", "shop")["requests"], serde_json::json!({ "2xx": 4 }));
    assert_eq!(named("upstreams", "upstream", "shop")["attempts"], serde_json::json!({ "ok": 4 }));
    assert_eq!(named("upstreams", "upstream", "gone")["attempts"]["connect_error"], 1);
    assert_eq!(named("routes", "route", "one")["requests"], serde_json::json!({ "2xx": 1, "4xx": 1 }));
    assert_eq!(traffic["limits"]["one"], serde_json::json!({ "admitted": 1, "refused": 1 }));
    let limited = named("recent_refusals", "flag", "rate_limited");
    assert_eq!(
        (&limited["status"], &limited["route"], &limited["limit"], &limited["listener"], &limited["count"]),
        (&429.into(), &"one".into(), &"one".into(), &"plain".into(), &1.into())
    );
    let unknown = named("recent_refusals", "flag", "no_route");
    assert_eq!((&unknown["count"], &unknown["route"]), (&3.into(), &Value::Null));
    assert_eq!(named("recent_refusals", "flag", "connect_failed")["upstream"], "gone");

    let overview = gateway.admin("GET", "/overview").await.text();
    let latency = serde_json::from_str::<Value>(&overview).unwrap()["latency"].clone();
    assert_eq!(latency["requests"], 9, "{latency}");
    let of = |key: &str| latency[key].as_f64().unwrap();
    assert!(of("p50_ms") > 0.0 && of("p50_ms") <= of("p95_ms") && of("p95_ms") <= of("p99_ms"), "{latency}");
    let page = page(&gateway, "/overview.json", "127.0.0.1").await.text();
    for told in [&overview, &page] {
        assert!(told.contains("\"rate_limited\"") && !told.contains("SECRET"), "{told}");
        // Whose address a key is, and where files are.
        assert!(!told.contains("client_address") && !told.contains(gateway.files.path("").to_str().unwrap()));
    }
}

#[tokio::test]
async fn the_page_is_for_names_of_this_machine_alone_and_nothing_may_be_done_with_it() {
    let gateway = Gateway::builder().start().await;

    for path in ["/", "/overview.json"] {
        for own in ["localhost:9901", "127.0.0.1", "[::1]:9901"] {
            let answer = page(&gateway, path, own).await;
            assert_eq!(answer.status, 200, "{path} {own}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
        let other = page(&gateway, path, "rebound.example:9901").await;
        assert_eq!((other.status, other.text().contains("ssh -L")), (403, true), "{path}");
        let post = Request::post(path, "").host("localhost").honest();
        assert_eq!(Http1::open(gateway.address("metrics")).await.send(&post).await.status, 405);
    }
    let answer = page(&gateway, "/", "localhost").await;
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    // Who scrapes says any name.
    assert_eq!(page(&gateway, "/metrics", "rebound.example:9901").await.status, 200);
    assert_eq!(gateway.get("/overview.json").await.status, 404);
}

pub(crate) async fn page(gateway: &Gateway, path: &str, host: &str) -> crate::support::Response {
    let request = Request::get(path).host(host).honest();
    Http1::open(gateway.address("metrics")).await.send(&request).await
}

fn secret(target: &str) -> Request {
    Request::get(target).header("user-agent", "SECRETAGENT").header("x-secret", "SECRETHEADER")
}

fn watch(gateway: &Gateway, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["status", "--socket"]).arg(gateway.files.path("admin.sock")).arg("--watch").args(arguments);
    command.env_remove("NO_COLOR");
    command
}

/// As in `/proc/PID/stat`.
fn state(pid: i32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

const CTRL_C: u8 = 3;
const CTRL_Z: u8 = 26;
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

const COUNTED: &str = "
upstreams:
  - { name: shop, endpoints: [{ address: \"{shop}\" }] }
  - { name: gone, endpoints: [{ address: \"{gone}\" }] }
limits: [{ name: one, key: [client_address], rate: 1/h }]
routes:
  - { name: shop, match: { path: /shop/ }, to: [{ upstream: shop }] }
  - { name: gone, match: { path: /gone/ }, to: [{ upstream: gone }] }
  - { name: one, match: { path: /one/ }, to: [{ upstream: shop }], limits: [one] }
";
