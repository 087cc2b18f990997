//! The way back: by hand, or by itself when nobody confirms.

use std::fs;

use crate::support::{
    Gateway, Origin, PATIENCE, Request, Tls,
    certs::{self, Issued},
    eventually,
};

#[tokio::test]
async fn the_configuration_before_is_called_back_and_twice_is_as_if_nothing_had_been() {
    let gateway = Gateway::builder().yaml(&saying("one")).start().await;
    let first = gateway.status().await["config_hash"].clone();
    let nothing = gateway.ask(&["rollback"]).await;
    assert_eq!(nothing.code, Some(75), "{nothing:?}");
    assert!(nothing.stderr.contains("no configuration before"), "{nothing:?}");
    gateway.write_config(&saying("two"));
    assert_eq!(gateway.reload().await.code, Some(0));
    let second = gateway.status().await["config_hash"].clone();
    assert_eq!(gateway.status().await["former"]["generation"], 1);

    let told = gateway.ask(&["rollback"]).await;

    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""), "{told:?}");
    assert!(told.stdout.starts_with("added: route one\nremoved: route two\n"), "{told:?}");
    assert!(told.stdout.contains("rolled back: generation 3 serves what generation 1 did"), "{told:?}");
    assert!(told.stdout.contains("the next reload takes them"), "{told:?}");
    let answer = gateway.get("/").await;
    assert_eq!(answer.text(), "one");
    let line = gateway.line_of(&answer).await;
    let short = |hash: &serde_json::Value| hash.as_str().unwrap()[..12].to_owned();
    assert_eq!((&line["generation"], line["config"].as_str()), (&3.into(), Some(&*short(&first))));
    let status = gateway.status().await;
    assert_eq!((&status["generation"], &status["config_hash"]), (&3.into(), &first));
    let told = gateway.ask(&["rollback"]).await;
    assert!(told.stdout.contains("the files on the disk are those that serve"), "{told:?}");
    assert_eq!(
        (gateway.get("/").await.text(), &gateway.status().await["config_hash"]),
        ("two".into(), &second)
    );
    let page = gateway.metrics().await;
    assert_eq!(page.metric("tollgate_config_generation", &[]), 4.0);
    assert_eq!(page.metric("tollgate_config_rollbacks_total", &[("reason", "asked")]), 2.0);
    let infos: Vec<_> = page.samples("tollgate_config_info", &[]).collect();
    assert_eq!((infos.len(), &infos[0].labels["hash"]), (1, &short(&second)));
}

#[tokio::test]
async fn what_is_said_of_the_disk_is_looked_up() {
    let gateway = Gateway::builder().yaml(&saying("one")).start().await;
    gateway.write_config(&saying("two"));
    assert_eq!(gateway.reload().await.code, Some(0));
    gateway.write_config(&saying("three"));
    let rollback = || gateway.ask(&["rollback"]);

    for (text, words) in [
        (saying("three"), "are others: the next reload takes them"),
        (saying("two"), "are those that serve"),
        (saying("three"), "are others: the next reload takes them"),
        ("nonsense: 1".to_owned(), "cannot be used now: `tollgate check` says why"),
    ] {
        // A rollback serves `one`, the next `two`.
        assert_eq!(rollback().await.code, Some(0));
        gateway.write_config(&text);
        let told = rollback().await;
        assert!(told.stdout.contains(words), "{words}: {told:?}");
        assert_eq!(gateway.get("/").await.text(), "two");
    }
}

#[tokio::test]
async fn a_reload_that_changes_nothing_does_not_take_the_way_back_away() {
    let gateway = Gateway::builder().yaml(&saying("one")).start().await;
    gateway.write_config(&saying("two"));
    for _ in 0..3 {
        assert_eq!(gateway.reload().await.code, Some(0));
    }

    assert_eq!(gateway.ask(&["rollback"]).await.code, Some(0));

    assert_eq!(gateway.get("/").await.text(), "one");
}

#[tokio::test]
async fn who_is_let_in_is_told_as_a_change_and_is_called_back() {
    let by = |files: &str, path: &str| {
        format!(
            "authentication: [{{ name: partners, api_keys: {{ files: [{files}] }} }}]\n\
             routes: [{{ name: all, match: {{ path: {path} }}, authenticate: [partners], respond: {{ status: 200 }} }}]"
        )
    };
    let keys = [1, 2].map(|n: u8| tollgate::identity::NewKey::new(&std::array::from_fn(|at| at as u8 ^ n)));
    let file = |n: usize| format!("keys: [{{ consumer: partner-{n}, sha256: {} }}]", keys[n].digest);
    let builder = Gateway::builder().file("one.yaml", &file(0)).file("two.yaml", &file(1));
    let gateway = builder.yaml(&by("one.yaml", "/")).start().await;
    let request = Request::get("/a").header("X-Api-Key", &keys[1].key);
    let second = || gateway.send(&request);
    gateway.write_config(&by("one.yaml", "/a"));
    assert_eq!(gateway.reload().await.code, Some(0));
    assert_eq!(second().await.status, 401);
    gateway.write_config(&by("one.yaml, two.yaml", "/a"));

    let foreseen = gateway.ask(&["reload", "--dry-run"]).await;
    assert_eq!(gateway.reload().await.code, Some(0));

    assert!(foreseen.stdout.starts_with("changed: authentication partners (api_keys)\n"), "{foreseen:?}");
    assert_eq!(second().await.status, 200);
    let back = gateway.ask(&["rollback"]).await;
    assert!(back.stdout.contains("generation 4 serves what generation 2 did"), "{back:?}");
    assert_eq!(second().await.status, 401);
}

