//! The gateway's side of TLS towards an upstream.
//!
//! Owns what is read from files for it and the identity that keeps connections
//! made under different terms apart: Pingora's pool looks at neither authorities
//! nor more of a client certificate than its serial number. Connecting is
//! Pingora's.

use std::{
    any::Any,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use boring::{
    sha::Sha256,
    ssl::{SslRef, SslVersion},
    x509::X509,
};
use boring_sys as ffi;
use foreign_types::ForeignTypeRef;
use pingora::{protocols::tls::HandshakeCompleteHook, utils::tls::CertKey};

use super::{
    authorities::{Authorities, fingerprint},
    facts::ClientCertificate,
    files::Files,
    names::is_host,
    pair::{Pair, PairFiles},
    validity,
};
use crate::config::{Problems, Source, types::SanPattern, upstream::UpstreamTlsSpec};

/// What connections to an upstream need; immutable.
#[derive(Clone)]
pub struct UpstreamTls {
    /// The authorities that may have signed the endpoints' certificates; `None`
    /// means the system's.
    pub ca: Option<Arc<Box<[X509]>>>,
    /// The certificate that the gateway shows.
    pub client: Option<Arc<CertKey>>,
    /// The chain's file, and until when that certificate is valid.
    pub shown: Option<(PathBuf, SystemTime)>,
    /// Whether the endpoint's certificate has to have `server_name`; else
    /// [`PeerCheck`] looks for other names.
    pub verify_name: bool,
    /// What Pingora does not look at.
    pub check: Arc<PeerCheck>,
    /// Equal for equal terms, across reloads and processes: for
    /// `HttpPeer.group_key`.
    pub identity: u64,
}

impl UpstreamTls {
    /// Reads every file that the section names. `source` is the section's place.
    ///
    /// `None` when anything stops it from being used; then `problems` says what.
    pub fn build(
        spec: &UpstreamTlsSpec,
        source: &Source,
        resolve: &dyn Fn(&Path) -> PathBuf,
        now: SystemTime,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut found = Problems::default();
        let files = Files { resolve, now };
        check_name(&spec.server_name, &source.key("server_name"), &mut found);
        let ca = spec.ca.as_ref().and_then(|path| load_ca(path, files, &source.key("ca"), &mut found));
        let client = spec.client.as_ref().and_then(|client| {
            let source = source.key("client");
            let (chain_source, key_source) = (source.key("chain"), source.key("key"));
            let paths = PairFiles { chain: &client.chain, key: &client.key, chain_source, key_source };
            Pair::load(&paths, files, &mut found)
        });
        let failed = found.has_errors();
        problems.extend(found);
        let identity = identity(ca.as_ref(), client.as_ref(), &spec.names);
        (!failed).then(|| Self {
            ca: ca.map(|ca| Arc::new(ca.certificates.into_boxed_slice())),
            shown: client.as_ref().map(|pair| (pair.file.clone(), validity::not_after(&pair.leaf))),
            client: client.map(|pair| Arc::new(cert_key(pair))),
            verify_name: spec.names.is_empty(),
            check: Arc::new(PeerCheck { names: spec.names.as_slice().into() }),
            identity,
        })
    }
}

/// What is wrong with an endpoint whose certificate Pingora accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PeerFault {
    /// It speaks TLS 1.1 or older; Pingora offers 1.0.
    Version,
    /// Its certificate has none of the names that it has to have.
    Name,
}

impl PeerFault {
    /// The word for the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Version => "tls_version",
            Self::Name => "certificate_name",
        }
    }
}

/// The second look at an endpoint, after its handshake.
#[derive(Debug)]
pub struct PeerCheck {
    names: Box<[SanPattern]>,
}

impl PeerCheck {
    /// Pingora's way to it: what `told` makes of a fault lies in the connection's digest.
    pub fn hook(
        self: Arc<Self>,
        told: impl Fn(PeerFault) -> Arc<dyn Any + Send + Sync> + Send + Sync + 'static,
    ) -> HandshakeCompleteHook {
        Arc::new(move |ssl| self.judge(ssl).map(&told))
    }

    /// Looks at a finished handshake. Of an endpoint that is not the right one the
    /// connection is of no more use: nothing can be written to it or read from it, so
    /// that none gets into a pool.
    fn judge(&self, ssl: &SslRef) -> Option<PeerFault> {
        let fault = self.fault(ssl)?;
        let both = ffi::SSL_SENT_SHUTDOWN | ffi::SSL_RECEIVED_SHUTDOWN;
        // SAFETY: the connection is there, and its only user is between two calls.
        unsafe { ffi::SSL_set_shutdown(ssl.as_ptr(), both) };
        Some(fault)
    }

