//! Certificates that somebody renews: taken by themselves, never half, and never one
//! held up by another.

use std::{fs, os::unix::fs::symlink, path::Path};

use boring::x509::X509;

use crate::support::{
    Gateway, Origin, PATIENCE, Request, Tls,
    certs::{self, Issued},
    eventually,
};

#[tokio::test]
async fn files_are_taken_however_they_are_put_there() {
    let origin = Origin::start().await;
    let authority = certs::authority();
    let issue = || certs::server(&authority, &["api.example.com"]);
    let builder = Gateway::builder().origin("origin", &origin).pair("v1/api", &issue());
    link(&builder.files.path(""), "v1");
    let gateway = builder.tls("{ certificates: [{ chain: now/api.pem, key: now/api.key }] }").start().await;

    // Renamed over what is there, as certbot's hooks do it.
    let renamed = issue();
    gateway.files.pair("v1/api", &renamed);
    eventually(PATIENCE, || async { shown(&gateway, "api.example.com").await == der(&renamed) }).await;
    // Written where it is.
    let written = issue();
    fs::write(gateway.files.path("v1/api.pem"), &written.chain).unwrap();
    fs::write(gateway.files.path("v1/api.key"), &written.key).unwrap();
    eventually(PATIENCE, || async { shown(&gateway, "api.example.com").await == der(&written) }).await;
    // A link that is swapped, as Kubernetes does it.
    let linked = issue();
    gateway.files.pair("v2/api", &linked);
    link(&gateway.files.path(""), "v2");
    eventually(PATIENCE, || async { shown(&gateway, "api.example.com").await == der(&linked) }).await;

    // The configuration is the same one.
    assert_eq!(gateway.status().await["generation"], 1);
    assert!(gateway.status().await["former"].is_null());
    assert!(gateway.metric("tollgate_certificate_reloads_total", &[("result", "ok")]).await >= 3.0);
    assert!(
        gateway.stderr().contains("certificates read again: changed=1 generation=1"),
        "{}",
        gateway.stderr()
    );
    // A route that is on the disk and was never reloaded is still none.
    gateway.write_config("routes: [{ name: other, respond: { status: 204 } }]");
    gateway.files.pair("v2/api", &renamed);
    eventually(PATIENCE, || async { shown(&gateway, "api.example.com").await == der(&renamed) }).await;
    assert_eq!(gateway.get("/").await.status, 200);
}

#[tokio::test]
async fn a_pair_that_does_not_fit_yet_waits_and_holds_up_no_other() {
    let origin = Origin::start().await;
    let authority = certs::authority();
    let issue = |name: &str| certs::server(&authority, &[name]);
    let (old, new, other) = (issue("one.test"), issue("one.test"), issue("two.test"));
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .pair("one", &old)
        .pair("pairs/two", &issue("two.test"))
        .tls("{ certificates: [{ chain: one.pem, key: one.key }], certificate_directory: pairs }")
        .start()
        .await;
    let misfits = async || gateway.status().await["certificates_not_taken"].clone();

    gateway.files.write("one.pem", &new.chain);
    eventually(PATIENCE, || async { misfits().await.to_string().contains("is not the key of the first") })
        .await;
    assert_eq!(shown(&gateway, "one.test").await, der(&old));
    gateway.files.pair("pairs/two", &other);
    eventually(PATIENCE, || async { shown(&gateway, "two.test").await == der(&other) }).await;
    // Half of a new pair in the folder, and a certificate that is none.
    gateway.files.write("pairs/three.pem", "not yet\n");
    eventually(PATIENCE, || async { misfits().await.as_array().unwrap().len() == 2 }).await;
    assert_eq!(
        (shown(&gateway, "one.test").await, shown(&gateway, "two.test").await),
        (der(&old), der(&other))
    );
    let status = gateway.ask(&["status"]).await.stdout;
    assert!(status.contains("NOT TAKEN for ") && status.contains("three.key"), "{status}");

    gateway.files.write_key("one.key", &new.key);
    let three = issue("three.test");
    gateway.files.pair("pairs/three", &three);

    eventually(PATIENCE, || async { misfits().await.as_array().unwrap().is_empty() }).await;
    for (name, issued) in [("one.test", &new), ("two.test", &other), ("three.test", &three)] {
        assert_eq!(shown(&gateway, name).await, der(issued), "{name}");
    }
    // Nothing was wrong for a minute.
    assert!(!gateway.stderr().contains("file not taken"), "{}", gateway.stderr());
    assert_eq!(gateway.metric("tollgate_certificate_reloads_total", &[("result", "refused")]).await, 0.0);
    assert_eq!(gateway.metric("tollgate_config_reloads_total", &[("result", "refused")]).await, 0.0);
}

#[tokio::test]
async fn authorities_of_clients_are_taken_too_and_a_bad_file_of_them_is_not() {
    let origin = Origin::start().await;
    let [first, second] = [certs::authority(), certs::authority()];
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .pair("api", &certs::server(&first, &["api.example.com"]))
        .file("ca.pem", &first.pem().unwrap())
        .tls("{ certificates: [{ chain: api.pem, key: api.key }], client_auth: [{ mode: required, ca: ca.pem }] }")
        .start()
        .await;
    let [one, two] = [&first, &second].map(|by| Tls::default().certificate(&certs::client(by, "orders")));
    let serves = async |client: &Tls| match gateway.connect_tls(client).await {
        Ok(mut http) => http.try_send(&Request::get("/")).await.is_ok_and(|answer| answer.status == 200),
        Err(_) => false,
    };
    assert!(serves(&one).await && !serves(&two).await);

    gateway.files.write("ca.pem", "nothing\n");
    let told = async || gateway.status().await["certificates_not_taken"].to_string();
    eventually(PATIENCE, || async { told().await.contains("ca.pem") }).await;
    assert!(serves(&one).await && !serves(&two).await);
    gateway.files.write("ca.pem", &second.pem().unwrap());

    eventually(PATIENCE, || async { serves(&two).await }).await;
    assert!(!serves(&one).await);
}

#[tokio::test]
async fn authorities_of_an_upstream_are_taken_too() {
    let [first, second] = [certs::authority(), certs::authority()];
    let origin = Origin::builder().tls(&certs::server(&second, &["orders.internal"])).start().await;
    let upstream = "upstreams: [{ name: origin, endpoints: [{ address: \"{origin_tls}\" }], \
                    tls: { server_name: orders.internal, ca: ca.pem } }]";
    let builder = Gateway::builder().origin("origin", &origin).file("ca.pem", &first.pem().unwrap());
    let gateway = builder.yaml(upstream).start().await;
    assert_eq!(gateway.get("/").await.status, 502);

    gateway.files.write("ca.pem", &second.pem().unwrap());

    eventually(PATIENCE, || async { gateway.get("/").await.status == 200 }).await;
    assert_eq!(gateway.status().await["generation"], 1);
}

/// The link `now` leads there from now on.
fn link(folder: &Path, to: &str) {
    symlink(to, folder.join("next")).unwrap();
    fs::rename(folder.join("next"), folder.join("now")).unwrap();
}

/// The certificate that a new connection is shown, on which a request is served.
async fn shown(gateway: &Gateway, name: &str) -> Vec<u8> {
    let mut http = gateway.connect_tls(&Tls::to(name)).await.unwrap();
    assert_eq!(http.send(&Request::get("/")).await.status, 200);
    http.stream.ssl().peer_certificate().unwrap().to_der().unwrap()
}

fn der(issued: &Issued) -> Vec<u8> {
    X509::from_pem(issued.chain.as_bytes()).unwrap().to_der().unwrap()
}
