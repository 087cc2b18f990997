//! Handshakes in memory, against the acceptor as the edge uses it.

mod choice;
mod client_auth;
mod failures;
mod problems;
mod revocation;
mod sessions;
mod tickets;

use std::{
    fmt, fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, LazyLock, Mutex},
    time::SystemTime,
};

use arc_swap::ArcSwapOption;
use boring::{
    pkey::PKey,
    ssl::{Ssl, SslContext, SslContextBuilder, SslMethod, SslSession, SslSessionCacheMode, SslVersion},
    x509::X509,
};
use pingora::protocols::tls::SslStream;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::{
    Acceptor, HandshakeError, TicketRing, TlsFacts, TlsTable,
    testing::{self, Authority, Issued, Kind, VALID},
};
use crate::config::{Problems, Source, listener::TlsSpec};

pub(super) const BOTH_VERSIONS: [SslVersion; 2] = [SslVersion::TLS1_2, SslVersion::TLS1_3];

/// Who signs everything here.
pub(super) static CA: LazyLock<Authority> = LazyLock::new(|| testing::ca("Test root").unwrap());

/// An ECDSA certificate, valid now.
pub(super) fn ecdsa(names: &[&str]) -> Issued {
    testing::leaf(&CA, names, Kind::Ecdsa, VALID).unwrap()
}

/// A folder with a configuration's files.
pub(super) struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// With one pair for each name, called after it, and the root in `ca.pem`.
    pub fn with(names: &[&str]) -> Self {
        let folder = Self::new();
        names.iter().for_each(|name| folder.pair(name, &ecdsa(&[name])));
        folder.write("ca.pem", &CA.pem().unwrap());
        folder
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Puts a pair into `NAME.pem` and `NAME.key`.
    pub fn pair(&self, name: &str, issued: &Issued) {
        self.write(&format!("{name}.pem"), &issued.chain);
        self.write(&format!("{name}.key"), &issued.key);
    }

    /// Builds a table from a section's text.
    pub fn build(&self, spec: &str) -> (Option<TlsTable>, Problems) {
        let spec: TlsSpec = serde_yaml::from_str(spec).unwrap();
        let mut problems = Problems::default();
        let resolve = |path: &Path| self.path().join(path);
        let source = Source::file("tollgate.yaml").key("listeners").entry(0).key("tls");
        let table = TlsTable::build(&spec, &source, &resolve, SystemTime::now(), &mut problems);
        (table, problems)
    }

    /// The problems of a section's text, one a line, the folder shown as `DIR`.
    pub fn told(&self, spec: &str) -> String {
        let (table, problems) = self.build(spec);
        assert_eq!(table.is_none(), problems.has_errors());
        problems.to_string().replace(self.path().to_str().unwrap(), "DIR")
    }
}

/// A section that lists pairs by their names.
pub(super) fn listing(names: &[&str], more: &str) -> String {
    let entry = |name: &&str| format!("{{ chain: {name}.pem, key: {name}.key }}");
    let entries: Vec<String> = names.iter().map(entry).collect();
    format!("certificates: [{}]\n{more}", entries.join(", "))
}

/// A listener with its table.
pub(super) struct Gateway {
    acceptor: Acceptor,
    table: Arc<ArcSwapOption<TlsTable>>,
}

impl Gateway {
    pub fn new(folder: &Folder, spec: &str) -> Self {
        Self::sealing(folder, spec, Arc::default())
    }

    /// With the ticket keys of a process.
    pub fn sealing(folder: &Folder, spec: &str, tickets: Arc<TicketRing>) -> Self {
        let table = Arc::new(ArcSwapOption::empty());
        let current = table.clone();
        let acceptor = Acceptor::new(move || current.load_full(), tickets).unwrap();
        let gateway = Self { acceptor, table };
        gateway.reload(folder, spec);
        gateway
    }

    pub fn reload(&self, folder: &Folder, spec: &str) {
        let (table, problems) = folder.build(spec);
        assert!(!problems.has_errors(), "{problems}");
        self.table.store(table.map(Arc::new));
    }

    pub fn without_table(&self) {
        self.table.store(None);
    }

    /// One end of a connection whose other end the acceptor has.
    pub async fn accept(
        &self,
        stream: DuplexStream,
    ) -> Result<(TlsFacts, SslStream<DuplexStream>), HandshakeError> {
        let stream = self.acceptor.accept(stream).await?;
        let facts = stream.ssl_digest().unwrap().extension.get::<TlsFacts>().unwrap().clone();
        Ok((facts, stream))
    }

