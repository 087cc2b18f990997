//! Verifies the tokens of one issuer.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Map, Value};

use super::{
    Presented, Refused, claims, compact, compact::Compact, credential, key::VerifyingKey, source::KeySource,
};
use crate::{
    config::issuer::JwtSpec,
    jwt::{
        Now,
        cache::{Cache, Window},
    },
};

/// Verifies the tokens of one issuer.
pub struct Verifier {
    spec: JwtSpec,
    source: Arc<KeySource>,
    seen: Cache<Arc<Seen>>,
}

/// A token that was verified, and what with.
struct Seen {
    verified: Verified,
    key: Arc<VerifyingKey>,
}

/// What a good token says. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// Who asks. Never empty, without control characters.
    pub consumer: Arc<str>,
    /// What that may do, with one space between; may be empty.
    pub scopes: Arc<str>,
    /// Everything that it says.
    pub claims: Arc<Map<String, Value>>,
    /// Until when it counts, leeway included: milliseconds since 1970.
    pub expires: u64,
}

impl Verifier {
    pub(super) fn new(spec: JwtSpec, source: Arc<KeySource>) -> Self {
        let places = usize::try_from(spec.cache_tokens).unwrap_or(usize::MAX);
        Self { seen: Cache::new(places, compact::MOST_BYTES), spec, source }
    }

    /// Whether it is the one of these terms and keys.
    pub(super) fn is(&self, spec: &JwtSpec, source: &Arc<KeySource>) -> bool {
        self.spec == *spec && Arc::ptr_eq(&self.source, source)
    }

    /// What it was built from.
    pub fn spec(&self) -> &JwtSpec {
        &self.spec
    }

    /// The keys that it verifies with.
    pub fn source(&self) -> &Arc<KeySource> {
        &self.source
    }

    /// What a request presents to it.
    pub fn find<'r>(&self, headers: &'r HeaderMap) -> Presented<'r> {
        credential::find(&self.spec, headers)
    }

    /// Takes off what a request presents to it.
    pub fn take_off(&self, headers: &mut HeaderMap) {
        credential::take_off(&self.spec, headers);
    }

    /// Whether a token counts, and what it says. Where the key of a token
    /// [may be a new one](Refused::may_be_a_new_key), it is worth asking again once the
    /// keys are [refreshed](Self::refreshed).
    pub fn verify(&self, token: &str, now: Now) -> Result<Verified, Refused> {
        let millis = now.unix_millis();
        if let Some(seen) = self.seen.get(token.as_bytes(), millis)
            && !seen.key.is_withdrawn()
            // Keys that are too old vouch for nothing any more.
            && self.source.with_keys(now.steady, |_| ()).is_some()
        {
            return Ok(seen.verified.clone());
        }
        self.verify_anew(token, now, millis)
    }

    fn verify_anew(&self, token: &str, now: Now, millis: u64) -> Result<Verified, Refused> {
        let parsed = Compact::parse(token)?;
        let said = parsed.claims()?;
        claims::check_issuer(&said, &self.spec)?;
        if !self.spec.algorithms.contains(&parsed.algorithm) {
            return Err(Refused::Algorithm);
        }
        let key = self.source.with_keys(now.steady, |keys| keys.key_of(&parsed).cloned());
        let key = key.unwrap_or(Err(Refused::NoKeys))?;
        if !key.verifies(parsed.algorithm, parsed.signed, &parsed.signature) {
            return Err(Refused::Signature);
        }
        // From here on it is the issuer who speaks.
        let expires = claims::check_times(&said, self.spec.leeway.duration(), millis)?;
        self.check_type(parsed.typ.as_deref())?;
        claims::check_content(&said, &self.spec)?;
        let scopes = claims::scopes(&said);
        claims::check_scopes(&scopes, &self.spec.scopes)?;
        let consumer = claims::consumer(&said, &self.spec.consumer)?;
        let verified = Verified { consumer, scopes, claims: Arc::new(said), expires };
        self.keep(token, &verified, key, millis);
        Ok(verified)
    }

    fn keep(&self, token: &str, verified: &Verified, key: Arc<VerifyingKey>, now: u64) {
        let cache_for = u64::try_from(self.spec.cache_for.duration().as_millis()).unwrap_or(u64::MAX);
        let window = Window { from: now, until: verified.expires.min(now.saturating_add(cache_for)) };
        let seen = Arc::new(Seen { verified: verified.clone(), key });
        self.seen.put(token.as_bytes().into(), seen, window);
    }

    fn check_type(&self, typ: Option<&str>) -> Result<(), Refused> {
        // `application/` may be left out (RFC 7515, section 4.1.9).
        let bare = |typ: &str| typ.to_ascii_lowercase().trim_start_matches("application/").to_owned();
        let is_wanted = |typ: &str| self.spec.typ.iter().any(|wanted| bare(wanted) == bare(typ));
        if self.spec.typ.is_empty() || typ.is_some_and(is_wanted) { Ok(()) } else { Err(Refused::Type) }
    }

    /// Waits until the keys were fetched again, if that is allowed now; for a bounded time.
    pub async fn refreshed(&self, now: Now) {
        self.source.refreshed(now.steady).await;
    }
}