#[tokio::test]
async fn limits_go_on_counting_and_series_are_those_of_the_configuration() {
    let origin = Origin::start().await;
    let limited = |own: &str, route: &str| {
        format!(
            "limits: [{{ name: shared, rate: 1/h, burst: 4 }}, {{ name: {own}, rate: 1/h, burst: 4 }}]\n\
             routes: [{{ name: {route}, limits: [shared], match: {{ path: /shared }}, to: [{{ upstream: origin }}] }}, \
             {{ name: own-{route}, limits: [{own}], to: [{{ upstream: origin }}] }}]"
        )
    };
    let before = limited("mine", "first");
    let gateway = Gateway::builder().origin("origin", &origin).yaml(&before).start().await;
    let passed = async |path: &str, times: usize| {
        let mut passed = 0;
        for _ in 0..times {
            passed += u32::from(gateway.get(path).await.status == 200);
        }
        passed
    };
    assert_eq!((passed("/shared", 1).await, passed("/", 3).await), (1, 3));
    gateway.write_config(&limited("yours", "second"));
    assert_eq!(gateway.reload().await.code, Some(0));
    assert_eq!(passed("/shared", 2).await, 2);

    assert_eq!(gateway.ask(&["rollback"]).await.code, Some(0));

    // Of the one that both had: what either admitted. Of its own: what it had admitted.
    assert_eq!((passed("/shared", 3).await, passed("/", 3).await), (1, 1));
    let page = gateway.metrics().await;
    assert_eq!(page.metric("tollgate_requests_total", &[("route", "own-first"), ("status", "2xx")]), 1.0);
    assert_eq!(
        page.metric("tollgate_limit_decisions_total", &[("limit", "mine"), ("result", "refused")]),
        2.0
    );
    for gone in [("route", "second"), ("limit", "yours")] {
        assert!(!page.all().any(|sample| sample.labels.get(gone.0).is_some_and(|v| v == gone.1)), "{gone:?}");
    }
}

#[tokio::test]
async fn a_route_that_was_gone_and_called_back_is_counted_for_all_to_see() {
    let route = |name: &str| {
        format!("- {{ name: {name}, match: {{ path: /{name} }}, respond: {{ status: 200 }} }}\n")
    };
    let list =
        |names: &[&str]| format!("routes:\n{}", names.iter().map(|name| route(name)).collect::<String>());
    let (with, without) = (list(&["goes", "stays", "last"]), list(&["stays", "last"]));
    let gateway = Gateway::builder().yaml(&with).start().await;
    let counted = async || {
        assert_eq!(gateway.get("/goes").await.status, 200);
        gateway.metric("tollgate_requests_total", &[("route", "goes")]).await
    };
    assert_eq!(counted().await, 1.0);
    gateway.write_config(&without);
    assert_eq!(gateway.reload().await.code, Some(0));

    assert_eq!(gateway.ask(&["rollback"]).await.code, Some(0));
    assert_eq!(counted().await, 1.0);
    gateway.write_config(&with);
    assert_eq!(gateway.reload().await.code, Some(0));

    assert_eq!(counted().await, 2.0);
}

#[tokio::test]
async fn endpoints_are_those_of_now_or_the_last_that_were_known() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let file = |name: &str| format!("endpoints: [{{ address: \"{{{name}}}\" }}]");
    let builder = Gateway::builder().origin("a", &a).origin("b", &b).file("orders.yaml", &file("a"));
    let of_file = "upstreams: [{ name: orders, endpoints_file: orders.yaml }]\n\
                   routes: [{ name: all, to: [{ upstream: orders }] }]";
    let gateway = builder.yaml(of_file).start().await;
    assert_eq!(gateway.get("/").await.echo().origin(), "a");
    let change = async || {
        gateway.write_config(&saying("else"));
        assert_eq!(gateway.reload().await.code, Some(0));
        assert_eq!(gateway.get("/").await.text(), "else");
    };

    change().await;
    gateway.files.write("orders.yaml", &file("b"));
    assert_eq!(gateway.ask(&["rollback"]).await.code, Some(0));
    assert_eq!(gateway.get("/").await.echo().origin(), "b");

    // Back on the other one, so that the next way back leads to this.
    assert_eq!(gateway.ask(&["rollback"]).await.code, Some(0));
    fs::remove_file(gateway.files.path("orders.yaml")).unwrap();
    assert_eq!(gateway.ask(&["rollback"]).await.code, Some(0));
    assert_eq!(gateway.get("/").await.echo().origin(), "b");
    gateway.files.write("orders.yaml", &file("a"));
    eventually(PATIENCE, || async { gateway.get("/").await.echo().origin() == "a" }).await;
}

