//! Upgrades that meet another one, a reload, a drain, or the sudden end of the old
//! process.

use super::{children, install, install_text, runs, start};
use crate::support::{Gateway, PATIENCE, Request, eventually};

#[tokio::test]
async fn one_upgrade_at_a_time_and_no_reload_meanwhile() {
    let (_origin, gateway) = start("").await;
    slow_start(&gateway);

    let (told, ()) = tokio::join!(gateway.upgrade(), async {
        starting(&gateway).await;
        let second = gateway.upgrade().await;
        assert_eq!(second.code, Some(75), "{second:?}");
        assert!(second.stderr.contains("another upgrade or a reload is under way"), "{second:?}");
        assert_eq!(gateway.reload().await.code, Some(75));
    });

    assert_eq!(told.code, Some(0), "{told:?}");
}

#[tokio::test]
async fn who_is_told_something_during_an_upgrade_does_not_lose_it() {
    let (_origin, gateway) = start("").await;
    slow_start(&gateway);

    let (told, zone) = tokio::join!(gateway.upgrade(), async {
        starting(&gateway).await;
        // The new process may have read the files before.
        gateway.signal(libc::SIGHUP);
        gateway.ask(&["zone", "drain", "use1-az1"]).await
    });

    assert_eq!(told.code, Some(0), "{told:?}");
    eventually(PATIENCE, || async { gateway.status().await["generation"] == 2 }).await;
    assert_eq!(zone.code, Some(1), "{zone:?}");
    assert!(zone.stderr.contains("another process serves by now; ask again"), "{zone:?}");
}

#[tokio::test]
async fn what_was_called_back_does_not_come_back_by_an_upgrade() {
    let (_origin, gateway) = start("").await;
    gateway.write_config("requests: { max_header_fields: 50 }");
    assert_eq!(gateway.reload().await.code, Some(0));
    assert_eq!(gateway.ask(&["rollback"]).await.code, Some(0));

    let told = gateway.upgrade().await;

    assert_eq!(told.code, Some(75), "{told:?}");
    assert!(told.stderr.contains("was called back"), "{told:?}");
    gateway.write_config("requests: { max_header_fields: 60 }");
    assert_eq!(gateway.reload().await.code, Some(0));
    assert_eq!(gateway.upgrade().await.code, Some(0));
}

#[tokio::test]
async fn who_drains_is_not_upgraded() {
    let (_origin, gateway) = start("").await;
    let _held = gateway.connect().await;
    eventually(PATIENCE, || async { gateway.status().await["connections"] == 1 }).await;
    gateway.signal(libc::SIGTERM);
    eventually(PATIENCE, || async { gateway.status().await["draining"] == true }).await;

    let told = gateway.upgrade().await;

    assert_eq!(told.code, Some(75), "{told:?}");
    assert!(told.stderr.contains("it drains already"), "{told:?}");
}

#[tokio::test]
async fn a_drain_ends_an_upgrade_that_is_under_way() {
    let (_origin, gateway) = start("").await;
    slow_start(&gateway);

    let (told, next) = tokio::join!(gateway.upgrade(), async {
        let next = starting(&gateway).await;
        gateway.signal(libc::SIGTERM);
        next
    });

    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.stderr.contains("told to end meanwhile"), "{told:?}");
    assert_eq!(gateway.first_ended().await, Some(0));
    assert!(!runs(next));
}

// It accepts already, and drains, too; all that is shared stays the old process's.
#[tokio::test]
async fn a_drain_between_ready_and_serving_leaves_the_operators_their_socket() {
    let (_origin, gateway) = start("").await;
    let mut held = gateway.connect().await;
    held.write("GET / HTTP/1.1\r\n").await.unwrap();
    eventually(PATIENCE, || async { gateway.status().await["connections"] == 1 }).await;

    let (told, next) = tokio::join!(gateway.upgrade(), async {
        eventually(PATIENCE, || async { gateway.stderr().contains("the new process can serve") }).await;
        let next = children(gateway.pid())[0];
        gateway.signal(libc::SIGTERM);
        next
    });

    assert!(told.stderr.contains("told to end meanwhile"), "{told:?}");
    eventually(PATIENCE, || async { !runs(next) }).await;
    assert!(!gateway.stderr().contains("ended before it handed over"), "{}", gateway.stderr());
    let status = gateway.status().await;
    assert_eq!((&status["pid"], &status["draining"]), (&gateway.pid().into(), &true.into()));
    assert_eq!(held.send_raw("Host: api.example.com\r\n\r\n").await.status, 200);
    assert_eq!(gateway.first_ended().await, Some(0));
}

