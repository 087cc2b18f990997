//! What is known of a handshake while it runs, and the judgement of the client's
//! certificate in it.
//!
//! BoringSSL's callbacks belong to contexts, which live longer than a handshake: they
//! find theirs through the task that they run in. Always holds: nobody who showed a
//! certificate to a host that asks for one comes in without a judgement of it.

use std::{
    any::Any,
    future::Future,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use async_trait::async_trait;
use boring::{
    ssl::{SslAlert, SslContextBuilder, SslRef, SslVerifyError, SslVerifyMode},
    stack::Stack,
    x509::X509Ref,
};
use boring_sys as ffi;
use foreign_types::ForeignTypeRef;
use pingora::{
    listeners::TlsAccept,
    protocols::tls::{SslStream, TlsRef},
};

use super::{
    authorities::fingerprint,
    facts::{TlsFacts, subject},
    failure::{HandshakeError, HandshakeFailure},
    policy::PolicyId,
    trust::{CertificateFault, Trust},
};

/// What one handshake found out before it ended.
#[derive(Default)]
pub(super) struct Handshake {
    hello: OnceLock<Hello>,
    /// Why the client's certificate was refused, and what it was.
    refused: OnceLock<(CertificateFault, Box<str>)>,
}

/// What follows from a ClientHello.
pub(super) struct Hello {
    /// The host that the client named.
    pub server_name: Option<Box<str>>,
    /// `None` when no certificate answers.
    pub policy: Option<PolicyId>,
    /// Whether the host demands a client certificate.
    pub demanding: bool,
    /// What it has to be; `None` where nobody is asked.
    pub trust: Option<Arc<Trust>>,
}

impl Handshake {
    /// Runs a future in which BoringSSL's callbacks find this handshake.
    pub async fn known_to<F: Future>(self: Arc<Self>, shaking: F) -> F::Output {
        HANDSHAKE.scope(self, shaking).await
    }

    /// Whether the ClientHello was seen.
    pub fn said_hello(&self) -> bool {
        self.hello.get().is_some()
    }

    /// The error of a handshake that failed.
    pub fn failed(&self, failure: HandshakeFailure, detail: &str) -> HandshakeError {
        let hello = self.hello.get();
        let refused = hello.is_some_and(|hello| hello.policy.is_none());
        let (failure, detail) = match (refused, self.refused.get()) {
            (true, _) => (HandshakeFailure::UnknownServerName, detail),
            (_, Some((fault, certificate))) => {
                (HandshakeFailure::ClientCertificateBad(*fault), &**certificate)
            }
            _ => (failure, detail),
        };
        let server_name = hello.and_then(|hello| hello.server_name.clone());
        HandshakeError { failure, server_name, detail: detail.into() }
    }

    /// Looks once more at what a finished handshake told. For resumed sessions: their
    /// own time and group keep them from it already; this is the second lock.
    pub fn checked<S>(&self, stream: SslStream<S>) -> Result<SslStream<S>, HandshakeError> {
        let digest = stream.ssl_digest();
        let facts = digest.as_ref().and_then(|digest| digest.extension.get::<TlsFacts>());
        let demanding = self.hello.get().is_none_or(|hello| hello.demanding);
        match facts.and_then(|facts| facts.client_certificate.as_ref()) {
            Some(certificate) if certificate.not_after < SystemTime::now() => {
                let failure = HandshakeFailure::ClientCertificateBad(CertificateFault::Expired);
                Err(self.failed(failure, "the certificate of the resumed session has expired"))
            }
            None if demanding => {
                let failure = HandshakeFailure::ClientCertificateMissing;
                Err(self.failed(failure, "the resumed session has no readable certificate"))
            }
            _ => Ok(stream),
        }
    }

    /// Judges what the client shows; a session ends with the judgement.
    fn judge(&self, ssl: &mut SslRef) -> Result<(), SslVerifyError> {
        let leaf = ssl.peer_certificate();
        let trust = self.hello.get().and_then(|hello| hello.trust.as_deref());
        let (Some(leaf), Some(trust)) = (leaf, trust) else {
            return Err(SslVerifyError::Invalid(SslAlert::INTERNAL_ERROR));
        };
        let (none, now) = (Stack::new().ok(), SystemTime::now());
        let beside = ssl.peer_cert_chain().or(none.as_deref());
        let judged = beside.ok_or(CertificateFault::Malformed);
        match judged.and_then(|beside| trust.judge(&leaf, beside, now)) {
            Ok(until) => {
                limit_session(ssl, until, now);
                Ok(())
            }
            Err(fault) => {
                let _ = self.refused.set((fault, told(&leaf).into()));
                Err(SslVerifyError::Invalid(alert(fault)))
            }
        }
    }
}

#[async_trait]
impl TlsAccept for Handshake {
    async fn handshake_complete_callback(&self, ssl: &TlsRef) -> Option<Arc<dyn Any + Send + Sync>> {
        let hello = self.hello.get()?;
        Some(Arc::new(TlsFacts::read(ssl, hello.server_name.clone(), hello.policy?)))
    }
}

/// Notes what a ClientHello said, once; false outside of a handshake of ours.
pub(super) fn note(hello: Hello) -> bool {
    HANDSHAKE.try_with(|shake| shake.hello.set(hello).is_ok()) == Ok(true)
}

/// Whether some certificate answers the handshake that runs.
pub(super) fn is_answered() -> bool {
    let chosen = |shake: &Arc<Handshake>| shake.hello.get().is_some_and(|hello| hello.policy.is_some());
    HANDSHAKE.try_with(chosen) == Ok(true)
}

/// Lets the handshake that runs judge clients' certificates. Every context needs it:
/// BoringSSL asks the front's, boring looks it up in the host's. Whether a certificate is
/// asked for is set for each connection.
pub(super) fn install(builder: &mut SslContextBuilder) {
    builder.set_custom_verify_callback(SslVerifyMode::NONE, judge);
}

fn judge(ssl: &mut SslRef) -> Result<(), SslVerifyError> {
    let judged = HANDSHAKE.try_with(|shake| shake.clone()).map(|shake| shake.judge(ssl));
    // Outside of `accept`, nobody could tell what the host demands.
    judged.unwrap_or(Err(SslVerifyError::Invalid(SslAlert::INTERNAL_ERROR)))
}

/// Ends the session no later than the judgement. BoringSSL resumes by time and group
/// alone; a client whose session is over shakes hands in full, with the certificate that
/// it has by then.
fn limit_session(ssl: &mut SslRef, until: SystemTime, now: SystemTime) {
    let left = until.duration_since(now).map_or(0, |left| left.as_secs());
    // SAFETY: the session of a handshake that runs is there and nobody else's.
    unsafe {
        let session = ffi::SSL_get_session(ssl.as_ptr());
        let own = u64::from(ffi::SSL_SESSION_get_timeout(session));
        if left < LONGEST_SESSION {
            ffi::SSL_SESSION_set_timeout(session, u32::try_from(left.min(own)).unwrap_or(0));
        }
    }
}

fn alert(fault: CertificateFault) -> SslAlert {
    match fault {
        CertificateFault::UnknownAuthority => SslAlert::UNKNOWN_CA,
        // "Has expired or is not currently valid" (RFC 8446).
        CertificateFault::Expired | CertificateFault::NotYetValid => SslAlert::CERTIFICATE_EXPIRED,
        CertificateFault::WrongName => SslAlert::ACCESS_DENIED,
        CertificateFault::Revoked => SslAlert::CERTIFICATE_REVOKED,
        CertificateFault::RevocationUnknown => SslAlert::CERTIFICATE_UNKNOWN,
        CertificateFault::WrongUsage => SslAlert::UNSUPPORTED_CERTIFICATE,
        CertificateFault::Malformed => SslAlert::BAD_CERTIFICATE,
    }
}

/// Enough to find the certificate and whom to write to.
fn told(certificate: &X509Ref) -> String {
    let print: String =
        fingerprint(certificate).unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect();
    let (subject, issuer) = (subject(certificate.subject_name()), subject(certificate.issuer_name()));
    format!("subject=\"{subject}\" issuer=\"{issuer}\" sha256={print}")
}

tokio::task_local! {
    static HANDSHAKE: Arc<Handshake>;
}

/// BoringSSL lets a session be renewed for a week, and each one live for two days.
const LONGEST_SESSION: u64 = 7 * 86_400;
