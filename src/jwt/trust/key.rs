//! A public key of an issuer, ready to verify with.
//!
//! Always holds: it takes signatures of algorithms of its own kind alone, and of one
//! alone if it says so itself.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use boring::{
    bn::BigNum,
    ec::EcKey,
    ecdsa::EcdsaSig,
    error::ErrorStack,
    hash::{MessageDigest, hash},
    nid::Nid,
    pkey::{PKey, Public},
    rsa::Padding,
    sha::sha256,
    sign::{RsaPssSaltlen, Verifier},
};
use serde_json::{Map, Value};

use crate::{
    config::issuer::TokenAlgorithm,
    jwt::{base64url, public_keys},
};

/// A public key of an issuer.
pub(super) struct VerifyingKey {
    pub kid: Option<Box<str>>,
    algorithm: Option<TokenAlgorithm>,
    material: Material,
    /// The same for the same key with the same name and use.
    identity: [u8; 32],
    withdrawn: AtomicBool,
}

enum Material {
    Ec(Curve, EcKey<Public>),
    Ed25519(PKey<Public>),
    Rsa(PKey<Public>),
}

/// A curve, its name in a key, and how many bytes a coordinate has.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Curve {
    P256 = 32,
    P384 = 48,
    P521 = 66,
}

impl VerifyingKey {
    /// A key of a set; `None` for one that nothing is verified with here: of another kind,
    /// for another use, too short to be safe or too long to be quick.
    pub fn read(key: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let is_to_verify = |operations: &Value| {
            operations.as_array().is_some_and(|list| list.iter().any(|one| one.as_str() == Some("verify")))
        };
        if text("use").is_some_and(|usage| usage != "sig") || !key.get("key_ops").is_none_or(is_to_verify) {
            return None;
        }
        let algorithm = match text("alg") {
            None => None,
            Some(name) => Some(TokenAlgorithm::of_name(name)?),
        };
        let (material, members) = Material::read(text)?;
        if algorithm.is_some_and(|algorithm| !material.fits(algorithm)) {
            return None;
        }
        let kid = text("kid").map(Box::from);
        let identity = sha256(format!("{kid:?} {algorithm:?} {members}").as_bytes());
        Some(Self { kid, algorithm, material, identity, withdrawn: AtomicBool::new(false) })
    }

    /// Whether signatures of this algorithm may be this key's.
    pub fn fits(&self, algorithm: TokenAlgorithm) -> bool {
        self.algorithm.is_none_or(|own| own == algorithm) && self.material.fits(algorithm)
    }

    /// Whether `signature` is one of `signed` by this key.
    pub fn verifies(&self, algorithm: TokenAlgorithm, signed: &[u8], signature: &[u8]) -> bool {
        // An error is what a forged signature is, too.
        self.fits(algorithm) && self.material.verifies(algorithm, signed, signature).unwrap_or(false)
    }

    pub fn is_same(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// The issuer's set has it no longer: what it verified counts no longer.
    pub fn withdraw(&self) {
        self.withdrawn.store(true, Relaxed);
    }

    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Relaxed)
    }
}

impl Material {
    /// The key and, as text, the members that say which it is.
    fn read<'k>(text: impl Fn(&str) -> Option<&'k str>) -> Option<(Self, String)> {
        let bytes = |name: &str| base64url::decode(text(name)?.as_bytes());
        let (kty, crv) = (text("kty")?, text("crv"));
        let (material, names) = match (kty, crv) {
            ("EC", Some(crv)) => {
                let curve = Curve::of_name(crv)?;
                let key = public_keys::ec(curve.nid(), curve.width(), (&bytes("x")?, &bytes("y")?))?;
                (Self::Ec(curve, key), ["x", "y"])
            }
            ("OKP", Some("Ed25519")) => (Self::Ed25519(public_keys::ed25519(&bytes("x")?)?), ["x", ""]),
            ("RSA", _) => (Self::Rsa(rsa(&bytes("n")?, &bytes("e")?)?), ["n", "e"]),
            _ => return None,
        };
        let members = names.map(|name| text(name).unwrap_or_default());
        Some((material, format!("{kty} {crv:?} {members:?}")))
    }

    fn fits(&self, algorithm: TokenAlgorithm) -> bool {
        use TokenAlgorithm::{EdDsa, Es256, Es384, Es512};
        match self {
            Self::Ec(Curve::P256, _) => algorithm == Es256,
            Self::Ec(Curve::P384, _) => algorithm == Es384,
            Self::Ec(Curve::P521, _) => algorithm == Es512,
            Self::Ed25519(_) => algorithm == EdDsa,
            Self::Rsa(_) => !matches!(algorithm, Es256 | Es384 | Es512 | EdDsa),
        }
    }

    fn verifies(
        &self,
        algorithm: TokenAlgorithm,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<bool, ErrorStack> {
        match self {
            Self::Ec(curve, key) => {
                if signature.len() != 2 * curve.width() {
                    return Ok(false);
                }
                let (r, s) = signature.split_at(curve.width());
                let pair = EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?;
                pair.verify(&hash(digest(algorithm), signed)?, key)
            }
            Self::Ed25519(key) => Verifier::new_without_digest(key)?.verify_oneshot(signature, signed),
            Self::Rsa(key) => {
                if signature.len() != key.size() {
                    return Ok(false);
                }
                let mut verifier = Verifier::new(digest(algorithm), key)?;
                if is_pss(algorithm) {
                    verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
                    verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
                }
                verifier.verify_oneshot(signature, signed)
            }
        }
    }
}

fn rsa(n: &[u8], e: &[u8]) -> Option<PKey<Public>> {
    let key = public_keys::rsa(n, e)?;
    let is_odd = e.last().is_some_and(|last| last & 1 == 1);
    let is_good = is_odd && e.len() <= 4 && e != [1] && RSA_BITS.contains(&key.bits());
    is_good.then_some(key)
}

fn digest(algorithm: TokenAlgorithm) -> MessageDigest {
    use TokenAlgorithm::{EdDsa, Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
    match algorithm {
        Es256 | Rs256 | Ps256 => MessageDigest::sha256(),
        Es384 | Rs384 | Ps384 => MessageDigest::sha384(),
        // Ed25519 has its own.
        Es512 | Rs512 | Ps512 | EdDsa => MessageDigest::sha512(),
    }
}

fn is_pss(algorithm: TokenAlgorithm) -> bool {
    use TokenAlgorithm::{Ps256, Ps384, Ps512};
    matches!(algorithm, Ps256 | Ps384 | Ps512)
}

impl Curve {
    fn of_name(name: &str) -> Option<Self> {
        match name {
            "P-256" => Some(Self::P256),
            "P-384" => Some(Self::P384),
            "P-521" => Some(Self::P521),
            _ => None,
        }
    }

    fn nid(self) -> Nid {
        match self {
            Self::P256 => Nid::X9_62_PRIME256V1,
            Self::P384 => Nid::SECP384R1,
            Self::P521 => Nid::SECP521R1,
        }
    }

    fn width(self) -> usize {
        self as usize
    }
}

/// Shorter ones can be broken, longer ones hold a worker up.
const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;
