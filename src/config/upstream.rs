//! `upstreams`: named groups of endpoints that answer alike.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    balance::BalanceSpec,
    failover::{LocalitySpec, MaxInFlightSpec, OutlierDetectionSpec, RetriesSpec},
    health_check::HealthCheckSpec,
    types::{EndpointAddress, Name, SanPattern, Span},
};

/// A named group of endpoints that answer alike.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamSpec {
    /// Routes, logs and metrics call it by this name.
    pub name: Name,
    /// Where it answers; at least one with a weight above 0, unless they stand in
    /// `endpoints_file`.
    #[serde(default)]
    pub endpoints: Vec<EndpointSpec>,
    /// A file with more `endpoints`, as `endpoints.d/orders.yaml`. It is watched:
    /// what changes in it needs no reload.
    #[serde(default)]
    pub endpoints_file: Option<PathBuf>,
    /// What is spoken to it.
    #[serde(default)]
    pub protocol: Protocol,
    /// TLS towards the endpoints; without it the connection is cleartext.
    #[serde(default)]
    pub tls: Option<UpstreamTlsSpec>,
    /// Whether it is told the client's certificate, where one was asked for and verified:
    /// in `Client-Cert`, as RFC 9440 has it. What a client sends in that field never
    /// reaches an upstream.
    #[serde(default)]
    pub forward_client_cert: bool,
    /// How endpoints are asked whether they can serve; without it all of them
    /// are taken to.
    #[serde(default)]
    pub health_check: Option<HealthCheckSpec>,
    /// How long each step may take.
    #[serde(default)]
    pub timeouts: TimeoutsSpec,
    /// How often a request is tried.
    #[serde(default)]
    pub retries: RetriesSpec,
    /// Which endpoint of a tier gets a request.
    #[serde(default)]
    pub balance: BalanceSpec,
    /// How traffic is shared between zones and regions.
    #[serde(default)]
    pub locality: LocalitySpec,
    /// What traffic itself says of endpoints; without it nothing is ejected.
    #[serde(default)]
    pub outlier_detection: Option<OutlierDetectionSpec>,
    /// How long an endpoint that comes back, or is new, takes to its whole share.
    #[serde(default = "slow_start")]
    pub slow_start: Span,
    /// How many requests may be under way.
    #[serde(default)]
    pub max_in_flight: MaxInFlightSpec,
}

impl UpstreamSpec {
    /// Whether probes say which endpoints are in service.
    pub fn is_probed(&self) -> bool {
        self.health_check.is_some()
    }
}

/// One address of an upstream.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointSpec {
    /// IP address and port, or a name in DNS.
    pub address: EndpointAddress,
    /// The availability zone's id (`use1-az1`: names differ between accounts).
    #[serde(default)]
    pub zone: Option<Name>,
    /// The region, where it is not the gateway's own.
    #[serde(default)]
    pub region: Option<Name>,
    /// Its share beside the others; 0 means never.
    #[serde(default = "one")]
    pub weight: u16,
}

/// What is spoken to an upstream.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1 with keep-alive.
    #[default]
    Http1,
    /// HTTP/2 only: by ALPN with TLS, by prior knowledge without. gRPC needs it.
    Http2,
    /// HTTP/2 where ALPN offers it, else HTTP/1.1. Needs TLS.
    Auto,
}

/// TLS towards an upstream, 1.2 or 1.3. The endpoint's certificate is always verified.
/// The files are watched: what is renewed is taken without a reload, and new
/// connections are made with it.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTlsSpec {
    /// The name sent as SNI and looked for in the certificate. Never optional:
    /// without it nothing would be verified.
    pub server_name: String,
    /// Names of which the certificate has to have one, in the place of `server_name`:
    /// SPIFFE ids of a mesh, mostly, whose certificates have no DNS name.
    #[serde(default)]
    pub names: Vec<SanPattern>,
    /// The authorities that may have signed the certificate, PEM; without it
    /// the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The certificate that the gateway shows.
    #[serde(default)]
    pub client: Option<ClientCertificateSpec>,
}

/// The gateway's own certificate towards an upstream, both PEM.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificateSpec {
    /// The chain's file, leaf first.
    pub chain: PathBuf,
    /// The key's file.
    pub key: PathBuf,
}

/// How long each step towards an upstream may take.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutsSpec {
    /// TCP, and again TLS. Short: the next endpoint may be near.
    pub connect: Span,
    /// Bytes that the endpoint's host does not acknowledge for so long, once they
    /// were sent again, end the connection: the host of a slow service
    /// acknowledges, a lost zone does not. Not for uploads and streams, which a
    /// service may leave unread: theirs is `write`. At least 5 s for other regions.
    pub unacknowledged: Span,
    /// The longest silence of the endpoint, before its first byte and between
    /// two reads.
    pub read: Span,
    /// The longest silence of the endpoint on a stream: WebSocket, server-sent events,
    /// gRPC. Until the answer's header says that it is one, `read` and `request` hold;
    /// not for a gRPC call (`te: trailers`) over HTTP/2 to an upstream whose `protocol` is
    /// `http2` or `auto`, whatever `auto` then finds.
    pub stream_idle: Span,
    /// The longest that the endpoint may not take what is sent.
    pub write: Span,
    /// From the request's first byte to the response's header, all attempts
    /// together; then 504.
    pub request: Span,
    /// How long an unused connection is kept. Below the endpoint's own (an ALB
    /// closes at 60 s), else requests meet closing connections.
    pub idle: Span,
}

impl Default for TimeoutsSpec {
    fn default() -> Self {
        Self {
            connect: Span::millis(500),
            unacknowledged: Span::millis(500),
            read: Span::secs(15),
            stream_idle: Span::secs(300),
            write: Span::secs(15),
            request: Span::secs(60),
            idle: Span::secs(50),
        }
    }
}

fn one() -> u16 {
    1
}

fn slow_start() -> Span {
    Span::secs(10)
}
