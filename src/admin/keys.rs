//! `GET /keys`: what each key of the signers does, and who waits for what.

use serde::Serialize;

use crate::{
    jwt::{KeyState, KeyStatus, Now, VerifierStatus},
    snapshot::Snapshot,
    telemetry::metrics::KeyGauges,
};

/// A key that verifiers are told of.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct SigningKeyStatus {
    pub signer: String,
    /// None once it is gone.
    pub file: Option<String>,
    pub kid: String,
    pub algorithm: &'static str,
    /// `published`, `signing`, `resting` or `retired`.
    pub state: &'static str,
    /// Of one that is published only: until it may sign, if nobody fetches it.
    pub ready_in_seconds: Option<u64>,
    /// Who did not fetch it yet; when nobody is left, it may sign.
    pub laggards: Vec<String>,
    /// Everybody who has to fetch it, and how far each is.
    pub verifiers: Vec<VerifierFetches>,
    /// Of a retired one: seconds since 1970.
    pub published_until: Option<u64>,
    /// The same, from now on.
    pub gone_in_seconds: Option<u64>,
}

/// How far a verifier has come with a key, since it is in the key set.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct VerifierFetches {
    pub name: String,
    pub fetches: u64,
    /// Different ones that it fetched from; up to 64 are told apart.
    pub addresses: usize,
    /// So many it takes.
    pub instances: usize,
}

/// Every key at a scrape.
pub(super) fn gauges(snapshot: &Snapshot, now: Now) -> Vec<KeyGauges> {
    let told = |key: SigningKeyStatus| KeyGauges {
        signer: key.signer,
        kid: key.kid,
        state: key.state,
        ready_at: key.ready_in_seconds.map(|waits| unix_seconds(now) + waits),
        published_until: key.published_until,
    };
    status(snapshot, now).into_iter().map(told).collect()
}

/// Every key, by signer.
pub(super) fn status(snapshot: &Snapshot, now: Now) -> Vec<SigningKeyStatus> {
    let keys = snapshot.signing.signers.status(now).into_iter();
    keys.map(|key| told(key, unix_seconds(now))).collect()
}

fn unix_seconds(now: Now) -> u64 {
    now.wall.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn told(key: KeyStatus, wall: u64) -> SigningKeyStatus {
    let (state, ready, laggards) = match key.state {
        Some(KeyState::Signing) => ("signing", None, Vec::new()),
        Some(KeyState::Resting) => ("resting", None, Vec::new()),
        Some(KeyState::Published { waits, laggards }) => {
            // Rounded up: by then it may, and not a second before.
            let waits = waits.as_secs() + u64::from(waits.subsec_nanos() > 0);
            ("published", Some(waits), laggards)
        }
        None => ("retired", None, Vec::new()),
    };
    SigningKeyStatus {
        signer: key.signer.to_string(),
        file: key.file.map(|file| file.to_string()),
        kid: key.kid.to_string(),
        algorithm: key.algorithm.name(),
        state,
        ready_in_seconds: ready,
        laggards: laggards.iter().map(ToString::to_string).collect(),
        verifiers: key.verifiers.into_iter().map(fetches).collect(),
        published_until: key.published_until,
        gone_in_seconds: key.published_until.map(|until| until.saturating_sub(wall)),
    }
}

fn fetches(verifier: VerifierStatus) -> VerifierFetches {
    let VerifierStatus { name, fetches, addresses, instances } = verifier;
    VerifierFetches { name: name.to_string(), fetches, addresses, instances }
}
