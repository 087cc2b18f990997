//! What each key of the signers does, at a scrape.
//!
//! Names of keys are our own thumbprints, and only those that the snapshot at work
//! publishes: their number is that of the key files and of those just taken away.

use prometheus::proto::MetricType;

use super::{
    family::{Family, Sample, Scrape},
    watched::Watched,
};

/// A key at a scrape.
#[derive(Clone, Debug)]
pub struct KeyGauges {
    /// Whose it is.
    pub signer: String,
    /// Its name.
    pub kid: String,
    /// What it does, of a closed set of the caller's.
    pub state: &'static str,
    /// When it may sign at the latest, in seconds since 1970, if it waits for that.
    pub ready_at: Option<u64>,
    /// When it goes, in seconds since 1970, if it is retired.
    pub published_until: Option<u64>,
}

/// How they are looked up.
#[derive(Default)]
pub(super) struct Keys(pub(super) Watched<KeyGauges>);

impl Scrape for Keys {
    const FAMILIES: &'static [Family] = &[STATE, READY, UNTIL];

    fn scrape(&self) -> Vec<Vec<Sample>> {
        let keys = self.0.now();
        let states = keys.iter().map(|key| STATE.count(&[&key.signer, &key.kid, key.state], 1));
        let at = |family: &Family, key: &KeyGauges, at: Option<u64>| {
            at.map(|at| family.count(&[&key.signer, &key.kid], at))
        };
        let ready = keys.iter().filter_map(|key| at(&READY, key, key.ready_at));
        let until = keys.iter().filter_map(|key| at(&UNTIL, key, key.published_until));
        vec![states.collect(), ready.collect(), until.collect()]
    }
}

const STATE: Family = Family {
    name: "tollgate_jwt_signing_key",
    help: "1 for each key that verifiers are told of, by what it does.",
    labels: &["signer", "kid", "state"],
    kind: MetricType::GAUGE,
};
const READY: Family = Family {
    name: "tollgate_jwt_signing_key_ready_timestamp_seconds",
    help: "When a key that is published may sign at the latest.",
    labels: &["signer", "kid"],
    kind: MetricType::GAUGE,
};
const UNTIL: Family = Family {
    name: "tollgate_jwt_signing_key_published_until_timestamp_seconds",
    help: "When a retired key is not published any more.",
    labels: &["signer", "kid"],
    kind: MetricType::GAUGE,
};
