//! Clients that show certificates, and the ways around having to: sessions of
//! other hosts, sessions of before, and a `Host` that is not the server name.

use boring::ssl::{SslSession, SslVersion};

use crate::support::{
    Gateway, Http2, Origin, PATIENCE, Request, Response, Tls,
    certs::{self, Authority, Issued, VALID},
    eventually,
};

#[tokio::test]
async fn a_host_that_requires_a_certificate_serves_nobody_without_a_good_one() {
    let house = House::start().await;
    let wrong = certs::client(&certs::authority(), "orders");
    let expired = tollgate::tls::testing::client(&house.clients, "orders", None, -7_200..-3_600).unwrap();

    for version in BOTH {
        let client = Tls::to("required.test").versions(version, version);
        for (certificate, reason) in [
            (None, "client_certificate_missing"),
            (Some(&wrong), "client_certificate_bad"),
            (Some(&expired), "client_certificate_bad"),
        ] {
            let before = house.refused(reason).await;
            let client = certificate.map_or(client.clone(), |shown| client.clone().certificate(shown));

            let why = house.ask(&client, "required.test").await.unwrap_err();

            assert!(why.contains("ALERT"), "{version:?} {reason}: {why}");
            eventually(PATIENCE, || async { house.refused(reason).await == before + 1.0 }).await;
        }
        let good = client.certificate(&house.orders);
        assert_eq!(house.ask(&good, "required.test").await.unwrap().status, 200);
    }
    // The public host beside it asks nobody, and is not told either.
    assert_eq!(house.ask(&Tls::to("public.test"), "public.test").await.unwrap().status, 200);
    assert_eq!(
        house.ask(&Tls::to("public.test").certificate(&wrong), "public.test").await.unwrap().status,
        200
    );
    // Each of these four by both protocols, and nobody else's.
    assert_eq!(house.origin.requests().await, 8);
}

#[tokio::test]
async fn a_host_that_takes_a_certificate_serves_without_one_and_refuses_a_bad_one() {
    let house = House::start().await;
    let wrong = certs::client(&certs::authority(), "orders");

    for version in BOTH {
        let client = Tls::to("optional.test").versions(version, version);

        assert_eq!(house.ask(&client, "optional.test").await.unwrap().status, 200);
        assert_eq!(
            house.ask(&client.clone().certificate(&house.orders), "optional.test").await.unwrap().status,
            200
        );
        assert!(house.ask(&client.certificate(&wrong), "optional.test").await.is_err());
    }
    eventually(PATIENCE, || async { house.refused("client_certificate_bad").await == 2.0 }).await;
}

#[tokio::test]
async fn a_session_of_a_public_host_does_not_open_one_that_requires_a_certificate() {
    let house = House::start().await;

    for version in BOTH {
        let public = Tls::to("public.test").versions(version, version);
        let required = Tls::to("required.test").versions(version, version);
        for host in ["public.test", "optional.test"] {
            let open = Tls::to(host).versions(version, version);
            let session = house.session(&open, host).await;

            let why = house.ask(&required.clone().session(&session), "required.test").await.unwrap_err();
            assert!(why.contains("ALERT"), "{version:?} {host}: {why}");

            // A session of its own comes back, so that this one was one, and no
            // client that shows a certificate is kept from its host.
            assert_eq!(house.resumes(&open.session(&session), host).await, Some(true));
            let known = required.clone().certificate(&house.orders).session(&session);
            assert_eq!(house.resumes(&known, "required.test").await, Some(false));
        }
        let known = required.certificate(&house.orders);
        let session = house.session(&known, "required.test").await;
        // The certificate stands in the session; a public request carries none.
        assert_eq!(house.resumes(&known.session(&session), "required.test").await, Some(true));
        assert_eq!(house.resumes(&public.session(&session), "public.test").await, Some(false));
    }
    eventually(PATIENCE, || async { house.refused("client_certificate_missing").await == 4.0 }).await;
}

#[tokio::test]
async fn a_session_from_before_a_change_of_authorities_opens_nothing_after_it() {
    let house = House::start().await;
    let next = certs::authority();
    let clients =
        BOTH.map(|version| Tls::to("required.test").versions(version, version).certificate(&house.orders));
    let mut sessions = Vec::new();
    for client in &clients {
        sessions.push(house.session(client, "required.test").await);
    }

    house.gateway.files.write("clients.pem", &next.pem().unwrap());
    let reloaded = house.gateway.reload().await;

    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    let bare = BOTH.map(|version| Tls::to("required.test").versions(version, version));
    for ((client, bare), session) in clients.iter().zip(&bare).zip(&sessions) {
        assert!(house.ask(&client.clone().session(session), "required.test").await.is_err());
        assert!(house.ask(&bare.clone().session(session), "required.test").await.is_err());
        let new = certs::client(&next, "orders");
        assert_eq!(
            house.resumes(&bare.clone().certificate(&new).session(session), "required.test").await,
            Some(false)
        );
    }
    assert_eq!(house.refused("client_certificate_bad").await, 2.0);
    assert_eq!(house.refused("client_certificate_missing").await, 2.0);
}