    fn fault(&self, ssl: &SslRef) -> Option<PeerFault> {
        if !matches!(ssl.version2(), Some(SslVersion::TLS1_2 | SslVersion::TLS1_3)) {
            return Some(PeerFault::Version);
        }
        if self.names.is_empty() {
            return None;
        }
        let own = ssl.peer_certificate().and_then(|certificate| ClientCertificate::read(&certificate));
        let names = own.as_ref().map(ClientCertificate::names);
        let is_named = names.is_some_and(|names| self.names.iter().any(|name| name.fits(&names)));
        (!is_named).then_some(PeerFault::Name)
    }
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// An empty name would turn verification off in Pingora, and an address is not
/// looked for in certificates there.
fn check_name(name: &str, source: &Source, problems: &mut Problems) {
    if !is_host(name) || name.parse::<IpAddr>().is_ok() {
        let text = format!("`{name}` is not a host name; write the DNS name in the endpoints' certificate");
        problems.error(source, text);
    }
}

/// Reads the authorities that a server's certificate must come from. `source` is the
/// place of the key that names the file.
///
/// `None` when anything stops them from being used; then `problems` says what.
pub fn authorities(
    path: &Path,
    source: &Source,
    resolve: &dyn Fn(&Path) -> PathBuf,
    now: SystemTime,
    problems: &mut Problems,
) -> Option<Box<[X509]>> {
    let mut found = Problems::default();
    let ca = load_ca(path, Files { resolve, now }, source, &mut found);
    let failed = found.has_errors();
    problems.extend(found);
    ca.filter(|_| !failed).map(|ca| ca.certificates.into_boxed_slice())
}

fn load_ca(path: &Path, files: Files<'_>, source: &Source, problems: &mut Problems) -> Option<Authorities> {
    let ca = Authorities::load(path, files, source, problems)?;
    if !ca.has_root() {
        let path = (files.resolve)(path);
        let text = format!("`{}` holds no root (self-signed) authority; add the root", path.display());
        problems.error(source, text);
    }
    Some(ca)
}

fn cert_key(pair: Pair) -> CertKey {
    let chain = std::iter::once(pair.leaf).chain(pair.issuers).collect();
    CertKey::new(chain, pair.key)
}

fn identity(ca: Option<&Authorities>, client: Option<&Pair>, names: &[SanPattern]) -> u64 {
    let mut hash = Sha256::new();
    hash.update(&ca.map_or([0; 32], |ca| ca.digest));
    for certificate in client.iter().flat_map(|pair| std::iter::once(&pair.leaf).chain(&pair.issuers)) {
        hash.update(&fingerprint(certificate).unwrap_or_default());
    }
    let mut names: Vec<_> = names.iter().map(ToString::to_string).collect();
    names.sort_unstable();
    for name in names {
        hash.update(name.as_bytes());
        hash.update(b"\n");
    }
    let digest = hash.finish();
    digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{
        testing::{self, Kind, VALID},
        tests::{CA, Folder, ecdsa},
    };

    fn build(folder: &Folder, spec: &str) -> (Option<UpstreamTls>, String) {
        let spec: UpstreamTlsSpec = serde_yaml::from_str(spec).unwrap();
        let mut problems = Problems::default();
        let resolve = |path: &Path| folder.path().join(path);
        let source = Source::file("t.yaml").key("tls");
        let built = UpstreamTls::build(&spec, &source, &resolve, SystemTime::now(), &mut problems);
        (built, problems.to_string().replace(folder.path().to_str().unwrap(), "DIR"))
    }

    #[test]
    fn authorities_and_certificate_are_read() {
        let folder = Folder::with(&["gw"]);

        let plain = build(&folder, "server_name: orders.internal").0.unwrap();
        let spec = "{ server_name: orders.internal, ca: ca.pem, client: { chain: gw.pem, key: gw.key } }";
        let (full, told) = build(&folder, spec);
        let full = full.unwrap();

        assert_eq!(told, "");
        assert!(plain.ca.is_none() && plain.client.is_none());
        assert_eq!(full.ca.unwrap().len(), 1);
        let shown = full.client.unwrap().leaf().to_pem().unwrap();
        assert_eq!(shown, std::fs::read(folder.path().join("gw.pem")).unwrap());
    }

    #[test]
    fn the_identity_changes_with_authorities_and_certificate_alone() {
        let folder = Folder::with(&["gw"]);
        let spec = "{ server_name: a, ca: ca.pem, client: { chain: gw.pem, key: gw.key } }";
        let identity = |spec: &str| build(&folder, spec).0.unwrap().identity;

        let none = identity("server_name: a");
        let ca = identity("{ server_name: a, ca: ca.pem }");
        let both = identity(spec);
        let root = CA.pem().unwrap();
        folder.write("ca.pem", &format!("{root}{root}"));
        let reordered = identity(spec);
        folder.pair("gw", &ecdsa(&["gw"]));
        let renewed = identity(spec);
        folder.write("ca.pem", &testing::ca("Other").unwrap().pem().unwrap());
        let rotated = identity(spec);
        let named = identity("{ server_name: a, names: [\"dns:b.test\", \"dns:a.test\"] }");
        let turned = identity("{ server_name: a, names: [\"dns:a.test\", \"dns:b.test\"] }");

        assert_eq!((both, named), (reordered, turned));
        let all = std::collections::HashSet::from([none, ca, both, renewed, rotated, named]);
        assert_eq!(all.len(), 6);
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let folder = Folder::with(&["gw"]);
        folder.pair("short", &testing::leaf(&CA, &["gw"], Kind::Rsa(1024), VALID).unwrap());
        folder.write("issuing.pem", &testing::intermediate(&CA, "Issuing").unwrap().pem().unwrap());
        let spec = "{ server_name: \"\", ca: issuing.pem, client: { chain: short.pem, key: short.key } }";

        let (built, told) = build(&folder, spec);

        assert!(built.is_none());
        assert_eq!(
            told,
            "\
error: t.yaml: tls.server_name: `` is not a host name; write the DNS name in the endpoints' certificate
error: t.yaml: tls.ca: `DIR/issuing.pem` holds no root (self-signed) authority; add the root
error: t.yaml: tls.client.key: `DIR/short.key` is an RSA key of 1024 bits; use 2048 bits or ECDSA P-256
"
        );
        for bad in ["10.0.0.1", "orders internal", "*.internal", "orders:8443"] {
            let (built, _) = build(&folder, &format!("server_name: \"{bad}\""));
            assert!(built.is_none(), "{bad}");
        }
    }
}
