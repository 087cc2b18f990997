//! What keeps a gateway from starting although its files are good: exit code 1,
//! a sentence that names the thing, and nothing half-started.

use std::{fs, net::SocketAddr};

use crate::support::{
    Gateway, Origin, PATIENCE, Request, eventually, gateway::GatewayBuilder, process::Exit, stream,
};

#[tokio::test]
async fn a_taken_port_of_any_kind_is_named_and_nothing_else_is_bound() {
    let taken = Origin::start().await;
    let address = taken.address.to_string();

    for (section, named) in [
        (
            "listeners: [{ name: plain, address: \"{plain}\" }, { name: second, address: \"{taken}\" }]",
            "second",
        ),
        ("readiness: { address: \"{taken}\" }", "readiness"),
        ("admin: { socket: admin.sock, metrics: \"{taken}\" }", "admin.metrics"),
    ] {
        let builder = Gateway::builder().origin("taken", &taken).yaml(section);

        let told = refused(builder).await;

        assert!(told.contains(&format!("cannot listen at {address} ({named})")), "{told}");
        assert!(told.contains("another process listens there"), "{told}");
    }
    assert_eq!(taken.requests().await, 0);
}

#[tokio::test]
async fn an_address_of_another_machine_is_named() {
    // RFC 5737 keeps it for documentation.
    let builder = Gateway::builder().yaml("listeners: [{ name: plain, address: \"192.0.2.1:8080\" }]");

    let told = refused(builder).await;

    assert!(told.contains("192.0.2.1:8080 (plain)") && told.contains("does not have that address"), "{told}");
}

#[tokio::test]
async fn a_place_for_the_operators_socket_that_cannot_be_is_named() {
    let long = "a".repeat(120);
    for (socket, told_of) in [
        ("nowhere/admin.sock", "its folder does not exist: make it"),
        // A file of someone else's is not removed.
        ("tollgate.yaml", "cannot listen at"),
        (&long, "cannot listen at"),
    ] {
        let builder = Gateway::builder().yaml(&format!("admin: {{ socket: {socket} }}"));
        let told = refused(builder).await;

        assert!(told.contains(told_of) && told.contains(socket), "{told}");
    }
}

#[tokio::test]
async fn an_access_log_that_cannot_be_written_is_named() {
    for path in ["nowhere/access.log", "conf.d"] {
        let builder = Gateway::builder().yaml(&format!("access_log: {{ path: {path} }}"));
        fs::create_dir(builder.files.path("conf.d")).unwrap();

        let told = refused(builder).await;

        assert!(told.contains("access_log.path: cannot write `") && told.contains(path), "{told}");
    }
}

#[tokio::test]
async fn a_second_gateway_does_not_take_the_operators_socket_of_the_first() {
    let origin = Origin::start().await;
    let first = Gateway::in_front_of(&origin).await;
    let socket = first.files.path("admin.sock").display().to_string();

    let second =
        Gateway::builder().origin("origin", &origin).yaml(&format!("admin: {{ socket: \"{socket}\" }}"));
    let told = refused(second).await;

    assert!(told.contains(&socket) && told.contains("another process listens there"), "{told}");
    assert_eq!(first.status().await["pid"], first.pid());
    assert_eq!(first.get("/").await.status, 200);
}

#[tokio::test]
async fn a_socket_that_a_crash_left_behind_is_no_obstacle() {
    let origin = Origin::start().await;
    let builder = Gateway::builder().origin("origin", &origin);
    drop(std::os::unix::net::UnixListener::bind(builder.files.path("admin.sock")).unwrap());

    let gateway = builder.start().await;

    assert_eq!(gateway.status().await["generation"], 1);
}

#[tokio::test]
async fn a_relative_path_starts_at_the_files_folder() {
    let origin = Origin::start().await;
    let builder = Gateway::builder().origin("origin", &origin).yaml("access_log: { path: access.log }");

    let gateway = builder.start().await;
    gateway.send(&Request::get("/relative")).await;

    let log = gateway.files.path("access.log");
    eventually(PATIENCE, || async {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("\"path\":\"/relative\""))
    })
    .await;
    assert_eq!(gateway.access_log().len(), 0);
}

/// What a start says that ends with exit code 1; `check` has nothing against
/// the same files, since it touches no socket and no log.
async fn refused(builder: GatewayBuilder) -> String {
    let Exit { code, stderr, stdout, .. } = builder.run_to_end().await;

    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert_eq!(stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{stderr}");
    assert!(!stderr.contains("started:") && !stderr.contains("listening:"), "{stderr}");
    for name in ["plain", "readiness", "metrics"] {
        assert!(is_free(builder.files.address(name)).await, "{name}");
    }
    assert!(!builder.files.path("admin.sock").exists());
    let checked = builder.check(&[]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    stderr
}

async fn is_free(address: SocketAddr) -> bool {
    stream::connect(address).await.is_err()
}