#[tokio::test]
async fn an_endpoint_that_went_down_meanwhile_is_asked_before_it_serves() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let check = "health_check: { path: /__origin/health, interval: 1h, unhealthy_interval: 1h }";
    let gateway = Gateway::shop(&[&a, &b], check).await;
    gateway.write_config(&saying("else"));
    assert_eq!(gateway.reload().await.code, Some(0));
    b.set_healthy(false).await;

    assert_eq!(gateway.ask(&["rollback"]).await.code, Some(0));

    assert_eq!(b.stats().await["health_checks"], 2);
    for _ in 0..20 {
        assert_eq!(gateway.get("/").await.echo().origin(), "a");
    }
}

#[tokio::test]
async fn certificates_are_those_that_were_read_then() {
    let origin = Origin::start().await;
    let authority = certs::authority();
    let issue = || certs::server(&authority, &["api.example.com"]);
    let (old, new, other) = (issue(), issue(), issue());
    let two = "listeners:\n  \
               - { name: plain, address: \"{plain}\" }\n  \
               - { name: public, address: \"{tls}\", tls: { certificates: [{ chain: a.pem, key: a.key }] } }\n  \
               - { name: second, address: \"{second}\", tls: { certificates: [{ chain: b.pem, key: b.key }] } }\n\
               routes: [{ name: all, to: [{ upstream: origin }] }]";
    let builder = Gateway::builder().origin("origin", &origin).port("second").pair("a", &old).pair("b", &old);
    let gateway = builder.yaml(two).start().await;
    gateway.files.pair("a", &new);
    gateway.write_config(&format!("requests: {{ max_header_fields: 50 }}\n{two}"));
    assert_eq!(gateway.reload().await.code, Some(0));
    assert_eq!(shown(gateway.tls).await, der(&new));

    assert_eq!(gateway.ask(&["rollback"]).await.code, Some(0));

    assert_eq!(shown(gateway.tls).await, der(&old));
    // Files are still looked at, and what lay there already is no change.
    gateway.files.pair("b", &other);
    eventually(PATIENCE, || async { shown(gateway.address("second")).await == der(&other) }).await;
    assert_eq!(shown(gateway.tls).await, der(&old));
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_not_called_back() {
    let authority = certs::authority();
    let issue = |valid| certs::server_with(&authority, &["api.example.com"], certs::Kind::Ecdsa, valid);
    let (expired, today, other) = (issue(-7_200..-60), issue(certs::VALID), issue(certs::VALID));
    let two = "listeners:\n  \
               - { name: plain, address: \"{plain}\" }\n  \
               - { name: public, address: \"{tls}\", tls: { certificates: [{ chain: a.pem, key: a.key }] } }\n  \
               - { name: second, address: \"{second}\", tls: { certificates: [{ chain: b.pem, key: b.key }] } }\n\
               routes: [{ name: all, respond: { status: 200 } }]";
    let builder = Gateway::builder().port("second").pair("a", &expired).pair("b", &today);
    let gateway = builder.yaml(two).start().await;
    gateway.files.pair("a", &today);
    gateway.files.pair("b", &other);
    gateway.write_config(&format!("requests: {{ max_header_fields: 50 }}\n{two}"));
    assert_eq!(gateway.reload().await.code, Some(0));
    assert_eq!(shown(gateway.tls).await, der(&today));

    assert_eq!(gateway.ask(&["rollback"]).await.code, Some(0));

    assert_eq!(shown(gateway.tls).await, der(&today));
    // What is still good is as it was read then.
    assert_eq!(shown(gateway.address("second")).await, der(&today));
    // What is on the disk is looked at as ever.
    gateway.files.pair("a", &other);
    eventually(PATIENCE, || async { shown(gateway.tls).await == der(&other) }).await;
}

#[tokio::test]
async fn what_nobody_confirms_goes_back_by_itself() {
    let gateway = Gateway::builder().yaml(&saying("one")).start().await;
    gateway.write_config(&saying("two"));

    let told = gateway.ask(&["reload", "--confirm", "1s"]).await;

    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stdout.contains("goes back in 1 s unless `tollgate confirm` follows"), "{told:?}");
    eventually(PATIENCE, || async { gateway.get("/").await.text() == "one" }).await;
    let status = gateway.status().await;
    assert_eq!((&status["generation"], &status["confirm_within_seconds"]), (&3.into(), &().into()));
    let late = gateway.ask(&["confirm"]).await;
    assert_eq!(late.code, Some(75), "{late:?}");
    let page = gateway.metrics().await;
    assert_eq!(page.metric("tollgate_config_rollbacks_total", &[("reason", "unconfirmed")]), 1.0);
    assert_eq!(page.metric("tollgate_config_unconfirmed", &[]), 0.0);
    assert!(gateway.stderr().contains("of_generation=1") && gateway.stderr().contains("reason=unconfirmed"));
    // The way is free again.
    assert_eq!(gateway.reload().await.code, Some(0));
    assert_eq!(gateway.get("/").await.text(), "two");
}

