//! New certificates in a running gateway: at once for new connections, never
//! half, and at no cost for those that are open.

use boring::x509::X509;

use crate::support::{
    Gateway, Origin, PATIENCE, Request, Tls,
    certs::{self, Issued, Kind, VALID},
    eventually,
};

#[tokio::test]
async fn a_renewed_certificate_is_shown_at_once_and_open_connections_live_on() {
    let (gateway, old) = start().await;
    let mut http = gateway.connect_tls(&Tls::default()).await.unwrap();
    let mut http2 = gateway.connect_http2(&Tls::default()).await.unwrap();
    assert_eq!(http.send(&Request::get("/")).await.status, 200);
    let mut stream = http2.start(&Request::get("/").script("sse=3/150ms"), true).await.unwrap();
    assert_eq!(stream.head().await.unwrap().status, 200);
    assert_eq!(shown(&gateway, &Tls::default()).await, der(&old));

    let new = certs::server(&certs::authority(), &["api.example.com"]);
    gateway.files.pair("api", &new);
    let reloaded = gateway.reload().await;

    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    assert_eq!(shown(&gateway, &Tls::default()).await, der(&new));
    assert_eq!(http.send(&Request::get("/")).await.status, 200);
    assert_eq!(http2.send(&Request::get("/")).await.status, 200);
    let events = stream.response().await.unwrap();
    assert_eq!(events.text().matches("data:").count(), 3, "{}", events.text());
}

#[tokio::test]
async fn a_session_outlives_the_renewal_of_its_certificate() {
    let (gateway, _) = start().await;
    let client = Tls::default();
    gateway.connect_tls(&client).await.unwrap().send(&Request::get("/")).await;
    let session = client.saved_session().unwrap();

    gateway.files.pair("api", &certs::server(&certs::authority(), &["api.example.com"]));
    assert_eq!(gateway.reload().await.code, Some(0));

    let mut again = gateway.connect_tls(&client.session(&session)).await.unwrap();
    assert_eq!(again.send(&Request::get("/")).await.status, 200);
    assert!(again.stream.ssl().session_reused());
}

#[tokio::test]
async fn a_pair_that_does_not_match_is_refused_and_the_old_one_goes_on() {
    let (gateway, old) = start().await;
    let new = certs::server(&certs::authority(), &["api.example.com"]);

    // A renewal that replaced one of two files.
    gateway.files.write("api.pem", &new.chain);
    let refused = gateway.reload().await;

    assert_eq!(refused.code, Some(78), "{refused:?}");
    for told in
        ["certificates[0].key", "api.key", "is not the key of", "tollgate.yaml:", "the gateway goes on"]
    {
        assert!(refused.stderr.contains(told), "no `{told}` in {}", refused.stderr);
    }
    assert_eq!(shown(&gateway, &Tls::default()).await, der(&old));
    assert_eq!(gateway.metric("tollgate_config_last_reload_successful", &[]).await, 0.0);
    assert_eq!(gateway.status().await["generation"], 1);

    gateway.files.write("api.key", &new.key);
    assert_eq!(gateway.reload().await.code, Some(0));

    assert_eq!(shown(&gateway, &Tls::default()).await, der(&new));
    assert_eq!(gateway.metric("tollgate_config_last_reload_successful", &[]).await, 1.0);
    assert_eq!(gateway.status().await["generation"], 2);
}

