//! What Pingora is told about an endpoint: built once for a snapshot, so that
//! an attempt only copies it.
//!
//! Every timeout is set, since Pingora's are all off; the pool's key carries
//! what Pingora's own leaves out (authorities, protocol, the client
//! certificate's fingerprint), so that two upstreams never share a connection
//! that one of them would not have made.

use std::{
    hash::{Hash, Hasher},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use pingora::{
    Error, ErrorType,
    protocols::{
        ALPN, TcpKeepalive,
        tls::{HandshakeCompleteHook, SslDigest},
    },
    upstreams::peer::HttpPeer,
    utils::tls::CertKey,
};

use super::Timeouts;
use crate::config::upstream::Protocol;

/// TLS towards an upstream, ready for Pingora.
#[derive(Clone)]
pub struct PeerTls {
    /// Sent as SNI and looked for in the certificate; never empty, since
    /// Pingora verifies nothing then.
    pub server_name: String,
    /// The authorities; `None` is the system's.
    pub ca: Option<Arc<Box<[boring::x509::X509]>>>,
    /// The gateway's own certificate.
    pub client: Option<Arc<CertKey>>,
    /// Whether the certificate has to have `server_name`.
    pub verify_name: bool,
    /// The second look at a finished handshake; says [`Unfit`] of who is not the right
    /// one, and makes the connection useless.
    pub check: Option<HandshakeCompleteHook>,
    /// A hash over all of it.
    pub identity: u64,
}

/// An endpoint is not the right one, and why.
#[derive(Clone, Copy, Debug)]
pub struct Unfit(pub &'static str);

/// Whether the second look at a connection's handshake found the right endpoint. Whoever
/// has a connection asks before it is used.
pub fn fit(tls: Option<&SslDigest>) -> pingora::Result<()> {
    match tls.and_then(|tls| tls.extension.get::<Unfit>()) {
        None => Ok(()),
        Some(Unfit(why)) => Err(Error::explain(ErrorType::InvalidCert, *why).into_up()),
    }
}

/// The peer of an endpoint, but for what a single request needs. `timeouts` are
/// as its distance asks, see [`Timeouts::towards`].
pub fn template(
    address: SocketAddr,
    protocol: Protocol,
    timeouts: &Timeouts,
    tls: Option<&PeerTls>,
) -> HttpPeer {
    let server_name = tls.map(|tls| tls.server_name.clone()).unwrap_or_default();
    let mut peer = HttpPeer::new(address, tls.is_some(), server_name);
    peer.group_key = pool_key(protocol, tls);
    peer.client_cert_key = tls.and_then(|tls| tls.client.clone());
    let options = &mut peer.options;
    options.ca = tls.and_then(|tls| tls.ca.clone());
    options.verify_hostname = tls.is_none_or(|tls| tls.verify_name);
    options.upstream_tls_handshake_complete_hook = tls.and_then(|tls| tls.check.clone());
    options.alpn = match protocol {
        Protocol::Http1 => ALPN::H1,
        Protocol::Http2 => ALPN::H2,
        Protocol::Auto => ALPN::H2H1,
    };
    // Pingora's default of 1 would make HTTP/2 a slower HTTP/1.
    options.max_h2_streams = 100;
    // Pingora gives a stream as much as the connection, so that one client that
    // stops reading would stop all of them. And h2 ends a connection with small
    // frames for more than half of the connection's window.
    options.h2_stream_window_size = Some(256 << 10);
    options.h2_connection_window_size = Some(i32::MAX as u32);
    options.connection_timeout = Some(timeouts.connect);
    options.total_connection_timeout = Some(timeouts.connect.saturating_mul(2));
    options.read_timeout = Some(timeouts.read);
    options.write_timeout = Some(timeouts.write);
    options.idle_timeout = Some(timeouts.idle);
    if tls.is_some() {
        // Post-quantum first: Pingora offers classical groups only.
        options.curves = Some("X25519MLKEM768:X25519:P-256:P-384".into());
    }
    options.tcp_keepalive = Some(watch(timeouts.unacknowledged));
    peer
}

/// Makes it a peer for a request that the endpoint may leave unread for a while.
/// To the kernel a full receive buffer is as bad as a lost one, and what a socket
/// was told at first stays with it: such requests have connections of their own.
pub fn make_patient(peer: &mut HttpPeer, timeouts: &Timeouts) {
    peer.group_key = peer.group_key.wrapping_add(1);
    peer.options.tcp_keepalive = Some(watch(timeouts.write.max(timeouts.unacknowledged)));
}

/// When the kernel takes a connection for lost (TCP_USER_TIMEOUT, RFC 5482).
fn watch(unacknowledged: Duration) -> TcpKeepalive {
    TcpKeepalive {
        idle: Duration::from_secs(2),
        interval: Duration::from_secs(1),
        // Linux looks at the time alone once there is one: at the first question
        // that found no answer within the interval, if so much time has passed.
        count: 3,
        user_timeout: unacknowledged,
    }
}

fn pool_key(protocol: Protocol, tls: Option<&PeerTls>) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    protocol.hash(&mut hasher);
    tls.map(|tls| tls.identity).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::upstream::TimeoutsSpec, upstream::Distance};
    use pingora::upstreams::peer::Peer;

    fn peer(protocol: Protocol, identity: u64) -> HttpPeer {
        let tls = PeerTls {
            server_name: "a.test".into(),
            ca: None,
            client: None,
            verify_name: true,
            check: None,
            identity,
        };
        let timeouts = Timeouts::from(&TimeoutsSpec::default());
        template("127.0.0.1:1".parse().unwrap(), protocol, &timeouts, Some(&tls))
    }

    #[test]
    fn other_authorities_or_another_protocol_never_share_a_connection() {
        let base = peer(Protocol::Http1, 1).reuse_hash();

        assert_eq!(base, peer(Protocol::Http1, 1).reuse_hash());
        assert_ne!(base, peer(Protocol::Http1, 2).reuse_hash());
        assert_ne!(base, peer(Protocol::Http2, 1).reuse_hash());
    }

    #[test]
    fn what_may_be_left_unread_has_connections_of_its_own() {
        let timeouts = Timeouts::from(&TimeoutsSpec::default());
        let (quick, mut patient) = (peer(Protocol::Http1, 1), peer(Protocol::Http1, 1));

        make_patient(&mut patient, &timeouts);

        let lost_after = |peer: &HttpPeer| peer.options.tcp_keepalive.as_ref().unwrap().user_timeout;
        assert_ne!(quick.reuse_hash(), patient.reuse_hash());
        assert_eq!((lost_after(&quick), lost_after(&patient)), (timeouts.unacknowledged, timeouts.write));
    }

    #[test]
    fn hosts_of_other_regions_have_more_time() {
        let timeouts = Timeouts::from(&TimeoutsSpec::default());

        let far = timeouts.towards(&Distance::Elsewhere("west".into()));

        assert_eq!(timeouts.towards(&Distance::Region).unacknowledged, timeouts.unacknowledged);
        assert!(far.unacknowledged > timeouts.unacknowledged * 2 && far.connect == timeouts.connect);
    }

    #[test]
    fn every_timeout_is_set() {
        let options = peer(Protocol::Auto, 1).options;

        assert!(options.connection_timeout.is_some() && options.total_connection_timeout.is_some());
        assert!(options.read_timeout.is_some() && options.write_timeout.is_some());
        assert!(options.idle_timeout.is_some());
    }
}