#[tokio::test]
async fn while_a_confirmation_is_pending_nothing_else_is_reloaded() {
    let origin = Origin::start().await;
    let gateway = Gateway::builder().origin("origin", &origin).yaml(&saying("one")).start().await;
    gateway.write_config(&saying("two"));
    assert_eq!(gateway.ask(&["reload", "--confirm", "1h"]).await.code, Some(0));
    gateway.write_config(&saying("three"));

    for arguments in [&["reload"][..], &["reload", "--confirm", "5s"]] {
        let told = gateway.ask(arguments).await;
        assert_eq!(told.code, Some(75), "{told:?}");
        assert!(told.stderr.contains("`tollgate confirm` or `tollgate rollback` first"), "{told:?}");
    }
    let foreseen = gateway.ask(&["reload", "--dry-run"]).await;
    gateway.signal(libc::SIGHUP);
    let refused = "reload refused: error: the configuration that serves is not confirmed";
    eventually(PATIENCE, || async { gateway.stderr().matches(refused).count() == 3 }).await;

    assert!(foreseen.stdout.contains("added: route three"), "{foreseen:?}");
    let left = gateway.status().await["confirm_within_seconds"].as_u64().unwrap();
    assert!((3_000..3_600).contains(&left), "{left}");
    assert!(gateway.ask(&["status"]).await.stdout.contains("UNCONFIRMED  goes back in "));
    assert_eq!(gateway.metric("tollgate_config_unconfirmed", &[]).await, 1.0);
    assert_eq!(gateway.metric("tollgate_config_reloads_total", &[]).await, 2.0);
    assert_eq!(gateway.get("/").await.text(), "two");
    let confirmed = gateway.ask(&["confirm"]).await;
    assert_eq!((confirmed.code, confirmed.stdout.as_str()), (Some(0), "confirmed: generation 2 stays\n"));
    assert_eq!(gateway.ask(&["confirm"]).await.code, Some(75));
    assert_eq!(gateway.reload().await.code, Some(0));
    assert_eq!(gateway.get("/").await.text(), "three");
}

#[tokio::test]
async fn a_pending_confirmation_ends_with_a_rollback_and_never_begins_with_a_refusal() {
    let gateway = Gateway::builder().yaml(&saying("one")).start().await;
    gateway.write_config("routes: nonsense");
    assert_eq!(gateway.ask(&["reload", "--confirm", "1h"]).await.code, Some(78));
    assert!(gateway.status().await["confirm_within_seconds"].is_null());
    gateway.write_config(&saying("two"));
    assert_eq!(gateway.ask(&["reload", "--confirm", "1h"]).await.code, Some(0));
    // Endpoints that are found meanwhile make another snapshot of the same.
    assert_eq!(gateway.ask(&["rollback"]).await.code, Some(0));

    let status = gateway.status().await;

    assert!(status["confirm_within_seconds"].is_null(), "{status}");
    assert_eq!(gateway.get("/").await.text(), "one");
    for bad in ["0s", "500ms", "soon", "0"] {
        assert_eq!(gateway.ask(&["reload", "--confirm", bad]).await.code, Some(2), "{bad}");
    }
}

/// One route of this name that answers with it.
fn saying(body: &str) -> String {
    format!("routes: [{{ name: {body}, respond: {{ status: 200, body: {body} }} }}]\n")
}

/// The certificate that a new connection is shown, on which a request is served.
async fn shown(address: std::net::SocketAddr) -> Vec<u8> {
    let mut http = crate::support::Http1::over(Tls::default().connect(address).await.unwrap());
    assert_eq!(http.send(&Request::get("/")).await.status, 200);
    http.stream.ssl().peer_certificate().unwrap().to_der().unwrap()
}

fn der(issued: &Issued) -> Vec<u8> {
    boring::x509::X509::from_pem(issued.chain.as_bytes()).unwrap().to_der().unwrap()
}
