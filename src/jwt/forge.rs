//! Tokens that nobody should accept: for `tollgate prove` and tests.
//!
//! [`SigningKey::compact`](super::SigningKey::compact) makes those that are signed with
//! a key; these are the others.

use boring::{error::ErrorStack, hash::hmac_sha256};

use super::base64url;

/// Header and payload with this signature, whatever it is; empty for `alg: none`.
pub fn forge(header: &[u8], payload: &[u8], signature: &[u8]) -> String {
    [header, payload, signature].map(base64url::encode).join(".")
}

/// HS256 with any secret: of who takes public keys for secrets this one is accepted.
///
/// # Errors
/// BoringSSL's.
pub fn forge_hs256(header: &[u8], payload: &[u8], secret: &[u8]) -> Result<String, ErrorStack> {
    let signed = [header, payload].map(base64url::encode).join(".");
    let mac = hmac_sha256(secret, signed.as_bytes())?;
    Ok(format!("{signed}.{}", base64url::encode(&mac)))
}
