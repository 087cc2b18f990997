//! What outlives snapshots: keys of issuers, and tokens that were verified.
//!
//! A verifier whose terms and keys stay as they were is the same one after a reload.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use boring::ssl::SslConnector;
use serde::{Deserialize, Serialize};

use super::{
    Verifier, document,
    document::{Place, PlaceKind},
    key_set::KeySet,
    source::{Held, KeySource, Terms},
};
use crate::{config::issuer::JwtSpec, telemetry::metrics::KeyFetchResult};

/// Keys of issuers and verifiers, as long as anyone holds them.
#[derive(Default)]
pub struct TrustLive {
    sources: Mutex<Vec<Arc<KeySource>>>,
    verifiers: Mutex<Vec<Arc<Verifier>>>,
    told: Mutex<Remembered>,
}

/// What is read from files for a verifier.
pub struct Built {
    /// Where `jwks_file` is.
    pub file: Option<PathBuf>,
    /// The DER of the authorities in `ca`; `None` are the system's.
    pub authorities: Option<Vec<Vec<u8>>>,
    /// Trusts those.
    pub tls: SslConnector,
}

/// The key sets that a process has, told to the one that follows: an issuer may be down
/// just then.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Remembered {
    sets: Vec<RememberedSet>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct RememberedSet {
    /// Where it is from, and who vouched for that.
    from: String,
    document: String,
    age_seconds: u64,
}

impl TrustLive {
    /// The verifier of these terms; the same one for the same.
    ///
    /// # Errors
    /// Why a file holds no keys.
    pub fn verifier(&self, spec: &JwtSpec, built: Built) -> Result<Arc<Verifier>, KeyFetchResult> {
        let source = self.source(spec, built)?;
        let mut verifiers = locked(&self.verifiers);
        if let Some(known) = verifiers.iter().find(|known| known.is(spec, &source)) {
            return Ok(known.clone());
        }
        let verifier = Arc::new(Verifier::new(spec.clone(), source));
        verifiers.push(verifier.clone());
        Ok(verifier)
    }

    fn source(&self, spec: &JwtSpec, built: Built) -> Result<Arc<KeySource>, KeyFetchResult> {
        let (place, terms) = (place(spec, &built)?, Terms::new(spec));
        let keys = match &place.kind {
            PlaceKind::File(path) => Some(held(document::read(path)?, Duration::ZERO)?),
            _ => None,
        };
        let mut sources = locked(&self.sources);
        let is_same = |known: &&Arc<KeySource>| known.place == place;
        if let Some(known) = sources.iter().filter(is_same).find(|known| known.terms == terms) {
            return Ok(known.clone());
        }
        let source = KeySource::new(place, terms, built.tls);
        let like = sources.iter().rev().find(|known| known.place == source.place);
        match (keys, like) {
            (Some(keys), _) => source.hold(keys),
            (None, Some(like)) => source.inherit(like),
            (None, None) => self.recall_into(&source),
        }
        let source = Arc::new(source);
        sources.push(source.clone());
        Ok(source)
    }

    /// For the process that follows.
    pub fn remember(&self, now: Instant) -> Remembered {
        let set = |source: &Arc<KeySource>| {
            let held = source.held().filter(|_| !source.place.is_file())?;
            Some(RememberedSet {
                from: source.place.identity(),
                document: String::from_utf8(held.document.to_vec()).ok()?,
                age_seconds: now.saturating_duration_since(held.since).as_secs(),
            })
        };
        Remembered { sets: locked(&self.sources).iter().filter_map(set).collect() }
    }

    /// From the process before, ahead of the first snapshot.
    pub fn recall(&self, told: Remembered) {
        *locked(&self.told) = told;
    }

    fn recall_into(&self, source: &KeySource) {
        let (place, told) = (source.place.identity(), locked(&self.told));
        let Some(set) = told.sets.iter().find(|set| set.from == place) else { return };
        if let Ok(held) = held(set.document.clone().into_bytes(), Duration::from_secs(set.age_seconds)) {
            source.hold(held);
        }
    }

    /// Forgets what nobody holds.
    pub fn sweep(&self) {
        locked(&self.verifiers).retain(|verifier| Arc::strong_count(verifier) > 1);
        locked(&self.sources).retain(|source| Arc::strong_count(source) > 1);
    }
}

fn place(spec: &JwtSpec, built: &Built) -> Result<Place, KeyFetchResult> {
    let kind = match (&built.file, &spec.jwks) {
        (Some(file), _) => PlaceKind::File(file.clone()),
        (None, Some(url)) => PlaceKind::Url(url.clone()),
        // The rules saw to it that it is one.
        (None, None) => {
            let url = spec.issuer.parse().map_err(|_| KeyFetchResult::OtherIssuer)?;
            PlaceKind::Issuer(url, spec.issuer.clone())
        }
    };
    Ok(Place { kind, authorities: built.authorities.clone(), insecure: spec.insecure_http })
}

/// Keys that were fetched so long ago.
fn held(document: Vec<u8>, age: Duration) -> Result<Held, KeyFetchResult> {
    let keys = KeySet::parse(&document)?;
    let now = Instant::now();
    // A machine that was started later than they were fetched knows no such instant.
    Ok(Held { keys, document: document.into(), since: now.checked_sub(age).unwrap_or(now) })
}

/// A panic elsewhere breaks no promise of these values.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
