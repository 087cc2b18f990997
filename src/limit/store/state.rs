//! What is known of the store: for leases, for operators and for metrics.
//!
//! Logs when it goes and when it comes back, each once.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{StoreSettings, exchange::Fleet, failure::StoreError, script::seeds_key};
use crate::{
    limit::{FleetLive, Freshness, NoSeeds},
    telemetry::metrics::StoreSeries,
};

/// What the rounds know and others ask.
pub(super) struct Shared {
    pub(super) series: Arc<StoreSeries>,
    pub(super) fleet: Arc<FleetLive>,
    state: Mutex<Option<State>>,
}

struct State {
    addresses: String,
    /// What they lie at.
    seeds: String,
    since: Instant,
    up: Option<bool>,
    error: Option<StoreError>,
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
    pub error: Option<StoreError>,
    /// What the last exchange took.
    pub took: Option<Duration>,
    /// Gateways last seen there; `None` before the first look.
    pub gateways: Option<u32>,
}

impl Shared {
    pub(super) fn new(fleet: Arc<FleetLive>, series: Arc<StoreSeries>) -> Self {
        Self { series, fleet, state: Mutex::default() }
    }

    /// From now on it is about this store, or none.
    pub(super) fn begin(&self, settings: Option<&StoreSettings>) {
        self.series.set_up(settings.map(|_| false));
        self.fleet.begin(settings.is_some());
        *self.locked() = settings.map(|settings| State {
            addresses: settings.addresses(),
            seeds: seeds_key(settings.spec.prefix.as_str()),
            since: Instant::now(),
            up: None,
            error: None,
            took: None,
        });
    }

    /// Before the first exchange with a store: keys need the fleet's seeds.
    pub(super) fn met(&self, met: &Fleet) {
        let had = self.fleet.gateways().is_some();
        self.fleet.learn_gateways(met.gateways);
        if self.fleet.learn_seeds(met.seeds) && had {
            log::info!("keys of fleet limits begin afresh: the store has other seeds");
        }
    }

    pub(super) fn answered(&self, took: Duration) {
        self.fleet.stand(Freshness::Fresh);
        let gateways = self.fleet.gateways().unwrap_or(1);
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

    pub(super) fn failed(&self, why: StoreError) {
        self.fleet.stand(Freshness::Stale);
        let mut locked = self.locked();
        let Some(state) = locked.as_mut() else { return };
        let other = state.error.replace(why) != Some(why);
        if why == StoreError::Seeds && other {
            log::warn!("{}: {NoSeeds}", state.seeds);
        }
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

    pub(super) fn view(&self) -> Option<StoreView> {
        self.locked().as_ref().map(|state| StoreView {
            addresses: state.addresses.clone(),
            up: state.up,
            since: state.since,
            error: state.error,
            took: state.took,
            gateways: self.fleet.gateways(),
        })
    }

    fn locked(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
