//! Who is asked for a certificate, and what becomes of it.

use super::*;
use crate::tls::{CertificateFault, HandshakeFailure, HandshakeFailure::ClientCertificateBad, PolicyId};

const POLICIES: &str = "
client_auth:
  - { hosts: [mtls.test], mode: required, ca: ca.pem }
  - { hosts: [\"*.plat.test\"], mode: optional, ca: ca.pem }
  - { hosts: [\"*.deep.plat.test\"], mode: required, ca: ca.pem }
  - { hosts: [open.deep.plat.test], mode: optional, ca: ca.pem }
";

fn gateway() -> (Folder, Gateway) {
    let folder = Folder::with(&["a.test", "mtls.test"]);
    folder.pair("plat", &ecdsa(&["x.plat.test"]));
    let gateway = Gateway::new(&folder, &listing(&["a.test", "mtls.test", "plat"], POLICIES));
    (folder, gateway)
}

fn client(version: SslVersion, issued: &Issued) -> Client {
    Client::new(|builder| {
        only(builder, version);
        show(builder, issued);
    })
}

#[tokio::test]
async fn a_good_certificate_is_told_with_all_its_names() {
    let (_folder, gateway) = gateway();
    let uri = "spiffe://example.test/billing";
    let issued = testing::client(&CA, "billing,O=\nx", Some(uri), VALID).unwrap();

    for version in BOTH_VERSIONS {
        let meeting = gateway.meet(&client(version, &issued), Some("mtls.test"), None).await;
        let certificate = meeting.both().0.client_certificate.as_ref().unwrap();

        let own = X509::from_pem(issued.chain.as_bytes()).unwrap();
        let print = own.digest(boring::hash::MessageDigest::sha256()).unwrap();
        assert_eq!(&*certificate.subject, "O=Tollgate tests,CN=billing\\,O\\=\\0ax");
        assert_eq!(certificate.fingerprint, print.as_ref());
        assert_eq!(*certificate.uris, [Box::<str>::from(uri)]);
        assert_eq!(certificate.spiffe_id(), Some(uri));
        assert_eq!(certificate.serial.len(), 30);
    }
}

#[tokio::test]
async fn a_host_that_demands_a_certificate_is_closed_without_one() {
    let (_folder, gateway) = gateway();

    for version in BOTH_VERSIONS {
        let meeting = gateway.meet(&Client::of_version(version), Some("mtls.test"), None).await;

        assert_eq!(meeting.server.unwrap_err().failure, HandshakeFailure::ClientCertificateMissing);
        let alert = match version {
            SslVersion::TLS1_2 => "[SSLV3_ALERT_HANDSHAKE_FAILURE]",
            _ => "[TLSV1_ALERT_CERTIFICATE_REQUIRED]",
        };
        assert_eq!(meeting.client.unwrap_err(), alert);
    }
}

#[tokio::test]
async fn a_host_that_asks_politely_serves_clients_without_one_and_refuses_bad_ones() {
    let (_folder, gateway) = gateway();
    let stranger = testing::ca("Test root").unwrap();
    let foreign = testing::client(&stranger, "billing", None, VALID).unwrap();
    let expired = testing::client(&CA, "billing", None, -7_200..-3_600).unwrap();
    let server = ecdsa(&["billing"]);

    for version in BOTH_VERSIONS {
        let without = gateway.meet(&Client::of_version(version), Some("x.plat.test"), None).await;
        assert_eq!(without.both().0.client_certificate, None);
        for (bad, fault) in [
            (&foreign, CertificateFault::UnknownAuthority),
            (&expired, CertificateFault::Expired),
            (&server, CertificateFault::WrongUsage),
        ] {
            let meeting = gateway.meet(&client(version, bad), Some("x.plat.test"), None).await;
            assert_eq!(meeting.server.unwrap_err().failure, ClientCertificateBad(fault));
        }
    }
}

#[tokio::test]
async fn an_open_host_neither_asks_nor_believes() {
    let (_folder, gateway) = gateway();
    let issued = testing::client(&CA, "billing", None, VALID).unwrap();

    let meeting = gateway.meet(&client(SslVersion::TLS1_3, &issued), Some("a.test"), None).await;

    assert_eq!(meeting.both().0.client_certificate, None);
    assert_eq!(meeting.both().0.policy, PolicyId::OPEN);
}

#[tokio::test]
async fn an_issuing_authority_alone_is_enough_and_narrows() {
    let folder = Folder::with(&["mtls.test"]);
    let (ours, theirs) = (testing::intermediate(&CA, "Ours"), testing::intermediate(&CA, "Theirs"));
    let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
    folder.write("ours.pem", &ours.pem().unwrap());
    let auth = "client_auth: [{ mode: required, ca: ours.pem }]";
    let gateway = Gateway::new(&folder, &listing(&["mtls.test"], auth));

    let meet = async |ca| {
        let issued = testing::client(ca, "billing", None, VALID).unwrap();
        gateway.meet(&client(SslVersion::TLS1_3, &issued), Some("mtls.test"), None).await
    };

    assert!(meet(&ours).await.server.is_ok());
    let unknown = ClientCertificateBad(CertificateFault::UnknownAuthority);
    assert_eq!(meet(&theirs).await.server.unwrap_err().failure, unknown);
}

#[tokio::test]
async fn the_name_rules_even_when_another_certificate_answers() {
    let folder = Folder::with(&["a.test"]);
    let auth = "client_auth: [{ hosts: [secret.test], mode: required, ca: ca.pem }]";
    let gateway = Gateway::new(&folder, &listing(&["a.test"], auth));

    let meeting = gateway.meet(&Client::new(|_| ()), Some("secret.test."), None).await;

    assert_eq!(meeting.server.unwrap_err().failure, HandshakeFailure::ClientCertificateMissing);
}

#[tokio::test]
async fn policies_are_equal_where_demands_are() {
    let folder = Folder::with(&["a.test", "mtls.test"]);
    let (table, problems) = folder.build(&listing(&["a.test", "mtls.test"], POLICIES));
    let table = table.unwrap_or_else(|| panic!("{problems}"));

    let policy = |host| table.policy(host);

    assert_eq!(policy("a.test"), PolicyId::OPEN);
    assert_eq!(policy("plat.test"), PolicyId::OPEN);
    assert_ne!(policy("x.plat.test"), PolicyId::OPEN);
    assert_eq!(policy("x.y.plat.test"), policy("x.plat.test"));
    assert_eq!(policy("x.deep.plat.test"), policy("mtls.test"));
    assert_eq!(policy("open.deep.plat.test"), policy("x.plat.test"));
    assert_eq!(policy("MTLS.test."), policy("mtls.test"));
    assert_ne!(policy("mtls.test"), policy("x.plat.test"));
    let again = folder.build(&listing(&["a.test"], POLICIES)).0.unwrap();
    assert_eq!(again.policy("mtls.test"), policy("mtls.test"));
}

#[tokio::test]
async fn a_connection_has_the_policy_that_the_table_tells_of_its_host() {
    let (folder, gateway) = gateway();
    let table = folder.build(&listing(&["a.test", "mtls.test", "plat"], POLICIES)).0.unwrap();
    let issued = testing::client(&CA, "billing", None, VALID).unwrap();
    let client = client(SslVersion::TLS1_3, &issued);

    for host in ["a.test", "mtls.test", "x.plat.test", "X.deep.plat.test", "nobody.test"] {
        let meeting = gateway.meet(&client, Some(host), None).await;
        assert_eq!(meeting.both().0.policy, table.policy(host), "{host}");
    }
}
