//! What a transport error says is wrong: with the endpoint, with its host, or with
//! nothing but a connection that was kept for too long.
//!
//! Does not own what is made of it: `again` does.

use std::io;

use pingora::{Error, ErrorSource, ErrorType};

use super::context::RequestContext;
use crate::{
    telemetry::metrics::AttemptResult,
    upstream::{Outcome, Retries},
};

/// What is wrong with an endpoint, or with the connection to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// It did not look at the request.
    Unseen,
    /// A connection out of the pool had ended.
    Stale,
    /// Its host does not acknowledge what is sent, or the network says that it is
    /// not there; on a connection out of the pool too.
    Unreached,
    /// It said nothing for too long.
    Silent,
    /// It ended the connection, or spoke no HTTP.
    Reset,
}

impl Fault {
    /// `None` when it is not the endpoint's.
    pub fn of(error: &Error, ctx: &RequestContext) -> Option<Self> {
        if *error.esource() != ErrorSource::Upstream {
            return None;
        }
        let silent = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
        Some(match was_not_processed(error) {
            true => Self::Unseen,
            _ if is_unreached(error) => Self::Unreached,
            _ if silent => Self::Silent,
            _ if ctx.attempt.reused && ctx.attempt.first_byte.is_none() => Self::Stale,
            _ => Self::Reset,
        })
    }

    /// Whether what it spoiled is to be tried again.
    pub fn is_wanted(self, retries: &Retries) -> bool {
        match self {
            Self::Unseen | Self::Stale | Self::Unreached | Self::Reset => retries.on_reset,
            Self::Silent => retries.per_try_timeout.is_some(),
        }
    }

    /// What it says of the endpoint. `None` of what ended in the pool, or was not
    /// looked at.
    pub fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Unseen | Self::Stale => None,
            Self::Unreached => Some(Outcome::Unreached),
            Self::Silent | Self::Reset => Some(Outcome::GatewayError),
        }
    }

    /// What it is counted as.
    pub fn result(self, kind: &ErrorType) -> AttemptResult {
        use ErrorType as T;
        match kind {
            _ if self == Self::Unreached => AttemptResult::Timeout,
            T::ReadTimedout | T::WriteTimedout => AttemptResult::Timeout,
            T::InvalidHTTPHeader | T::H1Error | T::InvalidH2 | T::H2Error => AttemptResult::ProtocolError,
            _ => AttemptResult::Reset,
        }
    }
}

/// What a connection that was not made says of the endpoint.
pub fn of_connecting(kind: &ErrorType) -> Option<Outcome> {
    use ErrorType as T;
    match kind {
        // Without a socket of our own the endpoint was never asked.
        T::SocketError | T::BindError => None,
        T::ConnectTimedout | T::ConnectRefused | T::ConnectNoRoute | T::ConnectError => {
            Some(Outcome::Unreached)
        }
        _ => Some(Outcome::GatewayError),
    }
}

/// HTTP/2 says so of a request that it did not look at (RFC 9113, 8.7): by
/// REFUSED_STREAM, or by a GOAWAY that does not reach up to it.
fn was_not_processed(error: &Error) -> bool {
    let Some(cause) = error.root_cause().downcast_ref::<h2::Error>() else { return false };
    let refused = cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
    let beyond = cause.is_go_away() && cause.reason() == Some(h2::Reason::NO_ERROR);
    cause.is_remote() && (refused || beyond)
}

/// Whether the kernel gave the connection up because nobody acknowledged. What the
/// network said in the meantime, as that there is no such host, is its reason then.
pub fn is_unreached(error: &Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
    let kind = match error.root_cause().downcast_ref::<h2::Error>() {
        // HTTP/2 keeps the kind alone.
        Some(cause) => cause.get_io().map(io::Error::kind),
        // Pingora's own timeouts have no number.
        None => error
            .root_cause()
            .downcast_ref::<io::Error>()
            .filter(|e| e.raw_os_error().is_some())
            .map(io::Error::kind),
    };
    matches!(kind, Some(TimedOut | HostUnreachable | NetworkUnreachable))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_failed(cause: io::Error) -> Box<Error> {
        Error::because(ErrorType::ReadError, "while reading", cause)
    }

    #[test]
    fn what_nobody_acknowledged_is_told_from_what_took_too_long() {
        let number = |n| read_failed(io::Error::from_raw_os_error(n));
        let own = read_failed(io::ErrorKind::TimedOut.into());
        let wrapped = number(libc::ETIMEDOUT).more_context("proxying");

        for lost in [libc::ETIMEDOUT, libc::EHOSTUNREACH, libc::ENETUNREACH] {
            assert!(is_unreached(&number(lost)), "{lost}");
        }
        assert!(is_unreached(&wrapped));
        assert!(!is_unreached(&own) && !is_unreached(&number(libc::ECONNRESET)));
    }
}
