//! What operators are told of the fleet: how many gateways share its limits, and
//! whether their store answers. Of a store's settings the addresses alone.

use std::time::Instant;

use serde::Serialize;

use crate::{
    limit::store::{Store, StoreView},
    snapshot::Snapshot,
};

/// The fleet.
#[derive(Debug, Serialize)]
pub struct FleetStatus {
    /// As configured, else as last seen in the store; none while nobody knows.
    pub gateways: Option<u32>,
    /// None where no limit needs one.
    pub store: Option<StoreStatus>,
}

/// The store of leased limits.
#[derive(Debug, Serialize)]
#[allow(missing_docs)]
pub struct StoreStatus {
    pub addresses: String,
    /// `up`, `down`, or `connecting` before the first answer or failure.
    pub state: &'static str,
    /// In it.
    pub for_seconds: u64,
    /// Why it is down.
    pub error: Option<&'static str>,
    /// What the last exchange took.
    pub exchange_ms: Option<f64>,
    /// Gateways last seen there.
    pub gateways: Option<u32>,
}

/// What there is to tell; `None` where nothing is shared.
pub(super) fn status(snapshot: &Snapshot, store: &Store, now: Instant) -> Option<FleetStatus> {
    let store = store.view();
    let seen = store.as_ref().and_then(|store| store.gateways);
    let gateways = snapshot.gateways().or(seen);
    (gateways.is_some() || store.is_some())
        .then(|| FleetStatus { gateways, store: store.map(|store| told(store, now)) })
}

fn told(store: StoreView, now: Instant) -> StoreStatus {
    let state = match store.up {
        None => "connecting",
        Some(true) => "up",
        Some(false) => "down",
    };
    StoreStatus {
        addresses: store.addresses,
        state,
        for_seconds: now.saturating_duration_since(store.since).as_secs(),
        error: store.error.map(|error| error.word()),
        exchange_ms: store.took.map(|took| took.as_secs_f64() * 1e3),
        gateways: store.gateways,
    }
}
