//! A private key that signs.
//!
//! Owns what a key has to be for its algorithm. It is parsed once, and is not seen
//! in any text.

use std::fmt;

use boring::{
    ec::{EcGroup, EcKey},
    error::ErrorStack,
    nid::Nid,
    pkey::{Id, PKey, PKeyRef, Private},
    rsa::Rsa,
};

use super::{
    base64url,
    jwk::Jwk,
    signature::{self, SignError},
};
use crate::config::signer::Algorithm;

/// A private key and what it signs with.
pub struct SigningKey {
    key: PKey<Private>,
    signature_length: usize,
    /// Its public half.
    pub public: Jwk,
    /// The certificate that came with it, DER.
    pub certificate: Option<Box<[u8]>>,
}

impl SigningKey {
    /// A key of the right kind and size for the algorithm.
    ///
    /// # Errors
    /// What it is instead.
    pub(super) fn new(key: PKey<Private>, algorithm: Algorithm) -> Result<Self, Unfit> {
        let kind = Kind::of(&key);
        let fits = match algorithm {
            Algorithm::Es256 => kind == Kind::P256,
            Algorithm::EdDsa => kind == Kind::Ed25519,
            Algorithm::Rs256 | Algorithm::Ps256 => matches!(kind, Kind::Rsa(_)),
        };
        if !fits {
            return Err(Unfit::Kind(kind));
        }
        if let Kind::Rsa(bits) = kind
            && !(RSA_BITS.contains(&bits) && bits.is_multiple_of(8))
        {
            return Err(Unfit::Size(bits));
        }
        let public = Jwk::of(&key, algorithm).map_err(|_| Unfit::Kind(kind))?;
        let signature_length = signature::length(&key, algorithm);
        Ok(Self { key, signature_length, public, certificate: None })
    }

    /// A fresh key; RSA with 2048 bits.
    ///
    /// # Errors
    /// BoringSSL's.
    pub fn generate(algorithm: Algorithm) -> Result<Self, ErrorStack> {
        let key = match algorithm {
            Algorithm::Es256 => {
                let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
                PKey::from_ec_key(EcKey::generate(&group)?)?
            }
            Algorithm::EdDsa => PKey::generate(Id::ED25519)?,
            Algorithm::Rs256 | Algorithm::Ps256 => {
                PKey::from_rsa(Rsa::generate(RSA_BITS.start().to_owned())?)?
            }
        };
        let (public, signature_length) = (Jwk::of(&key, algorithm)?, signature::length(&key, algorithm));
        Ok(Self { key, signature_length, public, certificate: None })
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm
    }

    /// The key itself, PKCS#8: for the one file that it is kept in.
    ///
    /// # Errors
    /// BoringSSL's.
    pub fn to_pem(&self) -> Result<Vec<u8>, ErrorStack> {
        self.key.private_key_to_pem_pkcs8()
    }

    /// The public half, SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// BoringSSL's.
    pub fn public_pem(&self) -> Result<Vec<u8>, ErrorStack> {
        self.key.public_key_to_pem()
    }

    /// How long a signature is, encoded.
    pub(super) fn encoded_length(&self) -> usize {
        base64url::encoded_length(self.signature_length)
    }

    /// Appends the encoded signature of what is in `token` from `start` on, and the
    /// dot before it.
    pub(super) fn sign(&self, token: &mut Vec<u8>, start: usize) -> Result<(), SignError> {
        let mut room = [0; *RSA_BITS.end() as usize / 8];
        let signature = room.get_mut(..self.signature_length).ok_or(SignError::Library)?;
        signature::sign(&self.key, self.algorithm(), token.get(start..).unwrap_or_default(), signature)?;
        token.push(b'.');
        base64url::push(token, signature);
        Ok(())
    }

    /// A compact JWS of any header and any payload: for tools and tests that forge.
    ///
    /// # Errors
    /// The library's.
    pub fn compact(&self, header: &[u8], payload: &[u8]) -> Result<String, SignError> {
        let mut token = Vec::new();
        base64url::push(&mut token, header);
        token.push(b'.');
        base64url::push(&mut token, payload);
        self.sign(&mut token, 0)?;
        Ok(String::from_utf8(token).unwrap_or_default())
    }

    /// Whether a certificate is of this key.
    pub(super) fn is_of(&self, certificate: &boring::x509::X509Ref) -> bool {
        certificate.public_key().is_ok_and(|public| public.public_eq(&self.key))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm(), self.public.kid)
    }
}

/// Why a key cannot sign for an algorithm.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unfit {
    /// It is of this kind.
    Kind(Kind),
    /// It is RSA with so many bits.
    Size(u32),
}

/// What kind of key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    P256,
    P384,
    P521,
    Ed25519,
    Rsa(u32),
    Other,
}

impl Kind {
    /// What kind `key` is.
    pub fn of(key: &PKeyRef<Private>) -> Self {
        match key.id() {
            Id::ED25519 => Self::Ed25519,
            Id::RSA => Self::Rsa(key.bits()),
            Id::EC => match key.ec_key().ok().and_then(|key| key.group().curve_name()) {
                Some(Nid::X9_62_PRIME256V1) => Self::P256,
                Some(Nid::SECP384R1) => Self::P384,
                Some(Nid::SECP521R1) => Self::P521,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }

    /// What signs with such a key.
    pub fn algorithm(self) -> Option<Algorithm> {
        match self {
            Self::P256 => Some(Algorithm::Es256),
            Self::Ed25519 => Some(Algorithm::EdDsa),
            Self::Rsa(_) => Some(Algorithm::Rs256),
            Self::P384 | Self::P521 | Self::Other => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "a P-256 key",
            Self::P384 => "a P-384 key",
            Self::P521 => "a P-521 key",
            Self::Ed25519 => "an Ed25519 key",
            Self::Rsa(_) => "an RSA key",
            Self::Other => "a key of another kind",
        })
    }
}

/// Below, keys are broken in reach; above, a signature takes 4 ms and more.
pub(super) const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=4096;
