//! Which certificate, protocol and version a client gets.

use boring::ssl::SslVersion;

use super::*;
use crate::tls::{HandshakeFailure, KeyKind};

#[tokio::test]
async fn the_server_name_picks_exact_before_wildcard_before_default() {
    let folder = Folder::with(&["a.test", "x.b.test"]);
    folder.pair("wild", &ecdsa(&["*.b.test"]));
    let gateway = Gateway::new(&folder, &listing(&["a.test", "wild", "x.b.test"], ""));
    let client = Client::new(|_| ());

    let shown = async |name| gateway.meet(&client, name, None).await.shown();

    assert_eq!(shown(Some("X.b.test")).await, "x.b.test");
    assert_eq!(shown(Some("y.b.test")).await, "*.b.test");
    assert_eq!(shown(Some("z.y.b.test")).await, "a.test");
    assert_eq!(shown(Some("nobody.test")).await, "a.test");
    assert_eq!(shown(Some("*.b.test")).await, "a.test");
    assert_eq!(shown(None).await, "a.test");
}

#[tokio::test]
async fn an_unknown_server_name_gets_an_alert_where_the_listener_says_so() {
    let folder = Folder::with(&["a.test"]);
    let gateway = Gateway::new(&folder, &listing(&["a.test"], "unknown_server_name: alert"));

    for version in BOTH_VERSIONS {
        let client = Client::of_version(version);
        for name in [Some("nobody.test"), Some("not a host"), None] {
            let meeting = gateway.meet(&client, name, None).await;

            let error = meeting.server.unwrap_err();
            assert_eq!(error.failure, HandshakeFailure::UnknownServerName);
            assert_eq!(error.server_name.as_deref(), name.filter(|name| *name == "nobody.test"));
            assert_eq!(meeting.client.unwrap_err(), "[TLSV1_ALERT_UNRECOGNIZED_NAME]");
        }
        assert_eq!(gateway.meet(&client, Some("a.test"), None).await.shown(), "a.test");
    }
}

#[tokio::test]
async fn without_a_table_nobody_gets_in() {
    let folder = Folder::with(&["a.test"]);
    let gateway = Gateway::new(&folder, &listing(&["a.test"], ""));
    gateway.without_table();

    let meeting = gateway.meet(&Client::new(|_| ()), Some("a.test"), None).await;

    assert_eq!(meeting.server.unwrap_err().failure, HandshakeFailure::UnknownServerName);
}

#[tokio::test]
async fn alpn_prefers_http_2_and_refuses_what_is_not_http() {
    let folder = Folder::with(&["a.test"]);
    let gateway = Gateway::new(&folder, &listing(&["a.test"], ""));

    for version in BOTH_VERSIONS {
        let meet = async |offer: &[u8]| {
            let client = Client::new(|builder| {
                only(builder, version);
                builder.set_alpn_protos(offer).unwrap();
            });
            gateway.meet(&client, Some("a.test"), None).await
        };

        let alpn = async |offer| meet(offer).await.both().1.alpn.clone();
        assert_eq!(alpn(b"\x08http/1.1\x02h2").await.as_deref(), Some(&b"h2"[..]));
        assert_eq!(alpn(b"\x08http/1.1").await.as_deref(), Some(&b"http/1.1"[..]));
        let refused = meet(b"\x04smtp").await;
        assert_eq!(refused.server.unwrap_err().failure, HandshakeFailure::Protocol);
        assert_eq!(refused.client.unwrap_err(), "[TLSV1_ALERT_NO_APPLICATION_PROTOCOL]");
    }
    let silent = gateway.meet(&Client::new(|_| ()), Some("a.test"), None).await;
    assert_eq!(silent.both().1.alpn, None);
}

#[tokio::test]
async fn ecdsa_answers_clients_that_take_it_and_rsa_the_others() {
    let folder = Folder::with(&["a.test"]);
    folder.pair("rsa", &testing::leaf(&CA, &["a.test"], Kind::Rsa(2048), VALID).unwrap());
    let gateway = Gateway::new(&folder, &listing(&["rsa", "a.test"], ""));

    let kind = async |name, settings: fn(&mut SslContextBuilder)| {
        let meeting = gateway.meet(&Client::new(settings), name, None).await;
        meeting.both().1.certificate.public_key().unwrap().id()
    };

    let (ecdsa, rsa) = (boring::pkey::Id::EC, boring::pkey::Id::RSA);
    for name in [Some("a.test"), Some("nobody.test"), None] {
        assert_eq!(kind(name, |_| ()).await, ecdsa);
        assert_eq!(kind(name, |builder| only(builder, SslVersion::TLS1_2)).await, ecdsa);
        assert_eq!(kind(name, |builder| builder.set_sigalgs_list("rsa_pss_rsae_sha256").unwrap()).await, rsa);
        let only_rsa_suites = |builder: &mut SslContextBuilder| {
            only(builder, SslVersion::TLS1_2);
            builder.set_cipher_list("ECDHE-RSA-AES128-GCM-SHA256").unwrap();
        };
        assert_eq!(kind(name, only_rsa_suites).await, rsa);
    }
}

