//! The gateway's own certificates towards upstreams, and whom it takes them for: pins,
//! versions, rotation under load, and a mesh whose certificates live for seconds.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tollgate::tls::testing::{self, Wish};

use crate::support::{
    Gateway, Http1, Origin, PATIENCE, Request, Tls,
    certs::{self, Authority, Issued, Kind, VALID},
    eventually,
    load::{Asks, Load},
};

#[tokio::test]
async fn an_endpoint_is_taken_by_its_spiffe_id_alone_for_requests_and_probes() {
    let mesh = certs::authority();
    let origin = Origin::builder().tls(&workload(&mesh, "orders", VALID)).start().await;
    for protocol in ["http1", "http2", "auto"] {
        for (names, good) in [
            (format!("[\"{}\"]", id("orders")), true),
            ("[\"spiffe://example.test/ns/*/sa/orders\", \"dns:other.test\"]".to_owned(), true),
            (format!("[\"{}\"]", id("billing")), false),
            // The name that is asked for by SNI does not stand in it.
            ("[]".to_owned(), false),
        ] {
            let more = format!("names: {names} }}, protocol: {protocol}");
            takes(&origin, &mesh, &more, good).await;
        }
    }
}

/// Asks and probes once; whether both find the right endpoint is as expected.
async fn takes(origin: &Origin, mesh: &Authority, more: &str, good: bool) {
    let gateway = start(origin, mesh, more, "").await;
    let before = origin.requests().await;

    let answer = gateway.get("/").await;

    assert_eq!(answer.status, if good { 200 } else { 502 }, "{more}");
    assert_eq!(origin.requests().await - before, u64::from(good), "{more}");
    if !good {
        assert_eq!(answer.flag(), "upstream_tls", "{more}");
    }
    let probed = start(origin, mesh, more, CHECK).await;
    let result = if good { "passed" } else { "tls" };
    let checked = async || probed.metric("tollgate_health_checks_total", &[("result", result)]).await;
    eventually(PATIENCE, || async { checked().await > 0.0 }).await;
    let state = if good { "healthy" } else { "unhealthy" };
    let labels = [("upstream", "origin"), ("state", state)];
    let counted = async || probed.metric("tollgate_upstream_endpoints", &labels).await;
    eventually(PATIENCE, || async { counted().await == 1.0 }).await;
}

#[tokio::test]
async fn nothing_is_sent_over_tls_1_1() {
    let authority = certs::authority();
    let old = certs::server_with(&authority, &["orders.internal"], Kind::Rsa(2048), VALID);
    let origin = Origin::builder().tls(&old).old_tls().start().await;
    let gateway = start(&origin, &authority, "}", "").await;

    let answer = gateway.get("/").await;

    assert_eq!((answer.status, answer.flag().as_str()), (502, "upstream_tls"));
    assert_eq!(origin.requests().await, 0);
    // It would have been: the handshake itself succeeds.
    let tls =
        Tls::to("orders.internal").versions(boring::ssl::SslVersion::TLS1, boring::ssl::SslVersion::TLS1_1);
    tls.connect(origin.tls_address.unwrap()).await.map(drop).unwrap();
}

#[tokio::test]
async fn a_pair_and_authorities_rotate_under_load_without_a_lost_request() {
    // Of one name they would need key identifiers to be told apart.
    let [first, second] = ["First", "Second"].map(|name| testing::ca(name).unwrap());
    let clients = certs::authority();
    let origin =
        Origin::builder().tls(&certs::server(&first, &["orders.internal"])).client_ca(&clients).start().await;
    for protocol in ["http1", "http2"] {
        origin.renew(&certs::server(&first, &["orders.internal"]));
        let pair = |name: &str| testing::client(&clients, name, None, VALID).unwrap();
        let builder = Gateway::builder()
            .origin("origin", &origin)
            .pair("gw", &pair("gateway-0"))
            .file("ca.pem", &first.pem().unwrap())
            .yaml(&upstream(
                &format!("client: {{ chain: gw.pem, key: gw.key }} }}, protocol: {protocol}"),
                "",
            ));
        let gateway = builder.start().await;
        assert!(subject(&gateway).await.ends_with("CN=gateway-0"));
        let load = Load::new();
        let asks = Asks::of(gateway.plain, Request::get("/")).pause(Duration::from_millis(1));
        let busy: Vec<_> = (0..4).map(|_| tokio::spawn(Arc::clone(&load).http1(asks.clone()))).collect();

        for round in 1..4 {
            // New connections are made with the new pair, and the old ones are left alone.
            gateway.files.pair("gw", &pair(&format!("gateway-{round}")));
            shows(&gateway, &format!("CN=gateway-{round}")).await;
            // Both authorities, then the endpoint, then only the new one.
            let (old, new) = if round % 2 == 1 { (&first, &second) } else { (&second, &first) };
            let both = format!("{}{}", old.pem().unwrap(), new.pem().unwrap());
            taken(&gateway, 3 * round - 2).await;
            gateway.files.write("ca.pem", &both);
            taken(&gateway, 3 * round - 1).await;
            origin.renew(&certs::server(new, &["orders.internal"]));
            gateway.files.write("ca.pem", &new.pem().unwrap());
            taken(&gateway, 3 * round).await;
            assert_eq!(gateway.get("/").await.status, 200);
        }

        load.end();
        for client in busy {
            client.await.unwrap();
        }
        assert_eq!(load.lost(), Vec::<String>::new(), "{protocol}");
        assert_eq!(gateway.status().await["generation"], 1);
    }
}

