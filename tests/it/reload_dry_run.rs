//! What a reload would do, asked without doing it: the same words, and no trace.

use serde_json::json;

use crate::{
    signing::{pem, signing},
    support::{Gateway, Origin, Request},
};

const BEFORE: &str = r#"
    limits: [{ name: stays, rate: 1/h, burst: 5 }, { name: moves, rate: 1/h, burst: 5 }]
    upstreams: [{ name: old, endpoints: [{ address: "{origin}" }] }]
    routes: [{ name: all, limits: [stays, moves], to: [{ upstream: old }] }]
    "#;

/// Everything that a snapshot could leave behind is in it: a limit, a route, an upstream
/// whose endpoint would be probed, a name that would be looked up.
const AFTER: &str = r#"
    requests: { max_header_fields: 50 }
    limits:
      - { name: stays, rate: 1/h, burst: 5 }
      - { name: moves, rate: 1/h, burst: 6 }
      - { name: comes, rate: 1/h, burst: 5 }
    upstreams:
      - { name: old, endpoints: [{ address: "{origin}" }], health_check: { path: /__origin/health } }
      - name: new
        endpoints: [{ address: "{other}" }, { address: "new.internal:80" }]
        health_check: { path: /__origin/health }
    routes:
      - { name: all, limits: [stays, moves], to: [{ upstream: old }] }
      - { name: fresh, match: { path: /fresh }, limits: [comes], to: [{ upstream: new }] }
    "#;

const CHANGES: &str = "\
added: limit comes
changed: limit moves (burst)
added: upstream new
changed: upstream old (health_check)
added: route fresh
changed: requests (max_header_fields)
afresh: limit moves counts from zero
afresh: upstream old has to pass its health check first
";

#[tokio::test]
async fn a_dry_run_says_what_the_reload_then_does() {
    let (_origins, gateway) = start().await;

    gateway.write_config(AFTER);
    let foreseen = gateway.ask(&["reload", "--dry-run"]).await;
    let json = gateway.ask(&["reload", "--dry-run", "--json"]).await;
    let done = gateway.reload().await;

    assert_eq!((foreseen.code, foreseen.stderr.as_str()), (Some(0), ""), "{foreseen:?}");
    let kept = "kept: 1 limit with what was counted\n\
                kept: 1 endpoint with health and ejections (0 unhealthy, 0 ejected)\n";
    assert_eq!(foreseen.stdout, format!("{CHANGES}{kept}dry run: nothing was done\n"));
    assert_eq!(done.stdout, format!("{CHANGES}reloaded: generation 2 serves\n"));
    let told: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&told["generation"], &told["dry_run"]), (&1.into(), &true.into()), "{told}");
    let limit = json!({ "what": "changed", "kind": "limit", "name": "moves", "keys": ["burst"] });
    assert_eq!(told["changes"][1], limit, "{told}");
    assert_eq!(told["hash"], gateway.status().await["config_hash"]);
}

#[tokio::test]
async fn a_dry_run_leaves_nothing_behind() {
    let (origins, gateway) = start().await;
    assert_eq!(gateway.get("/").await.status, 200);
    let state = async || {
        let mut status = gateway.status().await;
        status.as_object_mut().unwrap().remove("uptime_seconds");
        let page = gateway.metrics().await;
        let series: Vec<_> = page.all().map(|s| (s.name.clone(), s.labels.clone())).collect();
        let limits = gateway.ask(&["limits", "--json"]).await.stdout;
        let mut limits = serde_json::from_str(&limits).unwrap();
        forget_times(&mut limits);
        (status, series, threads(&gateway), limits)
    };
    // Whatever is there after the first scrape and the first command is there.
    state().await;
    let before = state().await;

    gateway.write_config(AFTER);
    for _ in 0..10 {
        let told = gateway.ask(&["reload", "--dry-run"]).await;
        assert_eq!(told.code, Some(0), "{told:?}");
    }

    let after = state().await;
    assert_eq!(before.0, after.0);
    assert_eq!(before.1, after.1);
    assert_eq!((before.2, before.3), (after.2, after.3));
    assert!(!after.1.iter().any(|(_, labels)| labels.values().any(|value| value == "fresh")));
    assert_eq!(origins[1].stats().await["health_checks"], 0);
    assert!(!gateway.stderr().contains("new.internal"), "{}", gateway.stderr());
    // What was counted was not counted anew: of five, one was taken.
    for _ in 0..4 {
        assert_eq!(gateway.get("/").await.status, 200);
    }
    assert_eq!(gateway.get("/").await.status, 429);
}

