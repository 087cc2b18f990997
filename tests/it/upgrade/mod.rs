//! A new process takes over: what goes on, what travels, and what becomes of a new
//! process that cannot serve.

mod broken;
mod ends;
mod systemd;

use std::{sync::atomic::Ordering, time::Duration};

use tokio::task::JoinSet;

use crate::support::{
    Gateway, Http1, Origin, PATIENCE, Request, Tls, certs, eventually,
    gateway::{self, GatewayBuilder},
    load::{Asks, Load},
    stream::Stream,
};

#[tokio::test]
async fn a_new_process_serves_and_the_old_one_ends() {
    let (_origin, gateway) = start("").await;
    let old = gateway.pid();
    let mut kept = gateway.connect().await;
    assert_eq!(kept.send(&Request::get("/")).await.header("connection"), Some("keep-alive"));

    let told = gateway.upgrade().await;

    assert_eq!(told.code, Some(0), "{told:?}");
    let new = gateway.serving_pid().await;
    assert_ne!(new, old);
    assert!(told.stdout.contains(&format!("upgraded: process {new} serves")), "{told:?}");
    assert!(told.stdout.contains(&format!("process {old} finishes its work: 1 connection,")), "{told:?}");
    let last = kept.send(&Request::get("/")).await;
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    assert_eq!(gateway.first_ended().await, Some(0));
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(gateway.readiness("/readyz").await.text(), "ready\n");
    assert_eq!(gateway.metric("tollgate_config_generation", &[]).await, 1.0);
    assert_eq!(gateway.metric("tollgate_upgrades_total", &[("result", "ok")]).await, 1.0);
    // The operator's socket is the new process's, and stays when the old one ends.
    assert_eq!(gateway.serving_pid().await, new);
    assert_eq!(gateway.reload().await.code, Some(0));
}

#[tokio::test]
async fn an_operator_who_was_connected_before_is_sent_to_the_new_process() {
    let (_origin, gateway) = start("").await;
    // Who keeps the old process.
    let mut kept = gateway.connect().await;
    assert_eq!(kept.send(&Request::get("/")).await.status, 200);
    let mut operators = Vec::new();
    for path in ["/reload", "/reload?dry_run", "/rollback"] {
        let socket = tokio::net::UnixStream::connect(gateway.files.path("admin.sock")).await.unwrap();
        let mut operator = Http1::over(Stream::Unix(socket));
        assert_eq!(operator.send(&Request::get("/status").honest()).await.status, 200);
        operators.push((operator, path));
    }
    assert_eq!(gateway.upgrade().await.code, Some(0));
    let new = gateway.serving_pid().await;

    for (mut operator, path) in operators {
        let told = operator.send(&Request::new("POST", path).honest()).await;

        assert_eq!(told.status, 409, "{path}: {}", told.text());
        assert!(told.text().contains(&format!("process {new} serves by now; ask it")), "{}", told.text());
    }
}

#[tokio::test]
async fn usr2_upgrades_too() {
    let (_origin, gateway) = start("").await;
    let old = gateway.pid();

    gateway.signal(libc::SIGUSR2);

    assert_eq!(gateway.first_ended().await, Some(0));
    assert_ne!(gateway.serving_pid().await, old);
    assert_eq!(gateway.get("/").await.status, 200);
}

// Clients of every kind, all at once.
#[allow(clippy::too_many_lines)]
#[tokio::test]
async fn upgrades_under_load_lose_nothing() {
    let (_origin, gateway) = start("").await;
    let load = Load::new();
    let plain = Asks::of(gateway.plain, Request::get("/"));
    let secure = Asks::of(gateway.tls, Request::get("/")).tls(Tls::default());
    let h2 = secure.clone().tls(Tls::default().alpn(&["h2"]));
    let slow = Asks::of(gateway.plain, Request::get("/slow").script("delay=300ms"));
    let (often, seldom) = (Duration::from_millis(2), Duration::from_millis(700));
    let mut clients = JoinSet::new();
    for asks in [&plain, &secure] {
        for _ in 0..3 {
            clients.spawn(load.clone().http1(asks.clone().pause(often)));
            clients.spawn(load.clone().fresh(asks.clone().pause(often)));
        }
        clients.spawn(load.clone().http1(asks.clone().pause(seldom)));
    }
    for _ in 0..3 {
        clients.spawn(load.clone().http1(slow.clone()));
        clients.spawn(load.clone().http2(h2.clone().pause(often), 3));
    }
    clients.spawn(load.clone().http2(h2.clone().pause(seldom), 1));
    let answered = || load.answered.load(Ordering::Relaxed);

    let mut served = vec![gateway.pid()];
    for _ in 0..5 {
        let before = answered();
        eventually(PATIENCE, || async { answered() > before + 300 }).await;
        let told = gateway.upgrade().await;
        assert_eq!(told.code, Some(0), "{told:?}");
        served.push(gateway.serving_pid().await);
    }
    let before = answered();
    eventually(PATIENCE, || async { answered() > before + 300 }).await;
    load.end();
    clients.join_all().await;

    assert_eq!(load.lost(), [""; 0]);
    let last = served.pop().unwrap();
    served.dedup();
    assert_eq!(served.len(), 5, "{served:?}");
    // Nothing is left of the old ones, no process and no file of theirs.
    eventually(PATIENCE, || async { !served.iter().any(|pid| runs(*pid)) }).await;
    assert_eq!(gateway.serving_pid().await, last);
    let left = std::fs::read_dir(gateway.files.path("")).unwrap();
    let sockets = left.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().contains(".sock"));
    assert_eq!(sockets.count(), 1);
}

