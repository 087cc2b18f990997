//! A set of public keys of anyone's, read to verify with.
//!
//! Keys that this gateway could not verify with are left out, as RFC 7517 asks for; a
//! private key among them is no key set.

use std::fmt;

use boring::{
    bn::BigNum,
    ec::{EcGroup, EcKey},
    nid::Nid,
    pkey::{PKey, Public},
    rsa::Rsa,
};
use serde_json::{Map, Value};

use super::base64url;
use crate::config::signer::Algorithm;

/// Public keys.
pub struct PublicKeys {
    pub(super) keys: Vec<PublicKey>,
}

/// A public key.
pub(super) struct PublicKey {
    pub kid: Option<String>,
    /// As `alg` has it.
    pub alg: Option<String>,
    pub kind: PublicKind,
    pub key: PKey<Public>,
}

/// What kind of key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PublicKind {
    /// On P-256.
    P256,
    /// Ed25519.
    Ed25519,
    /// RSA.
    Rsa,
}

impl PublicKind {
    /// Whether such a key verifies with this algorithm.
    pub(super) fn fits(self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::Es256 => self == Self::P256,
            Algorithm::EdDsa => self == Self::Ed25519,
            Algorithm::Rs256 | Algorithm::Ps256 => self == Self::Rsa,
        }
    }
}

impl fmt::Display for PublicKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "P-256",
            Self::Ed25519 => "Ed25519",
            Self::Rsa => "RSA",
        })
    }
}

/// Why a text is no set of public keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeySetFlaw {
    /// It is not JSON, or no object with a list `keys`.
    NotAKeySet,
    /// It shows a private key, or a shared secret.
    Private,
    /// No key in it can verify.
    NoKey,
}

impl fmt::Display for KeySetFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAKeySet => "it is no key set: a JSON object with a list `keys`",
            Self::Private => "it shows a private key; whoever could read it can sign: make new keys",
            Self::NoKey => "it holds no P-256, Ed25519 or RSA key to verify with",
        })
    }
}

impl std::error::Error for KeySetFlaw {}

impl PublicKeys {
    /// Reads a key set.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &[u8]) -> Result<Self, KeySetFlaw> {
        let document: Value = serde_json::from_slice(text).map_err(|_| KeySetFlaw::NotAKeySet)?;
        let keys = document.get("keys").and_then(Value::as_array).ok_or(KeySetFlaw::NotAKeySet)?;
        let keys: Vec<_> = keys.iter().filter_map(Value::as_object).collect();
        if keys.iter().any(|key| key.contains_key("d") || key.contains_key("k")) {
            return Err(KeySetFlaw::Private);
        }
        let keys: Vec<_> = keys.into_iter().filter_map(read).collect();
        if keys.is_empty() { Err(KeySetFlaw::NoKey) } else { Ok(Self { keys }) }
    }
}

/// A key of a set; `None` for one that this gateway could not verify with.
pub(super) fn read(key: &Map<String, Value>) -> Option<PublicKey> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let bytes = |name: &str| base64url::decode(text(name)?.as_bytes());
    if text("use").is_some_and(|usage| usage != "sig") {
        return None;
    }
    let (kind, parsed) = match (text("kty")?, text("crv")) {
        ("EC", Some("P-256")) => (PublicKind::P256, p256(&bytes("x")?, &bytes("y")?)?),
        ("OKP", Some("Ed25519")) => (PublicKind::Ed25519, ed25519(&bytes("x")?)?),
        ("RSA", _) => (PublicKind::Rsa, rsa(&bytes("n")?, &bytes("e")?)?),
        _ => return None,
    };
    let owned = |name: &str| text(name).map(str::to_owned);
    Some(PublicKey { kid: owned("kid"), alg: owned("alg"), kind, key: parsed })
}

fn p256(x: &[u8], y: &[u8]) -> Option<PKey<Public>> {
    PKey::from_ec_key(ec(Nid::X9_62_PRIME256V1, 32, (x, y))?).ok()
}

/// The key at this point of a curve, whose coordinates have this width.
pub(super) fn ec(curve: Nid, width: usize, (x, y): (&[u8], &[u8])) -> Option<EcKey<Public>> {
    if x.len() != width || y.len() != width {
        return None;
    }
    let group = EcGroup::from_curve_name(curve).ok()?;
    let (x, y) = (BigNum::from_slice(x).ok()?, BigNum::from_slice(y).ok()?);
    EcKey::from_public_key_affine_coordinates(&group, &x, &y).ok()
}

pub(super) fn ed25519(x: &[u8]) -> Option<PKey<Public>> {
    let x: &[u8; 32] = x.try_into().ok()?;
    PKey::public_key_from_der(&[&ED25519_PREFIX[..], x].concat()).ok()
}

pub(super) fn rsa(n: &[u8], e: &[u8]) -> Option<PKey<Public>> {
    let (n, e) = (BigNum::from_slice(n).ok()?, BigNum::from_slice(e).ok()?);
    PKey::from_rsa(Rsa::from_public_components(n, e).ok()?).ok()
}

/// What stands before the 32 bytes in a SubjectPublicKeyInfo (RFC 8410).
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
