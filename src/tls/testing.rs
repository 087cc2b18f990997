//! Makes certificates for tests.
//!
//! Not for service: keys are fresh and unprotected, names unchecked. Public
//! because the tests of the binary need it too.

use std::{
    ops::Range,
    time::{SystemTime, UNIX_EPOCH},
};

use boring::{
    asn1::Asn1Time,
    bn::{BigNum, MsbOption},
    ec::{EcGroup, EcKey},
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    rsa::Rsa,
    x509::{
        X509, X509Builder, X509Name,
        extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName},
    },
};

/// Valid since an hour and for a quarter of a year.
pub const VALID: Range<i64> = -3_600..90 * 86_400;

/// A certificate authority.
pub struct Authority {
    /// Its certificate.
    pub certificate: X509,
    key: PKey<Private>,
}

impl Authority {
    /// Its certificate as PEM.
    ///
    /// # Errors
    /// BoringSSL's.
    pub fn pem(&self) -> Result<String, ErrorStack> {
        pem(&self.certificate)
    }
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate, alone.
    pub chain: String,
    /// The key, PKCS#8.
    pub key: String,
}

/// What kind of key to make.
#[derive(Clone, Copy)]
pub enum Kind {
    /// On P-256.
    Ecdsa,
    /// With so many bits.
    Rsa(u32),
}

/// An authority that signed itself.
///
/// # Errors
/// BoringSSL's.
pub fn ca(name: &str) -> Result<Authority, ErrorStack> {
    authority(name, None)
}

/// An authority that another signed.
///
/// # Errors
/// BoringSSL's.
pub fn intermediate(root: &Authority, name: &str) -> Result<Authority, ErrorStack> {
    authority(name, Some(root))
}

/// A server's certificate. `valid` is in seconds from now.
///
/// # Errors
/// BoringSSL's.
pub fn leaf(ca: &Authority, names: &[&str], kind: Kind, valid: Range<i64>) -> Result<Issued, ErrorStack> {
    let key = key(kind)?;
    let mut builder = builder(names.first().unwrap_or(&"nobody"), valid, &key)?;
    builder.append_extension(ExtendedKeyUsage::new().server_auth().build()?.as_ref())?;
    if !names.is_empty() {
        let mut alternatives = SubjectAlternativeName::new();
        for name in names {
            alternatives.dns(name);
        }
        let extension = alternatives.build(&builder.x509v3_context(None, None))?;
        builder.append_extension(&extension)?;
    }
    issued(sign(builder, ca)?, &key)
}

/// A client's certificate, with a URI (SPIFFE id) when given. `valid` is in
/// seconds from now.
///
/// # Errors
/// BoringSSL's.
pub fn client(
    ca: &Authority,
    common_name: &str,
    uri: Option<&str>,
    valid: Range<i64>,
) -> Result<Issued, ErrorStack> {
    let key = key(Kind::Ecdsa)?;
    let mut builder = builder(common_name, valid, &key)?;
    builder.append_extension(ExtendedKeyUsage::new().client_auth().build()?.as_ref())?;
    if let Some(uri) = uri {
        let extension = SubjectAlternativeName::new().uri(uri).build(&builder.x509v3_context(None, None))?;
        builder.append_extension(&extension)?;
    }
    issued(sign(builder, ca)?, &key)
}

fn authority(name: &str, root: Option<&Authority>) -> Result<Authority, ErrorStack> {
    let key = key(Kind::Ecdsa)?;
    let mut builder = builder(name, VALID, &key)?;
    builder.append_extension(BasicConstraints::new().critical().ca().build()?.as_ref())?;
    builder.append_extension(KeyUsage::new().critical().key_cert_sign().build()?.as_ref())?;
    let certificate = match root {
        Some(root) => sign(builder, root)?,
        None => {
            let subject = x509_name(name)?;
            builder.set_issuer_name(&subject)?;
            builder.sign(&key, MessageDigest::sha256())?;
            builder.build()
        }
    };
    Ok(Authority { certificate, key })
}

fn builder(name: &str, valid: Range<i64>, key: &PKey<Private>) -> Result<X509Builder, ErrorStack> {
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let mut serial = BigNum::new()?;
    serial.rand(120, MsbOption::ONE, false)?;
    builder.set_serial_number(serial.to_asn1_integer()?.as_ref())?;
    let subject = x509_name(name)?;
    builder.set_subject_name(&subject)?;
    builder.set_pubkey(key)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let at = |offset: i64| Asn1Time::from_unix(now as i64 + offset);
    builder.set_not_before(at(valid.start)?.as_ref())?;
    builder.set_not_after(at(valid.end)?.as_ref())?;
    Ok(builder)
}

fn x509_name(common_name: &str) -> Result<X509Name, ErrorStack> {
    let mut name = X509Name::builder()?;
    name.append_entry_by_nid(Nid::ORGANIZATIONNAME, "Tollgate tests")?;
    name.append_entry_by_nid(Nid::COMMONNAME, common_name)?;
    Ok(name.build())
}

fn key(kind: Kind) -> Result<PKey<Private>, ErrorStack> {
    match kind {
        Kind::Ecdsa => {
            let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
            PKey::from_ec_key(EcKey::generate(&group)?)
        }
        Kind::Rsa(bits) => PKey::from_rsa(Rsa::generate(bits)?),
    }
}

fn sign(mut builder: X509Builder, ca: &Authority) -> Result<X509, ErrorStack> {
    builder.set_issuer_name(ca.certificate.subject_name())?;
    builder.sign(&ca.key, MessageDigest::sha256())?;
    Ok(builder.build())
}

fn issued(certificate: X509, key: &PKey<Private>) -> Result<Issued, ErrorStack> {
    let key = String::from_utf8_lossy(&key.private_key_to_pem_pkcs8()?).into_owned();
    Ok(Issued { chain: pem(&certificate)?, key })
}

fn pem(certificate: &X509) -> Result<String, ErrorStack> {
    Ok(String::from_utf8_lossy(&certificate.to_pem()?).into_owned())
}
