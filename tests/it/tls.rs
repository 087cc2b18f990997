//! TLS as clients meet it: which certificate, which version, key exchange and
//! protocol, which sessions come back. Certificates of clients are in
//! `client_auth`, new certificates by reload in `certificates`.

use boring::{ssl::SslVersion, x509::X509};

use crate::support::{
    Gateway, Http1, Http2, Origin, PATIENCE, Request, Tls,
    certs::{self, Issued, Kind, VALID},
    eventually,
    stream::Stream,
};

#[tokio::test]
async fn a_server_name_finds_its_certificate_exact_before_wildcard_before_the_first() {
    let origin = Origin::start().await;
    let authority = certs::authority();
    let [first, exact, wildcard] = [&["first.test"][..], &["api.example.com"], &["*.example.com"]]
        .map(|names| certs::server(&authority, names));
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .pair("first", &first)
        .pair("exact", &exact)
        .pair("wildcard", &wildcard)
        .tls(&listed(&["first", "wildcard", "exact"], ""))
        .start()
        .await;

    for (client, shown) in [
        (Tls::to("first.test"), &first),
        (Tls::to("api.example.com"), &exact),
        (Tls::to("API.Example.com"), &exact),
        (Tls::to("other.example.com"), &wildcard),
        // A wildcard is one label.
        (Tls::to("a.b.example.com"), &first),
        (Tls::to("example.com"), &first),
        (Tls::to("unknown.test"), &first),
        (Tls::without_server_name(), &first),
    ] {
        let mut http = gateway.connect_tls(&client).await.unwrap();

        assert!(
            shows(&http.stream, shown),
            "{:?}",
            http.stream.ssl().servername(boring::ssl::NameType::HOST_NAME)
        );
        assert_eq!(http.send(&Request::get("/")).await.status, 200);
    }
}

#[tokio::test]
async fn with_alert_an_unknown_server_name_is_no_handshake() {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .pair("api", &certificate)
        .tls(&listed(&["api"], "unknown_server_name: alert"))
        .start()
        .await;

    for client in [Tls::to("unknown.test"), Tls::without_server_name()] {
        for version in BOTH {
            let why = gateway.connect_tls(&client.clone().versions(version, version)).await.err().unwrap();

            assert!(why.0.contains("ALERT_UNRECOGNIZED_NAME"), "{why:?}");
        }
    }
    assert_eq!(
        gateway.connect_tls(&Tls::default()).await.unwrap().send(&Request::get("/")).await.status,
        200
    );
    ended_early(&gateway, "unknown_server_name", 4.0).await;
}

