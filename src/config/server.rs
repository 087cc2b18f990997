//! The sections that say how the process itself behaves: `readiness`, `admin`,
//! `runtime`, `connections`, `requests`, `forwarded`, `access_log`.

use std::path::PathBuf;

use http::Method;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::types::{Address, ByteSize, Invalid, MethodName, Span};

/// The listener that the load balancer asks: `/livez` and `/readyz`, with and
/// without a PROXY header.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReadinessSpec {
    /// IP address and port. Changing it needs an upgrade.
    pub address: Address,
}

/// The private ways in: a unix socket for the operator, a port for metrics.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminSpec {
    /// The socket of `tollgate reload` and `status`, made with mode 0600.
    pub socket: PathBuf,
    /// Where `/metrics` answers, and at `/` a page for people; loopback, since neither
    /// asks who somebody is. The page is for clients of this machine alone in any case.
    pub metrics: Option<Address>,
}

impl Default for AdminSpec {
    fn default() -> Self {
        Self { socket: PathBuf::from("/run/tollgate/admin.sock"), metrics: None }
    }
}

/// The process. Changes need an upgrade.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeSpec {
    /// Worker threads; default: as many as the machine has cores.
    pub threads: Option<u16>,
    /// Upstream connections kept for reuse, all together; default: 512 a thread.
    pub upstream_connections: Option<u32>,
}

/// What a client's connection may do.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionsSpec {
    /// Open connections of the process; above it new ones are closed at once.
    /// Never more than there are open files for: two for each, and 256.
    pub max: u32,
    /// Open connections of one client address (IPv6: one /64).
    pub max_per_client: u32,
    /// Open connections of one tenant, or through one VPC endpoint of no tenant.
    pub max_per_tenant: u32,
    /// For the TLS handshake.
    pub handshake_timeout: Span,
    /// For the whole header of a request, from its first byte; for the first
    /// request from the connection's start.
    pub header_timeout: Span,
    /// Silence between two requests. Below the 350 s after which an NLB
    /// forgets a flow. Changing it needs an upgrade.
    pub idle: Span,
    /// Silence of a client inside a request body.
    pub read: Span,
    /// How long a client may not take what is sent to it.
    pub write: Span,
    /// How slowly a client may send a body or take an answer.
    pub min_rate: MinRateSpec,
    /// After so many requests a connection is asked to end, as by `max_age`.
    pub max_requests: u32,
    /// After this age, give or take a tenth, a connection is asked to end
    /// (`Connection: close`, GOAWAY), so that scale-out rebalances.
    pub max_age: Span,
    /// How long a connection that was asked to end may go on with what it does;
    /// then it is cut. Counts in a drain of the process too.
    pub max_drain: Span,
    /// The same while it carries a WebSocket, server-sent events or a gRPC call;
    /// never less than `max_drain`. A WebSocket that is cut gets a close frame, 1001.
    pub max_drain_streams: Span,
    /// HTTP/2 streams of one connection at a time. Changing it needs an upgrade.
    pub max_streams: u32,
}

impl Default for ConnectionsSpec {
    fn default() -> Self {
        Self {
            max: 50_000,
            max_per_client: 10_000,
            max_per_tenant: 25_000,
            handshake_timeout: Span::secs(10),
            header_timeout: Span::secs(15),
            idle: Span::secs(330),
            read: Span::secs(60),
            write: Span::secs(60),
            min_rate: MinRateSpec::default(),
            max_requests: 10_000,
            max_age: Span::secs(600),
            max_drain: Span::secs(300),
            max_drain_streams: Span::secs(1800),
            max_streams: 128,
        }
    }
}

/// How slowly a client may send a body or take an answer. Only the time counts in
/// which the gateway waits for the client; of an HTTP/2 connection that is whenever
/// nothing comes on it, and each body that is awaited counts, also one that may not
/// come faster because its upstream takes none of it: such a body asks more of the
/// others beside it. gRPC calls and WebSockets are silent as long as they like.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MinRateSpec {
    /// Bytes a second; `0B` asks for nothing.
    pub bytes: ByteSize,
    /// How long it may be slower from the start, at least `1s`. Answers are looked
    /// at as often.
    pub grace: Span,
}

impl Default for MinRateSpec {
    fn default() -> Self {
        Self { bytes: ByteSize::new(500), grace: Span::secs(10) }
    }
}

