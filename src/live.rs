//! What traffic taught us: keyed experience that outlives snapshots.
//!
//! A reload that leaves an endpoint as it was keeps what is known of it; what
//! no snapshot and no request holds any more is forgotten at the next reload.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    config::location::LocationSpec,
    upstream::{Place, UpstreamLive},
};

/// The experience of this process, shared by every snapshot.
#[derive(Default)]
pub struct LiveState {
    upstreams: Mutex<HashMap<Arc<str>, Arc<UpstreamLive>>>,
    /// What the instance said of where it is.
    instance: Mutex<Option<Place>>,
}

impl LiveState {
    /// What is known of an upstream; the same for the same name as long as
    /// anyone holds it.
    pub fn upstream(&self, name: &Arc<str>) -> Arc<UpstreamLive> {
        self.upstreams().entry(name.clone()).or_default().clone()
    }

    /// Remembers where the instance says that it is.
    pub fn learn_place(&self, place: Place) {
        *self.instance.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
    }

    /// Whether the instance said where it is.
    pub fn knows_place(&self) -> bool {
        self.instance.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Where this gateway runs: as written, or as the instance said.
    pub fn place(&self, spec: &LocationSpec) -> Place {
        let text = |name: &crate::config::types::Name| Arc::from(name.as_str());
        let instance = self.instance.lock().unwrap_or_else(PoisonError::into_inner);
        let told = instance.clone().filter(|_| spec.asks_imds()).unwrap_or_default();
        let written = spec.zone.as_ref().filter(|_| !spec.asks_imds());
        Place {
            zone: written.map(text).or(told.zone),
            region: spec.region.as_ref().map(text).or(told.region),
            gateways: spec.gateways_per_zone.iter().map(|g| (text(&g.zone), g.gateways)).collect(),
        }
    }

    /// Forgets what nobody holds. Called after a snapshot was swapped.
    pub fn sweep(&self) {
        self.upstreams().retain(|_, live| {
            live.sweep();
            Arc::strong_count(live) > 1 || live.is_remembered()
        });
    }

    fn upstreams(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<UpstreamLive>>> {
        self.upstreams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_keeps_its_experience_while_someone_holds_it() {
        let live = LiveState::default();
        let (name, address) = (Arc::from("orders"), "127.0.0.1:1".parse().unwrap());
        let held = live.upstream(&name).endpoint(address);

        live.sweep();

        assert!(Arc::ptr_eq(&held, &live.upstream(&name).endpoint(address)));
    }

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let live = LiveState::default();
        live.upstream(&Arc::from("orders")).endpoint("127.0.0.1:1".parse().unwrap());

        live.sweep();

        assert!(live.upstreams().is_empty());
    }
}
