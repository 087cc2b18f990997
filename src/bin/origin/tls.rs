//! The origin's TLS: one certificate, ALPN, and client certificates when asked.
//!
//! Owns the context and what a handshake tells. Resumption is off: each
//! connection proves anew what it is, and tests see every handshake. Files that
//! change are read again at the next handshake; while they do not fit, the former
//! ones go on.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use boring::{
    ssl::{
        AlpnError, NameType, SslAcceptor, SslFiletype, SslMethod, SslOptions, SslRef, SslVerifyMode,
        SslVersion, select_next_proto,
    },
    x509::X509NameRef,
};

use crate::echo::TlsFacts;

/// What the origin shows, and whom it asks for the same.
pub struct Terms {
    /// The chain's file.
    pub chain: PathBuf,
    /// The key's file.
    pub key: PathBuf,
    /// With it, clients must bring a certificate that one of its authorities signed.
    pub client_ca: Option<PathBuf>,
    /// What ALPN may agree on.
    pub protocols: &'static [u8],
    /// Nothing newer than TLS 1.1.
    pub old: bool,
}

/// The terms at work, as their files are.
pub struct Acceptors {
    terms: Terms,
    now: Mutex<(Vec<Option<SystemTime>>, Arc<SslAcceptor>)>,
}

impl Acceptors {
    /// Reads the files. Errors name the file.
    pub fn new(terms: Terms) -> io::Result<Self> {
        let now = Mutex::new((terms.stamps(), Arc::new(terms.acceptor()?)));
        Ok(Self { terms, now })
    }

    /// For the next handshake.
    pub fn current(&self) -> Arc<SslAcceptor> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = self.terms.stamps();
        if stamps != now.0
            && let Ok(renewed) = self.terms.acceptor()
        {
            *now = (stamps, Arc::new(renewed));
        }
        now.1.clone()
    }
}

impl Terms {
    fn stamps(&self) -> Vec<Option<SystemTime>> {
        let files = [&self.chain, &self.key].into_iter().chain(&self.client_ca);
        files.map(|path| fs::metadata(path).and_then(|data| data.modified()).ok()).collect()
    }

    fn acceptor(&self) -> io::Result<SslAcceptor> {
        let (chain, key, protocols) = (&self.chain, &self.key, self.protocols);
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).map_err(io::Error::other)?;
        builder.set_options(SslOptions::NO_TICKET);
        if self.old {
            builder.clear_options(SslOptions::NO_TLSV1 | SslOptions::NO_TLSV1_1);
            builder.set_min_proto_version(Some(SslVersion::TLS1)).map_err(io::Error::other)?;
            builder.set_max_proto_version(Some(SslVersion::TLS1_1)).map_err(io::Error::other)?;
            builder.set_cipher_list("ECDHE-RSA-AES128-SHA").map_err(io::Error::other)?;
        }
        builder.set_certificate_chain_file(chain).map_err(about(chain))?;
        builder.set_private_key_file(key, SslFiletype::PEM).map_err(about(key))?;
        builder.check_private_key().map_err(about(key))?;
        builder.set_alpn_select_callback(move |_, offered| {
            select_next_proto(protocols, offered).ok_or(AlpnError::ALERT_FATAL)
        });
        if let Some(authorities) = &self.client_ca {
            builder.set_ca_file(authorities).map_err(about(authorities))?;
            builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        }
        Ok(builder.build())
    }
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