/// Waits until files of certificates were taken so often.
async fn taken(gateway: &Gateway, count: i32) {
    let ok = async || gateway.metric("tollgate_certificate_reloads_total", &[("result", "ok")]).await;
    eventually(PATIENCE, || async { ok().await >= f64::from(count) }).await;
}

/// Waits until the gateway shows the origin a certificate with this name.
async fn shows(gateway: &Gateway, name: &str) {
    eventually(PATIENCE, || async { subject(gateway).await.ends_with(name) }).await;
}

async fn subject(gateway: &Gateway) -> String {
    let echo = gateway.get("/").await.json();
    echo["tls"]["client_cert_subject"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn when_the_gateways_own_certificate_ends_is_in_metrics_and_status() {
    let authority = certs::authority();
    let origin = Origin::builder().tls(&certs::server(&authority, &["orders.internal"])).start().await;
    let brief = testing::client(&authority, "gateway", None, -60..7_200).unwrap();
    let builder = Gateway::builder()
        .origin("origin", &origin)
        .pair("gw", &brief)
        .file("ca.pem", &authority.pem().unwrap())
        .yaml(&upstream("client: { chain: gw.pem, key: gw.key } }", ""));
    let gateway = builder.start().await;

    let name = "tollgate_upstream_certificate_expiry_timestamp_seconds";
    let at = gateway.metric(name, &[("upstream", "origin")]).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let left = gateway.status().await["upstream_certificates"][0]["expires_in_seconds"].as_i64().unwrap();
    let printed = gateway.ask(&["status"]).await.stdout;

    assert!((7_000.0..=7_200.0).contains(&(at - now)), "{at}");
    assert!((7_000..=7_200).contains(&left), "{left}");
    assert!(printed.contains("gw.pem") && printed.contains(" min"), "{printed}");
    // A mesh's certificates live for hours: that alone is nothing to warn of.
    assert!(!gateway.stderr().contains("renew it"), "{}", gateway.stderr());
}

/// Clients, gateway and service with certificates that live for five seconds, all of
/// them new every two, and every connection made anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_mesh_whose_certificates_live_for_seconds_loses_no_request() {
    let mesh = certs::authority();
    let origin = Origin::builder().tls(&workload(&mesh, "orders", BRIEF)).client_ca(&mesh).start().await;
    let client = |nth: u32| {
        let shown = workload(&mesh, &format!("client-{nth}"), BRIEF);
        Tls::default().trusting(&mesh).certificate(&shown)
    };
    let current = Arc::new(Mutex::new(client(0)));
    let gateway = mesh_gateway(&origin, &mesh).await;
    let over = Load::new();
    // Some leave the pool's connections time to end.
    let busy = [5, 20, 70, 120].map(|pause| {
        let asking = keep_asking(gateway.tls, current.clone(), over.clone(), Duration::from_millis(pause));
        tokio::spawn(asking)
    });

    let mut rotations = tokio::time::interval(Duration::from_secs(2));
    for nth in 1..=10 {
        rotations.tick().await;
        gateway.files.pair("web", &web(&mesh));
        gateway.files.pair("gw", &workload(&mesh, &format!("gateway-{nth}"), BRIEF));
        origin.renew(&workload(&mesh, "orders", BRIEF));
        *current.lock().unwrap() = client(nth);
        assert!(busy.iter().all(|task| !task.is_finished()), "rotation {nth}: {}", gateway.stderr());
    }
    rotations.tick().await;
    over.end();

    let (mut seen, mut answered) = (BTreeSet::new(), 0);
    for task in busy {
        let (names, count) = task.await.unwrap();
        seen.extend(names);
        answered += count;
    }
    println!("{answered} requests, {} of the gateway's certificates", seen.len());
    assert!(seen.len() >= 10, "{seen:?}");
    assert!(answered > 200, "{answered}");
    assert!(!gateway.stderr().contains("certificate not taken"), "{}", gateway.stderr());
}

/// In front of a service of the mesh, for clients of the mesh.
async fn mesh_gateway(origin: &Origin, mesh: &Authority) -> Gateway {
    let own = format!("names: [\"{}\"], client: {{ chain: gw.pem, key: gw.key }} }}", id("orders"));
    // So that connections to the service are made all the time.
    let upstream = upstream(&own, ", timeouts: { idle: 50ms }");
    let listeners = format!(
        "
listeners:
  - {{ name: plain, address: \"{{plain}}\" }}
  - name: public
    address: \"{{tls}}\"
    tls:
      certificates: [{{ chain: web.pem, key: web.key }}]
      client_auth: [{{ mode: required, ca: ca.pem, names: [\"{}\"] }}]
",
        id("*")
    );
    let builder = Gateway::builder().origin("origin", origin).pair("web", &web(mesh));
    let builder =
        builder.pair("gw", &workload(mesh, "gateway-0", BRIEF)).file("ca.pem", &mesh.pem().unwrap());
    builder.yaml(&format!("{listeners}{upstream}")).start().await
}

/// Asks on a connection of its own each time, with the certificate of the moment, until it
/// is over. Which certificates the service saw, and how many requests that was.
async fn keep_asking(
    address: SocketAddr,
    current: Arc<Mutex<Tls>>,
    over: Arc<Load>,
    pause: Duration,
) -> (BTreeSet<String>, u32) {
    let (mut seen, mut answered) = (BTreeSet::new(), 0);
    while !over.is_over() {
        let tls = current.lock().unwrap().clone();
        let stream = tls.connect(address).await.unwrap_or_else(|why| panic!("handshake: {why:?}"));
        let mut http = Http1::over(stream);
        let answer = http.try_send(&Request::get("/")).await.unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let echo = answer.json();
        seen.insert(echo["tls"]["client_cert_subject"].as_str().unwrap().to_owned());
        answered += 1;
        tokio::time::sleep(pause).await;
    }
    (seen, answered)
}

/// What a listener of the mesh shows.
fn web(mesh: &Authority) -> Issued {
    testing::leaf(mesh, &["api.example.com"], Kind::Ecdsa, BRIEF).unwrap()
}

fn id(name: &str) -> String {
    format!("spiffe://example.test/ns/shop/sa/{name}")
}

/// A certificate of a mesh: a SPIFFE id and no DNS name, for clients and servers.
fn workload(mesh: &Authority, name: &str, valid: std::ops::Range<i64>) -> Issued {
    let id = id(name);
    let uris = [id.as_str()];
    let wish = Wish { common_name: name, uris: &uris, server_auth: true, valid, ..Wish::default() };
    testing::wished(mesh, &wish).unwrap()
}

/// A gateway with the origin over TLS. `tls` closes its section.
async fn start(origin: &Origin, authority: &Authority, tls: &str, more: &str) -> Gateway {
    let builder = Gateway::builder().origin("origin", origin).file("ca.pem", &authority.pem().unwrap());
    builder.yaml(&upstream(tls, more)).start().await
}

fn upstream(tls: &str, more: &str) -> String {
    format!(
        "upstreams: [{{ name: origin, endpoints: [{{ address: \"{{origin_tls}}\" }}], \
         tls: {{ server_name: orders.internal, ca: ca.pem, {tls}{more} }}]\n"
    )
}

const CHECK: &str = ", health_check: { path: /, interval: 300ms, timeout: 300ms, unhealthy_interval: 300ms, \
                     unhealthy_after: 1 }";

const BRIEF: std::ops::Range<i64> = -60..5;
