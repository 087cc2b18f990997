//! Finds endpoints: looks names up by their time to live, looks at files, and
//! writes what they stand for into [`Found`], from which snapshots are made.
//!
//! `sources` is what is looked up, `history` decides what an outcome means, `names`
//! asks the `resolver` and `screen`s its answers, `files` reads files, `rounds`
//! does it all in time. Does not own what endpoints are good for.
//!
//! Always holds: nothing here is on a request's way. A resolver that hangs holds
//! up a start or a reload that has new names, for 3 s at most, and nothing
//! else; what was found stays.

mod files;
mod history;
mod names;
mod resolver;
mod rounds;
mod screen;
mod sources;
mod user;

use std::{
    io,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, sync_channel},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use rounds::{Looker, MOST_LOOKS, Rounds, Shared};
pub use sources::SourceView;
use sources::Wanted;
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
};

use super::{EndpointSource, Found, FoundSet, live::locked};
use crate::{
    config::{Config, discovery::DiscoverySpec},
    telemetry::Metrics,
};

/// The look-ups of the process, on a thread of their own.
pub struct Discovery {
    runtime: Runtime,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<Arc<Looker>>,
    /// By what is looked up now.
    followed: Mutex<Option<DiscoverySpec>>,
    /// Until someone watches.
    changes: Mutex<Option<Receiver<()>>>,
}

impl Discovery {
    /// Begins with nothing to look up. Fails when the system gives no thread.
    pub fn start(found: Arc<Found>, metrics: &Metrics) -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("discovery").enable_all().build()?;
        let (changed, changes) = sync_channel(1);
        let shared = Arc::new(Shared { sources: Mutex::default(), found, changed });
        let (orders, ordered) = mpsc::unbounded_channel();
        let looker = Arc::new(Looker::new(&DiscoverySpec::default(), &Wanted::new()));
        runtime.spawn(Rounds { shared: shared.clone(), looker }.run(ordered));
        let told = shared.clone();
        metrics.watch_sources(move || locked(&told.sources).gauges(Instant::now()));
        Ok(Self { runtime, shared, orders, followed: Mutex::default(), changes: Mutex::new(Some(changes)) })
    }

    /// Looks up what nobody follows yet, once; to be called before a snapshot is
    /// built. Blocks until all is known or failed, and 3 s at most; what is left
    /// over stays unknown until it is found.
    pub fn learn(&self, config: &Config) {
        let wanted = sources::wanted(config);
        let tasks = locked(&self.shared.sources).begin(&wanted, Instant::now());
        if tasks.is_empty() {
            return;
        }
        let looker = Looker::new(&config.discovery, &wanted);
        let looks = stream::iter(tasks).for_each_concurrent(MOST_LOOKS, |task| async {
            let looked = looker.look(task).await;
            self.shared.settle(looked, &looker);
        });
        let whole = self.runtime.block_on(async { tokio::time::timeout(LEARNING, looks).await });
        if whole.is_err() {
            for (source, users) in locked(&self.shared.sources).missing(&wanted) {
                for user in users {
                    log::warn!("endpoints not found yet: {user} source={source}");
                }
            }
        }
    }

    /// From now on what this configuration names is looked up, and nothing else.
    pub fn follow(&self, config: &Config) {
        let mut followed = locked(&self.followed);
        let anew = followed.as_ref().is_some_and(|spec| *spec != config.discovery);
        *followed = Some(config.discovery.clone());
        let wanted = sources::wanted(config);
        let looker = Arc::new(Looker::new(&config.discovery, &wanted));
        let may_stay = |set: &FoundSet| looker.admits(set);
        let anew: Option<&dyn Fn(&FoundSet) -> bool> = if anew { Some(&may_stay) } else { None };
        let found = &self.shared.found;
        let mut sources = locked(&self.shared.sources);
        // First, so that nothing that is due from now on goes by the order before;
        // and locked, so that whoever wakes of it sees all that is due. The other
        // end lives as long as the runtime.
        let _ = self.orders.send(looker.clone());
        let lost = sources.follow(wanted, anew, found, Instant::now());
        drop(sources);
        if lost {
            // Full: whoever hears it is going to look anyway.
            let _ = self.shared.changed.try_send(());
        }
    }

    /// What the sources of a configuration stand for now, to be reminded of.
    pub fn remembered(&self, config: &Config) -> Remembered {
        let known = |source: EndpointSource| Some((self.shared.found.get(&source)?, source));
        let sets = sources::wanted(config).into_keys().filter_map(known);
        Remembered(sets.map(|(set, source)| (source, set)).collect())
    }

    /// Takes what sources stood for once as what they stand for now, where nothing is
    /// known of them: until they are looked up with success, that is the best there is.
    pub fn remind(&self, remembered: &Remembered) {
        for (source, set) in &remembered.0 {
            if !self.shared.found.knows(source) {
                self.shared.found.learn(source, FoundSet::clone(set));
            }
        }
    }

    /// Calls this whenever something changed, on a thread of its own: it may
    /// block. What changes within a moment is taken together. The first one stays.
    pub fn watch(&self, on_change: impl Fn() + Send + 'static) -> io::Result<()> {
        let Some(changes) = locked(&self.changes).take() else { return Ok(()) };
        let wait = move || {
            while changes.recv().is_ok() {
                std::thread::sleep(TOGETHER);
                while changes.try_recv().is_ok() {}
                // Endpoints that nobody takes over any more would be worse.
                if std::panic::catch_unwind(AssertUnwindSafe(&on_change)).is_err() {
                    log::error!(
                        "endpoints that were found could not be taken over; the next change tries again"
                    );
                }
            }
        };
        std::thread::Builder::new().name("found".to_owned()).spawn(wait).map(drop)
    }

    /// What an upstream stands on besides addresses.
    pub fn sources(&self, upstream: &str, now: Instant) -> Vec<SourceView> {
        locked(&self.shared.sources).views(upstream, now)
    }
}

/// What sources stood for.
#[derive(Default)]
pub struct Remembered(Vec<(EndpointSource, Arc<FoundSet>)>);

/// A start or a reload is held up for no longer.
const LEARNING: Duration = Duration::from_secs(3);

/// A deployment changes many names and files in one go.
const TOGETHER: Duration = Duration::from_millis(50);
