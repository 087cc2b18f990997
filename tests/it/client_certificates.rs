//! Which client certificates come in: every fault by both protocols and versions, with
//! its reason; what becomes of sessions and open connections when the rules change; and
//! what the upstream is told.

use std::{sync::Arc, time::Duration};

use boring::ssl::{SslSession, SslVersion};
use tollgate::{
    config::signer::Algorithm,
    tls::testing::{self, Wish},
};

use crate::signing::{base64url_sha256, claims_of, only_token, pem};
use crate::support::{
    Gateway, Http1, Http2, Origin, PATIENCE, Request, Tls,
    certs::{self, Authority, Issued, VALID},
    eventually,
    load::{Asks, Load},
};

#[tokio::test]
async fn each_fault_is_refused_by_both_protocols_and_counted_by_its_reason() {
    let house = House::start(RULES).await;
    let wish = |wish: Wish<'_>| Some(testing::wished(&house.clients, &wish).unwrap());
    let good = || Wish { uris: &[ORDERS], ..Wish::default() };
    let stranger = certs::authority();
    let revoked = wish(good()).unwrap();
    house.revoke(&[&revoked]).await;

    for (shown, result) in [
        (wish(good()), "accepted"),
        (None, "none"),
        (wish(Wish { valid: -7_200..-3_600, ..good() }), "expired"),
        (wish(Wish { valid: 3_600..7_200, ..good() }), "not_yet_valid"),
        (Some(testing::wished(&stranger, &good()).unwrap()), "unknown_authority"),
        (wish(Wish { uris: &["spiffe://example.test/ns/shop/sa/other"], ..good() }), "wrong_name"),
        (Some(revoked), "revoked"),
        (wish(Wish { client_auth: false, server_auth: true, ..good() }), "wrong_usage"),
    ] {
        for version in BOTH {
            let client = Tls::to(HOST).versions(version, version);
            let client = shown.iter().fold(client, |client, shown| client.certificate(shown));
            let before = house.counted(result).await;

            let answers = [house.http1(&client).await, house.http2(&client).await];

            let served = result == "accepted";
            assert!(
                answers.iter().all(|answer| answer.is_ok() == served),
                "{version:?} {result}: {answers:?}"
            );
            eventually(PATIENCE, || async { house.counted(result).await == before + 2.0 }).await;
        }
    }
    // Nobody else came through; the good one by both protocols, and both versions.
    assert_eq!(house.origin.requests().await, 4);
    let log = house.gateway.stderr();
    assert!(
        log.contains("client certificate refused: reason=expired listener=public server_name=mtls.test"),
        "{log}"
    );
    assert!(log.contains("CN=client") && log.contains("sha256="), "{log}");
}

#[tokio::test]
async fn no_session_and_no_connection_outlives_the_trust_that_it_was_made_in() {
    let changes: [(&str, Change); 3] = [
        ("revoked", |house, shown| house.write_list(&[shown])),
        ("unknown_authority", |house, _| {
            let other = certs::authority();
            house.gateway.files.write("clients.pem", &other.pem().unwrap());
            house.gateway.files.write("crl.pem", &testing::revoked(&other, &[], A_DAY).unwrap());
        }),
        ("wrong_name", |house, _| house.gateway.write_config(&yaml(&RULES.replace("*/sa", "other/sa")))),
    ];
    for (result, change) in changes {
        let house = House::start(RULES).await;
        let shown = house.issue(ORDERS);
        let clients = BOTH.map(|version| Tls::to(HOST).versions(version, version).certificate(&shown));
        let sessions = [house.session(&clients[0]).await, house.session(&clients[1]).await];
        let mut http1 = house.gateway.connect_tls(&clients[1]).await.unwrap();
        let mut http2 = Http2::open(house.gateway.tls, &clients[1]).await.unwrap();
        assert_eq!(http1.send(&get()).await.status, 200);
        assert_eq!(http2.send(&get()).await.status, 200);

        change(&house, &shown);
        assert_eq!(house.gateway.reload().await.code, Some(0));

        assert_eq!(http1.send(&get()).await.status, 421, "{result}");
        assert_eq!(http2.send(&get()).await.status, 421, "{result}");
        for (client, session) in clients.iter().zip(&sessions) {
            let before = house.counted(result).await;
            let again = client.clone().session(session);
            assert!(house.http1(&again).await.is_err() && house.http2(&again).await.is_err(), "{result}");
            eventually(PATIENCE, || async { house.counted(result).await == before + 2.0 }).await;
        }
    }
}

