//! An `endpoints_file` that comes, changes, breaks, goes and comes back.

use std::{fs, os::unix::fs::symlink};

use super::{endpoints, source};
use crate::support::{Gateway, Origin, PATIENCE, eventually};

const UPSTREAM: &str = "upstreams: [{ name: orders, endpoints_file: endpoints.d/orders.yaml }]\n\
                        routes: [{ name: all, to: [{ upstream: orders }] }]";
const FILE: &str = "endpoints.d/orders.yaml";

#[tokio::test]
async fn a_file_comes_changes_breaks_goes_and_comes_back() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let gateway = Gateway::builder().origin("a", &a).origin("b", &b).yaml(UPSTREAM).start().await;
    assert_eq!(gateway.get("/").await.status, 503);
    assert!(gateway.stderr().contains("there is no such file"), "{}", gateway.stderr());

    gateway.files.write(FILE, "endpoints: [{ address: \"{a}\", zone: z1 }]");
    eventually(PATIENCE, || async { gateway.get("/").await.status == 200 }).await;
    // Renamed into place, as `write` does it; weight 0 takes an endpoint out.
    gateway.files.write(FILE, "endpoints: [{ address: \"{a}\", weight: 0 }, { address: \"{b}\" }]");
    eventually(PATIENCE, || async { gateway.get("/").await.echo().origin() == "b" }).await;
    for (bad, error, told) in [
        ("endpoints: [{ address: \"{a}\" }, {", "bad_file", "orders.yaml:"),
        (
            "endpoints:\n- { adress: \"{a}\" }\n- { address: orders.internal:80 }",
            "bad_file",
            "orders.yaml:3: endpoints[1].address",
        ),
        ("endpoints: []", "empty", "reason=empty"),
        ("", "bad_file", "the file is empty"),
    ] {
        gateway.files.write(FILE, bad);
        eventually(PATIENCE, || async {
            gateway.stderr().contains(told) && source(&gateway).await["last_error"] == error
        })
        .await;
        assert_eq!(source(&gateway).await["state"], "stale", "{bad}");
    }
    fs::remove_file(gateway.files.path(FILE)).unwrap();
    eventually(PATIENCE, || async { source(&gateway).await["last_error"] == "missing_file" }).await;

    assert_eq!(gateway.get("/").await.echo().origin(), "b");
    assert_eq!(endpoints(&gateway).await.len(), 2);
    assert_eq!(gateway.stderr().matches("did you mean `address`").count(), 1, "{}", gateway.stderr());
    let bad = [("result", "bad_file")];
    assert_eq!(gateway.metric("tollgate_discovery_lookups_total", &bad).await, 3.0);
    gateway.files.write(FILE, "endpoints: [{ address: \"{a}\" }]");
    eventually(PATIENCE, || async { gateway.get("/").await.echo().origin() == "a" }).await;
    assert_eq!(source(&gateway).await["state"], "fresh");
}

#[tokio::test]
async fn a_link_whose_folder_is_swapped_is_a_change() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let builder = Gateway::builder().origin("a", &a).origin("b", &b).yaml(UPSTREAM);
    builder.files.write("v1/orders.yaml", "endpoints: [{ address: \"{a}\" }]");
    builder.files.write("v2/orders.yaml", "endpoints: [{ address: \"{b}\" }]");
    symlink("v1", builder.files.path("endpoints.d")).unwrap();
    let gateway = builder.start().await;
    assert_eq!(gateway.get("/").await.echo().origin(), "a");

    symlink("v2", gateway.files.path("new")).unwrap();
    fs::rename(gateway.files.path("new"), gateway.files.path("endpoints.d")).unwrap();

    eventually(PATIENCE, || async { gateway.get("/").await.echo().origin() == "b" }).await;
}

#[tokio::test]
async fn check_reads_the_file_too() {
    let builder = Gateway::builder().yaml(UPSTREAM);
    let missing = builder.check(&[]).await;
    builder.files.write(FILE, "endpoints:\n- { address: 10.0.0.1:80 }\n- { address: 10.0.0.1:80 }\n");
    let bad = builder.check(&[]).await;
    builder.files.write(FILE, "endpoints:\n- { address: 10.0.0.1:80 }\n");
    let good = builder.check(&["--strict"]).await;

    assert_eq!(missing.code, Some(0));
    assert!(missing.stderr.contains("upstreams[0].endpoints_file: there is no"), "{}", missing.stderr);
    assert_eq!(bad.code, Some(78));
    assert!(
        bad.stderr.contains("orders.yaml:3: endpoints[1].address: `10.0.0.1:80` is endpoints[0] already"),
        "{}",
        bad.stderr
    );
    assert_eq!((good.code, good.stderr.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn a_reload_tells_of_a_bad_file_and_is_not_refused_for_it() {
    let origin = Origin::named("a").await;
    let builder = Gateway::builder().origin("a", &origin).yaml(UPSTREAM);
    builder.files.write(FILE, "endpoints: [{ address: \"{a}\" }]");
    let gateway = builder.start().await;
    let good = gateway.reload().await;
    gateway.files.write(FILE, "endpoints:\n- { adress: \"{a}\" }\n");

    let foreseen = gateway.ask(&["reload", "--dry-run"]).await;
    let bad = gateway.reload().await;

    assert!(!good.stdout.contains("warning"), "{good:?}");
    for told in [foreseen, bad] {
        let says = told.stdout.contains("endpoints.d/orders.yaml:2: endpoints[0].adress: ");
        assert!(says && told.stdout.starts_with("warning: ") && told.code == Some(0), "{told:?}");
    }
    assert_eq!(gateway.get("/").await.echo().origin(), "a");
}
