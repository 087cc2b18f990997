//! What clients' connections did, by listener.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
};

use prometheus::proto::MetricType;

use super::{
    closed_set::closed_set,
    family::{Family, Sample, Scrape},
};
use crate::telemetry::shard::{Sharded, add};

/// Counts the connections of one listener.
pub struct ListenerSeries(Sharded<ListenerCells>);

#[derive(Default)]
struct ListenerCells {
    opened: AtomicU64,
    closed: AtomicU64,
    handshakes: [AtomicU64; VERSIONS.len() * RESUMED.len() * CURVES.len()],
    certificates: [AtomicU64; CERTIFICATES.len()],
    ended_early: [AtomicU64; EarlyEnd::ALL.len()],
}

impl ListenerSeries {
    /// Counts a connection that was accepted, and as open until what is
    /// returned is dropped.
    pub fn open(self: &Arc<Self>) -> OpenConnection {
        self.0.mine().inspect(|cells| add(&cells.opened, 1));
        OpenConnection(self.clone())
    }

    /// Counts a finished TLS handshake: BoringSSL's name of the version
    /// (`TLSv1.3`), whether a session was resumed, and its name of the key
    /// exchange's group. Names that are not known count as `other`.
    pub fn handshake(&self, version: &str, resumed: bool, curve: Option<&str>) {
        let curve = place(&CURVES, curve.unwrap_or_default());
        let nth = (place(&VERSIONS, version) * RESUMED.len() + usize::from(resumed)) * CURVES.len() + curve;
        self.0.mine().and_then(|cells| cells.handshakes.get(nth)).inspect(|n| add(n, 1));
    }

    /// Counts a handshake of a host that asks for a client certificate, by what became of
    /// that: `accepted`, `none`, or the word of what is wrong with it.
    pub fn client_certificate(&self, result: &str) {
        let nth = place(&CERTIFICATES, result);
        self.0.mine().and_then(|cells| cells.certificates.get(nth)).inspect(|n| add(n, 1));
    }

    /// Counts a connection that ended before its client was done.
    pub fn ended_early(&self, reason: EarlyEnd) {
        self.0.mine().and_then(|cells| cells.ended_early.get(reason as usize)).inspect(|n| add(n, 1));
    }
}

/// An open connection; dropping it counts it as closed.
pub struct OpenConnection(Arc<ListenerSeries>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.0.mine().inspect(|cells| add(&cells.closed, 1));
    }
}

closed_set! {
    /// Why a connection ended before its client was done.
    pub enum EarlyEnd {
        /// The process has as many connections as it may.
        ConnectionCap = "connection_cap",
        /// The client's address has as many connections as it may.
        ClientCap = "client_cap",
        /// The tenant had as many connections as one may have.
        TenantCap = "tenant_cap",
        /// It connected and left without a request: a load balancer's probe.
        Probe = "probe",
        /// A PROXY header has to come here, and something else came.
        ProxyMissing = "proxy_missing",
        /// Who connected may not send a PROXY header, or nothing without one.
        ProxyUntrusted = "proxy_untrusted",
        /// Its PROXY header is not written as the protocol says.
        ProxyMalformed = "proxy_malformed",
        /// Its PROXY header is of a version that is not known.
        ProxyVersion = "proxy_version",
        /// Its PROXY header is longer than allowed.
        ProxyTooLarge = "proxy_too_large",
        /// The checksum of its PROXY header is another one.
        ProxyChecksum = "proxy_checksum",
        /// A second PROXY header followed the first.
        ProxyTwice = "proxy_twice",
        /// Its PROXY header took too long.
        ProxyTimeout = "proxy_timeout",
        /// It ended before its PROXY header did.
        ProxyTruncated = "proxy_truncated",
        /// The TLS handshake took too long.
        HandshakeTimeout = "handshake_timeout",
        /// The TLS handshake failed for no reason below.
        HandshakeFailed = "handshake_failed",
        /// The host asks for a client certificate and none was shown.
        ClientCertificateMissing = "client_certificate_missing",
        /// The client certificate is not from an authority of the host's.
        ClientCertificateBad = "client_certificate_bad",
        /// No certificate carries the name that the client asked for.
        UnknownServerName = "unknown_server_name",
        /// A request's header took too long.
        HeaderTimeout = "header_timeout",
        /// A request's header is larger than allowed.
        HeaderTooLarge = "header_too_large",
        /// What came first is no request line.
        BadRequestLine = "bad_request_line",
        /// What came is no request that has one meaning.
        BadRequest = "bad_request",
        /// Nothing came for too long between two requests.
        IdleTimeout = "idle_timeout",
        /// It was asked to end because of its age and went on for too long.
        MaxAgeCut = "max_age_cut",
        /// It was asked to end because the process drains and went on for too long.
        DrainCut = "drain_cut",
        /// It was asked to end because of the number of its requests and went on
        /// for too long.
        MaxRequestsCut = "max_requests_cut",
        /// HTTP/2 frames came that ask for nothing, more than anybody needs.
        FrameFlood = "frame_flood",
        /// A request's body came more slowly than allowed.
        BodyTooSlow = "body_too_slow",
        /// What is sent to it was taken more slowly than allowed.
        ReadTooSlow = "read_too_slow",
        /// Reading from it failed: reset, or gone.
        ReadError = "read_error",
    }
}