#[tokio::test]
async fn clients_get_the_certificate_whose_signatures_they_take() {
    let origin = Origin::start().await;
    let authority = certs::authority();
    let [ecdsa, rsa] = [Kind::Ecdsa, Kind::Rsa(2048)]
        .map(|kind| certs::server_with(&authority, &["api.example.com"], kind, VALID));
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .pair("ecdsa", &ecdsa)
        .pair("rsa", &rsa)
        .tls(&listed(&["rsa", "ecdsa"], ""))
        .start()
        .await;

    for version in BOTH {
        let client = Tls::default().trusting(&authority).versions(version, version);
        for (client, shown) in [
            (client.clone(), &ecdsa),
            (client.clone().signature_algorithms("ecdsa_secp256r1_sha256"), &ecdsa),
            (client.clone().signature_algorithms("rsa_pss_rsae_sha256"), &rsa),
            (client.signature_algorithms("rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256"), &ecdsa),
        ] {
            let mut http = gateway.connect_tls(&client).await.unwrap();

            assert!(shows(&http.stream, shown));
            assert_eq!(http.send(&Request::get("/")).await.status, 200);
        }
    }
    // Before TLS 1.3 the cipher suites have their word too.
    let old = Tls::default().versions(SslVersion::TLS1_2, SslVersion::TLS1_2);
    let old = old.ciphers("ECDHE-RSA-AES128-GCM-SHA256");
    assert!(shows(&gateway.connect_tls(&old).await.unwrap().stream, &rsa));
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_unless_1_3_is_the_least() {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let start = |settings: &str| {
        let builder = Gateway::builder().origin("origin", &origin).pair("api", &certificate);
        builder.tls(&listed(&["api"], settings)).start()
    };
    let (usual, strict) = (start("").await, start("min_version: \"1.3\"").await);
    let only = |version| Tls::default().versions(version, version);

    for (version, told) in [(SslVersion::TLS1_2, "TLSv1.2"), (SslVersion::TLS1_3, "TLSv1.3")] {
        let answer = usual.connect_tls(&only(version)).await.unwrap().send(&Request::get("/")).await;
        assert_eq!(usual.line_of(&answer).await["tls"], told);
        let labels = [("listener", "public"), ("version", told), ("resumed", "false")];
        assert_eq!(usual.metric("tollgate_handshakes_total", &labels).await, 1.0);
    }
    assert!(strict.connect_tls(&only(SslVersion::TLS1_3)).await.is_ok());
    let older = [(&usual, SslVersion::TLS1_1), (&usual, SslVersion::TLS1), (&strict, SslVersion::TLS1_2)];
    for (gateway, version) in older {
        let why = gateway.connect_tls(&only(version)).await.err().unwrap();
        assert!(why.0.contains("ALERT_PROTOCOL_VERSION"), "{version:?}: {why:?}");
    }
    ended_early(&usual, "handshake_failed", 2.0).await;
    ended_early(&strict, "handshake_failed", 1.0).await;
}

#[tokio::test]
async fn key_exchange_is_post_quantum_when_the_client_can() {
    let gateway = simple("").await;

    for (offered, used) in [
        ("X25519MLKEM768:X25519", "X25519MLKEM768"),
        ("X25519", "X25519"),
        ("P-256", "P-256"),
        ("P-384", "P-384"),
    ] {
        let http = gateway.connect_tls(&Tls::default().curves(offered)).await.unwrap();

        assert_eq!(http.stream.ssl().curve_name(), Some(used));
        let labels = [("listener", "public"), ("curve", used)];
        eventually(PATIENCE, || async { gateway.metric("tollgate_handshakes_total", &labels).await == 1.0 })
            .await;
    }
}

#[tokio::test]
async fn the_application_protocol_is_agreed_on_in_the_handshake() {
    let gateway = simple("").await;
    let agreed = async |offered: &[&str]| {
        let stream = Tls::default().alpn(offered).connect(gateway.tls).await?;
        let agreed = stream.ssl().selected_alpn_protocol().map(<[u8]>::to_vec);
        Ok::<_, crate::support::tls::HandshakeFailed>((agreed, stream))
    };

    for (offered, expected) in [
        (&["http/1.1", "h2"][..], Some(&b"h2"[..])),
        (&["h2"], Some(b"h2")),
        (&["spdy/3", "http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let (agreed, stream) = agreed(offered).await.unwrap();

        assert_eq!(agreed.as_deref(), expected, "{offered:?}");
        let answer = match expected {
            Some(b"h2") => Http2::over(stream).await.send(&Request::get("/")).await,
            _ => Http1::over(stream).send(&Request::get("/")).await,
        };
        assert_eq!(answer.status, 200);
    }
    let why = agreed(&["spdy/3"]).await.err().unwrap();
    assert!(why.0.contains("NO_APPLICATION_PROTOCOL"), "{why:?}");
}

#[tokio::test]
async fn sessions_come_back_with_tickets_and_not_without() {
    let (with, without) = (simple("").await, simple("tickets: off").await);

    for version in BOTH {
        let (resumed, told) = comes_back(&with, version).await;
        assert!(resumed, "{version:?}");
        let labels = [("version", told), ("resumed", "true")];
        assert_eq!(with.metric("tollgate_handshakes_total", &labels).await, 1.0);
        assert!(!comes_back(&without, version).await.0, "{version:?}");
    }
    assert_eq!(without.metric("tollgate_handshakes_total", &[("resumed", "true")]).await, 0.0);
}

#[tokio::test]
async fn who_does_not_finish_the_handshake_is_cut_at_its_deadline_and_a_probe_is_no_failure() {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let gateway = Gateway::builder()
        .origin("origin", &origin)
        .certificate(&certificate)
        .yaml("connections: { handshake_timeout: 300ms }")
        .start()
        .await;

    let mut silent = Http1::open(gateway.tls).await;
    let mut slow = Http1::open(gateway.tls).await;
    slow.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
    let mut cleartext = Http1::open(gateway.tls).await;
    cleartext.write("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await.unwrap();
    drop(Http1::open(gateway.tls).await);

    silent.ended().await;
    slow.ended().await;
    cleartext.read_to_end().await.ok();
    ended_early(&gateway, "handshake_timeout", 2.0).await;
    ended_early(&gateway, "handshake_failed", 1.0).await;
    ended_early(&gateway, "probe", 1.0).await;
    assert_eq!(
        gateway.metric("tollgate_connections_ended_early_total", &[("listener", "public")]).await,
        4.0
    );
}

/// A gateway with one certificate, and more in its `tls` section.
async fn simple(settings: &str) -> Gateway {
    let origin = Origin::start().await;
    let certificate = certs::server(&certs::authority(), &["api.example.com"]);
    let builder = Gateway::builder().origin("origin", &origin).pair("api", &certificate);
    builder.tls(&listed(&["api"], settings)).start().await
}

/// A `tls` section with these pairs.
fn listed(pairs: &[&str], settings: &str) -> String {
    let pairs: Vec<_> =
        pairs.iter().map(|name| format!("{{ chain: {name}.pem, key: {name}.key }}")).collect();
    format!("{{ certificates: [{}], {settings} }}", pairs.join(", "))
}

fn shows(stream: &Stream, issued: &Issued) -> bool {
    let expected = X509::from_pem(issued.chain.as_bytes()).unwrap().to_der().unwrap();
    stream.ssl().peer_certificate().unwrap().to_der().unwrap() == expected
}

/// Whether a second connection resumes the session of the first, and what its
/// version is called.
async fn comes_back(gateway: &Gateway, version: SslVersion) -> (bool, &'static str) {
    let client = Tls::default().versions(version, version);
    let mut first = gateway.connect_tls(&client).await.unwrap();
    assert_eq!(first.send(&Request::get("/")).await.status, 200);
    let Some(session) = client.saved_session() else { return (false, "") };
    let mut second = gateway.connect_tls(&client.session(&session)).await.unwrap();
    assert_eq!(second.send(&Request::get("/")).await.status, 200);
    (second.stream.ssl().session_reused(), second.stream.ssl().version_str())
}

async fn ended_early(gateway: &Gateway, reason: &str, connections: f64) {
    let labels = [("listener", "public"), ("reason", reason)];
    let counted = async || gateway.metric("tollgate_connections_ended_early_total", &labels).await;
    eventually(PATIENCE, || async { counted().await == connections }).await;
}

const BOTH: [SslVersion; 2] = [SslVersion::TLS1_2, SslVersion::TLS1_3];
