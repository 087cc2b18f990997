//! New files in a running gateway: what it tells, what it refuses, and that no
//! request notices more than it has to.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tollgate::{config::signer::Algorithm, jwt::PublicKeys};

use crate::{
    signing::{jwks, only_token, pem},
    support::{
        Gateway, Origin, PATIENCE, Request, Response, Tls, certs, eventually,
        load::{Asks, Load},
    },
};

#[tokio::test]
async fn a_reload_tells_each_change_in_a_line() {
    let origin = Origin::start().await;
    let before = r#"
        upstreams:
          - { name: stays, endpoints: [{ address: "{origin}" }] }
          - { name: moves, endpoints: [{ address: "{origin}" }] }
          - { name: goes, endpoints: [{ address: "{origin}" }] }
        routes:
          - { name: kept, match: { path: /kept }, to: [{ upstream: stays }] }
          - { name: old, match: { path: /old }, to: [{ upstream: goes }] }
          - { name: other, match: { path: /other }, to: [{ upstream: moves }] }
        "#;
    let gateway = Gateway::builder().origin("origin", &origin).yaml(before).start().await;

    gateway.write_config(
        r#"
        requests: { max_header_fields: 50 }
        upstreams:
          - { name: comes, endpoints: [{ address: "{origin}" }] }
          - { name: moves, endpoints: [{ address: "{origin}", zone: use1-az1 }] }
          - { name: stays, endpoints: [{ address: "{origin}" }] }
        routes:
          - { name: new, match: { path: /new }, to: [{ upstream: comes }] }
          - { name: kept, match: { path: /kept }, to: [{ upstream: stays }] }
          - { name: other, match: { path: /else }, to: [{ upstream: moves }] }
        "#,
    );
    let told = gateway.reload().await;

    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""), "{told:?}");
    let lines: Vec<_> = told.stdout.lines().collect();
    let changes = [
        "added: upstream comes",
        "removed: upstream goes",
        "changed: upstream moves (endpoints)",
        "added: route new",
        "removed: route old",
        "changed: route other (match)",
        "changed: requests (max_header_fields)",
    ];
    assert_eq!(lines, [&changes[..], &["reloaded: generation 2 serves"]].concat());
    let json = gateway.ask(&["reload", "--json"]).await;
    let told: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&told["generation"], &told["changes"]), (&3.into(), &json!([])), "{told}");
    assert_eq!(gateway.metric("tollgate_config_reloads_total", &[("result", "ok")]).await, 3.0);
}

#[tokio::test]
async fn hangup_reloads_and_a_refusal_stays_in_log_and_metrics_until_the_next_good_one() {
    let gateway = Gateway::builder().yaml(&saying("one")).start().await;
    let successful = async || gateway.metric("tollgate_config_last_reload_successful", &[]).await;
    let hangup = async |text: &str| {
        gateway.write_config(text);
        gateway.signal(libc::SIGHUP);
    };

    hangup(&saying("two")).await;
    eventually(PATIENCE, || async { gateway.get("/").await.text() == "two" }).await;
    assert_eq!(successful().await, 1.0);

    hangup("routes: [{ name: hello, respnd: { status: 200 } }]").await;
    eventually(PATIENCE, || async { successful().await == 0.0 }).await;
    assert_eq!(gateway.get("/").await.text(), "two");
    let log = gateway.stderr();
    assert!(log.contains("reload refused: error: ") && log.contains("did you mean `respond`"), "{log}");
    assert!(gateway.metric("tollgate_config_last_reload_timestamp_seconds", &[]).await > 1e9);

    hangup(&saying("three")).await;
    eventually(PATIENCE, || async { successful().await == 1.0 }).await;
    assert_eq!(gateway.get("/").await.text(), "three");
    assert_eq!(gateway.metric("tollgate_config_generation", &[]).await, 3.0);
}

