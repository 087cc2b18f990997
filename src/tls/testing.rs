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
use boring_sys as ffi;
use foreign_types::{ForeignType, ForeignTypeRef};

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
    let uris = uri.as_slice();
    wished(ca, &Wish { common_name, uris, valid, ..Wish::default() })
}

/// What a certificate is to say.
pub struct Wish<'a> {
    /// In its subject.
    pub common_name: &'a str,
    /// In its alternative names.
    pub uris: &'a [&'a str],
    /// In its alternative names.
    pub dns: &'a [&'a str],
    /// Whether it is for clients (extended key usage).
    pub client_auth: bool,
    /// Whether it is for servers.
    pub server_auth: bool,
    /// In seconds from now.
    pub valid: Range<i64>,
}

impl Default for Wish<'_> {
    fn default() -> Self {
        Self {
            common_name: "client",
            uris: &[],
            dns: &[],
            client_auth: true,
            server_auth: false,
            valid: VALID,
        }
    }
}

/// A certificate as wished.
///
/// # Errors
/// BoringSSL's.
pub fn wished(ca: &Authority, wish: &Wish<'_>) -> Result<Issued, ErrorStack> {
    let key = key(Kind::Ecdsa)?;
    let mut builder = builder(wish.common_name, wish.valid.clone(), &key)?;
    builder.append_extension(KeyUsage::new().critical().digital_signature().build()?.as_ref())?;
    if wish.client_auth || wish.server_auth {
        let mut usage = ExtendedKeyUsage::new();
        wish.client_auth.then(|| usage.client_auth());
        wish.server_auth.then(|| usage.server_auth());
        builder.append_extension(usage.build()?.as_ref())?;
    }
    if !(wish.uris.is_empty() && wish.dns.is_empty()) {
        let mut names = SubjectAlternativeName::new();
        wish.uris.iter().for_each(|uri| _ = names.uri(uri));
        wish.dns.iter().for_each(|name| _ = names.dns(name));
        let extension = names.build(&builder.x509v3_context(None, None))?;
        builder.append_extension(&extension)?;
    }
    issued(sign(builder, ca)?, &key)
}

/// A list of what an authority revoked, PEM. `valid` is in seconds from now; without an
/// end the list does not say when the next one comes.
///
/// # Errors
/// BoringSSL's.
pub fn revoked(ca: &Authority, revoked: &[&Issued], valid: (i64, Option<i64>)) -> Result<String, ErrorStack> {
    revoked_of(ca, revoked, valid, None)
}

/// The same for a part of what the authority issued: an issuing distribution point, DER.
///
/// # Errors
/// BoringSSL's.
pub fn revoked_of(
    ca: &Authority,
    revoked: &[&Issued],
    valid: (i64, Option<i64>),
    part: Option<&[u8]>,
) -> Result<String, ErrorStack> {
    let revoked = revoked.iter().map(|issued| X509::from_pem(issued.chain.as_bytes()));
    let revoked = revoked.collect::<Result<Vec<_>, _>>()?;
    let (from, until) = (time(valid.0)?, valid.1.map(time).transpose()?);
    // SAFETY: what is added or written is BoringSSL's, and freed by it with the list.
    unsafe {
        let list = ffi::X509_CRL_new();
        ffi::X509_CRL_set_version(list, 1);
        ffi::X509_CRL_set_issuer_name(list, ca.certificate.subject_name().as_ptr());
        ffi::X509_CRL_set1_lastUpdate(list, from.as_ptr());
        until.iter().for_each(|until| _ = ffi::X509_CRL_set1_nextUpdate(list, until.as_ptr()));
        for certificate in &revoked {
            let entry = ffi::X509_REVOKED_new();
            ffi::X509_REVOKED_set_serialNumber(entry, certificate.serial_number().as_ptr());
            ffi::X509_REVOKED_set_revocationDate(entry, from.as_ptr());
            ffi::X509_CRL_add0_revoked(list, entry);
        }
        if let Some(part) = part {
            let (nid, mut at) = (ffi::NID_issuing_distribution_point, part.as_ptr());
            let length = part.len().try_into().unwrap_or(0);
            let point = ffi::d2i_ISSUING_DIST_POINT(std::ptr::null_mut(), &raw mut at, length);
            ffi::X509_CRL_add1_ext_i2d(list, nid, point.cast(), 1, 0);
            ffi::ISSUING_DIST_POINT_free(point);
        }
        let signed = ffi::X509_CRL_sign(list, ca.key.as_ptr(), MessageDigest::sha256().as_ptr());
        let bio = ffi::BIO_new(ffi::BIO_s_mem());
        ffi::PEM_write_bio_X509_CRL(bio, list);
        let (mut bytes, mut length) = (std::ptr::null(), 0);
        ffi::BIO_mem_contents(bio, &raw mut bytes, &raw mut length);
        let text = String::from_utf8_lossy(std::slice::from_raw_parts(bytes, length)).into_owned();
        ffi::BIO_free(bio);
        ffi::X509_CRL_free(list);
        if signed == 0 { Err(ErrorStack::get()) } else { Ok(text) }
    }
}

fn time(offset: i64) -> Result<Asn1Time, ErrorStack> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Asn1Time::from_unix(now as i64 + offset)
}

fn authority(name: &str, root: Option<&Authority>) -> Result<Authority, ErrorStack> {
    let key = key(Kind::Ecdsa)?;
    let mut builder = builder(name, VALID, &key)?;
    builder.append_extension(BasicConstraints::new().critical().ca().build()?.as_ref())?;
    builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?.as_ref())?;
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
    builder.set_not_before(time(valid.start)?.as_ref())?;
    builder.set_not_after(time(valid.end)?.as_ref())?;
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