#[tokio::test]
async fn a_host_of_another_policy_than_the_server_name_is_misdirected() {
    let house = House::start().await;
    let public = Tls::to("public.test");
    let known = Tls::to("required.test").certificate(&house.orders);
    let required =
        ["required.test", "REQUIRED.test", "required.test:8443", "sub.required.test", "optional.test"];
    let same = ["public.test", "other-public.test", "Public.test:8443", "unknown.test"];

    let mut http = house.gateway.connect_tls(&public).await.unwrap();
    let mut http2 = house.gateway.connect_http2(&public).await.unwrap();
    for host in required {
        let request = Request::get("/").host(host);
        let (one, two) = (http.send(&request).await, http2.send(&request).await);
        assert_eq!((one.status, one.flag().as_str()), (421, "misdirected"), "{host}");
        assert_eq!((two.status, two.flag().as_str()), (421, "misdirected"), "{host}");
        // The connection goes on with what it is for.
        assert!(!one.closed, "{host}");
    }
    for host in same {
        assert_eq!(http.send(&Request::get("/").host(host)).await.status, 200, "{host}");
        assert_eq!(http2.send(&Request::get("/").host(host)).await.status, 200, "{host}");
    }

    let mut http = house.gateway.connect_tls(&known).await.unwrap();
    let mut http2 = house.gateway.connect_http2(&known).await.unwrap();
    for (host, status) in
        [("required.test", 200), ("sub.required.test", 200), ("public.test", 421), ("optional.test", 421)]
    {
        assert_eq!(http.send(&Request::get("/").host(host)).await.status, status, "{host}");
        assert_eq!(http2.send(&Request::get("/").host(host)).await.status, status, "{host}");
    }
}

#[tokio::test]
async fn a_reload_that_makes_a_host_require_certificates_rules_open_connections_too() {
    let house = House::start().await;
    let mut http = house.gateway.connect_tls(&Tls::to("public.test")).await.unwrap();
    let mut http2 = house.gateway.connect_http2(&Tls::to("public.test")).await.unwrap();
    assert_eq!(http.send(&Request::get("/").host("public.test")).await.status, 200);

    house.gateway.write_config(&house.yaml("\"*\""));
    assert_eq!(house.gateway.reload().await.code, Some(0));

    assert_eq!(http.send(&Request::get("/").host("public.test")).await.status, 421);
    assert_eq!(http2.send(&Request::get("/").host("public.test")).await.status, 421);
}

/// One listener with hosts of three policies, on one certificate for all.
struct House {
    origin: Origin,
    gateway: Gateway,
    /// Who may have signed clients' certificates.
    clients: Authority,
    /// A client that may come in.
    orders: Issued,
}

impl House {
    async fn start() -> Self {
        let origin = Origin::start().await;
        let clients = certs::authority();
        let names = ["public.test", "*.public.test", "required.test", "*.required.test", "optional.test"];
        let orders = tollgate::tls::testing::client(&clients, "orders", None, VALID).unwrap();
        let builder = Gateway::builder()
            .origin("origin", &origin)
            .pair("all", &certs::server(&certs::authority(), &names))
            .file("clients.pem", &clients.pem().unwrap())
            .yaml(&format!("listeners:{}", listeners("required.test, \"*.required.test\"")));
        Self { gateway: builder.start().await, origin, clients, orders }
    }

    /// The main file, with these hosts requiring certificates.
    fn yaml(&self, required: &str) -> String {
        format!("listeners:{}", listeners(required))
    }

    /// A GET for a host on a new connection, or why there is no answer.
    async fn ask(&self, client: &Tls, host: &str) -> Result<Response, String> {
        let mut http = self.gateway.connect_tls(client).await.map_err(|why| why.0)?;
        let answer = http.try_send(&Request::get("/").host(host)).await;
        if answer.is_ok() {
            // The other protocol has the same handshake and another way on.
            let mut http2 = Http2::open(self.gateway.tls, client).await.map_err(|why| why.0)?;
            let again = http2.try_send(&Request::get("/").host(host)).await.map_err(|cut| cut.to_string())?;
            assert_eq!(again.status, 200);
        }
        // In TLS 1.3 a client learns of its refusal when it reads.
        answer.map_err(|why| why.to_string())
    }

    /// The session of a connection that was served.
    async fn session(&self, client: &Tls, host: &str) -> SslSession {
        let mut http = self.gateway.connect_tls(client).await.unwrap();
        assert_eq!(http.send(&Request::get("/").host(host)).await.status, 200);
        client.saved_session().unwrap()
    }

    /// Whether the client's session came back; `None`: it was not served.
    async fn resumes(&self, client: &Tls, host: &str) -> Option<bool> {
        let mut http = self.gateway.connect_tls(client).await.ok()?;
        let answer = http.try_send(&Request::get("/").host(host)).await.ok()?;
        (answer.status == 200).then(|| http.stream.ssl().session_reused())
    }

    async fn refused(&self, reason: &str) -> f64 {
        let labels = [("listener", "public"), ("reason", reason)];
        self.gateway.metric("tollgate_connections_ended_early_total", &labels).await
    }
}

fn listeners(required: &str) -> String {
    format!(
        "
  - {{ name: plain, address: \"{{plain}}\" }}
  - name: public
    address: \"{{tls}}\"
    tls:
      certificates: [{{ chain: all.pem, key: all.key }}]
      client_auth:
        - {{ hosts: [{required}], mode: required, ca: clients.pem }}
        - {{ hosts: [optional.test], mode: optional, ca: clients.pem }}
"
    )
}

const BOTH: [SslVersion; 2] = [SslVersion::TLS1_2, SslVersion::TLS1_3];