// A service manager that asks for the end of the old process means what serves.
#[tokio::test]
async fn who_is_told_to_end_in_the_middle_of_the_hand_over_tells_the_next_process() {
    let (_origin, gateway) = start("").await;
    let told_to_serve = gateway.files.path("told-to-serve");
    install_text(&gateway.files.path("tollgate"), never_answers(&told_to_serve).as_bytes());

    let (_either, next) = tokio::join!(gateway.upgrade(), async {
        let next = starting(&gateway).await;
        eventually(PATIENCE, || async { told_to_serve.exists() }).await;
        gateway.signal(libc::SIGTERM);
        next
    });

    assert_eq!(gateway.first_ended().await, Some(0));
    eventually(PATIENCE, || async { !runs(next) }).await;
    assert!(gateway.stderr().contains("told to end while handing over"), "{}", gateway.stderr());
}

#[tokio::test]
async fn when_the_old_process_is_killed_in_the_middle_the_new_one_serves() {
    let (_origin, gateway) = start("").await;
    slow_start(&gateway);

    let (_gone, next) = tokio::join!(gateway.upgrade(), async {
        let next = starting(&gateway).await;
        gateway.signal(libc::SIGKILL);
        next
    });

    eventually(PATIENCE, || async { gateway.ask(&["status"]).await.code == Some(0) }).await;
    assert_eq!(gateway.serving_pid().await, next);
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(gateway.upgrade().await.code, Some(0));
}

#[tokio::test]
async fn an_upgrade_while_the_process_before_still_drains() {
    let (_origin, gateway) = start("").await;
    let mut held = gateway.connect().await;
    held.write("GET / HTTP/1.1\r\n").await.unwrap();
    eventually(PATIENCE, || async { gateway.status().await["connections"] == 1 }).await;

    for _ in 0..2 {
        assert_eq!(gateway.upgrade().await.code, Some(0));
    }

    assert_eq!(held.send_raw("Host: api.example.com\r\n\r\n").await.status, 200);
    assert_eq!(gateway.first_ended().await, Some(0));
    assert_eq!(gateway.get("/").await.status, 200);
}

#[tokio::test]
async fn whoever_sets_the_variable_by_hand_is_told() {
    let origin = crate::support::Origin::start().await;
    let builder = Gateway::builder().origin("origin", &origin).env("TOLLGATE_HANDOVER", "1");

    let exit = builder.run_to_end().await;

    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.stderr.contains("TOLLGATE_HANDOVER is set, but standard input is no gateway"), "{exit:?}");
}

#[tokio::test]
async fn a_client_is_served_by_the_next_process_on_the_same_port() {
    let (_origin, gateway) = start("").await;
    gateway.upgrade().await;
    assert_eq!(gateway.first_ended().await, Some(0));

    let answer = gateway.send(&Request::get("/after")).await;

    assert_eq!(answer.status, 200);
    // One process writes the line, into what the first one had for standard output.
    assert_eq!(gateway.line_of(&answer).await["path"], "/after");
}

/// The next program takes a second to begin.
fn slow_start(gateway: &Gateway) {
    let real = gateway.files.path("real");
    install(&real);
    let program = gateway.files.path("tollgate");
    let text = format!("#!/bin/sh\nsleep 1\nexec {} \"$@\"\n", real.display());
    install_text(&program, text.as_bytes());
}

/// A program that can serve, and does not say that it does when it is told to.
fn never_answers(told_to_serve: &std::path::Path) -> String {
    let path = told_to_serve.display();
    format!(
        r#"#!/bin/sh
trap 'exit 0' TERM
printf '\000\000\000\026{{"ready":{{"taken":[]}}}}' >&0
until grep -q '"serve"' {path}.heard 2>/dev/null; do
    dd bs=65536 count=1 >> {path}.heard 2>/dev/null
done
touch {path}
while :; do sleep 1; done
"#
    )
}

/// The process that is being started.
async fn starting(gateway: &Gateway) -> u32 {
    eventually(PATIENCE, || async { children(gateway.pid()).first().copied() }).await
}