#[tokio::test]
async fn facts_tell_name_version_cipher_and_key_exchange() {
    let folder = Folder::with(&["a.test"]);
    let gateway = Gateway::new(&folder, &listing(&["a.test"], ""));

    let new = gateway.meet(&Client::new(|_| ()), Some("A.test"), None).await.server.unwrap();
    let old = Client::new(|builder| {
        only(builder, SslVersion::TLS1_2);
        builder.set_curves_list("P-256").unwrap();
        builder.set_cipher_list("ECDHE-ECDSA-AES256-GCM-SHA384").unwrap();
    });
    let old = gateway.meet(&old, None, None).await.server.unwrap();

    assert_eq!(new.server_name.as_deref(), Some("a.test"));
    assert_eq!((new.version, new.curve), ("TLSv1.3", Some("X25519MLKEM768")));
    assert!(new.cipher.starts_with("TLS_AES_"), "{}", new.cipher);
    assert_eq!(old.server_name, None);
    assert_eq!((old.version, old.curve), ("TLSv1.2", Some("P-256")));
    assert_eq!(old.cipher, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
}

#[tokio::test]
async fn the_lowest_version_is_the_table_s() {
    let folder = Folder::with(&["a.test"]);
    let gateway = Gateway::new(&folder, &listing(&["a.test"], "min_version: \"1.3\""));
    let [old, new] = BOTH_VERSIONS.map(Client::of_version);

    let refused = gateway.meet(&old, Some("a.test"), None).await;
    let served = gateway.meet(&new, Some("a.test"), None).await;
    gateway.reload(&folder, &listing(&["a.test"], ""));
    let served_now = gateway.meet(&old, Some("a.test"), None).await;
    let ancient = gateway.meet(&Client::of_version(SslVersion::TLS1_1), Some("a.test"), None).await;

    assert_eq!(refused.server.unwrap_err().failure, HandshakeFailure::Protocol);
    assert_eq!(served.both().0.version, "TLSv1.3");
    assert_eq!(served_now.both().0.version, "TLSv1.2");
    assert_eq!(ancient.server.unwrap_err().failure, HandshakeFailure::Protocol);
}

#[tokio::test]
async fn a_new_table_serves_the_new_certificate() {
    let folder = Folder::with(&["a.test"]);
    let gateway = Gateway::new(&folder, &listing(&["a.test"], ""));
    let client = Client::new(|_| ());

    let before = gateway.meet(&client, Some("a.test"), None).await;
    let renewed = ecdsa(&["a.test"]);
    folder.pair("a.test", &renewed);
    let meanwhile = gateway.meet(&client, Some("a.test"), None).await;
    gateway.reload(&folder, &listing(&["a.test"], ""));
    let after = gateway.meet(&client, Some("a.test"), None).await;

    let shown = |meeting: &Meeting| meeting.both().1.certificate.to_pem().unwrap();
    assert_eq!(shown(&before), shown(&meanwhile));
    assert_eq!(shown(&after), renewed.chain.as_bytes());
    assert_ne!(shown(&before), shown(&after));
}

#[tokio::test]
async fn the_whole_chain_is_sent() {
    let folder = Folder::new();
    let middle = testing::intermediate(&CA, "Issuing").unwrap();
    let mut issued = testing::leaf(&middle, &["a.test"], Kind::Ecdsa, VALID).unwrap();
    issued.chain.push_str(&middle.pem().unwrap());
    folder.pair("a", &issued);
    let gateway = Gateway::new(&folder, &listing(&["a"], ""));

    // The client knows the root alone.
    let meeting = gateway.meet(&Client::new(|_| ()), Some("a.test"), None).await;

    assert_eq!(meeting.shown(), "a.test");
}

#[test]
fn a_table_tells_its_certificates() {
    let folder = Folder::with(&["b.test"]);
    folder.pair("a", &testing::leaf(&CA, &["A.test", "*.a.test"], Kind::Rsa(2048), VALID).unwrap());

    let (table, _) = folder.build("certificate_directory: .");

    // ca.pem has no key beside it.
    assert!(table.is_none());
    std::fs::remove_file(folder.path().join("ca.pem")).unwrap();
    let table = folder.build("certificate_directory: .").0.unwrap();
    let facts: Vec<_> = table.certificates().collect();
    assert_eq!(facts[0].file, folder.path().join("a.pem"));
    assert_eq!(*facts[0].names, ["a.test", "*.a.test"].map(Box::<str>::from));
    assert_eq!([facts[0].kind, facts[1].kind], [KeyKind::Rsa, KeyKind::P256]);
    let left = facts[1].not_after.duration_since(SystemTime::now()).unwrap().as_secs();
    assert!((89 * 86_400..=90 * 86_400).contains(&left), "{left}");
}
