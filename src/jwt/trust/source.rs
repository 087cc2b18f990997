//! The keys of an issuer as they are now, and what is known of how they were got.
//!
//! Outlives snapshots: see [`TrustLive`](super::TrustLive).

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use boring::ssl::SslConnector;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use super::{document::Place, key_set::KeySet};
use crate::{config::issuer::JwtSpec, telemetry::metrics::KeyFetchResult};

/// The keys of an issuer, which are fetched ahead.
pub struct KeySource {
    pub(super) place: Place,
    pub(super) terms: Terms,
    pub(super) tls: SslConnector,
    held: ArcSwapOption<Held>,
    state: Mutex<State>,
    /// Wakes who fetches.
    pub(super) wanted: Notify,
    /// Counts fetches that ended.
    ended: watch::Sender<u64>,
    /// One at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
}

/// When keys are fetched, and how long they serve.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Terms {
    pub refresh_every: Duration,
    pub refetch_after: Duration,
    pub timeout: Duration,
    pub serve_stale_for: Duration,
}

impl Terms {
    pub fn new(spec: &JwtSpec) -> Self {
        Self {
            refresh_every: spec.refresh_every.duration(),
            refetch_after: spec.refetch_after.duration(),
            timeout: spec.timeout.duration(),
            serve_stale_for: spec.serve_stale_for.duration(),
        }
    }
}

/// Keys that were fetched.
pub(super) struct Held {
    pub keys: KeySet,
    /// As it came; for the process that follows.
    pub document: Arc<[u8]>,
    pub since: Instant,
}

#[derive(Clone, Default)]
struct State {
    /// When the last fetch ended.
    tried: Option<Instant>,
    /// Nobody may wait for it who comes when it has ended.
    is_fetching: bool,
    /// In a row.
    failures: u32,
    last: Option<KeyFetchResult>,
    counts: [u64; KeyFetchResult::ALL.len()],
}

/// How the keys of an issuer are, for operators.
#[derive(Clone, Debug)]
pub struct SourceView {
    /// Where they come from.
    pub place: String,
    /// Those that verify, by their names.
    pub kids: Vec<String>,
    /// How many verify.
    pub keys: usize,
    /// Since they were fetched; `None` before.
    pub age: Option<Duration>,
    /// How the last fetch ended; `None` before the first.
    pub last: Option<KeyFetchResult>,
    /// Fetches, in the order of [`KeyFetchResult::ALL`].
    pub counts: [u64; KeyFetchResult::ALL.len()],
    /// Whether they are too old to verify anything.
    pub is_too_old: bool,
}

