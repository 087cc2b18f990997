//! Names that certificates need, and lists of those that are revoked.

use std::time::Duration;

use super::*;
use crate::tls::{
    CertificateFault, CertificateFault::*, HandshakeFailure::ClientCertificateBad, TlsTable, testing::Wish,
};

const A_DAY: (i64, Option<i64>) = (-3_600, Some(86_400));

fn spec(more: &str) -> String {
    let entry = format!("{{ hosts: [mtls.test], mode: required, ca: ca.pem{more} }}");
    listing(&["mtls.test"], &format!("client_auth: [{entry}]"))
}

fn gateway(more: &str, list: &str) -> (Folder, Gateway) {
    let folder = Folder::with(&["mtls.test"]);
    folder.write("crl.pem", list);
    let gateway = Gateway::new(&folder, &spec(more));
    (folder, gateway)
}

fn issue(common_name: &str) -> Issued {
    testing::client(&CA, common_name, None, VALID).unwrap()
}

fn client(version: SslVersion, issued: &Issued) -> Client {
    Client::new(|builder| {
        only(builder, version);
        show(builder, issued);
    })
}

async fn fault(gateway: &Gateway, issued: &Issued) -> Option<CertificateFault> {
    let mut faults = Vec::new();
    for version in BOTH_VERSIONS {
        let meeting = gateway.meet(&client(version, issued), Some("mtls.test"), None).await;
        faults.push(meeting.server.err().map(|error| match error.failure {
            ClientCertificateBad(fault) => fault,
            other => panic!("{other:?}"),
        }));
    }
    assert_eq!(faults[0], faults[1]);
    faults[0]
}

#[tokio::test]
async fn who_stands_in_a_list_is_refused_and_others_are_not() {
    let (bad, good) = (issue("bad"), issue("good"));
    let (_folder, gateway) = gateway(", crl: [crl.pem]", &testing::revoked(&CA, &[&bad], A_DAY).unwrap());

    assert_eq!(fault(&gateway, &bad).await, Some(Revoked));
    assert_eq!(fault(&gateway, &good).await, None);
}

#[tokio::test]
async fn who_bears_its_authoritys_name_is_looked_up_like_others() {
    let (bad, good) = (issue("Test root"), issue("Test root"));
    let (_folder, gateway) = gateway(", crl: [crl.pem]", &testing::revoked(&CA, &[&bad], A_DAY).unwrap());

    assert_eq!(fault(&gateway, &bad).await, Some(Revoked));
    assert_eq!(fault(&gateway, &good).await, None);
}

#[tokio::test]
async fn once_there_is_a_list_whoever_issued_has_to_have_one() {
    let theirs = testing::ca("Their root").unwrap();
    let (folder, gateway) = gateway(", crl: [crl.pem]", &testing::revoked(&CA, &[], A_DAY).unwrap());
    folder.write("ca.pem", &format!("{}{}", CA.pem().unwrap(), theirs.pem().unwrap()));
    gateway.reload(&folder, &spec(", crl: [crl.pem]"));
    let partner = testing::client(&theirs, "partner", None, VALID).unwrap();

    assert_eq!(fault(&gateway, &issue("ours")).await, None);
    assert_eq!(fault(&gateway, &partner).await, Some(RevocationUnknown));
    let (ours, other) =
        (testing::revoked(&CA, &[], A_DAY).unwrap(), testing::revoked(&theirs, &[], A_DAY).unwrap());
    folder.write("crl.pem", &format!("{ours}{other}"));
    gateway.reload(&folder, &spec(", crl: [crl.pem]"));
    assert_eq!(fault(&gateway, &partner).await, None);
}

