//! Whose tickets resume in which process, and which are renewed.

use std::time::Duration;

use super::*;
use crate::tls::HandshakeFailure;

const OPEN: &str = "certificates: [{ chain: a.test.pem, key: a.test.key }]";

/// A gateway with the keys of a process, and the process's keys.
fn process(folder: &Folder, keys: TicketRing) -> (Gateway, Arc<TicketRing>) {
    let ring = Arc::new(keys);
    (Gateway::sealing(folder, OPEN, ring.clone()), ring)
}

/// The keys that a ring hands on, as if `hours` had passed since.
fn handed_on(ring: &TicketRing, hours: u64) -> TicketRing {
    let mut bytes = ring.export();
    for key in bytes[1..].chunks_exact_mut(KEY_BYTES) {
        let (made, _) = key.split_first_chunk_mut::<8>().unwrap();
        let earlier = u64::from_be_bytes(*made) - Duration::from_secs(hours * 3_600).as_secs();
        *made = earlier.to_be_bytes();
    }
    TicketRing::import(&bytes).unwrap()
}

#[tokio::test]
async fn a_session_resumes_in_the_process_that_was_handed_its_key_and_in_no_other() {
    let folder = Folder::with(&["a.test"]);
    let (before, ring) = process(&folder, TicketRing::default());

    for version in BOTH_VERSIONS {
        let client = Client::of_version(version);
        let first = before.meet(&client, Some("a.test"), None).await;
        let (after, _) = process(&folder, handed_on(&ring, 0));
        let (stranger, _) = process(&folder, TicketRing::default());

        assert!(after.meet(&client, Some("a.test"), Some(first.session())).await.resumed());
        assert!(!stranger.meet(&client, Some("a.test"), Some(first.session())).await.resumed());
    }
}

#[tokio::test]
async fn an_old_keys_session_resumes_and_is_renewed_until_its_key_is_forgotten() {
    let folder = Folder::with(&["a.test"]);

    for version in BOTH_VERSIONS {
        let client = Client::of_version(version);
        let (first, ring) = process(&folder, TicketRing::default());
        let sealed = first.meet(&client, Some("a.test"), None).await;

        let (later, ring) = process(&folder, handed_on(&ring, 13));
        let renewed = later.meet(&client, Some("a.test"), Some(sealed.session())).await;
        let (much_later, _) = process(&folder, handed_on(&ring, 50));
        let forgotten = much_later.meet(&client, Some("a.test"), Some(sealed.session())).await;
        let still = much_later.meet(&client, Some("a.test"), Some(renewed.session())).await;

        assert!(renewed.resumed());
        assert!(!forgotten.resumed());
        assert!(still.resumed());
    }
}

/// The client keeps the ticket it has: a TLS 1.2 session is not sealed again
/// without need.
#[tokio::test]
async fn a_session_of_the_sealing_key_is_not_renewed() {
    let folder = Folder::with(&["a.test"]);
    let (gateway, _) = process(&folder, TicketRing::default());
    let client = Client::of_version(SslVersion::TLS1_2);
    let first = gateway.meet(&client, Some("a.test"), None).await;

    let again = gateway.meet(&client, Some("a.test"), Some(first.session())).await;

    assert!(again.resumed());
    assert!(again.both().1.session.is_none());
}

#[tokio::test]
async fn listeners_share_their_keys_and_not_what_they_demand() {
    let folder = Folder::with(&["a.test"]);
    let ring = Arc::new(TicketRing::default());
    let demanding = format!("{OPEN}\nclient_auth: [{{ mode: required, ca: ca.pem }}]");
    let open = Gateway::sealing(&folder, OPEN, ring.clone());
    let also_open = Gateway::sealing(&folder, OPEN, ring.clone());
    let closed = Gateway::sealing(&folder, &demanding, ring.clone());
    let without = Gateway::sealing(&folder, &format!("{OPEN}\ntickets: off"), ring);

    for version in BOTH_VERSIONS {
        let client = Client::of_version(version);
        let first = open.meet(&client, Some("a.test"), None).await;
        let bypass = closed.meet(&client, Some("a.test"), Some(first.session())).await;

        assert!(also_open.meet(&client, Some("a.test"), Some(first.session())).await.resumed());
        assert!(!without.meet(&client, Some("a.test"), Some(first.session())).await.resumed());
        assert_eq!(bypass.server.unwrap_err().failure, HandshakeFailure::ClientCertificateMissing);
    }
}

/// As `tickets` writes them: when made, name, two secrets.
const KEY_BYTES: usize = 8 + 16 + 32 + 32;