impl KeySource {
    pub(super) fn new(place: Place, terms: Terms, tls: SslConnector) -> Self {
        Self {
            place,
            terms,
            tls,
            held: ArcSwapOption::empty(),
            state: Mutex::default(),
            wanted: Notify::new(),
            ended: watch::Sender::new(0),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Looks at the keys, unless there are none that may be used.
    #[inline]
    pub(super) fn with_keys<T>(&self, now: Instant, look: impl FnOnce(&KeySet) -> T) -> Option<T> {
        let held = self.held.load();
        let held = held.as_ref().filter(|held| self.is_usable(held, now))?;
        Some(look(&held.keys))
    }

    /// A file is there, or it would have been told; what was fetched may be outdated.
    fn is_usable(&self, held: &Held, now: Instant) -> bool {
        self.place.is_file() || now.saturating_duration_since(held.since) <= self.terms.serve_stale_for
    }

    /// Whether there are keys at all, however old.
    pub(super) fn has_keys(&self) -> bool {
        self.held.load().is_some()
    }

    /// Waits until the keys were fetched again, if that is allowed now: one fetch for all
    /// who wait, and none within `refetch_after` of the one before. Ends within the
    /// time that a fetch may take.
    pub(super) async fn refreshed(&self, now: Instant) {
        let mut ended = self.ended.subscribe();
        if self.ask(now) {
            timeout(self.terms.timeout + GRACE, ended.changed()).await.ok();
        }
    }

    /// Whether a fetch is under way now, or about to be.
    fn ask(&self, now: Instant) -> bool {
        let mut state = self.state();
        if state.is_fetching {
            return true;
        }
        let is_soon = |tried: Instant| now.saturating_duration_since(tried) < self.terms.refetch_after;
        if state.tried.is_some_and(is_soon) {
            return false;
        }
        state.is_fetching = true;
        drop(state);
        self.wanted.notify_one();
        true
    }

    /// Whether somebody waits for a fetch that has not ended.
    pub(super) fn is_awaited(&self) -> bool {
        self.state().is_fetching
    }

    pub(super) fn begin(&self) {
        self.state().is_fetching = true;
    }

    /// Takes what a fetch brought. What failed changes nothing of the keys.
    pub(super) fn end(&self, fetched: Result<Held, KeyFetchResult>, now: Instant) {
        let result = fetched.as_ref().map_or_else(|why| *why, |_| KeyFetchResult::Fetched);
        self.tell(&fetched, now);
        if let Ok(held) = fetched {
            self.hold(held);
        }
        let mut state = self.state();
        state.failures = if result == KeyFetchResult::Fetched { 0 } else { state.failures.saturating_add(1) };
        (state.tried, state.is_fetching, state.last) = (Some(now), false, Some(result));
        if let Some(count) = state.counts.get_mut(result as usize) {
            *count += 1;
        }
        drop(state);
        self.ended.send_modify(|ended| *ended += 1);
    }

    /// A fetch was given up before its end.
    pub(super) fn abandon(&self) {
        self.state().is_fetching = false;
        self.ended.send_modify(|ended| *ended += 1);
    }

    pub(super) fn hold(&self, mut held: Held) {
        if let Some(before) = &*self.held.load() {
            held.keys.succeed(&before.keys);
        }
        self.held.store(Some(Arc::new(held)));
    }

    /// What another source of the same keys has, and how it got on.
    pub(super) fn inherit(&self, other: &Self) {
        self.held.store(other.held.load_full());
        let mut known = other.state().clone();
        known.is_fetching = false;
        *self.state() = known;
    }

    pub(super) fn held(&self) -> Option<Arc<Held>> {
        self.held.load_full()
    }

    /// How long to wait before the next fetch.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let state = self.state();
        let Some(tried) = state.tried else { return Duration::ZERO };
        let every = match state.failures {
            0 => self.terms.refresh_every.mul_f64(0.9 + fastrand::f64() / 10.0),
            failures => FIRST_RETRY.saturating_mul(1 << (failures - 1).min(10)).min(LONGEST_RETRY),
        };
        every.min(self.terms.refresh_every).saturating_sub(now.saturating_duration_since(tried))
    }

    /// How it is.
    pub fn view(&self, now: Instant) -> SourceView {
        let (state, held) = (self.state().clone(), self.held());
        SourceView {
            place: self.place.to_string(),
            kids: held.iter().flat_map(|held| held.keys.kids().map(str::to_owned)).collect(),
            keys: held.as_ref().map_or(0, |held| held.keys.len()),
            age: held.as_ref().map(|held| now.saturating_duration_since(held.since)),
            last: state.last,
            counts: state.counts,
            is_too_old: held.is_some_and(|held| !self.is_usable(&held, now)),
        }
    }

    /// Says what changed, once.
    fn tell(&self, fetched: &Result<Held, KeyFetchResult>, now: Instant) {
        let (state, before) = (self.state().clone(), self.held());
        let place = &self.place;
        match fetched {
            Err(why) if state.last == Some(*why) => {}
            Err(why) => {
                let age = before.map(|held| now.saturating_duration_since(held.since).as_secs());
                let age = age.map_or("none".to_owned(), |age| age.to_string());
                log::warn!(
                    "key set cannot be fetched, the last good one serves if there is any: from={place} result={} age_seconds={age}",
                    why.word()
                );
            }
            Ok(held) => {
                let kids = |held: &Held| held.keys.kids().map(str::to_owned).collect::<Vec<_>>();
                if state.failures > 0 || before.is_none_or(|before| kids(&before) != kids(held)) {
                    let (keys, kids) = (held.keys.len(), kids(held).join(","));
                    log::info!("key set fetched: from={place} keys={keys} kids={kids:?}");
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySource").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Beyond a fetch's own time, for who waits for its end.
const GRACE: Duration = Duration::from_millis(100);

/// Until the first and between further tries after failures; an issuer that comes back
/// is found within seconds, and is not held down.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