/// All listeners' series, by name.
pub(super) struct Connections {
    shards: usize,
    listeners: Mutex<BTreeMap<Box<str>, Arc<ListenerSeries>>>,
}

impl Connections {
    pub(super) fn new(shards: usize) -> Self {
        Self { shards, listeners: Mutex::default() }
    }

    pub(super) fn listener(&self, name: &str) -> Arc<ListenerSeries> {
        let fresh = || Arc::new(ListenerSeries(Sharded::new(self.shards)));
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.entry(name.into()).or_insert_with(fresh).clone()
    }
}

impl Scrape for Connections {
    const FAMILIES: &'static [Family] = &[OPEN, OPENED, HANDSHAKES, CLIENT_CERTIFICATES, ENDED_EARLY];

    fn scrape(&self) -> Vec<Vec<Sample>> {
        let [mut open, mut opened, mut handshakes, mut certificates, mut ended_early] =
            [const { Vec::new() }; 5];
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, ListenerSeries(cells)) in listeners.iter().map(|(name, series)| (name, &**series)) {
            // Closed first: a connection that comes in between counts as open.
            let closed = cells.sum(|c| Some(&c.closed));
            let seen = cells.sum(|c| Some(&c.opened));
            open.push(OPEN.value(&[name], seen.saturating_sub(closed) as f64));
            opened.push(OPENED.count(&[name], seen));
            handshakes.extend(scrape_handshakes(name, cells));
            certificates.extend(CERTIFICATES.iter().enumerate().map(|(nth, result)| {
                let seen = cells.sum(|c| c.certificates.get(nth));
                CLIENT_CERTIFICATES.count(&[name, result], seen)
            }));
            ended_early.extend(EarlyEnd::ALL.map(|reason| {
                let ended = cells.sum(|c| c.ended_early.get(reason as usize));
                ENDED_EARLY.count(&[name, reason.word()], ended)
            }));
        }
        vec![open, opened, handshakes, certificates, ended_early]
    }
}

/// Only the combinations that were seen: most of them never are.
fn scrape_handshakes(name: &str, cells: &Sharded<ListenerCells>) -> Vec<Sample> {
    let resumed = |version| RESUMED.iter().map(move |resumed| (version, resumed));
    let pairs = VERSIONS.iter().flat_map(resumed);
    let all = pairs.flat_map(|(version, resumed)| CURVES.iter().map(move |curve| [version, resumed, curve]));
    let counted = all.enumerate().map(|(nth, labels)| (labels, cells.sum(|c| c.handshakes.get(nth))));
    let seen = counted.filter(|(_, count)| *count > 0);
    seen.map(|([version, resumed, curve], n)| HANDSHAKES.count(&[name, version, resumed, curve], n)).collect()
}

/// Where a name is in a set; the last place is everything else's.
fn place(set: &[&str], name: &str) -> usize {
    set.iter().position(|known| *known == name).unwrap_or(set.len() - 1)
}

const VERSIONS: [&str; 3] = ["TLSv1.2", "TLSv1.3", "other"];
const RESUMED: [&str; 2] = ["false", "true"];
const CURVES: [&str; 5] = ["X25519MLKEM768", "X25519", "P-256", "P-384", "other"];

/// What becomes of client certificates; the tests of `server` hold it against `tls`.
pub const CERTIFICATES: [&str; 11] = [
    "accepted",
    "none",
    "unknown_authority",
    "expired",
    "not_yet_valid",
    "wrong_name",
    "revoked",
    "revocation_unknown",
    "wrong_usage",
    "malformed",
    "other",
];

const OPEN: Family = Family {
    name: "tollgate_connections_open",
    help: "Connections that are open now.",
    labels: &["listener"],
    kind: MetricType::GAUGE,
};
const OPENED: Family = Family {
    name: "tollgate_connections_total",
    help: "Connections that were accepted.",
    labels: &["listener"],
    kind: MetricType::COUNTER,
};
const HANDSHAKES: Family = Family {
    name: "tollgate_handshakes_total",
    help: "Finished TLS handshakes, by version, resumption and key exchange group.",
    labels: &["listener", "version", "resumed", "curve"],
    kind: MetricType::COUNTER,
};
const CLIENT_CERTIFICATES: Family = Family {
    name: "tollgate_client_certificates_total",
    help: "Handshakes of hosts that ask for a client certificate, by what became of it.",
    labels: &["listener", "result"],
    kind: MetricType::COUNTER,
};
const ENDED_EARLY: Family = Family {
    name: "tollgate_connections_ended_early_total",
    help: "Connections that ended before their client was done, by why.",
    labels: &["listener", "reason"],
    kind: MetricType::COUNTER,
};
