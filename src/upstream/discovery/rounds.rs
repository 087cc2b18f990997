//! Looks sources up when they are due, for as long as the process lives.
//!
//! Owns how many look-ups are under way and what rules them. Always holds: a
//! source is looked up once at a time, and each look-up of a name ends.

use std::{
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, Mutex, mpsc::SyncSender},
    time::{Duration, Instant},
};

use futures::FutureExt;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    super::{EndpointSource, Found, FoundSet, live::locked},
    files::{self, FileLook, Seen},
    history::{Answer, Bounds},
    names::Names,
    resolver::Resolver,
    screen::Screen,
    sources::{Failed, Looked, Sources, Task, Wanted},
};
use crate::{config::discovery::DiscoverySpec, telemetry::metrics::LookupResult};

/// How it is looked up, as a configuration says.
pub(super) struct Looker {
    /// `None`: nobody can be asked.
    names: Option<Names>,
    timeout: Duration,
    bounds: Bounds,
}

impl Looker {
    /// As this configuration says. Who is asked is read anew, if anybody has to be.
    pub(super) fn new(spec: &DiscoverySpec, wanted: &Wanted) -> Self {
        let names = wanted.keys().any(|source| !source.is_file()).then(|| names(spec)).flatten();
        let ttl = (spec.min_ttl.duration(), spec.max_ttl.duration());
        let keep = Some(spec.keep.duration());
        let retry = (RETRY.0.min(ttl.1), RETRY.1.min(ttl.1));
        Self { names, timeout: spec.timeout.duration(), bounds: Bounds { ttl, retry, keep } }
    }

    /// Whether an endpoint may be at each address of a set.
    pub(super) fn admits(&self, set: &FoundSet) -> bool {
        let admits = |names: &Names| set.addresses().iter().all(|address| names.screen.admits(address.ip()));
        self.names.as_ref().is_none_or(admits)
    }

    /// What rules a source.
    pub(super) fn bounds(&self, source: &EndpointSource) -> Bounds {
        let looks = (files::BETWEEN_LOOKS, files::BETWEEN_LOOKS);
        match source {
            EndpointSource::File(_) => Bounds { ttl: looks, retry: looks, keep: None },
            EndpointSource::Host(..) | EndpointSource::Service(_) => self.bounds,
        }
    }

    /// Looks up; ends in time, whatever happens.
    pub(super) async fn look(&self, task: Task) -> Looked {
        let Task { source, had, seen } = task;
        if let EndpointSource::File(path) = &source {
            let (outcome, seen) = look_at_file(path.clone(), seen).await;
            return Looked { source, outcome, seen };
        }
        let asked = async {
            let names = self.names.as_ref().ok_or(LookupResult::Unreachable)?;
            match &source {
                EndpointSource::Host(host, port) => names.host(host, *port, had).await,
                EndpointSource::Service(name) => names.service(name, had).await,
                EndpointSource::File(_) => Err(LookupResult::BadFile),
            }
        };
        let whole = tokio::time::timeout(self.timeout, asked);
        // One that never ended would never be looked up again.
        let outcome = AssertUnwindSafe(whole).catch_unwind().await;
        let outcome = outcome.unwrap_or(Ok(Err(LookupResult::Unreachable)));
        let outcome = outcome.unwrap_or(Err(LookupResult::Timeout)).map_err(|why| (why, Vec::new()));
        Looked { source, outcome: Some(outcome), seen }
    }
}

fn names(spec: &DiscoverySpec) -> Option<Names> {
    let resolver = Resolver::new(spec);
    if let Err(why) = &resolver {
        log::warn!("no resolver to ask for names of endpoints: error={why}");
    }
    let most = usize::try_from(spec.max_addresses).unwrap_or(usize::MAX);
    resolver.ok().map(|resolver| Names { resolver, screen: Screen::new(&spec.allow), most })
}

async fn look_at_file(path: PathBuf, mut seen: Seen) -> (Option<Result<Answer, Failed>>, Seen) {
    let before = seen;
    let look = move || (files::look(&path, &mut seen), seen);
    match tokio::task::spawn_blocking(look).await {
        Ok((FileLook::Same, seen)) => (None, seen),
        Ok((FileLook::Read(read), seen)) => (Some(read), seen),
        Err(why) => (Some(Err((LookupResult::BadFile, vec![why.to_string()]))), before),
    }
}

/// What look-ups share with whoever asks about them.
pub(super) struct Shared {
    pub(super) sources: Mutex<Sources>,
    pub(super) found: Arc<Found>,
    /// Hears that something changed; one word is enough for many.
    pub(super) changed: SyncSender<()>,
}

impl Shared {
    /// Takes a look in; says whether anything changed.
    pub(super) fn settle(&self, looked: Looked, looker: &Looker) -> bool {
        let bounds = looker.bounds(&looked.source);
        locked(&self.sources).settle(looked, &bounds, &self.found, Instant::now())
    }
}

/// Looks up what is due.
pub(super) struct Rounds {
    pub(super) shared: Arc<Shared>,
    pub(super) looker: Arc<Looker>,
}

impl Rounds {
    /// Until nobody can order anything any more.
    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Arc<Looker>>) {
        let mut looks: JoinSet<Looked> = JoinSet::new();
        loop {
            let now = Instant::now();
            self.begin(&mut looks, now);
            // With every place taken, the next thing to happen is that one ends.
            let next = locked(&self.shared.sources).next().filter(|_| looks.len() < MOST_LOOKS);
            let wake = next.map_or(now + IDLE, |due| due.max(now + TICK));
            tokio::select! {
                Some(looked) = looks.join_next() => {
                    if looked.is_ok_and(|looked| self.shared.settle(looked, &self.looker)) {
                        // Full: it is going to look anyway.
                        let _ = self.shared.changed.try_send(());
                    }
                }
                order = orders.recv() => match order {
                    Some(looker) => self.looker = looker,
                    None => return,
                },
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    fn begin(&self, looks: &mut JoinSet<Looked>, now: Instant) {
        let room = MOST_LOOKS.saturating_sub(looks.len());
        let due = locked(&self.shared.sources).due(room, now);
        for task in due {
            let looker = self.looker.clone();
            looks.spawn(async move { looker.look(task).await });
        }
    }
}

/// A resolver answers in milliseconds. When it is silent a look-up takes its whole
/// timeout, so that 16 a second are tried.
pub(super) const MOST_LOOKS: usize = 32;

/// After a failure: soon, for it may have been one packet; then seldom, for a
/// resolver that fails has enough to do.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

const TICK: Duration = Duration::from_millis(2);
const IDLE: Duration = Duration::from_secs(3600);