#[tokio::test]
async fn a_hangup_during_a_reload_is_not_lost() {
    let gateway = Gateway::builder().yaml(&many_routes("0")).start().await;

    // The next file and signal come while the one before is being read.
    for nth in 1..=5 {
        gateway.write_config(&many_routes(&nth.to_string()));
        gateway.signal(libc::SIGHUP);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    eventually(PATIENCE, || async { gateway.get("/1").await.text() == "5" }).await;
    assert_eq!(gateway.metric("tollgate_config_reloads_total", &[("result", "refused")]).await, 0.0);
}

#[tokio::test]
async fn what_needs_a_restart_is_refused_by_its_key_and_changes_nothing() {
    let builder =
        Gateway::builder().port("elsewhere").pair("api", &certs::server(&certs::authority(), &["a.test"]));
    let gateway = builder.yaml(&saying("old")).start().await;
    let moved = "listeners:\n  - { name: plain, address: \"{elsewhere}\" }\n";
    let secure = "listeners:\n  - name: plain\n    address: \"{plain}\"\n    tls: { certificates: [{ chain: api.pem, key: api.key }] }\n";

    for (section, key) in [
        (moved, "tollgate.yaml:2: listeners[0].address: "),
        (secure, "tollgate.yaml:4: listeners[0].tls: "),
        ("listeners:\n  - { name: other, address: \"{plain}\" }\n", "tollgate.yaml:1: listeners: "),
        ("readiness: { address: \"{elsewhere}\" }\n", "tollgate.yaml:1: readiness: "),
        ("admin: { socket: other.sock, metrics: \"{metrics}\" }\n", "tollgate.yaml:1: admin: "),
        ("runtime: { threads: 1 }\n", "tollgate.yaml:1: runtime: "),
        ("access_log: { path: off }\n", "tollgate.yaml:1: access_log: "),
        ("connections:\n  max_age: 5m\n  max_streams: 7\n", "tollgate.yaml:3: connections.max_streams: "),
        ("connections:\n  idle: 10s\n", "tollgate.yaml:2: connections.idle: "),
    ] {
        gateway.write_config(&format!("{section}{}", saying("new")));
        let told = gateway.reload().await;

        assert_eq!(told.code, Some(78), "{section} {told:?}");
        assert!(
            told.stderr.contains(key) && told.stderr.contains("restart"),
            "no `{key}` in {}",
            told.stderr
        );
        assert!(told.stderr.ends_with("refused: the gateway goes on with what it had\n"), "{told:?}");
        assert_eq!(gateway.get("/").await.text(), "old");
    }
    assert_eq!(gateway.status().await["generation"], 1);
    // The rest of `connections` changes at once.
    gateway.write_config(&format!("connections: {{ max_age: 5m }}\n{}", saying("new")));
    assert_eq!(gateway.reload().await.code, Some(0));
    assert_eq!(gateway.get("/").await.text(), "new");
}

#[tokio::test]
async fn a_socket_that_nobody_listens_at_is_not_now() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());

    let told = Gateway::cli(&["reload", "--socket", &path.display().to_string()]).await;

    assert_eq!(told.code, Some(75), "{told:?}");
    assert!(told.stderr.contains("no gateway listens at"), "{told:?}");
}

#[tokio::test]
async fn a_request_under_way_ends_with_the_files_it_began_with() {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let builder = Gateway::builder().origin("origin", &origin).certificate(&certificate);
    let gateway = builder.yaml(&marked("one")).start().await;
    let mut http1 = gateway.connect().await;
    let http2 = gateway.connect_http2(&Tls::default()).await.unwrap();
    let slow = Request::get("/").script("delay=700ms");
    http1.write(slow.to_http1()).await.unwrap();
    let mut stream = http2.start(&slow, true).await.unwrap();
    eventually(PATIENCE, || async { origin.requests().await == 2 }).await;

    gateway.write_config(&marked("two"));
    assert_eq!(gateway.reload().await.code, Some(0));
    let later = http2.start(&Request::get("/"), true).await.unwrap().response().await.unwrap();

    for old in [http1.read_response().await.unwrap(), stream.response().await.unwrap()] {
        assert_eq!((old.header("x-config"), old.echo().header("x-config")), (Some("one"), Some("one")));
        assert_eq!(gateway.line_of(&old).await["generation"], 1);
    }
    for new in [later, http1.send(&Request::get("/")).await] {
        assert_eq!((new.header("x-config"), new.echo().header("x-config")), (Some("two"), Some("two")));
        assert_eq!(gateway.line_of(&new).await["generation"], 2);
    }
}

