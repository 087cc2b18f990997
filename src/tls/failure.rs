//! Why a handshake failed.
//!
//! Owns the closed list that metrics count by. Pingora hands BoringSSL's error on
//! as text, so the reasons' names in it are read here; the tests of this module's
//! kinds pin them.

use std::fmt;

use super::trust::CertificateFault;

/// Why a handshake failed, for metrics.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum HandshakeFailure {
    /// The client left before its ClientHello was whole: a probe, mostly.
    Closed,
    /// No certificate for the host, and the listener says alert.
    UnknownServerName,
    /// The host demands a client certificate and there was none.
    ClientCertificateMissing,
    /// The client's certificate is not accepted.
    ClientCertificateBad(CertificateFault),
    /// The client ended the handshake with an alert: as a rule it does not trust
    /// the certificate it was shown.
    ClientAlert,
    /// No common version, cipher or application protocol, or not TLS at all.
    Protocol,
    /// The connection broke after the ClientHello.
    Io,
}

impl HandshakeFailure {
    /// The word for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::UnknownServerName => "unknown_server_name",
            Self::ClientCertificateMissing => "client_certificate_missing",
            Self::ClientCertificateBad(_) => "client_certificate_bad",
            Self::ClientAlert => "client_alert",
            Self::Protocol => "protocol",
            Self::Io => "io",
        }
    }

    /// Classifies the text of an error: reasons of BoringSSL in brackets, or an
    /// error of the connection. `hello` says whether the ClientHello was seen.
    pub(super) fn of(text: &str, hello: bool) -> Self {
        let Some(reasons) = text.find('[').and_then(|at| text.get(at..)) else {
            return if hello { Self::Io } else { Self::Closed };
        };
        let mut reasons = reasons.split(['[', ']', ' ']).filter(|reason| !reason.is_empty());
        reasons.find_map(Self::of_reason).unwrap_or(Self::Protocol)
    }

    fn of_reason(reason: &str) -> Option<Self> {
        match reason {
            "PEER_DID_NOT_RETURN_A_CERTIFICATE" => Some(Self::ClientCertificateMissing),
            // A client that cannot sign does not have the key of what it shows.
            "CERTIFICATE_VERIFY_FAILED"
            | "CANNOT_PARSE_LEAF_CERT"
            | "UNKNOWN_CERTIFICATE_TYPE"
            | "BAD_SIGNATURE" => Some(Self::ClientCertificateBad(CertificateFault::Malformed)),
            _ if reason.contains("_ALERT_") => Some(Self::ClientAlert),
            _ => None,
        }
    }
}

/// A handshake that failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HandshakeError {
    /// What to count it as.
    pub failure: HandshakeFailure,
    /// The host that the client named.
    pub server_name: Option<Box<str>>,
    /// What BoringSSL or the connection said, for a debug line.
    pub detail: Box<str>,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failure, name) = (self.failure.as_str(), self.server_name.as_deref().unwrap_or("-"));
        write!(f, "handshake failed: reason={failure} server_name={name} ")?;
        match self.failure {
            HandshakeFailure::ClientCertificateBad(fault) => write!(f, "certificate={fault} {}", self.detail),
            _ => write!(f, "detail={}", self.detail),
        }
    }
}

impl std::error::Error for HandshakeError {}
