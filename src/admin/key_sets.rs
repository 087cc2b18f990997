//! What operators are told of the keys that clients' tokens are verified with: public
//! names, ages and counts.

use std::{sync::Arc, time::Instant};

use serde::Serialize;

use crate::{jwt::trust::KeySource, snapshot::Snapshot, telemetry::metrics::KeyFetchResult};

/// The key set of an identity provider.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct KeySetStatus {
    /// Who verifies with it.
    pub authenticator: String,
    pub from: String,
    pub keys: usize,
    pub kids: Vec<String>,
    /// `fresh`, `stale` (the last fetch failed), `too_old` to verify anything, or `none`.
    pub state: &'static str,
    /// Since it was fetched.
    pub age_seconds: Option<u64>,
    /// Why the last fetch failed.
    pub last_error: Option<&'static str>,
}

pub(super) fn status(snapshot: &Snapshot, now: Instant) -> Vec<KeySetStatus> {
    let told = |(authenticator, source): &(Arc<str>, Arc<KeySource>)| {
        let view = source.view(now);
        let last_error = view.last.filter(|last| *last != KeyFetchResult::Fetched);
        let state = match (view.age, view.is_too_old, last_error) {
            (None, ..) => "none",
            (Some(_), true, _) => "too_old",
            (Some(_), false, Some(_)) => "stale",
            (Some(_), false, None) => "fresh",
        };
        KeySetStatus {
            authenticator: authenticator.to_string(),
            from: view.place,
            keys: view.keys,
            kids: view.kids,
            state,
            age_seconds: view.age.map(|age| age.as_secs()),
            last_error: last_error.map(KeyFetchResult::word),
        }
    };
    snapshot.authentication.key_sources().iter().map(told).collect()
}