    /// A handshake and one byte from the server, so that tickets have come.
    pub async fn meet(&self, client: &Client, name: Option<&str>, session: Option<&SslSession>) -> Meeting {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let server = async {
            let (facts, mut stream) = self.accept(ours).await?;
            // A client that does not like the certificate is gone by now.
            let _ = stream.write_all(b"!").await;
            let _ = stream.flush().await;
            Ok(facts)
        };
        let (server, client) = tokio::join!(server, client.connect(theirs, name, session));
        Meeting { server, client }
    }
}

/// What both sides of a handshake think of it.
#[derive(Debug)]
pub(super) struct Meeting {
    pub server: Result<TlsFacts, HandshakeError>,
    pub client: Result<Seen, String>,
}

impl Meeting {
    /// The first DNS name of the server's certificate, when both agree.
    pub fn shown(&self) -> String {
        let (_, seen) = self.both();
        let names = seen.certificate.subject_alt_names().unwrap();
        names.iter().next().unwrap().dnsname().unwrap().to_owned()
    }

    pub fn both(&self) -> (&TlsFacts, &Seen) {
        (self.server.as_ref().unwrap(), self.client.as_ref().unwrap())
    }

    pub fn session(&self) -> &SslSession {
        self.both().1.session.as_ref().unwrap()
    }

    pub fn resumed(&self) -> bool {
        let (facts, seen) = self.both();
        assert_eq!(facts.resumed, seen.resumed);
        facts.resumed
    }
}

/// What the client saw.
pub(super) struct Seen {
    pub certificate: X509,
    pub alpn: Option<Vec<u8>>,
    pub resumed: bool,
    pub session: Option<SslSession>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").field("resumed", &self.resumed).finish_non_exhaustive()
    }
}

/// A client with its settings; it trusts [`CA`].
pub(super) struct Client {
    context: SslContext,
    last: Arc<Mutex<Option<SslSession>>>,
}

impl Client {
    pub fn new(settings: impl FnOnce(&mut SslContextBuilder)) -> Self {
        let last = Arc::new(Mutex::new(None));
        let keep = last.clone();
        let mut builder = SslContext::builder(SslMethod::tls()).unwrap();
        builder.set_verify(boring::ssl::SslVerifyMode::PEER);
        builder.cert_store_mut().add_cert(&CA.certificate).unwrap();
        builder.set_session_cache_mode(SslSessionCacheMode::CLIENT);
        builder.set_new_session_callback(move |_, session| *keep.lock().unwrap() = Some(session));
        settings(&mut builder);
        Self { context: builder.build(), last }
    }

    pub fn of_version(version: SslVersion) -> Self {
        Self::new(|builder| only(builder, version))
    }

    async fn connect(
        &self,
        stream: DuplexStream,
        name: Option<&str>,
        session: Option<&SslSession>,
    ) -> Result<Seen, String> {
        let mut ssl = Ssl::new(&self.context).unwrap();
        if let Some(name) = name {
            ssl.set_hostname(name).unwrap();
        }
        if let Some(session) = session {
            // SAFETY: sessions come from this client's own context.
            unsafe { ssl.set_session(session).unwrap() };
        }
        let mut stream = SslStream::new(ssl, stream).unwrap();
        stream.connect().await.map_err(|error| error.to_string())?;
        stream.read_u8().await.map_err(|error| error.to_string())?;
        let ssl = stream.ssl();
        Ok(Seen {
            certificate: ssl.peer_certificate().unwrap(),
            alpn: ssl.selected_alpn_protocol().map(<[u8]>::to_vec),
            resumed: ssl.session_reused(),
            session: self.last.lock().unwrap().take(),
        })
    }
}

/// Offers no other version.
pub(super) fn only(builder: &mut SslContextBuilder, version: SslVersion) {
    builder.set_min_proto_version(Some(version)).unwrap();
    builder.set_max_proto_version(Some(version)).unwrap();
}

/// Shows a certificate when asked.
pub(super) fn show(builder: &mut SslContextBuilder, issued: &Issued) {
    builder.set_certificate(&X509::from_pem(issued.chain.as_bytes()).unwrap()).unwrap();
    builder.set_private_key(&PKey::private_key_from_pem(issued.key.as_bytes()).unwrap()).unwrap();
}
