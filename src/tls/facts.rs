//! What a handshake told about a connection and about its client.
//!
//! Owns the reading of BoringSSL's state. What follows from it is decided where
//! requests are: principal, 421, log line.

use std::{
    fmt::{self, Write},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::SystemTime,
};

use boring::{
    ssl::SslRef,
    stack::{Stack, StackRef},
    x509::{X509, X509NameRef, X509Ref},
};
use http::HeaderValue;

use super::{
    authorities::fingerprint,
    policy::{Policy, PolicyId},
    trust::Trust,
    validity,
};
use crate::config::types::CertificateNames;

/// What a handshake told. It lies in the connection's TLS digest:
/// `session.digest()?.ssl_digest?.extension.get::<TlsFacts>()`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFacts {
    /// The host that the client named, lower case; `None` when it named none or
    /// something that is not a host.
    pub server_name: Option<Box<str>>,
    /// The client authentication that this connection went through.
    pub policy: PolicyId,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite's name in the standards.
    pub cipher: &'static str,
    /// The key exchange, as `X25519MLKEM768`.
    pub curve: Option<&'static str>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The client's certificate, verified; on a resumed session the one that was
    /// verified when it was made.
    pub client_certificate: Option<ClientCertificate>,
    /// The same with what the client showed beside it, to be judged again.
    shown: Option<Arc<Shown>>,
}

impl TlsFacts {
    /// Reads a finished handshake.
    pub(super) fn read(ssl: &SslRef, server_name: Option<Box<str>>, policy: PolicyId) -> Self {
        let cipher = ssl.current_cipher();
        // What an open policy did not verify must not be believed.
        let asked = policy != PolicyId::OPEN;
        let certificate = asked.then(|| ssl.peer_certificate()).flatten();
        let shown = certificate.as_ref().and_then(|leaf| Shown::new(leaf, ssl.peer_cert_chain()));
        Self {
            server_name,
            policy,
            version: ssl.version_str(),
            cipher: cipher.map_or("", |cipher| cipher.standard_name().unwrap_or_else(|| cipher.name())),
            curve: ssl.curve_name(),
            resumed: ssl.session_reused(),
            client_certificate: certificate.and_then(|certificate| ClientCertificate::read(&certificate)),
            shown: shown.map(Arc::new),
        }
    }

    /// The client's certificate as a value of `Client-Cert` (RFC 9440), made once for a
    /// connection; `None` where none was verified.
    pub fn client_cert(&self) -> Option<&HeaderValue> {
        self.shown.as_ref()?.field.get_or_init(|| field(&self.shown.as_ref()?.leaf)).as_ref()
    }

    /// Whether the client would come in under a policy that is not the connection's.
    /// Judged once for each.
    pub(super) fn satisfy(&self, policy: &Policy, now: SystemTime) -> bool {
        match (&policy.trust, &self.shown) {
            (Some(trust), Some(shown)) => shown.passes(policy.id, trust, now),
            // It was asked, and had the choice.
            (Some(_), None) => !policy.is_demanding() && self.policy != PolicyId::OPEN,
            // What nobody vouches for any more must not be believed.
            (None, shown) => shown.is_none(),
        }
    }
}

/// What a client showed.
struct Shown {
    leaf: X509,
    beside: Stack<X509>,
    field: OnceLock<Option<HeaderValue>>,
    /// The last judgement under another policy than the connection's.
    judged: Mutex<Option<(PolicyId, bool)>>,
}

impl Shown {
    fn new(leaf: &X509, beside: Option<&StackRef<X509>>) -> Option<Self> {
        let mut copy = Stack::new().ok()?;
        beside.into_iter().flatten().try_for_each(|above| copy.push(above.to_owned())).ok()?;
        Some(Self { leaf: leaf.clone(), beside: copy, field: OnceLock::new(), judged: Mutex::default() })
    }

    fn passes(&self, policy: PolicyId, trust: &Trust, now: SystemTime) -> bool {
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, passes)) = judged.filter(|(known, _)| *known == policy) {
            return passes;
        }
        let passes = trust.judge(&self.leaf, &self.beside, now).is_ok();
        *judged = Some((policy, passes));
        passes
    }
}

/// A byte sequence of structured fields (RFC 8941): base64 between colons.
fn field(leaf: &X509) -> Option<HeaderValue> {
    let der = leaf.to_der().ok()?;
    HeaderValue::try_from(format!(":{}:", boring::base64::encode_block(&der))).ok()
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("beside", &self.beside.len()).finish_non_exhaustive()
    }
}

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        fingerprint(&self.leaf) == fingerprint(&other.leaf)
    }
}

impl Eq for Shown {}

/// A client's certificate, verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertificate {
    /// Its subject, as `CN=billing,O=Example`, in the certificate's order and
    /// with the escapes of RFC 4514.
    pub subject: Box<str>,
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
    /// Its serial number in lower-case hexadecimal; unique per authority alone.
    pub serial: Box<str>,
    /// The DNS names in it.
    pub dns_names: Box<[Box<str>]>,
    /// The URIs in it, SPIFFE ids among them.
    pub uris: Box<[Box<str>]>,
    /// The e-mail addresses in it.
    pub emails: Box<[Box<str>]>,
    /// Until when it is valid.
    pub not_after: SystemTime,
}

impl ClientCertificate {
    /// `None` when it cannot be read; then there is no principal in it either.
    pub(super) fn read(certificate: &X509Ref) -> Option<Self> {
        let serial = certificate.serial_number().to_bn().ok()?.to_hex_str().ok()?;
        let names = certificate.subject_alt_names();
        let names = || names.iter().flatten();
        Some(Self {
            subject: subject(certificate.subject_name()).into(),
            fingerprint: fingerprint(certificate)?,
            serial: serial.to_ascii_lowercase().into(),
            dns_names: names().filter_map(|name| name.dnsname().map(Box::from)).collect(),
            uris: names().filter_map(|name| name.uri().map(Box::from)).collect(),
            emails: names().filter_map(|name| name.email().map(Box::from)).collect(),
            not_after: validity::not_after(certificate),
        })
    }

    /// The SPIFFE id: its only URI, and one of that scheme.
    pub fn spiffe_id(&self) -> Option<&str> {
        let [uri] = &*self.uris else { return None };
        uri.starts_with("spiffe://").then_some(&**uri)
    }

    /// Its names, to be compared with patterns.
    pub fn names(&self) -> CertificateNames<'_> {
        CertificateNames {
            subject: &self.subject,
            spiffe_id: self.spiffe_id(),
            dns: &self.dns_names,
            uris: &self.uris,
            emails: &self.emails,
        }
    }
}

/// A name as one line. Everything that could pass for a separator or end the
/// line is escaped: a common name cannot play an organisation.
pub(super) fn subject(name: &X509NameRef) -> String {
    let mut out = String::new();
    for entry in name.entries() {
        let comma = if out.is_empty() { "" } else { "," };
        let field = entry.object().nid().short_name().unwrap_or("OID");
        // Writing into a String does not fail.
        let _ = write!(out, "{comma}{field}=");
        String::from_utf8_lossy(entry.data().as_slice()).chars().for_each(|char| escape(char, &mut out));
    }
    out
}

fn escape(char: char, out: &mut String) {
    match char {
        ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => out.extend(['\\', char]),
        _ if char.is_control() => {
            let mut bytes = [0; 4];
            char.encode_utf8(&mut bytes).bytes().for_each(|byte| {
                let _ = write!(out, "\\{byte:02x}");
            });
        }
        _ => out.push(char),
    }
}
