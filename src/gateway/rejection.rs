//! Why the gateway answers a request itself: a closed list. Each has one
//! status, one flag word that stands in the answer, the access log and the
//! metrics, and one sentence for the client.

use http::StatusCode;

use crate::gate::Refusal;

/// Why the gateway answers a request itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rejection {
    /// The request gate refused it.
    Malformed(Refusal),
    /// The host belongs to a server name with another client-authentication
    /// policy than the one of this connection (RFC 9110, 15.5.20).
    Misdirected,
    /// The VPC endpoint is of no tenant, and such are refused.
    UnknownEndpoint,
    /// No route matches.
    NoRoute,
    /// The route is not for this caller; the access log says by which rule.
    Forbidden,
    /// Nobody vouched for the caller, and the route asks for it.
    Unauthenticated,
    /// What the caller presented cannot be verified now.
    AuthenticationUnavailable,
    /// A limit's rate is used up.
    RateLimited,
    /// As many requests are under way as a limit allows.
    ConcurrencyLimited,
    /// The request lacks what a limit counts by, and such are refused.
    LimitKeyMissing,
    /// The body is larger than the route allows.
    BodyTooLarge,
    /// The body is larger than one whose hash is signed in front of it.
    BodyTooLargeToSign,
    /// The client does not say the hash of its body, and the route asks for it.
    DigestMissing,
    /// The body is not the one whose hash the client said.
    DigestMismatch,
    /// The client took too long to send its body.
    ClientTimeout,
    /// Every endpoint of the upstream was tried, or none may be picked.
    NoEndpoint,
    /// As many requests are on their way to the upstream as may be.
    Overloaded,
    /// No connection could be made.
    ConnectFailed,
    /// No connection was made in time.
    ConnectTimeout,
    /// The endpoint's certificate was not accepted, or its TLS failed.
    UpstreamTls,
    /// The endpoint closed or reset the connection before its answer.
    UpstreamReset,
    /// The endpoint's answer was not HTTP.
    UpstreamProtocol,
    /// The endpoint was silent for too long.
    UpstreamTimeout,
    /// All attempts together took too long.
    DeadlineExceeded,
    /// The client left before an answer; nothing is sent.
    ClientGone,
    /// The connection was cut with the request under way: it was asked to end,
    /// because of its age or a drain, and went on for too long.
    Cut,
    /// No token could be made for the upstream, and none goes without.
    SigningFailed,
    /// A fault of the gateway.
    Internal,
}

impl Rejection {
    /// The status of the answer; `None` where nobody is left to answer.
    pub fn status(self) -> Option<StatusCode> {
        Some(match self {
            Self::Malformed(refusal) => refusal.status(),
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::UnknownEndpoint | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::RateLimited | Self::ConcurrencyLimited | Self::LimitKeyMissing => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::BodyTooLarge | Self::BodyTooLargeToSign => StatusCode::PAYLOAD_TOO_LARGE,
            Self::DigestMissing | Self::DigestMismatch => StatusCode::BAD_REQUEST,
            Self::ClientTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::NoEndpoint | Self::Overloaded | Self::AuthenticationUnavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::ConnectFailed | Self::UpstreamTls | Self::UpstreamReset | Self::UpstreamProtocol => {
                StatusCode::BAD_GATEWAY
            }
            Self::ConnectTimeout | Self::UpstreamTimeout | Self::DeadlineExceeded => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::ClientGone | Self::Cut => return None,
            Self::SigningFailed | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        })
    }

    /// The word for answer, log and metrics.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Malformed(refusal) => refusal.flag(),
            Self::Misdirected => "misdirected",
            Self::UnknownEndpoint => "unknown_endpoint",
            Self::NoRoute => "no_route",
            Self::Forbidden => "forbidden",
            Self::Unauthenticated => "unauthenticated",
            Self::AuthenticationUnavailable => "authentication_unavailable",
            Self::RateLimited => "rate_limited",
            Self::ConcurrencyLimited => "concurrency_limited",
            Self::LimitKeyMissing => "limit_key_missing",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTooLargeToSign => "body_too_large_to_sign",
            Self::DigestMissing => "digest_missing",
            Self::DigestMismatch => "digest_mismatch",
            Self::ClientTimeout => "client_timeout",
            Self::NoEndpoint => "no_endpoint",
            Self::Overloaded => "overloaded",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::UpstreamTls => "upstream_tls",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamProtocol => "upstream_protocol",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::ClientGone => "client_gone",
            Self::Cut => "cut",
            Self::SigningFailed => "signing_failed",
            Self::Internal => "internal",
        }
    }

    /// What the client reads. It never names an upstream, an address or a rule.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Malformed(_) => "The request is not well-formed.",
            Self::Misdirected => "This connection is not for that host; open one with its name.",
            Self::UnknownEndpoint => "Nobody is known to come through this VPC endpoint.",
            Self::NoRoute => "Nothing is served here.",
            Self::Forbidden => "This is not for you.",
            Self::Unauthenticated => "Say who you are, with credentials that are good.",
            Self::AuthenticationUnavailable => "Who you are cannot be verified now; try again later.",
            Self::RateLimited => "Too many requests; try again later.",
            Self::ConcurrencyLimited => "Too many requests at a time; try again when some are done.",
            Self::LimitKeyMissing => "The request does not say by what it is limited.",
            Self::BodyTooLarge | Self::BodyTooLargeToSign => "The request's body is too large.",
            Self::DigestMissing => "The request does not say the SHA-256 of its body in Content-Digest.",
            Self::DigestMismatch => "The request's body is not what its Content-Digest says.",
            Self::ClientTimeout => "The request took too long to arrive.",
            Self::NoEndpoint | Self::ConnectFailed | Self::UpstreamTls => "The service cannot be reached.",
            Self::Overloaded => "The service has too much to do; try again later.",
            Self::UpstreamReset | Self::UpstreamProtocol => "The service gave no usable answer.",
            Self::ConnectTimeout | Self::UpstreamTimeout | Self::DeadlineExceeded => {
                "The service did not answer in time."
            }
            Self::ClientGone | Self::Cut => "",
            Self::SigningFailed | Self::Internal => "The gateway failed.",
        }
    }

    /// Whether the connection ends with the answer because what follows on it
    /// cannot be trusted.
    pub fn closes(self) -> bool {
        match self {
            Self::Malformed(refusal) => refusal.closes(),
            Self::BodyTooLarge | Self::BodyTooLargeToSign | Self::ClientTimeout => true,
            Self::ClientGone | Self::Cut | Self::Internal => true,
            _ => false,
        }
    }

    /// Every rejection but the gate's, for the metrics.
    pub const OWN: [Self; 27] = [
        Self::Misdirected,
        Self::UnknownEndpoint,
        Self::NoRoute,
        Self::Forbidden,
        Self::Unauthenticated,
        Self::AuthenticationUnavailable,
        Self::RateLimited,
        Self::ConcurrencyLimited,
        Self::LimitKeyMissing,
        Self::BodyTooLarge,
        Self::BodyTooLargeToSign,
        Self::DigestMissing,
        Self::DigestMismatch,
        Self::ClientTimeout,
        Self::NoEndpoint,
        Self::Overloaded,
        Self::ConnectFailed,
        Self::ConnectTimeout,
        Self::UpstreamTls,
        Self::UpstreamReset,
        Self::UpstreamProtocol,
        Self::UpstreamTimeout,
        Self::DeadlineExceeded,
        Self::ClientGone,
        Self::Cut,
        Self::SigningFailed,
        Self::Internal,
    ];
}
