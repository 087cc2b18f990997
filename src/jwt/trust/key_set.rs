//! The public keys of an issuer, as its key set has them.

use std::sync::Arc;

use serde_json::Value;

use super::{Refused, compact::Compact, json, key::VerifyingKey};
use crate::telemetry::metrics::KeyFetchResult;

/// The keys of an issuer that tokens can be verified with; at least one.
pub(super) struct KeySet {
    keys: Vec<Arc<VerifyingKey>>,
}

impl KeySet {
    /// Reads a key set (RFC 7517). Keys that nothing is verified with here are left out,
    /// as it asks for.
    ///
    /// `Err` says why it is none.
    pub fn parse(document: &[u8]) -> Result<Self, KeyFetchResult> {
        let document = json::object(document).ok_or(KeyFetchResult::NoKeySet)?;
        let keys = document.get("keys").and_then(Value::as_array).ok_or(KeyFetchResult::NoKeySet)?;
        if keys.len() > MOST_KEYS {
            return Err(KeyFetchResult::TooManyKeys);
        }
        let objects: Vec<_> = keys.iter().filter_map(Value::as_object).collect();
        // `k` is a shared secret: who can read it can sign.
        if objects.iter().any(|key| key.contains_key("d") || key.contains_key("k")) {
            return Err(KeyFetchResult::PrivateKey);
        }
        let keys: Vec<_> = objects.into_iter().filter_map(VerifyingKey::read).map(Arc::new).collect();
        if keys.is_empty() { Err(KeyFetchResult::NoKey) } else { Ok(Self { keys }) }
    }

    /// Takes the place of `before`: a key of both stays the same one, and what is not in
    /// this one any more is withdrawn.
    pub fn succeed(&mut self, before: &Self) {
        for key in &mut self.keys {
            if let Some(known) = before.keys.iter().find(|known| known.is_same(key)) {
                *key = known.clone();
            }
        }
        let is_gone = |known: &&Arc<VerifyingKey>| !self.keys.iter().any(|key| Arc::ptr_eq(key, known));
        before.keys.iter().filter(is_gone).for_each(|known| known.withdraw());
    }

    /// The key that a token names, or the only one that could be meant.
    pub fn key_of(&self, token: &Compact<'_>) -> Result<&Arc<VerifyingKey>, Refused> {
        let mut fitting = self.keys.iter().filter(|key| key.fits(token.algorithm));
        let Some(kid) = token.kid.as_deref() else {
            return match (fitting.next(), fitting.next()) {
                (Some(only), None) => Ok(only),
                (None, _) => Err(Refused::UnknownKey),
                _ => Err(Refused::NoKeyId),
            };
        };
        // Keys of several kinds may share a name (RFC 7517, section 4.5).
        fitting.find(|key| key.kid.as_deref() == Some(kid)).ok_or_else(|| {
            let is_known = self.keys.iter().any(|key| key.kid.as_deref() == Some(kid));
            if is_known { Refused::Algorithm } else { Refused::UnknownKey }
        })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Their names, where they have one.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter_map(|key| key.kid.as_deref())
    }
}

/// Providers have 2 to 30.
const MOST_KEYS: usize = 100;