#[tokio::test]
async fn a_list_says_nothing_of_what_it_does_not_cover() {
    let (bad, good) = (issue("bad"), issue("good"));
    let part =
        |flag: u8| testing::revoked_of(&CA, &[&bad], A_DAY, Some(&[0x30, 3, 0x80 | flag, 1, 0xff])).unwrap();
    let (users, authorities) = (part(1), part(2));

    let (folder, gateway) = gateway(", crl: [crl.pem]", &users);
    assert_eq!(fault(&gateway, &good).await, None);
    assert_eq!(fault(&gateway, &bad).await, Some(Revoked));
    folder.write("crl.pem", &authorities);
    gateway.reload(&folder, &spec(", crl: [crl.pem]"));
    assert_eq!(fault(&gateway, &good).await, Some(RevocationUnknown));
    folder.write("crl.pem", &format!("{users}{authorities}"));
    gateway.reload(&folder, &spec(", crl: [crl.pem]"));
    assert_eq!(fault(&gateway, &good).await, None);

    // Of those whose key was stolen alone.
    let some = testing::revoked_of(&CA, &[], A_DAY, Some(&[0x30, 4, 0x83, 2, 6, 0x40])).unwrap();
    folder.write("crl.pem", &some);
    let told = folder.told(&spec(", crl: [crl.pem]"));
    assert!(told.contains("has only what was revoked for some reasons; give the whole one"), "{told}");
}

#[tokio::test]
async fn an_authority_in_between_can_be_revoked_too() {
    let issuing = testing::intermediate(&CA, "Issuing").unwrap();
    let issued = testing::client(&issuing, "orders", None, VALID).unwrap();
    let as_issued = Issued { chain: issuing.pem().unwrap(), key: String::new() };
    let folder = Folder::with(&["mtls.test"]);
    // Whose list there is has to be in `ca`, also where its root is.
    folder.write("ca.pem", &format!("{}{}", CA.pem().unwrap(), issuing.pem().unwrap()));
    let own = testing::revoked(&issuing, &[], A_DAY).unwrap();
    let lists = |revoked: &[&Issued]| {
        folder.write("crl.pem", &format!("{own}{}", testing::revoked(&CA, revoked, A_DAY).unwrap()));
    };
    lists(&[]);
    let gateway = Gateway::new(&folder, &spec(", crl: [crl.pem]"));
    let client = Client::new(|builder| {
        show(builder, &issued);
        builder.add_extra_chain_cert(issuing.certificate.clone()).unwrap();
    });
    assert!(gateway.meet(&client, Some("mtls.test"), None).await.server.is_ok());

    lists(&[&as_issued]);
    gateway.reload(&folder, &spec(", crl: [crl.pem]"));
    let meeting = gateway.meet(&client, Some("mtls.test"), None).await;

    assert_eq!(meeting.server.unwrap_err().failure, ClientCertificateBad(Revoked));
}

#[tokio::test]
async fn an_expired_list_refuses_all_of_its_issuer_unless_it_is_accepted() {
    let (bad, good) = (issue("bad"), issue("good"));
    let old = testing::revoked(&CA, &[&bad], (-7_200, Some(-3_600))).unwrap();
    let (folder, gateway) = gateway(", crl: [crl.pem]", &old);

    assert_eq!(fault(&gateway, &good).await, Some(RevocationUnknown));
    assert_eq!(fault(&gateway, &bad).await, Some(Revoked));
    gateway.reload(&folder, &spec(", crl: [crl.pem], expired_crl: accept"));
    assert_eq!(fault(&gateway, &good).await, None);
    assert_eq!(fault(&gateway, &bad).await, Some(Revoked));
}

#[tokio::test]
async fn a_session_ends_with_the_list_that_vouched_for_it() {
    let list = testing::revoked(&CA, &[], (-60, Some(3))).unwrap();
    let (_folder, gateway) = gateway(", crl: [crl.pem]", &list);
    let client = client(SslVersion::TLS1_3, &issue("orders"));
    let first = gateway.meet(&client, Some("mtls.test"), None).await;
    assert!(gateway.meet(&client, Some("mtls.test"), Some(first.session())).await.resumed());

    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let refused = loop {
        let meeting = gateway.meet(&client, Some("mtls.test"), Some(first.session())).await;
        if let Err(error) = meeting.server {
            break error;
        }
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    };

    assert_eq!(refused.failure, ClientCertificateBad(RevocationUnknown));
}

