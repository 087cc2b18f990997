//! Reloads of a process that serves nobody.

use super::*;
use crate::limit::LimitLive;

/// In the folder, with what is in its `tollgate.yaml`.
pub fn reloader(folder: &tempfile::TempDir) -> Arc<Reloader> {
    let (live, metrics) = (Arc::new(LiveState::default()), Metrics::new().unwrap());
    let path = folder.path().join("tollgate.yaml");
    let first = Snapshot::load(&path, 1, &live, &metrics, |_| {}).unwrap().0;
    let LimitLive { fleet, clock, .. } = &live.limits;
    let followers = Followers {
        health: Arc::new(HealthChecks::start(metrics.clone()).unwrap()),
        discovery: Arc::new(Discovery::start(live.found.clone(), &metrics).unwrap()),
        key_sets: Arc::new(KeyFetcher::start(&metrics).unwrap()),
        store: Arc::new(Store::start(fleet.clone(), *clock, &metrics).unwrap()),
        spans: Arc::new(SpanExporter::new(metrics.clone())),
        systemd: Arc::new(Systemd::new(false)),
    };
    Arc::new(Reloader::new(path, Arc::new(Current::new(first)), live, metrics, followers))
}

pub fn write(folder: &tempfile::TempDir, name: &str) {
    let text = format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0' }}]\n\
         limits: [{{ name: {name}, rate: 1/s, burst: 1 }}]\n\
         upstreams: [{{ name: {name}, endpoints: [{{ address: '127.0.0.1:1' }}] }}]\n\
         routes: [{{ name: {name}, to: [{{ upstream: {name} }}] }}]\n"
    );
    std::fs::write(folder.path().join("tollgate.yaml"), text).unwrap();
}

#[test]
fn a_dry_run_leaves_no_experience_behind() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "serving");
    let reloader = reloader(&folder);
    write(&folder, "asked");

    let told = reloader.dry_run().unwrap();

    assert_eq!(told.plan.changes.len(), 6, "{told:?}");
    assert_eq!(reloader.live.known_upstreams(), ["serving"]);
    assert_eq!(reloader.live.limits.known(), 1);
    assert_eq!(reloader.current.load().generation, 1);
}

#[test]
fn what_no_plan_has_a_word_for_can_be_called_back_and_words_alone_take_no_way_back_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollgate.yaml");
    let listener = "listeners: [{ name: web, address: '127.0.0.1:0' }]\nroutes:\n";
    let [a, b] = ["a", "b"].map(|name| {
        format!("  - {{ name: {name}, match: {{ path: /{name} }}, respond: {{ status: 200 }} }}\n")
    });
    std::fs::write(&path, format!("{listener}{a}{b}")).unwrap();
    let reloader = reloader(&folder);
    let swapped = format!("{listener}{b}{a}");
    std::fs::write(&path, &swapped).unwrap();
    assert!(reloader.reload().unwrap().plan.changes.is_empty());
    std::fs::write(&path, format!("# Reviewed.\n{swapped}")).unwrap();
    assert!(reloader.reload().unwrap().plan.changes.is_empty());

    assert_eq!(reloader.former().map(|former| former.generation), Some(1));
}

#[test]
fn a_refused_reload_takes_no_series_from_what_is_published_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, "one");
    let reloader = reloader(&folder);
    let (counted, waits) = std::sync::mpsc::channel();
    let alone = reloader.alone();
    write(&folder, "two");
    let (next, _) = reloader.build(&reloader.current.load(), &reloader.metrics, |_| {}).unwrap();
    let refused = reloader.clone();
    let counts = std::thread::spawn(move || {
        refused.count(&Err(Refused::Problems(Problems::default())));
        counted.send(())
    });

    // It is given the time to go on where it does not have to wait.
    let _ = waits.recv_timeout(Duration::from_millis(300));
    reloader.publish(next);
    drop(alone);
    counts.join().unwrap().unwrap();

    reloader.current.load().series(Some(0), None).record(200, Duration::ZERO, 0, 0);
    let page = reloader.metrics.render();
    assert!(page.contains("tollgate_requests_total{route=\"two\""), "{page}");
}

#[test]
fn what_a_former_snapshot_knows_is_kept_for_the_way_back_and_for_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["one", "two", "three"];
    write(&folder, names[0]);
    let reloader = reloader(&folder);
    for name in &names[1..] {
        write(&folder, name);
        reloader.reload().unwrap();
    }
    // Health checks and discovery hold what they follow until they hear of the next.
    let known = || reloader.live.known_upstreams();
    reloader.live.sweep();
    assert_eq!(known(), ["three", "two"]);

    reloader.rollback().unwrap();
    reloader.live.sweep();

    assert_eq!(known(), ["three", "two"]);
    assert_eq!(reloader.current.load().config().routes[0].spec.name.as_str(), "two");
    assert_eq!((reloader.live.limits.known(), reloader.former().unwrap().generation), (2, 3));
}
