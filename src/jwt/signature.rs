//! Signatures as RFC 7518 and RFC 8037 have them, through BoringSSL.
//!
//! Nothing is parsed for a signature, and nothing of Rust's is allocated. ECDSA is
//! `r` and `s` of fixed width here, and DER nowhere else.

use std::fmt;

use boring::{
    bn::BigNum,
    ecdsa::EcdsaSig,
    error::ErrorStack,
    hash::MessageDigest,
    pkey::{HasPublic, PKeyRef, Private},
    rsa::Padding,
    sign::{RsaPssSaltlen, Signer, Verifier},
};

use crate::config::signer::Algorithm;

/// Why there is no token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignError {
    /// The library could not sign: it has no memory left.
    Library,
    /// The claims are longer than any header field should be.
    TooLong,
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Library => "the library could not sign",
            Self::TooLong => "the claims are too long for a header field",
        })
    }
}

impl std::error::Error for SignError {}

/// Signs `input` into the whole of `out`, which has the length that
/// [`length`] says.
pub(super) fn sign(
    key: &PKeyRef<Private>,
    algorithm: Algorithm,
    input: &[u8],
    out: &mut [u8],
) -> Result<(), SignError> {
    let written = match algorithm {
        Algorithm::Es256 => return sign_es256(key, input, out),
        Algorithm::EdDsa => Signer::new_without_digest(key).and_then(|mut s| s.sign_oneshot(out, input)),
        Algorithm::Rs256 => rsa_signer(key, false).and_then(|mut s| s.sign_oneshot(out, input)),
        Algorithm::Ps256 => rsa_signer(key, true).and_then(|mut s| s.sign_oneshot(out, input)),
    };
    written.ok().filter(|written| *written == out.len()).map(|_| ()).ok_or(SignError::Library)
}

/// Whether `signature` is one of `input` by this key. Of a wrong length it is not.
pub(super) fn verify<T: HasPublic>(
    key: &PKeyRef<T>,
    algorithm: Algorithm,
    input: &[u8],
    signature: &[u8],
) -> bool {
    if signature.len() != length(key, algorithm) {
        return false;
    }
    let checked = match algorithm {
        Algorithm::Es256 => verify_es256(key, input, signature),
        Algorithm::EdDsa => {
            Verifier::new_without_digest(key).and_then(|mut v| v.verify_oneshot(signature, input))
        }
        Algorithm::Rs256 | Algorithm::Ps256 => verify_rsa(key, algorithm, input, signature),
    };
    // An error is what a forged signature is, too.
    checked.unwrap_or(false)
}

/// How many bytes a signature has; always the same for a key.
pub(super) fn length<T>(key: &PKeyRef<T>, algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Es256 | Algorithm::EdDsa => 64,
        Algorithm::Rs256 | Algorithm::Ps256 => key.size(),
    }
}

fn sign_es256(key: &PKeyRef<Private>, input: &[u8], out: &mut [u8]) -> Result<(), SignError> {
    let mut der = [0; MAX_DER];
    let written = Signer::new(MessageDigest::sha256(), key).and_then(|mut s| s.sign_oneshot(&mut der, input));
    let der = written.ok().and_then(|written| der.get(..written)).ok_or(SignError::Library)?;
    write_fixed(der, out).ok_or(SignError::Library)
}

/// `r` and `s` out of the DER that BoringSSL made: two integers of less than 128
/// bytes, each with its sign byte or without leading zeros.
fn write_fixed(der: &[u8], out: &mut [u8]) -> Option<()> {
    let [0x30, _, rest @ ..] = der else { return None };
    let (r, rest) = integer(rest)?;
    let (s, _) = integer(rest)?;
    let (left, right) = out.split_at_mut_checked(32)?;
    pad(r, left)?;
    pad(s, right)
}

fn integer(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x02, length, rest @ ..] = der else { return None };
    let (value, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((value.strip_prefix(&[0]).unwrap_or(value), rest))
}

fn pad(value: &[u8], out: &mut [u8]) -> Option<()> {
    let zeros = out.len().checked_sub(value.len())?;
    let (zeros, place) = out.split_at_mut_checked(zeros)?;
    zeros.fill(0);
    place.copy_from_slice(value);
    Some(())
}

fn verify_es256<T: HasPublic>(key: &PKeyRef<T>, input: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let signature = EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?;
    signature.verify(&boring::sha::sha256(input), key.ec_key()?.as_ref())
}

fn rsa_signer(key: &PKeyRef<Private>, is_pss: bool) -> Result<Signer<'_>, ErrorStack> {
    let mut signer = Signer::new(MessageDigest::sha256(), key)?;
    if is_pss {
        signer.set_rsa_padding(Padding::PKCS1_PSS)?;
        signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
    }
    Ok(signer)
}

fn verify_rsa<T: HasPublic>(
    key: &PKeyRef<T>,
    algorithm: Algorithm,
    input: &[u8],
    signature: &[u8],
) -> Result<bool, ErrorStack> {
    let mut verifier = Verifier::new(MessageDigest::sha256(), key)?;
    if algorithm == Algorithm::Ps256 {
        verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
        verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
    }
    verifier.verify_oneshot(signature, input)
}

/// Two integers of 33 bytes with 2 in front of each, and 2 in front of both.
const MAX_DER: usize = 72;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_integers_are_padded_and_sign_bytes_dropped() {
        let mut out = [0xff; 64];

        write_fixed(&[0x30, 9, 2, 3, 0, 0x80, 1, 2, 2, 0x7f, 3], &mut out).unwrap();

        let mut expected = [0; 64];
        expected[30..32].copy_from_slice(&[0x80, 1]);
        expected[62..].copy_from_slice(&[0x7f, 3]);
        assert_eq!(out, expected);
    }

    #[test]
    fn what_is_no_pair_of_integers_is_no_signature() {
        for bad in [&[][..], &[0x30, 0], &[0x30, 2, 2, 9], &[0x31, 6, 2, 1, 1, 2, 1, 1]] {
            assert_eq!(write_fixed(bad, &mut [0; 64]), None, "{bad:?}");
        }
    }
}
