//! The thread on which keys of issuers are fetched.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use tokio::{
    runtime::{Builder, Runtime},
    task::AbortHandle,
    time::timeout,
};

use super::{rounds, source::KeySource};
use crate::telemetry::{
    Metrics,
    metrics::{KeyFetchResult, KeySetGauges},
};

/// Fetches keys of issuers, on a thread of its own.
pub struct KeyFetcher {
    runtime: Runtime,
    followed: Arc<Mutex<Vec<Followed>>>,
}

/// An issuer's keys, by the way of authentication that verifies with them.
struct Followed {
    authenticator: Arc<str>,
    source: Arc<KeySource>,
    task: Task,
}

/// Ends with its last holder.
#[derive(Clone)]
struct Task {
    _abort: Arc<Abort>,
}

struct Abort(AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl KeyFetcher {
    /// Begins with nothing to fetch. Fails when the system gives no thread.
    pub fn start(metrics: &Metrics) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(MOST_LOOKUPS)
            .thread_name("key-sets")
            .enable_all()
            .build()?;
        let followed = Arc::<Mutex<Vec<Followed>>>::default();
        let told = followed.clone();
        metrics.watch_key_sets(move || gauges(&told.lock().unwrap_or_else(PoisonError::into_inner)));
        Ok(Self { runtime, followed })
    }

    /// Fetches what was never fetched, once; to be called before a snapshot is put to
    /// work. Blocks until all is there or failed, and 3 s at most; what is left over
    /// comes when it comes.
    pub fn learn<'s>(&self, sources: impl Iterator<Item = &'s Arc<KeySource>>) {
        let mut unknown: Vec<_> = sources.filter(|source| !source.has_keys()).collect();
        unknown.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let fetches = join_all(unknown.into_iter().map(|source| rounds::fetch(source)));
        self.runtime.block_on(async { timeout(LEARNING, fetches).await }).ok();
    }

    /// From now on these are fetched, each for the way of authentication of this name,
    /// and no others.
    pub fn follow(&self, sources: Vec<(Arc<str>, Arc<KeySource>)>) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *followed);
        for (authenticator, source) in sources {
            let known = followed.iter().chain(&before).find(|known| Arc::ptr_eq(&known.source, &source));
            let task = known.map(|known| known.task.clone()).unwrap_or_else(|| self.begin(source.clone()));
            followed.push(Followed { authenticator, source, task });
        }
    }

    fn begin(&self, source: Arc<KeySource>) -> Task {
        Task { _abort: Arc::new(Abort(self.runtime.spawn(rounds::follow(source)).abort_handle())) }
    }
}

fn gauges(followed: &[Followed]) -> Vec<KeySetGauges> {
    let gauges = |followed: &Followed| {
        let view = followed.source.view(Instant::now());
        KeySetGauges {
            authenticator: followed.authenticator.to_string(),
            fetches: view.counts,
            keys: view.keys,
            age: view.age,
            stale: view.last.is_some_and(|last| last != KeyFetchResult::Fetched),
        }
    };
    followed.iter().map(gauges).collect()
}

/// A start and a reload are held up for no longer.
const LEARNING: Duration = Duration::from_secs(3);

/// Look-ups of names that hang wait in threads; more than these wait for those.
const MOST_LOOKUPS: usize = 4;
