//! A certificate of a fresh key, signed by that key itself: it carries the public key to
//! verifiers that expect one, and vouches for nothing.

use boring::{
    asn1::Asn1Time,
    bn::{BigNum, MsbOption},
    error::ErrorStack,
    hash::MessageDigest,
    pkey::PKey,
    x509::{X509, X509Name},
};

/// In PEM, for the key in `pem`, from now on.
///
/// # Errors
/// BoringSSL's: for a name that is too long, and for an Ed25519 key, which signs no digest.
pub fn of(pem: &[u8], name: &str) -> Result<Vec<u8>, ErrorStack> {
    let key = PKey::private_key_from_pem(pem)?;
    let mut subject = X509Name::builder()?;
    subject.append_entry_by_text("CN", name)?;
    let subject = subject.build();
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;

    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(serial.to_asn1_integer()?.as_ref())?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(&subject)?;
    builder.set_pubkey(&key)?;
    builder.set_not_before(Asn1Time::days_from_now(0)?.as_ref())?;
    builder.set_not_after(Asn1Time::days_from_now(TEN_YEARS)?.as_ref())?;
    builder.sign(&key, MessageDigest::sha256())?;
    builder.build().to_pem()
}

/// In days: keys are changed long before, and nobody is to wake up over its end.
const TEN_YEARS: u32 = 3650;