#[tokio::test]
async fn what_is_revoked_ends_sessions_and_a_list_that_only_came_again_does_not() {
    let good = issue("good");
    let list = |revoked: &[&Issued], until| testing::revoked(&CA, revoked, (-60, Some(until))).unwrap();
    for version in BOTH_VERSIONS {
        let (folder, gateway) = gateway(", crl: [crl.pem]", &list(&[], 3_600));
        let client = client(version, &good);
        let first = gateway.meet(&client, Some("mtls.test"), None).await;

        folder.write("crl.pem", &list(&[], 7_200));
        gateway.reload(&folder, &spec(", crl: [crl.pem]"));
        assert!(gateway.meet(&client, Some("mtls.test"), Some(first.session())).await.resumed());
        folder.write("crl.pem", &list(&[&issue("else")], 7_200));
        gateway.reload(&folder, &spec(", crl: [crl.pem]"));
        assert!(!gateway.meet(&client, Some("mtls.test"), Some(first.session())).await.resumed());
    }
}

#[tokio::test]
async fn a_revoked_session_opens_nothing() {
    let bad = issue("bad");
    for version in BOTH_VERSIONS {
        let (folder, gateway) = gateway(", crl: [crl.pem]", &testing::revoked(&CA, &[], A_DAY).unwrap());
        let client = client(version, &bad);
        let first = gateway.meet(&client, Some("mtls.test"), None).await;

        folder.write("crl.pem", &testing::revoked(&CA, &[&bad], A_DAY).unwrap());
        gateway.reload(&folder, &spec(", crl: [crl.pem]"));
        let meeting = gateway.meet(&client, Some("mtls.test"), Some(first.session())).await;

        assert_eq!(meeting.server.unwrap_err().failure, ClientCertificateBad(Revoked));
        assert_eq!(meeting.client.unwrap_err(), "[SSLV3_ALERT_CERTIFICATE_REVOKED]");
    }
}

#[tokio::test]
async fn only_names_that_are_listed_come_in() {
    let names = ", names: [\"spiffe://example.test/ns/*/sa/orders\", \"dns:*.partners.test\"]";
    let (_folder, gateway) = gateway(names, "");
    let wish =
        |uris: &[&str], dns: &[&str]| testing::wished(&CA, &Wish { uris, dns, ..Wish::default() }).unwrap();

    for good in [
        wish(&["spiffe://example.test/ns/shop/sa/orders"], &[]),
        wish(&[], &["a.partners.test"]),
        wish(&["spiffe://other.test/x"], &["a.partners.test"]),
    ] {
        assert_eq!(fault(&gateway, &good).await, None);
    }
    for bad in [
        wish(&[], &[]),
        wish(&["spiffe://example.test/ns/shop/sa/billing"], &[]),
        wish(&[], &["partners.test"]),
        // An id with a second URI beside it is none (X509-SVID, 2).
        wish(&["spiffe://example.test/ns/shop/sa/orders", "https://a.test/"], &[]),
    ] {
        assert_eq!(fault(&gateway, &bad).await, Some(WrongName));
    }
}

#[tokio::test]
async fn each_fault_has_its_reason() {
    let (_folder, gateway) = gateway("", "");
    let wish = |valid, client_auth, server_auth| {
        testing::wished(&CA, &Wish { valid, client_auth, server_auth, ..Wish::default() }).unwrap()
    };

    for (issued, expected) in [
        (wish(VALID, true, false), None),
        (wish(VALID, true, true), None),
        // One that does not say what it is for is for anything (RFC 5280).
        (wish(VALID, false, false), None),
        (wish(VALID, false, true), Some(WrongUsage)),
        (wish(-7_200..-3_600, true, false), Some(Expired)),
        (wish(3_600..7_200, true, false), Some(NotYetValid)),
    ] {
        assert_eq!(fault(&gateway, &issued).await, expected);
    }
    // An authority of the same name is not the same.
    let twin = testing::ca("Test root").unwrap();
    let foreign = testing::client(&twin, "x", None, VALID).unwrap();
    assert_eq!(fault(&gateway, &foreign).await, Some(UnknownAuthority));
}

