//! Settles up with the other gateways of a fleet, in a Redis or Valkey.
//!
//! `rounds` says when, `exchange` what, `script` how it is asked; `client` is the
//! store as one thing, made of `link`s, which are a `cluster`'s nodes too, with `tls`
//! or without; `failure` and `state` tell how it goes. Does not own what a gateway may
//! grant on the strength of it: that is [`Lease`]'s.
//!
//! Always holds: nothing here is on a request's way. It has a thread of its own; a
//! store that is dead, slow or full makes leases stale, and nothing else.

mod client;
mod cluster;
mod exchange;
mod failure;
mod link;
mod rounds;
mod script;
mod settings;
mod state;
mod tls;

use std::{io, sync::Arc, thread};

pub use failure::StoreError;
use rounds::Rounds;
pub use settings::StoreSettings;
use state::Shared;
pub use state::StoreView;
use tokio::{runtime::Builder, sync::watch};

use super::{Clock, FleetLive, Lease};
use crate::telemetry::Metrics;

/// The fleet's store, on a thread of its own.
pub struct Store {
    followed: watch::Sender<Followed>,
    shared: Arc<Shared>,
}

/// What is settled up, and where.
#[derive(Clone, Default)]
struct Followed {
    settings: Option<Arc<StoreSettings>>,
    leases: Arc<[Arc<Lease>]>,
}

impl Followed {
    fn is_like(&self, other: &Self) -> bool {
        let same = |(one, other): (&Arc<Lease>, &Arc<Lease>)| Arc::ptr_eq(one, other);
        self.settings == other.settings
            && self.leases.len() == other.leases.len()
            && self.leases.iter().zip(other.leases.iter()).all(same)
    }
}

impl Store {
    /// Begins without a store; `fleet` is told what is heard of the fleet, `clock` is
    /// the one that leases count in. Fails when the system gives no thread.
    pub fn start(fleet: Arc<FleetLive>, clock: Clock, metrics: &Metrics) -> io::Result<Self> {
        // One thread: a cluster's connections find what they need by it.
        let runtime =
            Builder::new_current_thread().enable_all().max_blocking_threads(MOST_LOOKUPS).build()?;
        let (followed, follows) = watch::channel(Followed::default());
        let shared = Arc::new(Shared::new(fleet, metrics.store()));
        let rounds = Rounds::new(follows, shared.clone(), clock);
        thread::Builder::new()
            .name("limit-store".to_owned())
            .spawn(move || runtime.block_on(rounds.run()))?;
        Ok(Self { followed, shared })
    }

    /// From now on these leases are settled up in this store, and no others anywhere.
    pub fn follow(&self, settings: Option<Arc<StoreSettings>>, leases: Vec<Arc<Lease>>) {
        let settings = settings.filter(|_| !leases.is_empty());
        let next = Followed { settings, leases: leases.into() };
        // Whoever waits before another try, waits on when nothing is other than before.
        self.followed.send_if_modified(|now| {
            let differs = !now.is_like(&next);
            *now = next;
            differs
        });
    }

    /// How the store is; `None` when no limit needs one.
    pub fn view(&self) -> Option<StoreView> {
        self.shared.view()
    }
}

/// Look-ups of names that hang wait in threads; more than these wait for those.
const MOST_LOOKUPS: usize = 4;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::limit::Terms;

    #[test]
    fn only_what_is_other_than_before_wakes_who_waits() {
        let fleet = Arc::<FleetLive>::default();
        let store =
            Store::start(fleet.clone(), Clock::new(Instant::now()), &Metrics::new().unwrap()).unwrap();
        let settings = |prefix: &str| {
            let spec = format!("{{ addresses: [\"127.0.0.1:1\"], prefix: {prefix} }}");
            Some(Arc::new(StoreSettings::new(&serde_yaml::from_str(&spec).unwrap(), None).unwrap()))
        };
        let lease = || {
            let terms = Terms::new(100, Duration::from_secs(1), 20);
            Arc::new(Lease::new("a".into(), terms, 1 << 12, fleet.clone()))
        };
        let (one, other) = (lease(), lease());
        store.follow(settings("a"), vec![one.clone()]);
        let mut waits = store.followed.subscribe();
        let mut wakes = |prefix: &str, leases: &[&Arc<Lease>]| {
            store.follow(settings(prefix), leases.iter().map(|lease| Arc::clone(lease)).collect());
            let wakes = waits.has_changed().unwrap();
            waits.mark_unchanged();
            wakes
        };

        assert!(!wakes("a", &[&one]));
        assert!(wakes("a", &[&one, &other]));
        assert!(wakes("a", &[&other]));
        assert!(wakes("b", &[&other]));
        assert!(wakes("b", &[]));
    }
}