#[tokio::test]
async fn a_folder_of_certificates_gains_and_loses_pairs_by_reload() {
    let origin = Origin::start().await;
    let authority = certs::authority();
    let [one, two] = [["one.test"], ["two.test"]].map(|names| certs::server(&authority, &names));
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .pair("pairs/one", &one)
        .file("pairs/readme.txt", "not a pair\n")
        .tls("{ certificate_directory: pairs, unknown_server_name: alert }")
        .start()
        .await;
    assert_eq!(shown(&gateway, &Tls::to("one.test")).await, der(&one));
    assert!(gateway.connect_tls(&Tls::to("two.test")).await.is_err());

    // A chain whose key is not there yet is no pair, and not half of one.
    gateway.files.write("pairs/two.pem", &two.chain);
    let refused = gateway.reload().await;
    assert_eq!(refused.code, Some(78), "{refused:?}");
    assert!(refused.stderr.contains("two.key"), "{refused:?}");
    assert!(gateway.connect_tls(&Tls::to("two.test")).await.is_err());

    gateway.files.pair("pairs/two", &two);
    assert_eq!(gateway.reload().await.code, Some(0));
    assert_eq!(shown(&gateway, &Tls::to("two.test")).await, der(&two));
    assert_eq!(shown(&gateway, &Tls::to("one.test")).await, der(&one));
    let names = gateway.status().await["certificates"].to_string();
    assert!(names.contains("one.pem") && names.contains("two.pem"), "{names}");

    std::fs::remove_file(gateway.files.path("pairs/one.pem")).unwrap();
    std::fs::remove_file(gateway.files.path("pairs/one.key")).unwrap();
    assert_eq!(gateway.reload().await.code, Some(0));
    assert!(gateway.connect_tls(&Tls::to("one.test")).await.is_err());
    let expiry = async || gateway.metrics().await;
    let gone = |page: crate::support::metrics::Metrics| {
        let left: Vec<_> =
            page.samples("tollgate_certificate_expiry_timestamp_seconds", &[]).cloned().collect();
        left.len() == 1 && left[0].labels["certificate"].ends_with("two.pem")
    };
    eventually(PATIENCE, || async { gone(expiry().await) }).await;
}

#[tokio::test]
async fn an_expired_certificate_is_served_with_a_warning_and_a_metric_in_the_past() {
    let origin = Origin::start().await;
    let old = certs::server_with(&certs::authority(), &["api.example.com"], Kind::Ecdsa, -7_200..-3_600);
    let builder = Gateway::builder().origin("origin", &origin).certificate(&old);
    let checked = Gateway::builder().origin("origin", &origin).certificate(&old).check(&[]).await;

    let gateway = builder.start().await;

    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(
        checked.stderr.contains("warning: ") && checked.stderr.contains("tls.pem` expired"),
        "{checked:?}"
    );
    eventually(PATIENCE, || async { gateway.stderr().contains("tls.pem` expired") }).await;
    let name = "tollgate_certificate_expiry_timestamp_seconds";
    let at = gateway.metric(name, &[("listener", "public")]).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((-3_700.0..-3_500.0).contains(&(at - now)), "{at}");
    assert_eq!(shown(&gateway, &Tls::default()).await, der(&old));

    gateway
        .files
        .pair("tls", &certs::server_with(&certs::authority(), &["api.example.com"], Kind::Ecdsa, VALID));
    assert_eq!(gateway.reload().await.code, Some(0));
    assert_ne!(shown(&gateway, &Tls::default()).await, der(&old));
}

/// A gateway with one pair, `api`.
async fn start() -> (Gateway, Issued) {
    let origin = Origin::start().await;
    let issued = certs::server(&certs::authority(), &["api.example.com"]);
    let builder = Gateway::builder().origin("origin", &origin).pair("api", &issued);
    (builder.tls("{ certificates: [{ chain: api.pem, key: api.key }] }").start().await, issued)
}

/// The certificate that a new connection is shown, on which a request is served.
async fn shown(gateway: &Gateway, client: &Tls) -> Vec<u8> {
    let mut http = gateway.connect_tls(client).await.unwrap();
    assert_eq!(http.send(&Request::get("/")).await.status, 200);
    http.stream.ssl().peer_certificate().unwrap().to_der().unwrap()
}

fn der(issued: &Issued) -> Vec<u8> {
    X509::from_pem(issued.chain.as_bytes()).unwrap().to_der().unwrap()
}