#[tokio::test]
async fn a_fragment_comes_and_goes() {
    let gateway = Gateway::builder().yaml(&saying("main")).start().await;
    let fragment = "routes: [{ name: team, match: { path: /team }, respond: { status: 200, body: team } }]\n";

    gateway.files.write("conf.d/team.yaml", fragment);
    assert_eq!(gateway.get("/team").await.text(), "main");
    let told = gateway.reload().await;
    assert_eq!(told.stdout, "added: route team\nreloaded: generation 2 serves\n", "{told:?}");
    assert_eq!(gateway.get("/team").await.text(), "team");

    // A bad fragment is told by its own name and line.
    gateway.files.write("conf.d/team.yaml", &format!("{fragment}upstream: []\n"));
    let told = gateway.reload().await;
    assert_eq!(told.code, Some(78));
    assert!(told.stderr.contains("conf.d/team.yaml:2: "), "{told:?}");
    assert_eq!(gateway.get("/team").await.text(), "team");

    std::fs::remove_file(gateway.files.path("conf.d/team.yaml")).unwrap();
    let told = gateway.reload().await;
    assert_eq!(told.stdout, "removed: route team\nreloaded: generation 3 serves\n", "{told:?}");
    assert_eq!(gateway.get("/team").await.text(), "main");
}

#[tokio::test]
async fn two_reloads_at_a_time_do_not_mix() {
    let gateway = Gateway::builder().yaml(&many_routes("same")).start().await;

    let asked = std::iter::repeat_with(|| gateway.admin("POST", "/reload")).take(6);
    let told = futures::future::join_all(asked).await;

    let taken: Vec<_> = told.iter().filter(|answer| answer.status == 200).collect();
    let busy: Vec<_> = told.iter().filter(|answer| answer.status == 409).collect();
    assert_eq!(taken.len() + busy.len(), 6, "{told:?}");
    assert!(!taken.is_empty() && !busy.is_empty(), "{} {}", taken.len(), busy.len());
    assert!(busy.iter().all(|answer| answer.text().contains("another reload is under way")), "{busy:?}");
    // Each generation once, without a gap.
    let mut generations: Vec<_> =
        taken.iter().map(|answer| answer.json()["generation"].as_u64().unwrap()).collect();
    generations.sort_unstable();
    assert_eq!(generations, (2..2 + taken.len() as u64).collect::<Vec<_>>());
    assert_eq!(gateway.status().await["generation"].as_u64(), generations.last().copied());
}

#[tokio::test]
async fn one_bad_file_of_any_kind_and_nothing_of_the_rest_is_taken() {
    let origin = Origin::start().await;
    let builder = Gateway::builder().origin("origin", &origin).key("keys/a.pem", &pem(Algorithm::Es256));
    let gateway = builder.pair("api", &certs::server(&certs::authority(), &["a.test"]));
    let before = format!("{SIGNER}{}", marked("one"));
    let gateway = gateway
        .tls("{ certificates: [{ chain: api.pem, key: api.key }], client_auth: [] }")
        .yaml(&before)
        .start()
        .await;
    let keys = async || jwks(&gateway, &Request::get("/jwks.json")).await.text().matches("\"kid\"").count();
    assert_eq!(keys().await, 1);
    let fragment = "routes: [{ name: team, match: { path: /team }, respond: { status: 200, body: team } }]\n";

    // All of it is new, and one of it is bad: the key, the authorities, a fragment.
    gateway.write_config(&format!("{SIGNER}{}", marked("two")));
    gateway.files.write("conf.d/team.yaml", fragment);
    gateway.files.write_key("keys/b.pem", &pem(Algorithm::Es256));
    gateway.files.write_key("keys/c.pem", "no key\n");
    for (bad, mends) in [("keys/c.pem", "keys/c.pem"), ("conf.d/bad.yaml", "conf.d/bad.yaml")] {
        let told = gateway.reload().await;
        assert_eq!(told.code, Some(78), "{told:?}");
        assert!(told.stderr.contains(bad), "{told:?}");
        assert_eq!(gateway.get("/").await.header("x-config"), Some("one"));
        assert_eq!(gateway.get("/team").await.header("x-config"), Some("one"));
        assert_eq!(keys().await, 1);
        std::fs::remove_file(gateway.files.path(mends)).unwrap();
        gateway.files.write("conf.d/bad.yaml", "rotes: []\n");
    }
    std::fs::remove_file(gateway.files.path("conf.d/bad.yaml")).unwrap();
    let told = gateway.reload().await;

    assert_eq!(told.code, Some(0), "{told:?}");
    assert_eq!(gateway.get("/").await.header("x-config"), Some("two"));
    assert_eq!(gateway.get("/team").await.text(), "team");
    assert_eq!(keys().await, 2);
}

