//! The key sets of identity providers, as they are at a scrape.
//!
//! Named as the ways of authentication that verify with them, so that there are no more
//! series than the configuration has entries.

use std::time::Duration;

use prometheus::proto::MetricType;

use super::{
    closed_set::closed_set,
    family::{Family, Sample, Scrape},
    watched::Watched,
};

closed_set! {
    /// How fetching the key set of an identity provider ended.
    pub enum KeyFetchResult {
        /// With keys.
        Fetched = "ok",
        /// Not in time.
        Timeout = "timeout",
        /// Nobody is there, or the name stands for nothing.
        Unreachable = "unreachable",
        /// Its certificate is not to be trusted, or it speaks no TLS.
        Tls = "tls",
        /// It says that it is elsewhere, where nobody follows it.
        Redirect = "redirect",
        /// It answered with another status than 200.
        Status = "status",
        /// What it answered is no HTTP, or ended too early.
        NoHttp = "no_http",
        /// It is larger than a key set may be.
        TooLarge = "too_large",
        /// It is no key set: a page of HTML, for instance.
        NoKeySet = "no_key_set",
        /// It has more keys than one may have.
        TooManyKeys = "too_many_keys",
        /// None of its keys verifies anything.
        NoKey = "no_key",
        /// It shows a private key, or a shared secret.
        PrivateKey = "private_key",
        /// What the issuer says of itself is of another issuer, or names no key set.
        OtherIssuer = "other_issuer",
        /// The key set that the issuer names would come without TLS.
        Insecure = "insecure",
        /// The file cannot be read.
        Unreadable = "unreadable",
        /// It panicked.
        Broken = "broken",
    }
}

/// What is known of the key set of one way of authentication.
#[derive(Clone, Debug)]
pub struct KeySetGauges {
    /// The way of authentication.
    pub authenticator: String,
    /// How often it was fetched, in the order of [`KeyFetchResult::ALL`].
    pub fetches: [u64; KeyFetchResult::ALL.len()],
    /// Keys that verify.
    pub keys: usize,
    /// Since it was fetched; `None` before the first time.
    pub age: Option<Duration>,
    /// The last try failed.
    pub stale: bool,
}

/// How they are looked at.
#[derive(Default)]
pub(super) struct KeySets(pub(super) Watched<KeySetGauges>);

impl Scrape for KeySets {
    const FAMILIES: &'static [Family] = &[FETCHES, KEYS, AGE, STALE];

    fn scrape(&self) -> Vec<Vec<Sample>> {
        let now = self.0.now();
        let fetches = now.iter().flat_map(|set| {
            let used = KeyFetchResult::ALL.into_iter().zip(set.fetches).filter(|(_, n)| *n > 0);
            used.map(|(result, n)| FETCHES.count(&[&set.authenticator, result.word()], n))
        });
        let ages = now
            .iter()
            .filter_map(|set| set.age.map(|age| AGE.value(&[&set.authenticator], age.as_secs_f64())));
        let count = |family: &Family, of: fn(&KeySetGauges) -> u64| -> Vec<_> {
            now.iter().map(|set| family.count(&[&set.authenticator], of(set))).collect()
        };
        vec![
            fetches.collect(),
            count(&KEYS, |set| set.keys as u64),
            ages.collect(),
            count(&STALE, |set| u64::from(set.stale)),
        ]
    }
}

const FETCHES: Family = Family {
    name: "tollgate_key_set_fetches_total",
    help: "Fetches of the key sets of identity providers, by how they ended.",
    labels: &["authenticator", "result"],
    kind: MetricType::COUNTER,
};
const KEYS: Family = Family {
    name: "tollgate_key_set_keys",
    help: "Keys of an identity provider that tokens are verified with.",
    labels: &["authenticator"],
    kind: MetricType::GAUGE,
};
const AGE: Family = Family {
    name: "tollgate_key_set_age_seconds",
    help: "Since the key set of an identity provider was fetched; beyond serve_stale_for nobody's token can be verified.",
    labels: &["authenticator"],
    kind: MetricType::GAUGE,
};
const STALE: Family = Family {
    name: "tollgate_key_set_stale",
    help: "1 while the key set of an identity provider cannot be fetched: the last good one serves, if there is any.",
    labels: &["authenticator"],
    kind: MetricType::GAUGE,
};
