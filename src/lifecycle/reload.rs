//! A new snapshot in this process: read, build, probe what is new, swap, report.
//!
//! Always holds: a reload that is refused changes nothing, and says everything
//! that is wrong. A dry run goes the same way and ends before the swap.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError},
    time::{Duration, Instant, SystemTime},
};

use serde::Serialize;

use super::{
    Systemd,
    confirm::{Past, Timer},
    frozen::frozen,
    imds,
    plan::{Plan, What},
    refused::Refused,
    renewal::Renewals,
    systemd::serving,
};
use crate::{
    config::{self, Config, Problems, Severity},
    jwt::trust::KeyFetcher,
    limit::store::Store,
    live::LiveState,
    snapshot::{Current, Snapshot},
    telemetry::{Metrics, SpanExporter, short_hash},
    upstream::{discovery::Discovery, health::HealthChecks},
};

/// Reloads this process from its main file.
pub struct Reloader {
    pub(super) path: PathBuf,
    pub(super) current: Arc<Current>,
    pub(super) live: Arc<LiveState>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) followers: Followers,
    /// One reload at a time; a second one is told so.
    busy: Mutex<()>,
    /// One new snapshot at a time. Endpoints that are found come at any moment:
    /// who reloads then has to wait, and is not told to come again.
    publishing: Mutex<()>,
    /// What can be called back, and whether somebody has to confirm.
    pub(super) past: Mutex<Past>,
    /// The process that serves now, once another one does.
    pub(super) successor: OnceLock<u32>,
    /// What certificates wait to be taken.
    pub(super) renewals: Mutex<Renewals>,
}

/// Who follows the snapshot that serves.
#[derive(Clone)]
pub struct Followers {
    /// Asks their endpoints whether they can serve.
    pub health: Arc<HealthChecks>,
    /// Finds their endpoints.
    pub discovery: Arc<Discovery>,
    /// Fetches the keys that verify its clients' tokens.
    pub key_sets: Arc<KeyFetcher>,
    /// Settles its leases up.
    pub store: Arc<Store>,
    /// Sends what it records.
    pub spans: Arc<SpanExporter>,
    /// Is told what serves.
    pub systemd: Arc<Systemd>,
}

/// What a reload did, or a dry run says that it would do.
#[derive(Clone, Debug, Serialize)]
pub struct Reloaded {
    /// The generation that serves now.
    pub generation: u64,
    /// Names the content of the files that were read.
    pub hash: String,
    /// What is different from before, and what is kept.
    #[serde(flatten)]
    pub plan: Plan,
    /// What someone should look at.
    pub warnings: Vec<String>,
    /// Nothing was done: it was only asked.
    pub dry_run: bool,
    /// The one before is called back unless someone confirms within so long.
    pub confirm_within_seconds: Option<u64>,
}

/// No other reload, confirmation's end or rollback meanwhile.
pub(super) type Alone<'a> = MutexGuard<'a, ()>;

impl Reloader {
    /// Reloads from `path` into `current`.
    pub fn new(
        path: PathBuf,
        current: Arc<Current>,
        live: Arc<LiveState>,
        metrics: Arc<Metrics>,
        followers: Followers,
    ) -> Self {
        let (busy, publishing, past, renewals) = Default::default();
        let successor = OnceLock::new();
        Self { path, current, live, metrics, followers, busy, publishing, past, successor, renewals }
    }

    /// Reads, looks new names up, builds, asks new endpoints whether they can serve,
    /// swaps. Blocks for as long as that takes, a few seconds at most; call it off the
    /// request path.
    pub fn reload(&self) -> Result<Reloaded, Refused> {
        self.reload_alone(self.turn()?, None)
    }

    /// As [`reload`](Self::reload), after the one that is under way: it may
    /// have read the files before they were what they are now, and who sent a
    /// signal cannot be told to try again.
    pub fn reload_in_turn(&self) -> Result<Reloaded, Refused> {
        let alone = self.own_turn();
        if let Some(pid) = self.successor.get() {
            // It may have read the files before; and it can be reached by its number alone.
            super::successor::hang_up(*pid);
            return Err(Refused::Elsewhere(*pid));
        }
        self.reload_alone(alone, None)
    }