#[tokio::test]
async fn no_request_meets_a_new_route_with_old_keys() {
    let origin = Origin::start().await;
    let builder = Gateway::builder().origin("origin", &origin);
    let builder = builder.key("one/a.pem", &pem(Algorithm::Es256)).key("two/a.pem", &pem(Algorithm::Es256));
    // One name, so that a part of either would still work with a part of the other.
    let of = |mark: &str| {
        let signer = SIGNER.replace("keys: keys", &format!("keys: {mark}"));
        format!("{signer}{}", marked(mark)).replace("- name: all", "- name: all\n            sign: default")
    };
    let gateway = builder.yaml(&of("one")).start().await;
    let kid = async || {
        let kid = kid_of(&gateway.get("/").await);
        assert!(PublicKeys::parse(&jwks(&gateway, &Request::get("/jwks.json")).await.body).is_ok());
        kid
    };
    let first = kid().await;
    gateway.write_config(&of("two"));
    assert_eq!(gateway.reload().await.code, Some(0));
    let second = kid().await;
    assert_ne!(first, second);
    let (seen, load) = (std::sync::Arc::new(std::sync::Mutex::new(Vec::new())), Load::new());
    let mut clients = JoinSet::new();
    for _ in 0..3 {
        clients
            .spawn(load.clone().http1(Asks::of(gateway.plain, Request::get("/")).sound(|a| a.status == 200)));
        let (address, seen, load) = (gateway.plain, seen.clone(), load.clone());
        clients.spawn(async move {
            let mut http = crate::support::Http1::open(address).await;
            while !load.is_ended() {
                let answer = http.send(&Request::get("/")).await;
                let config = answer.header("x-config").unwrap().to_owned();
                seen.lock().unwrap().push((config, kid_of(&answer)));
            }
        });
    }

    for nth in 0..10 {
        gateway.write_config(&of(if nth % 2 == 0 { "one" } else { "two" }));
        assert_eq!(gateway.reload().await.code, Some(0));
        let before = seen.lock().unwrap().len();
        eventually(PATIENCE, || async { seen.lock().unwrap().len() > before + 20 }).await;
    }
    load.end();
    clients.join_all().await;

    assert_eq!(load.lost(), [""; 0]);
    let seen = seen.lock().unwrap();
    let pairs: std::collections::BTreeSet<_> = seen.iter().cloned().collect();
    let expected = [("one".to_owned(), first), ("two".to_owned(), second)];
    assert_eq!(pairs, expected.into_iter().collect());
}

/// The name of the key that signed for it.
fn kid_of(answer: &Response) -> String {
    let echo = answer.echo();
    let header = only_token(&echo).split('.').next().unwrap().to_owned();
    let header: serde_json::Value =
        serde_json::from_slice(&tollgate::jwt::decode(header.as_bytes()).unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

const SIGNER: &str = "\n        signers: [{ name: default, issuer: \"https://gw.test\", keys: keys }]";

/// One route that answers with this.
fn saying(body: &str) -> String {
    format!("routes: [{{ name: hello, respond: {{ status: 200, body: {body} }} }}]\n")
}

/// Everything to the origin, marked on both ways.
fn marked(mark: &str) -> String {
    format!(
        "
        routes:
          - name: all
            to: [{{ upstream: origin }}]
            request_headers: {{ set: [{{ name: x-config, value: {mark} }}] }}
            response_headers: {{ set: [{{ name: x-config, value: {mark} }}] }}
        "
    )
}

/// Enough of them that a reload takes a while.
fn many_routes(body: &str) -> String {
    let one = |nth: u32| {
        format!(
            "  - {{ name: r{nth}, match: {{ path: /{nth} }}, respond: {{ status: 200, body: \"{body}\" }} }}\n"
        )
    };
    "routes:\n".to_owned() + &(0..3_000).map(one).collect::<String>()
}
