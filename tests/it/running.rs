//! A gateway's life as its operator sees it: it starts or says why not, takes
//! new files or says why not, and ends when told.

use crate::support::{Gateway, Origin, PATIENCE, Request, eventually};

#[tokio::test]
async fn a_reload_serves_the_new_files_and_tells_what_changed() {
    let gateway = Gateway::builder().yaml(&saying("old")).start().await;
    let mut client = gateway.connect().await;
    assert_eq!(client.send(&Request::get("/")).await.text(), "old");

    gateway.write_config(&saying("new"));
    let told = gateway.reload().await;

    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stdout.contains("generation 2") && told.stdout.contains("hello"), "{told:?}");
    let answer = client.send(&Request::get("/")).await;
    assert_eq!((answer.text().as_str(), &gateway.line_of(&answer).await["generation"]), ("new", &2.into()));
    assert_eq!(gateway.metric("tollgate_config_generation", &[]).await, 2.0);
}

#[tokio::test]
async fn a_reload_that_is_refused_changes_nothing_and_says_everything() {
    let gateway = Gateway::builder().yaml(&saying("old")).start().await;

    gateway.write_config(
        "routes: [{ name: a, to: [{ upstream: nowhere }] }, { name: b, to: [{ upstream: neither }] }]",
    );
    let told = gateway.reload().await;

    assert_eq!(told.code, Some(78), "{told:?}");
    assert!(told.stderr.contains("nowhere") && told.stderr.contains("neither"), "{told:?}");
    assert_eq!(gateway.get("/").await.text(), "old");
    assert_eq!(gateway.status().await["generation"], 1);
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.metric("tollgate_config_last_reload_successful", &[]), 0.0);
    assert_eq!(metrics.metric("tollgate_config_reloads_total", &[("result", "refused")]), 1.0);
}

#[tokio::test]
async fn check_says_what_a_start_would_say() {
    let good = Gateway::builder().yaml(&saying("hello")).check(&[]).await;
    let bad = "routes: [{ name: a, respond: { status: 99 } }]";
    let checked = Gateway::builder().yaml(bad).check(&[]).await;
    let started = Gateway::builder().yaml(bad).run_to_end().await;

    assert_eq!(good.code, Some(0), "{good:?}");
    assert!(good.stdout.starts_with("ok: ") && good.stderr.is_empty(), "{good:?}");
    assert_eq!((checked.code, started.code), (Some(78), Some(78)));
    let sentence = "routes[0].respond.status: 99";
    assert!(
        checked.stderr.contains(sentence) && started.stderr.contains(sentence),
        "{checked:?} {started:?}"
    );
    assert_eq!(Gateway::check("listeners: []").await.code, Some(78));
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_names_it() {
    let taken = Origin::start().await;
    let gateway = Gateway::builder()
        .origin("taken", &taken)
        .yaml("listeners: [{ name: plain, address: \"{plain}\" }, { name: other, address: \"{taken}\" }]");

    let Err(exit) = gateway.try_start().await else { panic!("it started") };

    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.stderr.contains(&taken.address.to_string()), "{exit:?}");
}

#[tokio::test]
async fn terminate_ends_an_idle_gateway_with_success() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let answer = gateway.get("/").await;

    gateway.signal(libc::SIGTERM);
    let exit = gateway.wait_exit(PATIENCE).await;

    assert_eq!((exit.code, exit.signal), (Some(0), None), "{exit:?}");
    assert!(exit.stdout.contains(answer.header("x-request-id").unwrap()), "a line was lost: {exit:?}");
}

#[tokio::test]
async fn what_a_gateway_holds_is_known() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let before = gateway.open_fds();

    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(gateway.connect().await);
    }

    // Connections of its start may end meanwhile.
    eventually(PATIENCE, || async { gateway.open_fds() >= before + 15 }).await;
    assert!((1_000..1_000_000).contains(&gateway.rss_kib()), "{} KiB", gateway.rss_kib());
}

/// One route that answers with this.
fn saying(body: &str) -> String {
    format!("routes: [{{ name: hello, respond: {{ status: 200, body: {body} }} }}]")
}
