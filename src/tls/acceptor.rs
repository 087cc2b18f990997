//! Runs a client's handshake.
//!
//! Owns the one context of a listener that lives as long as the process. The
//! ticket keys are the process's, so that sessions resume across reloads;
//! everything else comes from the table of the moment. Does not own deadlines:
//! whoever waits drops the future.

use std::sync::Arc;

use boring::{
    error::ErrorStack,
    ssl::{
        ClientHello, ExtensionType, NameType, SelectCertError, SniError, SslAcceptor, SslAlert, SslOptions,
        SslRef, SslVersion,
    },
};
use pingora::protocols::{
    IO,
    tls::{SslStream, server::handshake_with_callback},
};

use super::{
    TlsTable, context,
    failure::{HandshakeError, HandshakeFailure},
    handshake::{self, Handshake, Hello},
    names::{canonical, is_host},
    pair::KeyKind,
    policy::Policy,
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

    /// Runs the handshake; [`TlsFacts`](super::TlsFacts) lie in the stream's digest afterwards.
    ///
    /// # Errors
    /// Says why there is no connection; the stream is gone.
    pub async fn accept<S: IO>(&self, stream: S) -> Result<SslStream<S>, HandshakeError> {
        let handshake = Arc::new(Handshake::default());
        let shaking = handshake_with_callback(&self.front, stream, &*handshake);
        let shaking = self.tickets.clone().seal_for(handshake.clone().known_to(shaking));
        match shaking.await {
            Ok(stream) => handshake.checked(stream),
            Err(error) => {
                let detail = error.context.as_ref().map_or("", |context| context.as_str());
                let failure = HandshakeFailure::of(detail, handshake.said_hello());
                Err(handshake.failed(failure, detail))
            }
        }
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
        ssl.set_verify(choice.policy.verify);
        ssl.set_min_proto_version(Some(version(table.min_version))).map_err(fatal)?;
        if !table.tickets {
            ssl.set_options(SslOptions::NO_TICKET);
        }
    }
    let policy = choice.as_ref().map(|(_, choice)| choice.policy);
    let hello = Hello {
        server_name,
        policy: policy.map(|policy| policy.id),
        demanding: policy.is_some_and(Policy::is_demanding),
        trust: policy.and_then(|policy| policy.trust.clone()),
    };
    // Outside of `accept`, nobody could tell the policy: no connection then.
    if handshake::note(hello) { Ok(()) } else { Err(SelectCertError::ERROR) }
}

/// Ends the handshake with the alert `unrecognized_name` when nothing was
/// chosen: the other callback could only say `handshake_failure`.
fn answer_name(_: &mut SslRef, alert: &mut SslAlert) -> Result<(), SniError> {
    if handshake::is_answered() {
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

/// ECDHE-ECDSA with AES-128-GCM, AES-256-GCM and ChaCha20-Poly1305.
const ECDSA_SUITES: [u16; 3] = [0xc02b, 0xc02c, 0xcca9];

/// The first byte of TLS 1.3's suites, which say nothing of signatures.
const TLS13_SUITES: u16 = 0x1300;