#[tokio::test]
async fn a_dry_run_without_a_change_says_so_and_one_with_problems_is_as_a_refused_reload() {
    let (_origins, gateway) = start().await;

    let nothing = gateway.ask(&["reload", "--dry-run"]).await;
    gateway.write_config("access_log: { path: off }\nroutes: [{ name: x, respond: { status: 200 } }]");
    let frozen = gateway.ask(&["reload", "--dry-run"]).await;
    gateway.write_config("routes: [{ name: x, respnd: { status: 200 } }]");
    let bad = gateway.ask(&["reload", "--dry-run"]).await;

    assert_eq!(nothing.code, Some(0));
    assert!(nothing.stdout.starts_with("nothing would change\nkept: "), "{nothing:?}");
    assert_eq!((frozen.code, bad.code), (Some(78), Some(78)), "{frozen:?} {bad:?}");
    assert!(frozen.stderr.contains("access_log: this changes by a restart"), "{frozen:?}");
    assert!(bad.stderr.contains("did you mean `respond`"), "{bad:?}");
    // Nobody tried to change anything.
    assert_eq!(gateway.metric("tollgate_config_last_reload_successful", &[]).await, 1.0);
    assert_eq!(gateway.metric("tollgate_config_reloads_total", &[]).await, 1.0);
    assert_eq!(gateway.admin("POST", "/reload?dryrun").await.status, 400);
    assert_eq!(gateway.status().await["generation"], 1);
}

#[tokio::test]
async fn keys_are_told_and_none_is_retired() {
    let origin = Origin::start().await;
    let gateway = signing(&origin, "").start().await;
    let states = async || gateway.ask(&["keys", "status", "--json"]).await.stdout;
    gateway.files.write_key("keys/b.pem", &pem(tollgate::config::signer::Algorithm::Es256));
    assert_eq!(gateway.reload().await.code, Some(0));
    let before = states().await;

    std::fs::remove_file(gateway.files.path("keys/a.pem")).unwrap();
    let told = gateway.ask(&["reload", "--dry-run"]).await;

    for words in ["the key that signed for `default` is gone", "\nremoved: key ", "kept: 1 signing key"] {
        assert!(told.stdout.contains(words), "{told:?}");
    }
    let names = |text: &str| -> Vec<String> {
        let told: serde_json::Value = serde_json::from_str(text).unwrap();
        told.as_array().unwrap().iter().map(|key| format!("{} {}", key["file"], key["state"])).collect()
    };
    assert_eq!(names(&states().await), names(&before));
    assert_eq!(gateway.send(&Request::get("/")).await.status, 200);
}

async fn start() -> ([Origin; 2], Gateway) {
    let origins = [Origin::start().await, Origin::start().await];
    let builder = Gateway::builder().origin("origin", &origins[0]).origin("other", &origins[1]);
    (origins, builder.yaml(BEFORE).start().await)
}

fn threads(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap().count()
}

/// Without what is otherwise a second later.
fn forget_times(of: &mut serde_json::Value) {
    match of {
        serde_json::Value::Object(members) => {
            members.remove("whole_in_seconds");
            members.values_mut().for_each(forget_times);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(forget_times),
        _ => {}
    }
}
