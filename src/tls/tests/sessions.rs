//! Which sessions resume where. That a session of a public host must not open a
//! host that demands certificates is here too: the bypass has no other guard than
//! the session-id context.

use super::*;
use crate::tls::{CertificateFault, HandshakeFailure, HandshakeFailure::ClientCertificateBad};

const POLICIES: &str = "client_auth: [{ hosts: [mtls.test, mtls2.test], mode: required, ca: ca.pem }]";

fn gateway() -> (Folder, Gateway, String) {
    let folder = Folder::with(&["a.test", "b.test", "mtls.test"]);
    // One certificate for both, so that policy alone tells them apart.
    folder.pair("both", &ecdsa(&["open.test", "mtls2.test"]));
    let spec = listing(&["a.test", "b.test", "mtls.test", "both"], POLICIES);
    let gateway = Gateway::new(&folder, &spec);
    (folder, gateway, spec)
}

fn with_certificate(version: SslVersion) -> Client {
    let issued = testing::client(&CA, "billing", None, VALID).unwrap();
    Client::new(|builder| {
        only(builder, version);
        show(builder, &issued);
    })
}

#[tokio::test]
async fn a_session_resumes_on_its_host_and_not_on_another() {
    let (_folder, gateway, _) = gateway();

    for version in BOTH_VERSIONS {
        let client = Client::of_version(version);
        let first = gateway.meet(&client, Some("a.test"), None).await;
        let again = gateway.meet(&client, Some("a.test"), Some(first.session())).await;
        let elsewhere = gateway.meet(&client, Some("b.test"), Some(first.session())).await;

        assert!(!first.resumed());
        assert!(again.resumed());
        assert!(!elsewhere.resumed());
    }
}

#[tokio::test]
async fn a_public_session_does_not_open_a_host_that_demands_certificates() {
    let (_folder, gateway, _) = gateway();

    for version in BOTH_VERSIONS {
        for (public, closed) in [("a.test", "mtls.test"), ("open.test", "mtls2.test")] {
            let client = Client::of_version(version);
            let first = gateway.meet(&client, Some(public), None).await;
            let bypass = gateway.meet(&client, Some(closed), Some(first.session())).await;

            let error = bypass.server.expect_err("the session bypassed client authentication");
            assert_eq!(error.failure, HandshakeFailure::ClientCertificateMissing);
            // BoringSSL refused it: it did not get as far as our own second look.
            assert_eq!(&*error.detail, "TLS accept() failed: [PEER_DID_NOT_RETURN_A_CERTIFICATE]");
            assert!(bypass.client.is_err());
        }
    }
}

#[tokio::test]
async fn a_session_with_a_certificate_resumes_with_it_and_stays_on_its_host() {
    let (_folder, gateway, _) = gateway();

    for version in BOTH_VERSIONS {
        let client = with_certificate(version);
        let first = gateway.meet(&client, Some("mtls.test"), None).await;
        let again = gateway.meet(&client, Some("mtls.test"), Some(first.session())).await;
        let public = gateway.meet(&client, Some("a.test"), Some(first.session())).await;

        assert!(again.resumed());
        assert_eq!(again.both().0.client_certificate, first.both().0.client_certificate);
        assert!(again.both().0.client_certificate.is_some());
        assert!(!public.resumed());
        assert_eq!(public.both().0.client_certificate, None);
    }
}

#[tokio::test]
async fn sessions_survive_a_reload_and_a_renewed_certificate() {
    let (folder, gateway, spec) = gateway();

    for version in BOTH_VERSIONS {
        let client = with_certificate(version);
        let public = gateway.meet(&client, Some("a.test"), None).await;
        let closed = gateway.meet(&client, Some("mtls.test"), None).await;
        folder.pair("a.test", &ecdsa(&["a.test"]));
        gateway.reload(&folder, &spec);

        assert!(gateway.meet(&client, Some("a.test"), Some(public.session())).await.resumed());
        assert!(gateway.meet(&client, Some("mtls.test"), Some(closed.session())).await.resumed());
    }
}

