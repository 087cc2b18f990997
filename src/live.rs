//! What traffic taught us: keyed experience that outlives snapshots.
//!
//! A reload that leaves an endpoint as it was keeps what is known of it; what
//! no snapshot and no request holds any more is forgotten at the next reload.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serde::{Deserialize, Serialize};

use crate::{
    config::{Config, location::LocationSpec, upstream::UpstreamSpec},
    jwt::{
        self, JwtLive, Now,
        trust::{self, TrustLive},
    },
    limit::LimitLive,
    upstream::{Found, Place, Resolved, UpstreamLive},
};

/// What a process tells the one that follows it: what operators did, and what cannot
/// be learnt again. Health, ejections and counts are learnt anew.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Remembered {
    /// Zones that an operator took out.
    drained_zones: Vec<String>,
    /// What is known of the keys of signers.
    keys: jwt::Remembered,
    /// The key sets of identity providers.
    key_sets: trust::Remembered,
}

/// The experience of this process, shared by every snapshot.
pub struct LiveState {
    upstreams: Mutex<HashMap<Arc<str>, Arc<UpstreamLive>>>,
    /// What the instance said of where it is.
    instance: Mutex<Option<Place>>,
    /// Zones that an operator took out.
    drained: Mutex<BTreeSet<Arc<str>>>,
    /// What names and files stand for.
    pub found: Arc<Found>,
    /// What limits counted.
    pub limits: LimitLive,
    /// What is known of the keys of signers.
    pub jwt: JwtLive,
    /// Keys of identity providers, and tokens that were verified.
    pub trust: TrustLive,
}

impl Default for LiveState {
    fn default() -> Self {
        Self {
            upstreams: Mutex::default(),
            instance: Mutex::default(),
            drained: Mutex::default(),
            found: Arc::default(),
            limits: LimitLive::new(Instant::now()),
            jwt: JwtLive::default(),
            trust: TrustLive::default(),
        }
    }
}

impl LiveState {
    /// What is known of an upstream; the same for the same name as long as
    /// anyone holds it.
    pub fn upstream(&self, name: &Arc<str>) -> Arc<UpstreamLive> {
        locked(&self.upstreams).entry(name.clone()).or_default().clone()
    }

    /// Remembers where the instance says that it is.
    pub fn learn_place(&self, place: Place) {
        *locked(&self.instance) = Some(place);
    }

    /// Whether the instance said where it is.
    pub fn knows_place(&self) -> bool {
        locked(&self.instance).is_some()
    }

    /// Where this gateway runs: as written, or as the instance said.
    pub fn place(&self, spec: &LocationSpec) -> Place {
        let text = |name: &crate::config::types::Name| Arc::from(name.as_str());
        let told = locked(&self.instance).clone().filter(|_| spec.asks_imds()).unwrap_or_default();
        let written = spec.zone.as_ref().filter(|_| !spec.asks_imds());
        Place {
            zone: written.map(text).or(told.zone),
            region: spec.region.as_ref().map(text).or(told.region),
            gateways: spec.gateways_per_zone.iter().map(|g| (text(&g.zone), g.gateways)).collect(),
            zone_name: told.zone_name,
            drained: locked(&self.drained).iter().cloned().collect(),
        }
    }

    /// The endpoints of an upstream, as far as they are known.
    pub fn endpoints(&self, spec: &UpstreamSpec, config: &Config) -> Vec<Resolved> {
        let file = spec.endpoints_file.as_ref().map(|file| config.resolve(file));
        let told = locked(&self.instance).clone().filter(|_| config.location.asks_imds());
        let own = told.and_then(|place| Some((place.zone_name?, place.zone?)));
        self.found.resolve_in(spec, file, |name| {
            let written = config.location.zone_of(name).map(|zone| Arc::from(zone.as_str()));
            written.or_else(|| own.clone().filter(|(own, _)| **own == *name).map(|(_, zone)| zone))
        })
    }

    /// How many gateways count together: as written, or as many as the file lists, and
    /// at least 1. `None` where neither is written, and while the file never had any.
    pub fn gateways(&self, config: &Config) -> Option<u32> {
        let fleet = &config.fleet;
        let listed = || self.found.weighing(config.resolve(fleet.gateways_file.as_ref()?));
        let counted = || listed().map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        fleet.gateways.or_else(counted).map(|gateways| gateways.max(1))
    }

    /// Takes a zone out, or back in; says whether that is a change. It counts
    /// from the next snapshot on.
    pub fn drain_zone(&self, zone: &str, drained: bool) -> bool {
        let mut zones = locked(&self.drained);
        if drained { zones.insert(zone.into()) } else { zones.remove(zone) }
    }

    /// For the process that follows.
    pub fn remember(&self) -> Remembered {
        Remembered {
            drained_zones: locked(&self.drained).iter().map(ToString::to_string).collect(),
            keys: self.jwt.remember(Now::read()),
            key_sets: self.trust.remember(Instant::now()),
        }
    }

    /// From the process before, ahead of the first snapshot.
    pub fn recall(&self, told: Remembered) {
        locked(&self.drained).extend(told.drained_zones.iter().map(|zone| Arc::from(zone.as_str())));
        self.jwt.recall(told.keys, Now::read());
        self.trust.recall(told.key_sets);
    }

    /// Forgets what nobody holds. Called after a snapshot was swapped.
    pub fn sweep(&self) {
        locked(&self.upstreams).retain(|_, live| {
            live.sweep();
            Arc::strong_count(live) > 1 || live.is_remembered()
        });
        self.limits.sweep();
        self.jwt.sweep();
        self.trust.sweep();
    }
}

#[cfg(test)]
impl LiveState {
    /// Every upstream of which something is known.
    pub fn known_upstreams(&self) -> Vec<String> {
        let mut names: Vec<_> = locked(&self.upstreams).keys().map(|name| name.to_string()).collect();
        names.sort();
        names
    }
}

/// A panic elsewhere breaks no promise of these values.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

        assert!(locked(&live.upstreams).is_empty());
    }
}
