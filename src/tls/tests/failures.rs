//! What a handshake that fails is counted as. Certificates and names have theirs
//! where they are tested.

use std::time::Duration;

use super::*;
use crate::tls::{CertificateFault, HandshakeFailure};

async fn after(sent: &[u8]) -> HandshakeError {
    let folder = Folder::with(&["a.test"]);
    let gateway = Gateway::new(&folder, &listing(&["a.test"], ""));
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    let leave = async {
        theirs.write_all(sent).await.unwrap();
        theirs.shutdown().await.unwrap();
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).await.unwrap();
    };
    let (server, ()) = tokio::join!(gateway.accept(ours), leave);
    server.map(|_| ()).unwrap_err()
}

/// The bytes of a real ClientHello.
async fn client_hello() -> Vec<u8> {
    let client = Client::new(|_| ());
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let mut bytes = vec![0; 1 << 14];
    let read = async {
        let size = ours.read(&mut bytes).await.unwrap();
        drop(ours);
        size
    };
    let (size, _) = tokio::join!(read, client.connect(theirs, Some("a.test"), None));
    bytes.truncate(size);
    bytes
}

#[tokio::test]
async fn a_probe_that_connects_and_leaves_is_closed() {
    assert_eq!(after(b"").await.failure, HandshakeFailure::Closed);
}

#[tokio::test]
async fn leaving_within_the_client_hello_is_closed_and_after_it_io() {
    let hello = client_hello().await;

    let within = after(&hello[..hello.len() / 2]).await;
    let behind = after(&hello).await;

    assert_eq!((within.failure, within.server_name), (HandshakeFailure::Closed, None));
    assert_eq!((behind.failure, behind.server_name.as_deref()), (HandshakeFailure::Io, Some("a.test")));
}

#[tokio::test]
async fn what_is_not_tls_is_protocol() {
    for sent in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n", &[0x55; 64]] {
        assert_eq!(after(sent).await.failure, HandshakeFailure::Protocol);
    }
}

#[tokio::test]
async fn a_client_that_does_not_trust_us_is_told_apart() {
    let folder = Folder::new();
    let stranger = testing::ca("Unknown root").unwrap();
    folder.pair("a", &testing::leaf(&stranger, &["a.test"], Kind::Ecdsa, VALID).unwrap());
    let gateway = Gateway::new(&folder, &listing(&["a"], ""));

    for version in BOTH_VERSIONS {
        let meeting = gateway.meet(&Client::of_version(version), Some("a.test"), None).await;

        let error = meeting.server.unwrap_err();
        assert_eq!(error.failure, HandshakeFailure::ClientAlert, "{error}");
        assert_eq!(&*error.detail, "TLS accept() failed: [TLSV1_ALERT_UNKNOWN_CA]");
    }
}

#[tokio::test]
async fn no_common_cipher_is_protocol() {
    let folder = Folder::with(&["a.test"]);
    let gateway = Gateway::new(&folder, &listing(&["a.test"], ""));
    let client = Client::new(|builder| {
        only(builder, SslVersion::TLS1_2);
        builder.set_cipher_list("ECDHE-RSA-AES128-GCM-SHA256").unwrap();
    });

    let meeting = gateway.meet(&client, Some("a.test"), None).await;

    assert_eq!(meeting.server.unwrap_err().failure, HandshakeFailure::Protocol);
}

#[tokio::test]
async fn a_handshake_that_nobody_waits_for_any_more_can_be_dropped() {
    let folder = Folder::with(&["a.test"]);
    let gateway = Gateway::new(&folder, &listing(&["a.test"], ""));
    let (ours, mut theirs) = tokio::io::duplex(64);

    let waited = tokio::time::timeout(Duration::from_millis(1), gateway.accept(ours)).await;

    assert!(waited.is_err());
    assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0);
}

#[test]
fn every_fault_of_a_certificate_has_its_own_word() {
    let words: std::collections::HashSet<_> = CertificateFault::ALL.map(CertificateFault::word).into();

    assert_eq!(words.len(), CertificateFault::ALL.len());
}