#[tokio::test]
async fn open_connections_live_on_under_new_rules_that_they_satisfy() {
    let (bad, good) = (issue("bad"), issue("good"));
    let (folder, gateway) = gateway(", crl: [crl.pem]", &testing::revoked(&CA, &[], A_DAY).unwrap());
    let facts = async |issued: &Issued| {
        let meeting = gateway.meet(&client(SslVersion::TLS1_3, issued), Some("mtls.test"), None).await;
        meeting.server.unwrap()
    };
    let (of_bad, of_good) = (facts(&bad).await, facts(&good).await);
    let admits = |spec: &str, facts: &TlsFacts| {
        let table: TlsTable = folder.build(spec).0.unwrap();
        // The second time it is known.
        let twice = [0; 2].map(|_| table.admits(facts, "mtls.test", SystemTime::now));
        assert_eq!(twice[0], twice[1]);
        twice[0]
    };

    let in_a_year = || SystemTime::now() + Duration::from_secs(365 * 86_400);
    let same: TlsTable = folder.build(&spec(", crl: [crl.pem]")).0.unwrap();
    assert!(!same.admits(&of_good, "mtls.test", in_a_year), "it has expired by then");
    assert!(admits(&spec(", crl: [crl.pem]"), &of_bad));
    folder.write("crl.pem", &testing::revoked(&CA, &[&bad], A_DAY).unwrap());
    let listed = spec(", crl: [crl.pem]");
    assert!(admits(&listed, &of_good) && !admits(&listed, &of_bad));
    let other = testing::ca("Another root").unwrap().pem().unwrap();
    folder.write("ca.pem", &format!("{}{other}", CA.pem().unwrap()));
    assert!(admits(&spec(""), &of_bad));
    assert!(admits(&spec("").replace("required", "optional"), &of_good));
    folder.write("ca.pem", &other);
    assert!(!admits(&spec(""), &of_good));
    // Nobody is asked any more: what was shown must not be believed either.
    assert!(!admits(&spec("").replace("mtls.test], mode", "other.test], mode"), &of_good));
}

#[test]
fn everything_wrong_with_a_list_is_told() {
    let folder = Folder::with(&["mtls.test"]);
    let stranger = testing::ca("Stranger").unwrap();
    let twin = testing::ca("Test root").unwrap();
    folder.write("foreign.pem", &testing::revoked(&stranger, &[], A_DAY).unwrap());
    folder.write("forged.pem", &testing::revoked(&twin, &[], A_DAY).unwrap());
    let good = testing::revoked(&CA, &[], A_DAY).unwrap();
    folder.write("cut.pem", &good[..good.len() / 2]);
    folder.write("none.pem", &CA.pem().unwrap());
    folder.write("old.pem", &testing::revoked(&CA, &[], (-7_200, Some(-3_600))).unwrap());
    let files = "[foreign.pem, forged.pem, cut.pem, none.pem, gone.pem, old.pem]";

    let told = folder.told(&spec(&format!(", crl: {files}")));

    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 6, "{told}");
    for (line, part) in lines.iter().zip([
        "crl[0]: `DIR/foreign.pem` is of `O=Tollgate tests,CN=Stranger`, which is not in `ca`; add that authority there",
        "crl[1]: `DIR/forged.pem` is not signed by `O=Tollgate tests,CN=Test root`; copy the file again",
        "crl[2]: `DIR/cut.pem` holds a damaged list; copy the file again",
        "crl[3]: `DIR/none.pem` holds no list; write a list of revoked certificates, PEM or DER, into it",
        "crl[4]: `DIR/gone.pem` does not exist; write the path of a list of revoked certificates",
        "crl[5]: `DIR/old.pem` should have been renewed on",
    ]) {
        assert!(line.contains(part), "{line}");
    }
}

#[tokio::test]
async fn a_list_in_der_is_a_list() {
    let bad = issue("bad");
    let text = testing::revoked(&CA, &[&bad], A_DAY).unwrap();
    let folder = Folder::with(&["mtls.test"]);
    let base64: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let der = boring::base64::decode_block(&base64).unwrap();
    fs::write(folder.path().join("crl.der"), &der).unwrap();
    let gateway = Gateway::new(&folder, &spec(", crl: [crl.der]"));

    assert_eq!(fault(&gateway, &bad).await, Some(Revoked));
    fs::write(folder.path().join("crl.der"), [&der[..], b"more"].concat()).unwrap();
    assert!(folder.told(&spec(", crl: [crl.der]")).contains("damaged"));
}
