//! What a handshake told about a connection and about its client.
//!
//! Owns the reading of BoringSSL's state. What follows from it is decided where
//! requests are: principal, 421, log line.

use std::{fmt::Write, time::SystemTime};

use boring::{
    ssl::SslRef,
    x509::{X509NameRef, X509Ref},
};

use super::{authorities::fingerprint, policy::PolicyId, validity};

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
}

impl TlsFacts {
    /// Reads a finished handshake.
    pub(super) fn read(ssl: &SslRef, server_name: Option<Box<str>>, policy: PolicyId) -> Self {
        let cipher = ssl.current_cipher();
        // What an open policy did not verify must not be believed.
        let asked = policy != PolicyId::OPEN;
        let certificate = asked.then(|| ssl.peer_certificate()).flatten();
        Self {
            server_name,
            policy,
            version: ssl.version_str(),
            cipher: cipher.map_or("", |cipher| cipher.standard_name().unwrap_or_else(|| cipher.name())),
            curve: ssl.curve_name(),
            resumed: ssl.session_reused(),
            client_certificate: certificate.and_then(|certificate| ClientCertificate::read(&certificate)),
        }
    }
}

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
    /// Until when it is valid.
    pub not_after: SystemTime,
}

impl ClientCertificate {
    /// `None` when it cannot be read; then there is no principal in it either.
    fn read(certificate: &X509Ref) -> Option<Self> {
        let serial = certificate.serial_number().to_bn().ok()?.to_hex_str().ok()?;
        let names = certificate.subject_alt_names();
        let names = || names.iter().flatten();
        Some(Self {
            subject: subject(certificate.subject_name()).into(),
            fingerprint: fingerprint(certificate)?,
            serial: serial.to_ascii_lowercase().into(),
            dns_names: names().filter_map(|name| name.dnsname().map(Box::from)).collect(),
            uris: names().filter_map(|name| name.uri().map(Box::from)).collect(),
            not_after: validity::not_after(certificate),
        })
    }
}

/// A name as one line. Everything that could pass for a separator or end the
/// line is escaped: a common name cannot play an organisation.
fn subject(name: &X509NameRef) -> String {
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
