//! What is known of the store: for operators, for metrics, and how many gateways
//! there are for whoever divides by them.
//!
//! Logs when it goes and when it comes back, each once.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::StoreSettings;
use crate::telemetry::metrics::{ExchangeResult, StoreSeries};

/// What the rounds know and others ask.
pub(super) struct Shared {
    pub(super) series: Arc<StoreSeries>,
    /// Those last seen in the store; 0 before the first look.
    gateways: AtomicU64,
    state: Mutex<Option<State>>,
}

struct State {
    addresses: String,
    since: Instant,
    up: Option<bool>,
    error: Option<ExchangeResult>,
    took: Option<Duration>,
}

/// How the store is, for operators.
#[derive(Clone, Debug)]
pub struct StoreView {
    /// As written.
    pub addresses: String,
    /// Whether it answers; `None` before it was asked.
    pub up: Option<bool>,
    /// Since it does, or does not.
    pub since: Instant,
    /// Why not.
    pub error: Option<ExchangeResult>,
    /// What the last exchange took.
    pub took: Option<Duration>,
    /// Gateways last seen there; 0 before the first look.
    pub gateways: u64,
}

impl Shared {
    pub(super) fn new(series: Arc<StoreSeries>) -> Self {
        Self { series, gateways: AtomicU64::new(0), state: Mutex::default() }
    }

    /// From now on it is about this store, or none.
    pub(super) fn begin(&self, settings: Option<&StoreSettings>) {
        self.series.set_up(settings.map(|_| false));
        *self.locked() = settings.map(|settings| State {
            addresses: settings.addresses(),
            since: Instant::now(),
            up: None,
            error: None,
            took: None,
        });
    }

    pub(super) fn met(&self, gateways: u64) {
        self.gateways.store(gateways, Relaxed);
    }

    pub(super) fn answered(&self, took: Duration) {
        let gateways = self.gateways();
        let mut locked = self.locked();
        let Some(state) = locked.as_mut() else { return };
        state.took = Some(took);
        if state.up != Some(true) {
            let away = state.since.elapsed().as_secs_f64();
            (state.up, state.error, state.since) = (Some(true), None, Instant::now());
            log::info!(
                "store of fleet limits answers: addresses={} gateways={gateways} after_seconds={away:.1}",
                state.addresses
            );
            self.series.set_up(Some(true));
        }
    }

    pub(super) fn failed(&self, why: ExchangeResult) {
        let mut locked = self.locked();
        let Some(state) = locked.as_mut() else { return };
        state.error = Some(why);
        if state.up != Some(false) {
            (state.up, state.since) = (Some(false), Instant::now());
            log::warn!(
                "store of fleet limits does not answer, limits go by on_store_error: addresses={} error={}",
                state.addresses,
                why.word()
            );
            self.series.set_up(Some(false));
        }
    }

    /// Gateways last seen in the store; 0 before the first look.
    pub(super) fn gateways(&self) -> u64 {
        self.gateways.load(Relaxed)
    }

    pub(super) fn view(&self) -> Option<StoreView> {
        self.locked().as_ref().map(|state| StoreView {
            addresses: state.addresses.clone(),
            up: state.up,
            since: state.since,
            error: state.error,
            took: state.took,
            gateways: self.gateways(),
        })
    }

    fn locked(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