    /// As [`reload`](Self::reload); what served before is called back unless it is
    /// [confirmed](Self::confirm) within this time.
    pub fn reload_until(self: &Arc<Self>, window: Duration) -> Result<Reloaded, Refused> {
        let alone = self.turn()?;
        self.reload_alone(alone, Some(Timer::start(self.clone(), window).map_err(Refused::NoTimer)?))
    }

    /// Says what [`reload`](Self::reload) would do, and does nothing: it looks no name
    /// up, asks no endpoint, and leaves neither experience nor metrics behind. New
    /// endpoints that stand behind names are not known to it.
    pub fn dry_run(&self) -> Result<Reloaded, Refused> {
        let _alone = self.turn()?;
        // A registry of its own: no scrape sees series of what may never be. It cannot
        // fail where the process's own did not.
        let metrics = Metrics::new().unwrap_or_else(|_| self.metrics.clone());
        let before = self.current.load();
        let foreseen = self.build(&before, &metrics, |_| {}).map(|(next, warnings)| Reloaded {
            generation: before.generation,
            hash: next.hash.clone(),
            plan: Plan::between(&before, &next, Instant::now()),
            warnings,
            dry_run: true,
            confirm_within_seconds: None,
        });
        // Only after the snapshot is gone.
        self.live.sweep();
        foreseen
    }

