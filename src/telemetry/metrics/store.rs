//! How the store of a fleet's limits answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus::proto::MetricType;

use super::{
    closed_set::closed_set,
    family::{Family, Sample, Scrape},
    histogram::Histogram,
};
use crate::telemetry::shard::Sharded;

closed_set! {
    /// How an exchange with the store of a fleet's limits ended.
    pub enum ExchangeResult {
        /// With an answer to everything.
        Answered = "ok",
        /// Not in time.
        Timeout = "timeout",
        /// Nobody is there, or the name stands for nothing.
        Unreachable = "unreachable",
        /// Its certificate is not to be trusted, or it speaks no TLS.
        Tls = "tls",
        /// Whoever was there is gone.
        Closed = "closed",
        /// It does not let this user in, or not do this.
        Unauthorized = "unauthorized",
        /// It is a replica.
        ReadOnly = "read_only",
        /// It has no memory for more, and evicts nothing.
        Full = "full",
        /// It loads its data, or its cluster finds itself.
        NotReady = "not_ready",
        /// It answered with another error.
        Refused = "refused",
        /// What it answered is nothing that was asked for, or the exchange broke.
        Broken = "broken",
    }
}

/// What the exchanges with the store are counted in. It tells nothing while there is
/// no store.
pub struct StoreSeries {
    exchanges: [AtomicU64; ExchangeResult::ALL.len()],
    took: Sharded<Histogram>,
    /// Below 0: there is no store.
    up: AtomicI64,
}

impl Default for StoreSeries {
    fn default() -> Self {
        Self { exchanges: Default::default(), took: Sharded::new(1), up: AtomicI64::new(-1) }
    }
}

impl StoreSeries {
    /// Counts one exchange.
    pub fn exchanged(&self, result: ExchangeResult, took: Duration) {
        if let Some(count) = self.exchanges.get(result as usize) {
            count.fetch_add(1, Relaxed);
        }
        if let Some(mine) = self.took.mine() {
            mine.observe(took);
        }
    }

    /// How many exchanges ended so.
    pub fn count(&self, result: ExchangeResult) -> u64 {
        self.exchanges.get(result as usize).map_or(0, |count| count.load(Relaxed))
    }

    /// Whether it answers; `None` without a store.
    pub fn set_up(&self, up: Option<bool>) {
        self.up.store(up.map_or(-1, i64::from), Relaxed);
    }
}

/// As a registry holds them.
pub(super) struct Store(pub(super) Arc<StoreSeries>);

impl Scrape for Store {
    const FAMILIES: &'static [Family] = &[UP, EXCHANGES, TOOK];

    fn scrape(&self) -> Vec<Vec<Sample>> {
        let Ok(up) = u64::try_from(self.0.up.load(Relaxed)) else {
            return vec![Vec::new(); Self::FAMILIES.len()];
        };
        let used = ExchangeResult::ALL.into_iter().map(|result| (result, self.0.count(result)));
        let used = used.filter(|(result, n)| *n > 0 || *result == ExchangeResult::Answered);
        vec![
            vec![UP.count(&[], up)],
            used.map(|(result, n)| EXCHANGES.count(&[result.word()], n)).collect(),
            vec![TOOK.histogram(&[], &Histogram::total(&self.0.took, |histogram| histogram))],
        ]
    }
}

const UP: Family = Family {
    name: "tollgate_limit_store_up",
    help: "1 while the store of the fleet's limits answers; else leased limits go by on_store_error.",
    labels: &[],
    kind: MetricType::GAUGE,
};
const EXCHANGES: Family = Family {
    name: "tollgate_limit_store_exchanges_total",
    help: "Exchanges with the store of the fleet's limits, by how they ended.",
    labels: &["result"],
    kind: MetricType::COUNTER,
};
const TOOK: Family = Family {
    name: "tollgate_limit_store_exchange_seconds",
    help: "How long exchanges with the store of the fleet's limits took. No request waits for one.",
    labels: &[],
    kind: MetricType::HISTOGRAM,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_store_nothing_is_told_of_it() {
        let store = Store(Arc::default());

        let told: Vec<_> = store.scrape().iter().map(Vec::len).collect();

        assert_eq!(told, [0, 0, 0]);
    }

    #[test]
    fn exchanges_are_told_by_how_they_ended() {
        let store = Store(Arc::default());
        store.0.set_up(Some(false));

        store.0.exchanged(ExchangeResult::Full, Duration::from_millis(1));

        let told = store.scrape();
        assert_eq!(told.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 1]);
        assert!(told[0][0].text().ends_with(" 0\n"), "{}", told[0][0].text());
        assert!(told[2][0].text().ends_with("_count 1\n"), "{}", told[2][0].text());
    }
}
