//! The set of public keys as verifiers fetch it (RFC 7517), rendered once.

use boring::sha::sha256;
use bytes::Bytes;
use http::HeaderValue;

use super::{
    base64url,
    jwk::{Jwk, KeyId},
};

/// A set of public keys.
#[derive(Debug)]
pub struct KeySet {
    /// The document.
    pub body: Bytes,
    /// A strong entity tag of it, with its quotes: the same on every gateway that has
    /// the same keys.
    pub etag: HeaderValue,
    /// Which keys are in it, in its order.
    pub kids: Vec<KeyId>,
}

impl KeySet {
    /// What `Content-Type` says of it (RFC 7517, section 8.5.2).
    pub const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/jwk-set+json");

    /// For how long verifiers may keep it; less than half of the default
    /// `publish_for`, so that a new key is everywhere before it signs.
    pub const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=300");

    /// In the order given.
    pub(super) fn new<'a>(keys: impl Iterator<Item = &'a Jwk>) -> Self {
        let (kids, keys): (Vec<_>, Vec<_>) = keys.map(|key| (key.kid.clone(), key.to_json())).unzip();
        let body = format!("{{\"keys\":[{}]}}", keys.join(","));
        let digest = sha256(body.as_bytes());
        let tag = base64url::encode(digest.first_chunk::<16>().unwrap_or(&[0; 16]));
        // Letters of base64url may stand in a field.
        let etag = HeaderValue::from_maybe_shared(Bytes::from(format!("\"{tag}\"")));
        Self { body: body.into(), etag: etag.unwrap_or(HeaderValue::from_static("")), kids }
    }
}