/// What a request may look like. What is not allowed is refused before
/// anything else looks at it.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RequestsSpec {
    /// Methods that are let in; others get 405.
    pub methods: Vec<MethodName>,
    /// The largest body, unless a route says otherwise; above it 413. All that a gRPC
    /// call sends is one body; what a WebSocket sends is none.
    pub max_body: ByteSize,
    /// Header fields of a request; above it 431.
    pub max_header_fields: u16,
    /// The header of a request, request line included; above it 431.
    pub max_header_bytes: ByteSize,
    /// The request target; above it 414.
    pub max_target_bytes: ByteSize,
    /// What to do with `%2F` and `%5C` in a path.
    pub encoded_slash: EncodedSlash,
    /// What to do with `;` and `%3B` in a path.
    pub path_parameters: PathParameters,
}

impl RequestsSpec {
    /// What a path may hold.
    pub fn paths(&self) -> PathsSpec {
        PathsSpec { encoded_slash: self.encoded_slash, path_parameters: self.path_parameters }
    }
}

impl Default for RequestsSpec {
    fn default() -> Self {
        let methods = [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ];
        Self {
            methods: methods.into_iter().map(MethodName::from).collect(),
            max_body: ByteSize::new(10 << 20),
            max_header_fields: 100,
            max_header_bytes: ByteSize::new(32 << 10),
            max_target_bytes: ByteSize::new(16 << 10),
            encoded_slash: EncodedSlash::Reject,
            path_parameters: PathParameters::Reject,
        }
    }
}

/// What a path may hold. Default: nothing that servers read in two ways.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PathsSpec {
    /// `%2F` and `%5C`.
    pub encoded_slash: EncodedSlash,
    /// `;` and `%3B`.
    pub path_parameters: PathParameters,
}

impl PathsSpec {
    /// Everything that may be let in.
    pub const KEEP: Self = Self { encoded_slash: EncodedSlash::Keep, path_parameters: PathParameters::Keep };
}

/// What to do with `%2F` and `%5C` in a path.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EncodedSlash {
    /// 400: servers do not agree on what it means.
    #[default]
    Reject,
    /// It stays as it is, never a separator when matching.
    Keep,
}

/// What to do with `;` and `%3B` in a path.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathParameters {
    /// 400: some servers (Tomcat, Jetty, Spring) cut `;x` off before they look who may
    /// read `/admin;x`, which is not below `/admin` here.
    #[default]
    Reject,
    /// It stays as it is, an ordinary character when matching. Only for upstreams that
    /// cut nothing off.
    Keep,
}

/// Whose word counts about where a request came from.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForwardedSpec {
    /// Networks of the proxies in front whose `fields` are believed and added to.
    /// From all others these fields are removed and written anew, and from everyone
    /// who comes through a VPC endpoint: their addresses are not of these networks.
    #[schemars(with = "Vec<String>")]
    #[serde(deserialize_with = "networks")]
    pub trusted: Vec<IpNet>,
    /// The fields that these proxies write themselves. What they only pass on is
    /// their client's word, and goes as if they had not sent it.
    pub fields: Vec<ForwardedField>,
}

impl Default for ForwardedSpec {
    fn default() -> Self {
        use ForwardedField::{XForwardedFor, XForwardedPort, XForwardedProto};
        Self { trusted: Vec::new(), fields: vec![XForwardedFor, XForwardedProto, XForwardedPort] }
    }
}

/// A field in which a proxy tells where a request came from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedField {
    /// Who asked, and through whom.
    XForwardedFor,
    /// `http` or `https`.
    XForwardedProto,
    /// The port that was asked.
    XForwardedPort,
    /// The host that was asked.
    XForwardedHost,
    /// What was taken off the path.
    XForwardedPrefix,
    /// Who asked.
    XRealIp,
    /// All of it (RFC 7239).
    Forwarded,
    /// What everyone calls the request.
    XRequestId,
    /// Whether it is recorded, in the words of the W3C. It goes on in any case.
    Traceparent,
    /// The same in the words of AWS.
    XAmznTraceId,
}

/// Each network by itself, for ipnet's own refusal says neither which nor how.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let networks = Vec::<Network>::deserialize(deserializer)?;
    Ok(networks.into_iter().map(|network| network.0).collect())
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Network(IpNet);

impl TryFrom<String> for Network {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse().map(Self).map_err(|_| {
            Invalid::new(format!(
                "`{text}` is not a network; write an address and how many of its bits count, as `10.0.0.0/16`"
            ))
        })
    }
}

/// Where the access log goes: one JSON line for each request.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLogSpec {
    /// A file, `-` for standard output, or `off`. Changing it needs an upgrade.
    pub path: String,
    /// Lines that wait to be written; beyond it lines are dropped and counted.
    pub queue: u32,
}

impl Default for AccessLogSpec {
    fn default() -> Self {
        Self { path: "-".to_owned(), queue: 16_384 }
    }
}
