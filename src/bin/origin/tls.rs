//! The origin's TLS: one certificate, ALPN, and client certificates when asked.
//!
//! Owns the context and what a handshake tells. Resumption is off: each
//! connection proves anew what it is, and tests see every handshake.

use std::{io, path::Path};

use boring::{
    ssl::{
        AlpnError, NameType, SslAcceptor, SslFiletype, SslMethod, SslOptions, SslRef, SslVerifyMode,
        select_next_proto,
    },
    x509::X509NameRef,
};

use crate::echo::TlsFacts;

/// Makes the acceptor. With `client_ca`, clients must bring a certificate that
/// one of its authorities signed. `protocols` is what ALPN may agree on. Errors
/// name the file.
pub fn acceptor(
    chain: &Path,
    key: &Path,
    client_ca: Option<&Path>,
    protocols: &'static [u8],
) -> io::Result<SslAcceptor> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).map_err(io::Error::other)?;
    builder.set_options(SslOptions::NO_TICKET);
    builder.set_certificate_chain_file(chain).map_err(about(chain))?;
    builder.set_private_key_file(key, SslFiletype::PEM).map_err(about(key))?;
    builder.check_private_key().map_err(about(key))?;
    builder.set_alpn_select_callback(move |_, offered| {
        select_next_proto(protocols, offered).ok_or(AlpnError::ALERT_FATAL)
    });
    if let Some(authorities) = client_ca {
        builder.set_ca_file(authorities).map_err(about(authorities))?;
        builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    }
    Ok(builder.build())
}

/// What the handshake told.
pub fn facts(ssl: &SslRef) -> TlsFacts {
    let certificate = ssl.peer_certificate();
    TlsFacts {
        server_name: ssl.servername(NameType::HOST_NAME).map(str::to_owned),
        client_cert_subject: certificate.map(|certificate| one_line(certificate.subject_name())),
    }
}

/// `CN=orders,O=Example`, in the certificate's order.
fn one_line(name: &X509NameRef) -> String {
    let parts = name.entries().map(|entry| {
        let key = entry.object().nid().short_name().unwrap_or("?");
        let value = entry.data().as_utf8().map(|text| text.to_string()).unwrap_or_default();
        format!("{key}={value}")
    });
    parts.collect::<Vec<_>>().join(",")
}

fn about<E: std::fmt::Display>(file: &Path) -> impl FnOnce(E) -> io::Error {
    move |error| io::Error::other(format!("{}: {error}", file.display()))
}

/// Both protocols, HTTP/2 first.
pub const BOTH: &[u8] = b"\x02h2\x08http/1.1";
/// HTTP/1 alone.
pub const HTTP1: &[u8] = b"\x08http/1.1";
