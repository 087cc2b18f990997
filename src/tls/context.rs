//! BoringSSL contexts: what one certificate shows under one policy.
//!
//! Owns protocol settings, equal for all, and the session-id context, without
//! which a session made on a public host would open a host that demands client
//! certificates: BoringSSL looks at nothing else of a host when it resumes.
//!
//! Who takes what from where, after a handshake changed contexts: certificate,
//! names of authorities, session-id context, ALPN and the ciphers of TLS 1.2 come from
//! the context of the host; key exchange, ciphers of TLS 1.3 and options from the
//! front; ticket keys from the handshake's [ring](tickets); verify mode and versions are set for each connection.

use boring::{
    error::ErrorStack,
    sha::Sha256,
    ssl::{
        AlpnError, SslAcceptor, SslAcceptorBuilder, SslContext, SslMethod, SslRef, SslSessionCacheMode,
        select_next_proto,
    },
};

use super::{handshake, pair::Pair, policy::Policy, tickets};

/// The settings that every context shares: TLS 1.2 and 1.3 with forward secrecy
/// and AEAD ciphers, no renegotiation, no early data.
pub(super) fn builder() -> Result<SslAcceptorBuilder, ErrorStack> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?;
    builder.set_curves_list(GROUPS)?;
    // Sessions live in tickets alone: a cache here would be memory that clients
    // fill, and of no use to the next process.
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    tickets::install(&mut builder);
    handshake::install(&mut builder);
    Ok(builder)
}

/// The context of a certificate for hosts of one policy.
pub(super) fn context(pair: &Pair, policy: &Policy, names: &[Box<str>]) -> Result<SslContext, ErrorStack> {
    let mut builder = builder()?;
    builder.set_certificate(&pair.leaf)?;
    for issuer in &pair.issuers {
        builder.add_extra_chain_cert(issuer.clone())?;
    }
    builder.set_private_key(&pair.key)?;
    builder.check_private_key()?;
    builder.set_alpn_select_callback(alpn);
    builder.set_session_id_context(&session_group(policy, names))?;
    for authority in policy.trust.iter().flat_map(|trust| &trust.authorities.certificates) {
        builder.add_client_ca(authority)?;
    }
    Ok(builder.build().into_context())
}

/// Sessions resume within a group alone: the same client authentication (mode,
/// authorities, names, what is revoked), and a certificate for the same names. A renewed certificate
/// stays in its group; an ECDSA and an RSA one for the same names share one.
fn session_group(policy: &Policy, names: &[Box<str>]) -> [u8; 32] {
    let mut names: Vec<&str> = names.iter().map(|name| &**name).collect();
    names.sort_unstable();
    let mut hash = Sha256::new();
    hash.update(policy.id.bytes());
    for name in names {
        hash.update(name.as_bytes());
        hash.update(b"\n");
    }
    hash.finish()
}

/// HTTP/2 before HTTP/1.1, whatever the client likes more. A client that offers
/// neither is refused, as RFC 7301 demands: it does not speak HTTP.
fn alpn<'a>(_: &mut SslRef, client: &'a [u8]) -> Result<&'a [u8], AlpnError> {
    select_next_proto(PROTOCOLS, client).ok_or(AlpnError::ALERT_FATAL)
}

const PROTOCOLS: &[u8] = b"\x02h2\x08http/1.1";

/// Post-quantum first: recorded traffic stays closed to later computers.
const GROUPS: &str = "X25519MLKEM768:X25519:P-256:P-384";
