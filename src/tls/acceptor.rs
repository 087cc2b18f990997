//! Runs a client's handshake.
//!
//! Owns the one context of a listener that lives as long as the process. The
//! ticket keys are the process's, so that sessions resume across reloads;
//! everything else comes from the table of the moment. Does not own deadlines:
//! whoever waits drops the future.

use std::{
    any::Any,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use async_trait::async_trait;
use boring::{
    error::ErrorStack,
    ssl::{
        ClientHello, ExtensionType, NameType, SelectCertError, SniError, SslAcceptor, SslAlert, SslOptions,
        SslRef, SslVersion,
    },
};
use pingora::{
    listeners::TlsAccept,
    protocols::{
        IO,
        tls::{SslStream, TlsRef, server::handshake_with_callback},
    },
};

use super::{
    TlsTable, context,
    facts::TlsFacts,
    failure::{HandshakeError, HandshakeFailure},
    names::{canonical, is_host},
    pair::KeyKind,
    policy::PolicyId,
    tickets::TicketRing,
};
use crate::config::listener::TlsVersion;

/// Accepts TLS on one listener, from its first connection to its last.
pub struct Acceptor {
    front: SslAcceptor,
    tickets: Arc<TicketRing>,
}

impl Acceptor {
    /// `table` is asked once for each handshake; without a table every handshake
    /// is refused as an unknown server name. `tickets` are sealed with the ring.
    ///
    /// # Errors
    /// When BoringSSL cannot make a context: out of memory.
    pub fn new(
        table: impl Fn() -> Option<Arc<TlsTable>> + Send + Sync + 'static,
        tickets: Arc<TicketRing>,
    ) -> Result<Self, ErrorStack> {
        let mut front = context::builder()?;
        front.set_select_certificate_callback(move |mut hello| select(table().as_deref(), &mut hello));
        front.set_servername_callback(answer_name);
        Ok(Self { front: front.build(), tickets })
    }

    /// Runs the handshake; [`TlsFacts`] lie in the stream's digest afterwards.
    ///
    /// # Errors
    /// Says why there is no connection; the stream is gone.
    pub async fn accept<S: IO>(&self, stream: S) -> Result<SslStream<S>, HandshakeError> {
        let handshake = Arc::new(Handshake::default());
        let shaking = handshake_with_callback(&self.front, stream, &*handshake);
        let shaking = self.tickets.clone().seal_for(HANDSHAKE.scope(handshake.clone(), shaking));
        match shaking.await {
            Ok(stream) => handshake.checked(stream),
            Err(error) => {
                let detail = error.context.as_ref().map_or("", |context| context.as_str());
                let failure = HandshakeFailure::of(detail, handshake.hello.get().is_some());
                Err(handshake.failed(failure, detail))
            }
        }
    }
}

/// What one handshake found out before it ended. BoringSSL's callbacks belong to
/// the listener's context, so they find it through the task they run in.
#[derive(Default)]
struct Handshake {
    hello: OnceLock<Hello>,
}

struct Hello {
    server_name: Option<Box<str>>,
    /// `None` when no certificate answers.
    policy: Option<PolicyId>,
    /// Whether the host demands a client certificate.
    demanding: bool,
}

impl Handshake {
    fn failed(&self, failure: HandshakeFailure, detail: &str) -> HandshakeError {
        let hello = self.hello.get();
        let refused = hello.is_some_and(|hello| hello.policy.is_none());
        let failure = if refused { HandshakeFailure::UnknownServerName } else { failure };
        let server_name = hello.and_then(|hello| hello.server_name.clone());
        HandshakeError { failure, server_name, detail: detail.into() }
    }

    /// Looks at the client certificate once more, for resumed sessions: BoringSSL
    /// verified it when the session was made, which may be days ago.
    fn checked<S>(&self, stream: SslStream<S>) -> Result<SslStream<S>, HandshakeError> {
        let digest = stream.ssl_digest();
        let facts = digest.as_ref().and_then(|digest| digest.extension.get::<TlsFacts>());
        let demanding = self.hello.get().is_none_or(|hello| hello.demanding);
        match facts.and_then(|facts| facts.client_certificate.as_ref()) {
            Some(certificate) if certificate.not_after < SystemTime::now() => {
                let failure = HandshakeFailure::ClientCertificateBad;
                Err(self.failed(failure, "the certificate of the resumed session has expired"))
            }
            // The session-id context prevents it; this is the second lock.
            None if demanding => {
                let failure = HandshakeFailure::ClientCertificateMissing;
                Err(self.failed(failure, "the resumed session has no readable certificate"))
            }
            _ => Ok(stream),
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

/// Sets up the connection for the host that it names, before BoringSSL decides
/// whether to resume.
fn select(table: Option<&TlsTable>, hello: &mut ClientHello<'_>) -> Result<(), SelectCertError> {
    let named = hello.servername(NameType::HOST_NAME).map(canonical).filter(|name| is_host(name));
    let server_name = named.map(|name| Box::from(&*name));
    let choice = table.and_then(|table| {
        let choice = table.choose(server_name.as_deref(), |kind| offers(hello, kind))?;
        Some((table, choice))
    });
    if let Some((table, choice)) = &choice {
        let ssl = hello.ssl_mut();
        ssl.set_ssl_context(choice.context).map_err(fatal)?;
        ssl.set_verify(choice.verify);
        ssl.set_min_proto_version(Some(version(table.min_version))).map_err(fatal)?;
        if !table.tickets {
            ssl.set_options(SslOptions::NO_TICKET);
        }
    }
    let demanding = choice.as_ref().is_some_and(|(_, choice)| choice.demanding());
    let policy = choice.map(|(_, choice)| choice.policy);
    let hello = Hello { server_name, policy, demanding };
    let known = HANDSHAKE.try_with(|shake| shake.hello.set(hello).is_ok());
    // Outside of `accept`, nobody could tell the policy: no connection then.
    if known == Ok(true) { Ok(()) } else { Err(SelectCertError::ERROR) }
}

/// Ends the handshake with the alert `unrecognized_name` when nothing was
/// chosen: the other callback could only say `handshake_failure`.
fn answer_name(_: &mut SslRef, alert: &mut SslAlert) -> Result<(), SniError> {
    let chosen = |shake: &Arc<Handshake>| shake.hello.get().is_some_and(|hello| hello.policy.is_some());
    if HANDSHAKE.try_with(chosen) == Ok(true) {
        return Ok(());
    }
    *alert = SslAlert::UNRECOGNIZED_NAME;
    Err(SniError::ALERT_FATAL)
}

/// Whether a client takes an ECDSA certificate of a kind: it has to offer the
/// signature, and before TLS 1.3 a cipher suite for it too.
fn offers(hello: &ClientHello<'_>, kind: KeyKind) -> bool {
    let Some(scheme) = kind.ecdsa_scheme() else { return false };
    let schemes = hello.get_extension(ExtensionType::SIGNATURE_ALGORITHMS);
    let schemes = schemes.and_then(|list| list.get(2..)).unwrap_or_default();
    let has_scheme = numbers(schemes).any(|offered| offered == scheme);
    let suite = |suite| ECDSA_SUITES.contains(&suite) || suite & 0xff00 == TLS13_SUITES;
    has_scheme && numbers(hello.ciphers()).any(suite)
}

fn numbers(list: &[u8]) -> impl Iterator<Item = u16> {
    list.chunks_exact(2).filter_map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?)))
}

fn version(version: TlsVersion) -> SslVersion {
    match version {
        TlsVersion::V12 => SslVersion::TLS1_2,
        TlsVersion::V13 => SslVersion::TLS1_3,
    }
}

fn fatal(_: ErrorStack) -> SelectCertError {
    SelectCertError::ERROR
}

tokio::task_local! {
    static HANDSHAKE: Arc<Handshake>;
}

/// ECDHE-ECDSA with AES-128-GCM, AES-256-GCM and ChaCha20-Poly1305.
const ECDSA_SUITES: [u16; 3] = [0xc02b, 0xc02c, 0xcca9];

/// The first byte of TLS 1.3's suites, which say nothing of signatures.
const TLS13_SUITES: u16 = 0x1300;
