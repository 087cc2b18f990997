//! What look-ups of names and files found, as it is at a scrape.
//!
//! Sources are named as the configuration names them, so that there are no more
//! series than it has entries.

use std::time::Duration;

use prometheus::proto::MetricType;

use super::{
    closed_set::closed_set,
    family::{Family, Sample, Scrape},
    watched::Watched,
};

closed_set! {
    /// How a look-up ended.
    pub enum LookupResult {
        /// With endpoints.
        Found = "ok",
        /// There is no such name.
        NoSuchName = "nxdomain",
        /// There is one, without addresses; or a file without endpoints.
        Empty = "empty",
        /// The resolver says that it cannot tell.
        ServerFailure = "servfail",
        /// Nobody answered in time.
        Timeout = "timeout",
        /// No resolver can be reached, or what it says is no DNS.
        Unreachable = "unreachable",
        /// There are addresses, where no endpoint may be.
        RefusedAddress = "refused_address",
        /// There is no such file.
        MissingFile = "missing_file",
        /// The file is not as it has to be.
        BadFile = "bad_file",
    }
}

/// What is known of a source of endpoints, for an upstream.
#[derive(Clone, Debug)]
pub struct SourceGauges {
    /// Who uses it; [`NO_NAME`](super::NO_NAME) stands for the limits of the fleet.
    pub upstream: String,
    /// As it is written: a name with its port, a service, a file.
    pub source: String,
    /// Look-ups, in the order of [`LookupResult::ALL`].
    pub lookups: [u64; LookupResult::ALL.len()],
    /// Endpoints that it stands for.
    pub endpoints: usize,
    /// Since the last good answer; `None` before the first.
    pub age: Option<Duration>,
    /// The last look-up failed.
    pub stale: bool,
}

/// How they are looked up.
#[derive(Default)]
pub(super) struct Sources(pub(super) Watched<SourceGauges>);

impl Scrape for Sources {
    const FAMILIES: &'static [Family] = &[LOOKUPS, ENDPOINTS, AGE, STALE];

    fn scrape(&self) -> Vec<Vec<Sample>> {
        let now = self.0.now();
        let each = |of: &dyn Fn(&SourceGauges, &[&str]) -> Sample| {
            now.iter().map(|source| of(source, &[&source.upstream, &source.source])).collect::<Vec<_>>()
        };
        let lookups = now.iter().flat_map(|source| {
            let used = LookupResult::ALL.into_iter().zip(source.lookups).filter(|(_, n)| *n > 0);
            used.map(|(result, n)| LOOKUPS.count(&[&source.upstream, &source.source, result.word()], n))
        });
        let ages = now.iter().filter_map(|source| {
            Some(AGE.value(&[&source.upstream, &source.source], source.age?.as_secs_f64()))
        });
        vec![
            lookups.collect(),
            each(&|source, labels| ENDPOINTS.value(labels, source.endpoints as f64)),
            ages.collect(),
            each(&|source, labels| STALE.count(labels, u64::from(source.stale))),
        ]
    }
}

const LOOKUPS: Family = Family {
    name: "tollgate_discovery_lookups_total",
    help: "Look-ups of names and changed files, by how they ended.",
    labels: &["upstream", "source", "result"],
    kind: MetricType::COUNTER,
};
const ENDPOINTS: Family = Family {
    name: "tollgate_discovery_endpoints",
    help: "Endpoints that a name or file stands for.",
    labels: &["upstream", "source"],
    kind: MetricType::GAUGE,
};
const AGE: Family = Family {
    name: "tollgate_discovery_age_seconds",
    help: "Since the last good answer.",
    labels: &["upstream", "source"],
    kind: MetricType::GAUGE,
};
const STALE: Family = Family {
    name: "tollgate_discovery_stale",
    help: "1 while look-ups fail: what was found last serves, if there is any.",
    labels: &["upstream", "source"],
    kind: MetricType::GAUGE,
};