#[tokio::test]
async fn a_change_of_authorities_or_mode_ends_the_sessions_made_before() {
    for version in BOTH_VERSIONS {
        let (folder, gateway, spec) = gateway();
        let client = with_certificate(version);
        let public = gateway.meet(&client, Some("a.test"), None).await;
        let closed = gateway.meet(&client, Some("mtls.test"), None).await;
        let other = testing::ca("Another root").unwrap();

        folder.write("ca.pem", &format!("{}{}", other.pem().unwrap(), CA.pem().unwrap()));
        gateway.reload(&folder, &spec);
        let both_trusted = gateway.meet(&client, Some("mtls.test"), Some(closed.session())).await;
        folder.write("ca.pem", &other.pem().unwrap());
        gateway.reload(&folder, &spec);
        let not_trusted = gateway.meet(&client, Some("mtls.test"), Some(closed.session())).await;
        folder.write("ca.pem", &CA.pem().unwrap());
        gateway.reload(&folder, &spec.replace("required", "optional"));
        let optional = gateway.meet(&client, Some("mtls.test"), Some(closed.session())).await;

        assert!(!both_trusted.resumed());
        let unknown = ClientCertificateBad(CertificateFault::UnknownAuthority);
        assert_eq!(not_trusted.server.unwrap_err().failure, unknown);
        assert!(!optional.resumed());
        assert!(gateway.meet(&client, Some("a.test"), Some(public.session())).await.resumed());
    }
}

#[tokio::test]
async fn without_tickets_nothing_resumes() {
    let (folder, gateway, spec) = gateway();

    for version in BOTH_VERSIONS {
        gateway.reload(&folder, &spec);
        let client = Client::of_version(version);
        let with = gateway.meet(&client, Some("a.test"), None).await;
        gateway.reload(&folder, &format!("{spec}\ntickets: off"));
        let without = gateway.meet(&client, Some("a.test"), Some(with.session())).await;

        assert!(!without.resumed());
        let session = without.both().1.session.as_ref();
        let again = gateway.meet(&client, Some("a.test"), session).await;
        assert!(!again.resumed());
    }
}

#[tokio::test]
async fn a_session_ends_with_the_certificate_it_was_made_with() {
    for version in BOTH_VERSIONS {
        let (_folder, gateway, _) = gateway();
        let client_with = |valid| {
            let issued = testing::client(&CA, "brief", None, valid).unwrap();
            Client::new(|builder| {
                only(builder, version);
                show(builder, &issued);
            })
        };
        let brief = client_with(-60..3);
        let first = gateway.meet(&brief, Some("mtls.test"), None).await;
        assert!(gateway.meet(&brief, Some("mtls.test"), Some(first.session())).await.resumed());
        // A session that was made of another is over when the first one is.
        let second = gateway.meet(&brief, Some("mtls.test"), Some(first.session())).await;
        // TLS 1.2 gives no other one.
        let session = second.both().1.session.as_ref().unwrap_or(first.session());

        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
        let refused = loop {
            let meeting = gateway.meet(&brief, Some("mtls.test"), Some(session)).await;
            if meeting.server.is_err() {
                break meeting;
            }
            assert!(tokio::time::Instant::now() < deadline);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };

        // Asked for its certificate anew, and refused with that one's reason.
        let error = refused.server.unwrap_err();
        assert_eq!(error.failure, ClientCertificateBad(CertificateFault::Expired));
        assert!(error.detail.contains("CN=brief"), "{error}");
        assert_eq!(refused.client.unwrap_err(), "[SSLV3_ALERT_CERTIFICATE_EXPIRED]");
        // Who has a new one by then only shakes hands in full.
        let renewed = client_with(VALID);
        let meeting = gateway.meet(&renewed, Some("mtls.test"), Some(session)).await;
        assert!(!meeting.resumed());
    }
}
