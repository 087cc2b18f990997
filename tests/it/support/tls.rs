//! How a client shakes hands: names, versions, certificates, sessions.
//!
//! Owns the client's side only. A handshake that fails is an answer, not a
//! panic: many tests expect it.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use boring::{
    pkey::PKey,
    ssl::{Ssl, SslContextBuilder, SslMethod, SslSession, SslSessionCacheMode, SslVerifyMode, SslVersion},
    x509::{X509, store::X509StoreBuilder},
};
use tokio::time::timeout;
use tokio_boring::SslStreamBuilder;

use super::{
    PATIENCE,
    certs::{Authority, Issued},
    stream::{self, Stream},
};

/// A client's wishes for a handshake. The default offers everything, names
/// `api.example.com` and believes every certificate.
#[derive(Clone, Default)]
pub struct Tls {
    server_name: ServerName,
    authority: Option<X509>,
    alpn: Vec<u8>,
    versions: Option<(SslVersion, SslVersion)>,
    certificate: Option<Issued>,
    signatures: Option<String>,
    curves: Option<String>,
    ciphers: Option<String>,
    session: Option<SslSession>,
    saved: Saved,
}

impl Tls {
    /// A client that wants this server.
    pub fn to(server_name: &str) -> Self {
        Self { server_name: ServerName::Named(server_name.to_owned()), ..Self::default() }
    }

    /// A client that says no server name.
    pub fn without_server_name() -> Self {
        Self { server_name: ServerName::Unsaid, ..Self::default() }
    }

    /// Believes only what this authority signed, for the server's name.
    pub fn trusting(self, authority: &Authority) -> Self {
        Self { authority: Some(authority.certificate.clone()), ..self }
    }

    /// Offers these protocols, as `h2` and `http/1.1`.
    pub fn alpn(self, protocols: &[&str]) -> Self {
        let one = |name: &&str| [&[u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
        Self { alpn: protocols.iter().flat_map(one).collect(), ..self }
    }

    /// Offers these versions and those between.
    pub fn versions(self, min: SslVersion, max: SslVersion) -> Self {
        Self { versions: Some((min, max)), ..self }
    }

    /// Has a certificate to show.
    pub fn certificate(self, certificate: &Issued) -> Self {
        Self { certificate: Some(certificate.clone()), ..self }
    }

    /// Takes only these signatures, as `rsa_pss_rsae_sha256`, with colons between.
    pub fn signature_algorithms(self, names: &str) -> Self {
        Self { signatures: Some(names.to_owned()), ..self }
    }

    /// Offers these key exchanges, as `X25519MLKEM768:X25519`.
    pub fn curves(self, names: &str) -> Self {
        Self { curves: Some(names.to_owned()), ..self }
    }

    /// Offers these ciphers of TLS 1.2, in OpenSSL's words.
    pub fn ciphers(self, names: &str) -> Self {
        Self { ciphers: Some(names.to_owned()), ..self }
    }

    /// Comes back with a session.
    pub fn session(self, session: &SslSession) -> Self {
        Self { session: Some(session.clone()), ..self }
    }

    /// The last session that a server gave to this client. TLS 1.3 servers send
    /// it after the handshake: read an answer first.
    pub fn saved_session(&self) -> Option<SslSession> {
        self.saved.0.lock().unwrap().clone()
    }

    /// Connects and shakes hands.
    pub async fn connect(&self, address: SocketAddr) -> Result<Stream, HandshakeFailed> {
        let tcp = stream::connect(address).await.map_err(HandshakeFailed::of)?;
        self.shake_hands(tcp).await
    }

    /// Shakes hands on a connection that is there.
    pub async fn shake_hands(&self, tcp: tokio::net::TcpStream) -> Result<Stream, HandshakeFailed> {
        let shaking = SslStreamBuilder::new(self.ssl(), tcp).connect();
        match timeout(PATIENCE, shaking).await {
            Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
            Ok(Err(why)) => Err(HandshakeFailed::of(why)),
            Err(why) => Err(HandshakeFailed::of(why)),
        }
    }

    fn ssl(&self) -> Ssl {
        let mut context = SslContextBuilder::new(SslMethod::tls()).unwrap();
        if let Some((min, max)) = self.versions {
            context.set_min_proto_version(Some(min)).unwrap();
            context.set_max_proto_version(Some(max)).unwrap();
        }
        if let Some(names) = &self.signatures {
            context.set_sigalgs_list(names).unwrap();
        }
        if let Some(names) = &self.curves {
            context.set_curves_list(names).unwrap();
        }
        if let Some(names) = &self.ciphers {
            context.set_strict_cipher_list(names).unwrap();
        }
        if let Some(authority) = &self.authority {
            let mut store = X509StoreBuilder::new().unwrap();
            store.add_cert(authority).unwrap();
            context.set_cert_store(store.build());
        }
        context.set_verify(if self.authority.is_some() { SslVerifyMode::PEER } else { SslVerifyMode::NONE });
        self.show_certificate(&mut context);
        self.save_sessions(&mut context);
        self.for_one_connection(Ssl::new(&context.build()).unwrap())
    }

    fn for_one_connection(&self, mut ssl: Ssl) -> Ssl {
        if let Some(name) = self.server_name.get() {
            ssl.set_hostname(name).unwrap();
            ssl.param_mut().set_host(name).unwrap();
        }
        if !self.alpn.is_empty() {
            ssl.set_alpn_protos(&self.alpn).unwrap();
        }
        if let Some(session) = &self.session {
            // SAFETY: the session came from a context of this process with the
            // same method, which is all that BoringSSL asks of it.
            unsafe { ssl.set_session(session).unwrap() };
        }
        ssl
    }

    fn show_certificate(&self, context: &mut SslContextBuilder) {
        let Some(issued) = &self.certificate else { return };
        let mut chain = X509::stack_from_pem(issued.chain.as_bytes()).unwrap().into_iter();
        context.set_certificate(&chain.next().unwrap()).unwrap();
        chain.for_each(|above| context.add_extra_chain_cert(above).unwrap());
        context.set_private_key(&PKey::private_key_from_pem(issued.key.as_bytes()).unwrap()).unwrap();
    }

    fn save_sessions(&self, context: &mut SslContextBuilder) {
        let saved = self.saved.clone();
        context.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
        context.set_new_session_callback(move |_, session| *saved.0.lock().unwrap() = Some(session));
    }
}

/// Why there is no connection: the words of BoringSSL or of the system.
#[derive(Clone, Debug)]
pub struct HandshakeFailed(pub String);

impl HandshakeFailed {
    fn of(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }
}

/// The server's last session, for every clone of one client.
#[derive(Clone, Default)]
struct Saved(Arc<Mutex<Option<SslSession>>>);

#[derive(Clone, Default)]
enum ServerName {
    #[default]
    Usual,
    Named(String),
    Unsaid,
}

impl ServerName {
    fn get(&self) -> Option<&str> {
        match self {
            Self::Usual => Some(super::request::HOST),
            Self::Named(name) => Some(name),
            Self::Unsaid => None,
        }
    }
}