    /// The next one to change what serves; says so when another one does, or when what
    /// serves is another process: who was connected before stays connected here.
    pub(super) fn turn(&self) -> Result<Alone<'_>, Refused> {
        let alone = match self.busy.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(Refused::Busy),
            Err(TryLockError::Poisoned(broken)) => broken.into_inner(),
            Ok(alone) => alone,
        };
        match self.successor.get() {
            Some(pid) => Err(Refused::Elsewhere(*pid)),
            None => Ok(alone),
        }
    }

    /// As [`turn`](Self::turn), and waits for it.
    pub(super) fn own_turn(&self) -> Alone<'_> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reload_alone(&self, _alone: Alone<'_>, timer: Option<Timer>) -> Result<Reloaded, Refused> {
        let outcome = match self.pending_confirmation() {
            Some(left) => Err(Refused::Unconfirmed(left)),
            None => {
                self.followers.systemd.reloading();
                self.swap(timer)
            }
        };
        self.count(&outcome);
        match &outcome {
            Ok(done) => log::info!(
                "snapshot published: generation={} hash={} changes={}",
                done.generation,
                short_hash(&done.hash),
                done.plan.changes.len()
            ),
            Err(why) => why.to_string().lines().for_each(|line| log::error!("reload refused: {line}")),
        }
        if !matches!(outcome, Err(Refused::Unconfirmed(_))) {
            self.followers.systemd.ready(&self.status(&outcome));
        }
        outcome
    }

    fn status(&self, outcome: &Result<Reloaded, Refused>) -> String {
        let serves = serving(&self.current.load());
        let why = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
        match why.lines().next() {
            Some(why) => format!("reload refused, {serves}: {why}"),
            None => serves,
        }
    }

    fn count(&self, outcome: &Result<Reloaded, Refused>) {
        let (now, counted) = (SystemTime::now(), self.metrics.configuration());
        match outcome {
            Ok(done) => counted.taken(done.generation, &done.hash, now),
            Err(Refused::Problems(_)) => {
                // A refused snapshot may have asked for series of its own. One that is
                // published meanwhile would lose its own to this.
                let _alone = self.alone();
                self.current.load().retain_metrics(&self.metrics);
                counted.refused(now);
            }
            // The files were not looked at: nothing is known of them.
            Err(_) => {}
        }
    }

    /// Reads and builds what would come after `before`; its warnings come beside it.
    fn build(
        &self,
        before: &Snapshot,
        metrics: &Metrics,
        learn: impl FnOnce(&Config),
    ) -> Result<(Snapshot, Vec<String>), Refused> {
        let built = Snapshot::load_after(&self.path, before, &self.live, metrics, learn);
        let (next, mut warnings) = built.map_err(Refused::Problems)?;
        let mut frozen = frozen(before.config(), next.config());
        if frozen.has_errors() {
            next.loaded.locate(&mut frozen);
            return Err(Refused::Problems(frozen));
        }
        // Somebody else's, often: a bad one changes nothing and stops nothing, but whoever
        // reloads wants to hear of it now.
        let mut files = Problems::default();
        config::read_endpoints_files(next.config(), &mut files, |_, _| {});
        next.loaded.locate(&mut files);
        files.iter_mut().for_each(|problem| problem.severity = Severity::Warning);
        warnings.extend(files);
        Ok((next, warnings.iter().map(ToString::to_string).collect()))
    }

    fn swap(&self, timer: Option<Timer>) -> Result<Reloaded, Refused> {
        let _alone = self.alone();
        let before = self.current.load();
        let learn = |config: &Config| {
            imds::learn(&config.location, &self.live);
            self.followers.discovery.learn(config);
        };
        let (next, warnings) = self.build(&before, &self.metrics, learn)?;
        let plan = Plan::between(&before, &next, Instant::now());
        let done = Reloaded {
            generation: next.generation,
            hash: next.hash.clone(),
            warnings,
            dry_run: false,
            confirm_within_seconds: timer.as_ref().map(|timer| timer.window().as_secs()),
            plan,
        };
        let afresh = done.plan.changes.iter().filter(|c| c.what == What::Afresh && c.kind == "limit");
        afresh.for_each(|limit| log::info!("limit counts from zero: limit={}", limit.name));
        // What a plan has no word for, as another order of routes, can be called back, too.
        let differs = || !done.plan.changes.is_empty() || before.config() != next.config();
        if timer.is_some() || differs() {
            self.remember(before);
        }
        self.is_of_disk();
        self.take_over(next);
        self.await_confirmation(timer);
        Ok(done)
    }

    /// Puts a snapshot to work that others may follow by another configuration.
    pub(super) fn take_over(&self, next: Snapshot) {
        self.publish(next.at_work(&self.live, &self.metrics));
        self.followers.discovery.follow(self.current.load().config());
        self.followers.systemd.status(&serving(&self.current.load()));
    }

    /// Takes what became known of where upstreams are: endpoints that were found,
    /// zones that were drained. The configuration stays as it is. Says whether
    /// anything changed.
    pub fn refresh(&self) -> bool {
        let alone = self.alone();
        self.refresh_alone(&alone)
    }

    /// No other snapshot is published before the guard drops.
    pub(super) fn alone(&self) -> MutexGuard<'_, ()> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn refresh_alone(&self, _alone: &MutexGuard<'_, ()>) -> bool {
        let before = self.current.load();
        let Some(next) = before.refreshed(&self.live, &self.metrics) else { return false };
        if let (Some(now), true) = (next.gateways(), next.gateways() != before.gateways()) {
            let before = before.gateways().unwrap_or(1);
            log::info!("limits are shared by another number of gateways: before={before} now={now}");
        }
        drop(before);
        self.publish(next);
        true
    }

    pub(super) fn publish(&self, next: Snapshot) {
        let upstreams = next.upstreams.clone();
        let spans = next.tracing.as_ref().map(|tracing| tracing.settings.clone());
        let (store, leases) = (next.store.clone(), next.rate_limits.leases());
        let key_sources = next.authentication.key_sources();
        self.followers.health.prove(&upstreams);
        self.followers.key_sets.learn(key_sources.iter().map(|(_, source)| source));
        next.retain_metrics(&self.metrics);
        self.current.publish(next);
        self.followers.health.follow(&upstreams);
        self.followers.key_sets.follow(key_sources);
        self.followers.store.follow(store, leases);
        self.followers.spans.follow(spans);
        self.live.sweep();
    }
}

#[cfg(test)]
pub(super) mod tests;
