//! New processes that cannot serve: the old one goes on, and says why.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{children, install, install_text, kill, runs, signal, start};
use crate::support::{Gateway, Http1, PATIENCE, Request, eventually, process::Exit};

#[tokio::test]
async fn a_program_that_cannot_be_started_leaves_the_old_process() {
    let (_origin, gateway) = start("").await;
    let program = gateway.files.path("tollgate");
    let mut kept = gateway.connect().await;
    let foreign =
        [b"\x7fELF\x02\x01\x01".as_slice(), &[0; 9], b"\x02\x00\xf3\x00\x01\x00\x00\x00", &[0; 100]];
    let cases: [(&str, &str, &dyn Fn()); 4] = [
        ("No such file", "not_started", &|| fs::remove_file(&program).unwrap()),
        ("for another architecture", "not_started", &|| install_text(&program, &foreign.concat())),
        ("make it executable", "not_started", &|| {
            install_text(&program, b"#!/bin/sh\n");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o600)).unwrap();
        }),
        ("ended before it could serve: exit status: 3", "ended", &|| {
            install_text(&program, b"#!/bin/sh\nexit 3\n")
        }),
    ];

    for (words, result, break_it) in cases {
        break_it();
        let told = gateway.upgrade().await;

        refused(&gateway, &told, words).await;
        assert!(gateway.metric("tollgate_upgrades_total", &[("result", result)]).await >= 1.0, "{words}");
    }

    assert_eq!(kept.send(&Request::get("/")).await.header("connection"), Some("keep-alive"));
    install(&program);
    assert_eq!(gateway.upgrade().await.code, Some(0));
}

#[tokio::test]
async fn a_process_that_hangs_is_ended() {
    let (_origin, gateway) = start("").await;
    install_text(&gateway.files.path("tollgate"), b"#!/bin/sh\nexec sleep 1000\n");

    let told = gateway.ask(&["upgrade", "--timeout", "1"]).await;

    refused(&gateway, &told, "could not serve within 1 s, and was ended").await;
    assert_eq!(children(gateway.pid()), [0; 0]);
}

#[tokio::test]
async fn files_that_were_broken_meanwhile_are_told() {
    let (_origin, gateway) = start("").await;
    gateway.write_config("routes: [{ name: hello, respnd: { status: 200 } }]");

    let told = gateway.upgrade().await;

    refused(&gateway, &told, "did you mean `respond`").await;
    assert!(gateway.stderr().contains("upgrade refused: "), "{}", gateway.stderr());
}

#[tokio::test]
async fn an_address_that_is_taken_is_told() {
    let (_origin, gateway) = start("").await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    gateway.write_config(&format!(
        "listeners: [{{ name: plain, address: \"{{plain}}\" }}, {{ name: more, address: \"{address}\" }}]"
    ));

    let told = gateway.upgrade().await;

    refused(&gateway, &told, &format!("cannot listen at {address} (more)")).await;
}

#[tokio::test]
async fn a_new_process_that_dies_before_or_after_it_is_ready_leaves_the_old_one() {
    let (_origin, gateway) = start("").await;
    // Slow to begin, so that it can be met before it is ready.
    let real = gateway.files.path("real");
    install(&real);
    let slow = format!("#!/bin/sh\nsleep 1\nexec {} \"$@\"\n", real.display());
    install_text(&gateway.files.path("tollgate"), slow.as_bytes());
    let met = async |words: &str| {
        let (told, ()) = tokio::join!(gateway.upgrade(), async {
            eventually(PATIENCE, || async { gateway.stderr().contains(words) }).await;
            let next = eventually(PATIENCE, || async { children(gateway.pid()).first().copied() }).await;
            kill(next);
        });
        told
    };

    let before = met("upgrade: starting").await;
    refused(&gateway, &before, "signal: 9").await;
    let after = met("the new process can serve").await;
    refused(&gateway, &after, "signal: 9").await;
    let left = fs::read_dir(gateway.files.path("")).unwrap().flatten();
    let beside = left.filter(|file| file.file_name().to_string_lossy().starts_with("admin.sock."));
    assert_eq!(beside.count(), 0);

    assert_eq!(gateway.upgrade().await.code, Some(0));
    assert_ne!(gateway.serving_pid().await, gateway.pid());
}

// What it would do to its sockets in an end of its own it would do to the old one's.
#[tokio::test]
async fn a_new_process_that_is_told_to_end_before_it_serves_leaves_the_old_ones_sockets_open() {
    let (_origin, gateway) = start("").await;

    let (told, ()) = tokio::join!(gateway.upgrade(), async {
        let is_ready = || async { gateway.stderr().contains("the new process can serve") };
        eventually(PATIENCE, is_ready).await;
        signal(children(gateway.pid())[0], libc::SIGTERM);
    });

    refused(&gateway, &told, "ended before it could serve: exit status: 0").await;
    // More than any queue that was made short takes.
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Http1::open(gateway.plain).await);
    }
    for client in &mut clients {
        assert_eq!(client.send(&Request::get("/")).await.status, 200);
    }
}

#[tokio::test]
async fn a_new_process_that_dies_while_the_old_one_drains_is_replaced() {
    let (_origin, gateway) = start("").await;
    let mut upload = gateway.connect().await;
    upload.write("POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 8\r\n\r\nhalf").await.unwrap();
    eventually(PATIENCE, || async { gateway.status().await["connections"] == 1 }).await;
    assert_eq!(gateway.upgrade().await.code, Some(0));
    let new = gateway.serving_pid().await;
    install_text(&gateway.files.path("tollgate"), b"#!/bin/sh\nexit 1\n");

    kill(new);

    // The version that ran, though its file is gone.
    eventually(PATIENCE, || async { gateway.stderr().contains("starting the old version again") }).await;
    assert_eq!(gateway.get("/").await.status, 200);
    eventually(PATIENCE, || async { gateway.ask(&["status"]).await.code == Some(0) }).await;
    assert_eq!(upload.send_raw("half").await.echo().body(), "halfhalf");
    assert_eq!(gateway.first_ended().await, Some(0));
    let last = gateway.serving_pid().await;
    assert!(last != new && last != gateway.pid() && runs(last));
}

/// The old process goes on, and the words were told.
async fn refused(gateway: &Gateway, told: &Exit, words: &str) {
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.stderr.contains(words), "{words}: {told:?}");
    assert!(told.stderr.ends_with("refused: the old process goes on\n"), "{told:?}");
    assert_eq!(gateway.serving_pid().await, gateway.pid());
    assert_eq!(gateway.get("/").await.status, 200);
}