#[tokio::test]
async fn a_list_or_bundle_that_comes_anew_costs_nobody_else_a_request() {
    let house = House::start(RULES).await;
    let (good, bad) = (house.issue(ORDERS), house.issue(ORDERS));
    let tls = Tls::to(HOST).certificate(&good);
    let asks = Asks::of(house.gateway.tls, get()).pause(Duration::from_millis(2));
    let load = Load::new();
    let both = asks.clone().tls(tls.clone().alpn(&["h2"]));
    let clients = [
        tokio::spawn(Arc::clone(&load).http1(asks.clone().tls(tls.clone()))),
        tokio::spawn(Arc::clone(&load).fresh(asks.clone().tls(tls))),
        tokio::spawn(Arc::clone(&load).http2(both, 4)),
    ];
    let refused = Tls::to(HOST).certificate(&bad);
    assert!(house.http1(&refused).await.is_ok());

    for round in 0..4 {
        // By themselves: no reload is asked for.
        house.write_list(&[&bad, &house.issue(ORDERS)]);
        eventually(PATIENCE, || async { house.http1(&refused).await.is_err() }).await;
        let other = testing::ca("Another").unwrap().pem().unwrap();
        house.gateway.files.write("clients.pem", &format!("{}{other}", house.clients.pem().unwrap()));
        house.write_list(&[]);
        eventually(PATIENCE, || async { house.http1(&refused).await.is_ok() }).await;
        assert_eq!(load.lost(), Vec::<String>::new(), "round {round}");
    }

    load.end();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(load.lost(), Vec::<String>::new());
    assert!(load.answered.load(std::sync::atomic::Ordering::Relaxed) > 100);
}

#[tokio::test]
async fn off_takes_a_host_out_of_an_entry_for_more() {
    let rules = "{ mode: required, ca: clients.pem }, { hosts: [probe.test], mode: \"off\" }";
    let house = House::start(rules).await;
    let probe = Tls::to("probe.test");

    let mut http = house.gateway.connect_tls(&probe).await.unwrap();
    assert_eq!(http.send(&Request::get("/").host("probe.test")).await.status, 200);
    assert_eq!(http.send(&get()).await.status, 421);
    assert!(house.http1(&Tls::to(HOST)).await.is_err());
    assert!(house.http1(&Tls::to(HOST).certificate(&house.issue(ORDERS))).await.is_ok());
}

#[tokio::test]
async fn the_upstream_is_told_the_certificate_that_was_verified_and_no_other() {
    let house = House::start("{ hosts: [mtls.test], mode: required, ca: clients.pem }").await;
    let shown = house.issue(ORDERS);
    let lies = |host: &str| {
        let request = Request::get("/").host(host);
        request
            .header("Client-Cert", ":bGll:")
            .header("Client-Cert-Chain", ":bGll:")
            .header("X-Forwarded-Client-Cert", "Hash=1")
    };
    let told = |answer: crate::support::Response| {
        let echo = answer.json();
        let headers: Vec<(String, String)> = serde_json::from_value(echo["headers"].clone()).unwrap();
        let of =
            |name: &str| headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone());
        (of("client-cert"), of("client-cert-chain"), of("x-forwarded-client-cert"))
    };
    let der = boring::x509::X509::from_pem(shown.chain.as_bytes()).unwrap().to_der().unwrap();
    let field = format!(":{}:", boring::base64::encode_block(&der));

    let mut known = house.gateway.connect_tls(&Tls::to(HOST).certificate(&shown)).await.unwrap();
    let mut open = house.gateway.connect_tls(&Tls::to("open.test").certificate(&shown)).await.unwrap();

    assert_eq!(told(known.send(&lies(HOST)).await), (Some(field), None, None));
    assert_eq!(told(open.send(&lies("open.test")).await), (None, None, None));
    assert_eq!(told(house.gateway.connect().await.send(&lies(HOST)).await), (None, None, None));
    // Elsewhere nobody asked for it.
    house.gateway.write_config(
        &yaml("{ hosts: [mtls.test], mode: required, ca: clients.pem }")
            .replace("forward_client_cert: true", "forward_client_cert: false"),
    );
    assert_eq!(house.gateway.reload().await.code, Some(0));
    let mut known = house.gateway.connect_tls(&Tls::to(HOST).certificate(&shown)).await.unwrap();
    assert_eq!(told(known.send(&lies(HOST)).await), (None, None, None));
}

