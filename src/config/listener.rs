//! `listeners`: where the gateway accepts, from whom, and with which certificates.

use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    server::networks,
    types::{Address, ByteSize, HostPattern, Name, SanPattern, Span},
};

/// An address that accepts connections, cleartext or TLS.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerSpec {
    /// How logs, metrics and the socket hand-over call it.
    pub name: Name,
    /// IP address and port. Changing it needs an upgrade, not a reload.
    pub address: Address,
    /// Ends TLS here; without it the listener is cleartext HTTP/1.
    #[serde(default)]
    pub tls: Option<TlsSpec>,
    /// Takes the client's address from the load balancer in front; without it a
    /// PROXY header is a bad request.
    #[serde(default)]
    pub proxy_protocol: Option<ProxyProtocolSpec>,
}

/// The PROXY protocol, versions 1 and 2, before TLS. The client's address is then
/// the header's: in routes, caps, logs and forwarded headers.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocolSpec {
    /// Whether a connection may begin with a header, or must.
    pub mode: ProxyMode,
    /// Networks of the load balancers: a header of anyone else ends the
    /// connection, for whoever sends it could be anybody.
    #[schemars(with = "Vec<String>")]
    #[serde(default, deserialize_with = "networks")]
    pub trusted: Vec<IpNet>,
    /// For the whole header, from its first byte.
    #[serde(default = "three_seconds")]
    pub timeout: Span,
    /// The largest header. An NLB's has about 100 bytes.
    #[serde(default = "four_kibibytes")]
    pub max_header: ByteSize,
}

/// Whether connections begin with a PROXY header.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyMode {
    /// None does: one is a bad request.
    Off,
    /// One from a trusted network may; without a header the socket's address counts.
    Optional,
    /// Every one does, and comes from a trusted network.
    Required,
}

/// TLS of a listener: HTTP/2 and HTTP/1.1 by ALPN, TLS 1.2 and 1.3,
/// X25519MLKEM768 and X25519 key exchange.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSpec {
    /// Certificates with their keys. The client's server name picks among the
    /// DNS names in them, exact before wildcard; the first is the default. Two
    /// for the same name, one ECDSA and one RSA, serve old and new clients. The
    /// files are watched: a renewed pair is taken without a reload.
    #[serde(default)]
    pub certificates: Vec<CertificateSpec>,
    /// A folder of more pairs, `NAME.pem` (chain) beside `NAME.key`.
    #[serde(default)]
    pub certificate_directory: Option<PathBuf>,
    /// What a client gets that names an unknown server, or none.
    #[serde(default)]
    pub unknown_server_name: UnknownServerName,
    /// The lowest version offered. An NLB's HTTPS health check needs 1.2.
    #[serde(default)]
    pub min_version: TlsVersion,
    /// Session tickets: a returning client skips the certificate. The keys are
    /// in memory alone, change every 12 hours, and go to the next process at an upgrade.
    #[serde(default)]
    pub tickets: Switch,
    /// Which hosts ask clients for a certificate. Hosts in no entry do not.
    #[serde(default)]
    pub client_auth: Vec<ClientAuthSpec>,
}

/// A certificate chain, leaf first, and its private key, both PEM.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateSpec {
    /// The chain's file. Relative paths start at the main file's folder.
    pub chain: PathBuf,
    /// The key's file: PKCS#8, SEC1 or PKCS#1, not encrypted.
    pub key: PathBuf,
}

/// Client certificates for some hosts of a listener.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClientAuthSpec {
    /// For these hosts; `*` is every host of the listener.
    #[serde(default = "any_host")]
    pub hosts: Vec<HostPattern>,
    /// Whether a client without a certificate is served.
    pub mode: ClientAuthMode,
    /// The authorities whose clients are accepted, PEM. A certificate that restricts
    /// what it is for (extended key usage) has to be for clients.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Lists of revoked certificates (CRL), PEM or DER, each signed by one of `ca`.
    /// Watched as certificates are. A certificate is looked up in the lists of who
    /// issued it; once there is any list, whoever issued a client's has to have one.
    #[serde(default)]
    pub crl: Vec<PathBuf>,
    /// What to do when a list is past the time of its next update.
    #[serde(default)]
    pub expired_crl: ExpiredCrl,
    /// Which of the certificates that `ca` signed; without it all of them.
    #[serde(default)]
    pub names: Vec<SanPattern>,
}

/// What a list of revoked certificates is worth that should have been renewed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiredCrl {
    /// Nothing: no certificate of its issuer is accepted.
    #[default]
    Refuse,
    /// As much as before: who stands in it is refused.
    Accept,
}

/// Whether a client has to show a certificate.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMode {
    /// None is asked for: the way out of an entry for more hosts.
    Off,
    /// A certificate is asked for; none is fine, a bad one ends the handshake.
    Optional,
    /// No handshake without a good certificate.
    Required,
}

/// What to do with a server name that no certificate carries.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownServerName {
    /// The first certificate answers: the client decides whether it likes it.
    #[default]
    Default,
    /// The handshake ends with the alert `unrecognized_name`'s class.
    Alert,
}

/// A TLS protocol version.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TlsVersion {
    /// TLS 1.2, RFC 5246.
    #[default]
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3, RFC 8446.
    #[serde(rename = "1.3")]
    V13,
}

/// On or off, written `on` and `off`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// The thing works.
    #[default]
    On,
    /// It does not.
    Off,
}

fn any_host() -> Vec<HostPattern> {
    vec![HostPattern::Any]
}

fn three_seconds() -> Span {
    Span::secs(3)
}

fn four_kibibytes() -> ByteSize {
    ByteSize::new(4 << 10)
}
