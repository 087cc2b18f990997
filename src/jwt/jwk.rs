//! The public half of a key as a JSON Web Key (RFC 7517), and its thumbprint.
//!
//! Always holds: no private member is ever in one.

use std::{fmt, sync::Arc};

use boring::{
    bn::BigNumContext,
    ec::PointConversionForm,
    error::ErrorStack,
    pkey::{HasPublic, PKeyRef},
    sha::sha256,
};

use super::base64url;
use crate::config::signer::Algorithm;

/// What a key is called: its RFC 7638 thumbprint with SHA-256, so that every gateway
/// and every verifier finds the same name for the same key.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// 43 letters of base64url.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A public key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Jwk {
    /// Its name.
    pub kid: KeyId,
    /// What it verifies.
    pub algorithm: Algorithm,
    material: Material,
}

/// The members that say which key, encoded already.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Material {
    P256 { x: String, y: String },
    Ed25519 { x: String },
    Rsa { n: String, e: String },
}

impl Jwk {
    /// The public half of `key`, which is of the kind that `algorithm` needs.
    ///
    /// # Errors
    /// BoringSSL's, for a key of another kind too.
    pub(super) fn of<T: HasPublic>(key: &PKeyRef<T>, algorithm: Algorithm) -> Result<Self, ErrorStack> {
        let material = match algorithm {
            Algorithm::Es256 => p256(key)?,
            Algorithm::EdDsa => Material::Ed25519 { x: base64url::encode(key.raw_public_key(&mut [0; 32])?) },
            Algorithm::Rs256 | Algorithm::Ps256 => {
                let rsa = key.rsa()?;
                let encoded = |number: &boring::bn::BigNumRef| base64url::encode(&number.to_vec());
                Material::Rsa { n: encoded(rsa.n()), e: encoded(rsa.e()) }
            }
        };
        let kid = base64url::encode(&sha256(material.canonical().as_bytes()));
        Ok(Self { kid: KeyId(kid.into()), algorithm, material })
    }

    /// The key as it stands in a key set.
    pub fn to_json(&self) -> String {
        // Encoded values and names of algorithms need no escapes.
        let (members, kid, alg) = (self.material.members(), &self.kid, self.algorithm);
        format!(r#"{{{members},"kid":"{kid}","alg":"{alg}","use":"sig"}}"#)
    }
}

impl Material {
    fn members(&self) -> String {
        match self {
            Self::P256 { x, y } => format!(r#""kty":"EC","crv":"P-256","x":"{x}","y":"{y}""#),
            Self::Ed25519 { x } => format!(r#""kty":"OKP","crv":"Ed25519","x":"{x}""#),
            Self::Rsa { n, e } => format!(r#""kty":"RSA","n":"{n}","e":"{e}""#),
        }
    }

    /// Of what the thumbprint is: members in the order of their names.
    fn canonical(&self) -> String {
        match self {
            Self::P256 { x, y } => format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#),
            Self::Ed25519 { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#),
            Self::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        }
    }
}

fn p256<T: HasPublic>(key: &PKeyRef<T>) -> Result<Material, ErrorStack> {
    let key = key.ec_key()?;
    let form = PointConversionForm::UNCOMPRESSED;
    let point = key.public_key().to_bytes(key.group(), form, &mut *BigNumContext::new()?)?;
    // One byte for the form, then both at full width: leading zeros stay.
    let (x, y) = point.get(1..).and_then(|both| both.split_at_checked(32)).unwrap_or_default();
    Ok(Material::P256 { x: base64url::encode(x), y: base64url::encode(y) })
}

#[cfg(test)]
mod tests {
    use boring::{
        bn::BigNum,
        pkey::{PKey, Public},
        rsa::Rsa,
    };

    use super::*;

    fn rsa(n: &str, e: &str) -> PKey<Public> {
        let number = |text: &str| BigNum::from_slice(&base64url::decode(text.as_bytes()).unwrap()).unwrap();
        PKey::from_rsa(Rsa::from_public_components(number(n), number(e)).unwrap()).unwrap()
    }

    #[test]
    fn the_thumbprint_of_rfc_7638_comes_out() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

        let jwk = Jwk::of(&rsa(n, "AQAB"), Algorithm::Rs256).unwrap();

        assert_eq!(jwk.kid.as_str(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert!(jwk.to_json().starts_with(&format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB","#)));
    }

    #[test]
    fn the_thumbprint_of_rfc_8037_appendix_a_comes_out() {
        // The public half in SubjectPublicKeyInfo.
        let x = base64url::decode(b"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let prefix = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
        let key = PKey::public_key_from_der(&[&prefix[..], &x].concat()).unwrap();

        let jwk = Jwk::of(&key, Algorithm::EdDsa).unwrap();

        assert_eq!(jwk.kid.as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(
            jwk.to_json(),
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","alg":"EdDSA","use":"sig"}"#
        );
    }
}