#[tokio::test]
async fn a_signed_token_names_the_certificate_that_was_verified() {
    let signer =
        "signers: [{ name: default, issuer: \"https://gw.test\", keys: keys, claims: [client_certificate] }]
routes: [{ name: all, sign: default, to: [{ upstream: origin }] }]
";
    let house = House::start_with("{ hosts: [mtls.test], mode: required, ca: clients.pem }", signer).await;
    let shown = house.issue(ORDERS);
    let der = boring::x509::X509::from_pem(shown.chain.as_bytes()).unwrap().to_der().unwrap();

    for (host, expected) in [(HOST, Some(base64url_sha256(&der))), ("open.test", None)] {
        let client = Tls::to(host).certificate(&shown);
        let mut one = house.gateway.connect_tls(&client).await.unwrap();
        let mut two = Http2::open(house.gateway.tls, &client).await.unwrap();
        let request = Request::get("/").host(host);

        for echo in [one.send(&request).await.echo(), two.send(&request).await.echo()] {
            let claims = claims_of(&house.gateway, only_token(&echo)).await;
            let told = claims.get("cnf").and_then(|cnf| cnf["x5t#S256"].as_str());
            assert_eq!(told, expected.as_deref(), "{host}");
        }
    }
}

#[tokio::test]
async fn a_certificate_makes_a_consumer_by_the_names_in_it() {
    let rules = "{ hosts: [mtls.test], mode: optional, ca: clients.pem }";
    let more = "
authentication:
  - name: mesh
    client_certificate:
      consumers:
        - { names: [\"spiffe://example.test/ns/shop/sa/orders\"], consumer: orders, scopes: [read] }
        - { names: [\"spiffe://example.test/ns/shop/**\"], consumer_from: spiffe_id }
routes:
  - { name: all, match: {}, to: [{ upstream: origin }], authenticate: [mesh] }
  - { name: own, match: { path: /own }, to: [{ upstream: origin }], authenticate: [mesh], allow: { consumers: [orders] } }
";
    let house = House::start_with(rules, more).await;
    let (orders, billing) = (house.issue(ORDERS), house.issue("spiffe://example.test/ns/shop/sa/billing"));
    let nobody = house.issue("spiffe://example.test/ns/other/sa/orders");

    for (shown, path, status, consumer) in [
        (Some(&orders), "/", 200, Some("orders")),
        (Some(&orders), "/own", 200, Some("orders")),
        (Some(&billing), "/", 200, Some("spiffe://example.test/ns/shop/sa/billing")),
        (Some(&billing), "/own", 403, Some("spiffe://example.test/ns/shop/sa/billing")),
        (Some(&nobody), "/", 401, None),
        (None, "/", 401, None),
    ] {
        let client = shown.into_iter().fold(Tls::to(HOST), |client, shown| client.certificate(shown));
        let request = Request::get(path).host(HOST);
        let one = house.gateway.connect_tls(&client).await.unwrap().send(&request).await;
        let mut http2 = Http2::open(house.gateway.tls, &client).await.unwrap();

        let answers = [one, http2.send(&request).await];

        for answer in answers {
            assert_eq!(answer.status, status, "{path} {consumer:?}");
            let id = answer.header("x-request-id").unwrap().to_owned();
            let line = eventually(PATIENCE, || async {
                house.gateway.access_log().into_iter().find(|line| line["request_id"] == *id)
            })
            .await;
            assert_eq!(line["consumer"].as_str(), consumer, "{line}");
        }
    }
}

#[tokio::test]
async fn when_a_list_has_to_be_renewed_is_in_metrics_and_status() {
    let house = House::start(RULES).await;

    let at = house
        .gateway
        .metric("tollgate_revocation_list_expiry_timestamp_seconds", &[("listener", "public")])
        .await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let status = house.gateway.status().await;
    let printed = house.gateway.ask(&["status"]).await.stdout;

    assert!((80_000.0..=86_400.0).contains(&(at - now)), "{at}");
    let left = status["revocation_lists"][0]["renewal_in_seconds"].as_i64().unwrap();
    assert!((80_000..=86_400).contains(&left), "{status}");
    assert!(printed.contains("REVOKED CERTIFICATES") && printed.contains("crl.pem"), "{printed}");
}

/// What takes trust away from a certificate.
type Change = fn(&House, &Issued);

/// One host that asks for certificates, on a listener with one for all.
struct House {
    origin: Origin,
    gateway: Gateway,
    /// Who signs clients' certificates.
    clients: Authority,
}

impl House {
    async fn start(rules: &str) -> Self {
        Self::start_with(rules, "").await
    }

    /// With more sections.
    async fn start_with(rules: &str, more: &str) -> Self {
        let origin = Origin::start().await;
        let clients = certs::authority();
        let names = [HOST, "probe.test", "open.test"];
        let builder = Gateway::builder()
            .origin("origin", &origin)
            .pair("all", &certs::server(&certs::authority(), &names))
            .file("clients.pem", &clients.pem().unwrap())
            .key("keys/a.pem", &pem(Algorithm::Es256))
            .file("crl.pem", &testing::revoked(&clients, &[], A_DAY).unwrap())
            .yaml(&format!("{}{more}", yaml(rules)));
        Self { gateway: builder.start().await, origin, clients }
    }

    fn issue(&self, uri: &str) -> Issued {
        testing::client(&self.clients, "client", Some(uri), VALID).unwrap()
    }

    fn write_list(&self, revoked: &[&Issued]) {
        self.gateway.files.write("crl.pem", &testing::revoked(&self.clients, revoked, A_DAY).unwrap());
    }

    async fn revoke(&self, revoked: &[&Issued]) {
        self.write_list(revoked);
        assert_eq!(self.gateway.reload().await.code, Some(0));
    }

    /// An answer on a new connection, or why there is none. In TLS 1.3 a client learns of
    /// its refusal when it reads.
    async fn http1(&self, client: &Tls) -> Result<(), String> {
        let mut http = self.gateway.connect_tls(client).await.map_err(|why| why.0)?;
        let answer = http.try_send(&get()).await.map_err(|why| why.to_string())?;
        // The rules may have changed since the handshake.
        if answer.status == 200 { Ok(()) } else { Err(format!("status {}", answer.status)) }
    }

    async fn http2(&self, client: &Tls) -> Result<(), String> {
        let mut http = Http2::open(self.gateway.tls, client).await.map_err(|why| why.0)?;
        let answer = http.try_send(&get()).await.map_err(|why| why.to_string())?;
        if answer.status == 200 { Ok(()) } else { Err(format!("status {}", answer.status)) }
    }

    /// The session of a connection that was served.
    async fn session(&self, client: &Tls) -> SslSession {
        let mut http: Http1 = self.gateway.connect_tls(client).await.unwrap();
        assert_eq!(http.send(&get()).await.status, 200);
        let session = client.saved_session().unwrap();
        let mut again = self.gateway.connect_tls(&client.clone().session(&session)).await.unwrap();
        assert_eq!(again.send(&get()).await.status, 200);
        assert!(again.stream.ssl().session_reused());
        session
    }

    async fn counted(&self, result: &str) -> f64 {
        let labels = [("listener", "public"), ("result", result)];
        self.gateway.metric("tollgate_client_certificates_total", &labels).await
    }
}

fn get() -> Request {
    Request::get("/").host(HOST)
}

fn yaml(rules: &str) -> String {
    format!(
        "
listeners:
  - {{ name: plain, address: \"{{plain}}\" }}
  - name: public
    address: \"{{tls}}\"
    tls:
      certificates: [{{ chain: all.pem, key: all.key }}]
      client_auth: [{rules}]
upstreams: [{{ name: origin, endpoints: [{{ address: \"{{origin}}\" }}], forward_client_cert: true }}]
"
    )
}

const HOST: &str = "mtls.test";
const ORDERS: &str = "spiffe://example.test/ns/shop/sa/orders";
const RULES: &str = "{ hosts: [mtls.test], mode: required, ca: clients.pem, crl: [crl.pem], \
                     names: [\"spiffe://example.test/ns/*/sa/orders\"] }";
const A_DAY: (i64, Option<i64>) = (-3_600, Some(86_400));
const BOTH: [SslVersion; 2] = [SslVersion::TLS1_2, SslVersion::TLS1_3];