#[tokio::test]
async fn files_of_the_process_do_not_grow_over_upgrades() {
    let (_origin, gateway) = start("").await;
    let files = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    gateway.upgrade().await;
    let first = files(gateway.serving_pid().await);

    for _ in 0..5 {
        let old = gateway.serving_pid().await;
        assert_eq!(gateway.upgrade().await.code, Some(0));
        eventually(PATIENCE, || async { !runs(old) }).await;
    }

    let last = gateway.serving_pid().await;
    eventually(PATIENCE, || async { files(last) <= first }).await;
}

#[tokio::test]
async fn an_upgrade_takes_what_a_reload_cannot() {
    let origin = Origin::start().await;
    let both = r#"
        listeners:
          - { name: plain, address: "{plain}" }
          - { name: second, address: "{second}" }
        "#;
    let builder = Gateway::builder().origin("origin", &origin).port("second").port("third");
    let gateway = builder.yaml(both).installed().start().await;
    let [second, third] = ["second", "third"].map(|name| gateway.address(name));
    gateway.write_config(&both.replace("{second}", "{third}"));
    assert_eq!(gateway.reload().await.code, Some(78));

    let told = gateway.upgrade().await;

    assert_eq!(told.code, Some(0), "{told:?}");
    assert_eq!(crate::support::Http1::open(third).await.send(&Request::get("/")).await.status, 200);
    assert_eq!(gateway.get("/").await.status, 200);
    // Nobody accepts at the address that is gone, and nobody waits there for ever.
    eventually(PATIENCE, || async { crate::support::stream::connect(second).await.is_err() }).await;
}

#[tokio::test]
async fn sessions_and_drained_zones_travel() {
    let (origin, two) = (Origin::start().await, Origin::start().await);
    let yaml = r#"
        location: { zone: use1-az1 }
        upstreams:
          - name: origin
            endpoints:
              - { address: "{origin}", zone: use1-az1 }
              - { address: "{two}", zone: use1-az2 }
        routes: [{ name: all, to: [{ upstream: origin }] }]
        "#;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let builder = Gateway::builder().origin("origin", &origin).origin("two", &two).certificate(&certificate);
    let gateway = builder.yaml(yaml).installed().start().await;
    assert_eq!(gateway.ask(&["zone", "drain", "use1-az2"]).await.code, Some(0));
    let client = Tls::default();
    let mut first = gateway.connect_tls(&client).await.unwrap();
    assert_eq!(first.send(&Request::get("/")).await.status, 200);
    let session = client.saved_session().unwrap();

    assert_eq!(gateway.upgrade().await.code, Some(0));

    drop(first);
    assert_eq!(gateway.first_ended().await, Some(0));
    let mut again = gateway.connect_tls(&client.session(&session)).await.unwrap();
    assert_eq!(again.send(&Request::get("/")).await.status, 200);
    assert!(again.stream.ssl().session_reused());
    assert_eq!(gateway.status().await["drained_zones"], serde_json::json!(["use1-az2"]));
}

/// An origin, and a gateway of this program whose file can be replaced.
async fn start(sections: &str) -> (Origin, Gateway) {
    let origin = Origin::start().await;
    let gateway = builder(&origin).yaml(sections).start().await;
    (origin, gateway)
}

fn builder(origin: &Origin) -> GatewayBuilder {
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    Gateway::builder().origin("origin", origin).certificate(&certificate).installed()
}

/// Whether there is such a process, and not only what is left of it.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// The processes that this one started.
fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

fn kill(pid: u32) {
    signal(pid, libc::SIGKILL);
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: a plain system call; the process is one that this test's gateway started.
    unsafe { libc::kill(pid.try_into().unwrap(), signal) };
}

use gateway::{install, install_text};
