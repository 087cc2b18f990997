//! A new snapshot in this process: read, build, probe what is new, swap, report.
//!
//! Always holds: a reload that is refused changes nothing, and says everything
//! that is wrong.

use std::{
    collections::BTreeSet,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::SystemTime,
};

use serde::Serialize;

use super::imds;
use crate::{
    config::{Config, Problems, Source, Sourced},
    limit::store::Store,
    live::LiveState,
    snapshot::{Current, Snapshot},
    telemetry::Metrics,
    upstream::{discovery::Discovery, health::HealthChecks},
};

/// Reloads this process from its main file.
pub struct Reloader {
    path: PathBuf,
    pub(super) current: Arc<Current>,
    pub(super) live: Arc<LiveState>,
    metrics: Arc<Metrics>,
    followers: Followers,
    /// One reload at a time; a second one is told so.
    busy: Mutex<()>,
    /// One new snapshot at a time. Endpoints that are found come at any moment:
    /// who reloads then has to wait, and is not told to come again.
    publishing: Mutex<()>,
}

/// Who follows the snapshot that serves.
#[derive(Clone)]
pub struct Followers {
    /// Asks their endpoints whether they can serve.
    pub health: Arc<HealthChecks>,
    /// Finds their endpoints.
    pub discovery: Arc<Discovery>,
    /// Settles its leases up.
    pub store: Arc<Store>,
}

/// What a reload did.
#[derive(Clone, Debug, Serialize)]
pub struct Reloaded {
    /// The generation that serves now.
    pub generation: u64,
    /// Names the files' content.
    pub hash: String,
    /// What is different from before, a line each.
    pub changes: Vec<String>,
    /// What someone should look at.
    pub warnings: Vec<String>,
}

/// Why a reload did nothing.
#[derive(Debug)]
pub enum Refused {
    /// The configuration cannot be used.
    Problems(Problems),
    /// Another reload is under way.
    Busy,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problems(problems) => problems.fmt(f),
            Self::Busy => writeln!(f, "error: another reload is under way; try again when it is done"),
        }
    }
}

impl std::error::Error for Refused {}

impl Reloader {
    /// Reloads from `path` into `current`.
    pub fn new(
        path: PathBuf,
        current: Arc<Current>,
        live: Arc<LiveState>,
        metrics: Arc<Metrics>,
        followers: Followers,
    ) -> Self {
        let (busy, publishing) = Default::default();
        Self { path, current, live, metrics, followers, busy, publishing }
    }

    /// Reads, looks new names up, builds, asks new endpoints whether they can serve,
    /// swaps. Blocks for as long as that takes, a few seconds at most; call it off the
    /// request path.
    pub fn reload(&self) -> Result<Reloaded, Refused> {
        self.reload_alone(self.hold().ok_or(Refused::Busy)?)
    }

    /// As [`reload`](Self::reload), after the one that is under way: it may
    /// have read the files before they were what they are now, and who sent a
    /// signal cannot be told to try again.
    pub fn reload_in_turn(&self) -> Result<Reloaded, Refused> {
        self.reload_alone(self.busy.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// No reload before the guard drops; `None` when one is under way.
    pub fn hold(&self) -> Option<MutexGuard<'_, ()>> {
        match self.busy.try_lock() {
            Ok(alone) => Some(alone),
            Err(TryLockError::Poisoned(broken)) => Some(broken.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn reload_alone(&self, _alone: MutexGuard<'_, ()>) -> Result<Reloaded, Refused> {
        let outcome = self.swap();
        self.count(&outcome);
        match &outcome {
            Ok(done) => log::info!(
                "snapshot published: generation={} hash={} changes={}",
                done.generation,
                done.hash.get(..12).unwrap_or_default(),
                done.changes.len()
            ),
            Err(why) => why.to_string().lines().for_each(|line| log::error!("reload refused: {line}")),
        }
        outcome
    }

    fn count(&self, outcome: &Result<Reloaded, Refused>) {
        let (now, current) = (SystemTime::now(), self.current.load());
        match outcome {
            Ok(done) => self.metrics.config_taken(done.generation, now),
            Err(_) => {
                // A refused snapshot may have asked for series of its own.
                current.retain_metrics(&self.metrics);
                self.metrics.config_refused(now);
            }
        }
    }

    fn swap(&self) -> Result<Reloaded, Refused> {
        let _alone = self.alone();
        let before = self.current.load();
        let learn = |config: &Config| {
            imds::learn(&config.location, &self.live);
            self.followers.discovery.learn(config);
        };
        let built = Snapshot::load(&self.path, before.generation + 1, &self.live, &self.metrics, learn);
        let (next, warnings) = built.map_err(Refused::Problems)?;
        let mut frozen = frozen(before.config(), next.config());
        if frozen.has_errors() {
            next.loaded.locate(&mut frozen);
            return Err(Refused::Problems(frozen));
        }
        let mut changes = changes(before.config(), next.config());
        changes.extend(changed_keys(&before, &next));
        for limit in next.rate_limits.afresh(&before.rate_limits) {
            log::info!("limit counts from zero: limit={limit}");
            changes.push(format!("afresh: limit {limit} counts from zero"));
        }
        let done = Reloaded {
            generation: next.generation,
            hash: next.hash.clone(),
            changes,
            warnings: warnings.iter().map(ToString::to_string).collect(),
        };
        drop(before);
        self.publish(next);
        self.followers.discovery.follow(self.current.load().config());
        Ok(done)
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

    fn publish(&self, next: Snapshot) {
        let upstreams = next.upstreams.clone();
        let (store, leases) = (next.store.clone(), next.rate_limits.leases());
        self.followers.health.prove(&upstreams);
        next.retain_metrics(&self.metrics);
        self.current.publish(next);
        self.followers.health.follow(&upstreams);
        self.followers.store.follow(store, leases);
        self.live.sweep();
    }
}

/// What this process cannot change any more, as problems of the new files.
fn frozen(old: &Config, new: &Config) -> Problems {
    let mut problems = Problems::default();
    let mut must_stay = |differs: bool, source: &Source| {
        if differs {
            problems.error(
                source,
                "this changes by a restart or an upgrade alone; write it as it was until then",
            );
        }
    };
    let names = |c: &Config| c.listeners.iter().map(|l| l.spec.name.clone()).collect::<Vec<_>>();
    must_stay(names(old) != names(new), &new.main.key("listeners"));
    if names(old) == names(new) {
        for (old, new) in old.listeners.iter().zip(&new.listeners) {
            must_stay(old.spec.address != new.spec.address, &new.source.key("address"));
            must_stay(old.spec.tls.is_some() != new.spec.tls.is_some(), &new.source.key("tls"));
        }
    }
    let (was, is) = (&old.connections, &new.connections);
    let connections = new.main.key("connections");
    must_stay(old.readiness != new.readiness, &new.main.key("readiness"));
    must_stay(old.admin != new.admin, &new.main.key("admin"));
    must_stay(old.runtime != new.runtime, &new.main.key("runtime"));
    must_stay(old.access_log != new.access_log, &new.main.key("access_log"));
    must_stay(was.max_streams != is.max_streams, &connections.key("max_streams"));
    must_stay(was.idle != is.idle, &connections.key("idle"));
    problems
}

/// What a reload changes, a line each.
fn changes(old: &Config, new: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    named("tenant", &old.tenants, &new.tenants, |s| s.name.as_str(), &mut lines);
    named("signer", &old.signers, &new.signers, |s| s.name.as_str(), &mut lines);
    named("limit", &old.limits, &new.limits, |s| s.name.as_str(), &mut lines);
    named("upstream", &old.upstreams, &new.upstreams, |s| s.name.as_str(), &mut lines);
    named("route", &old.routes, &new.routes, |s| s.name.as_str(), &mut lines);
    named("listener", &old.listeners, &new.listeners, |s| s.name.as_str(), &mut lines);
    let sections = [
        ("connections", old.connections != new.connections),
        ("requests", old.requests != new.requests),
        ("forwarded", old.forwarded != new.forwarded),
        ("location", old.location != new.location),
        ("discovery", old.discovery != new.discovery),
        ("fleet", old.fleet != new.fleet),
        ("privatelink", old.privatelink != new.privatelink),
        ("tracing", old.tracing != new.tracing),
    ];
    lines.extend(sections.iter().filter(|(_, differs)| *differs).map(|(name, _)| format!("changed: {name}")));
    lines
}

/// Keys of signers that came and went: their files are no part of the configuration.
fn changed_keys(old: &Snapshot, new: &Snapshot) -> Vec<String> {
    let keys = |snapshot: &Snapshot| -> BTreeSet<(String, String)> {
        let keys = snapshot.signing.signers.keys();
        keys.map(|(signer, _, key)| (signer.name.to_string(), key.public.kid.to_string())).collect()
    };
    let (old, new) = (keys(old), keys(new));
    let line = |word: &'static str| {
        move |(signer, kid): &(String, String)| format!("{word}: key {kid} of signer {signer}")
    };
    new.difference(&old).map(line("added")).chain(old.difference(&new).map(line("removed"))).collect()
}

fn named<T: PartialEq>(
    kind: &str,
    old: &[Sourced<T>],
    new: &[Sourced<T>],
    name: impl Fn(&T) -> &str,
    lines: &mut Vec<String>,
) {
    let by_name = |list: &'_ [Sourced<T>]| -> std::collections::BTreeMap<String, usize> {
        list.iter().enumerate().map(|(i, entry)| (name(&entry.spec).to_owned(), i)).collect()
    };
    let (before, after) = (by_name(old), by_name(new));
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for key in names {
        let was = before.get(key).and_then(|i| old.get(*i));
        let is = after.get(key).and_then(|i| new.get(*i));
        match (was, is) {
            (None, Some(_)) => lines.push(format!("added: {kind} {key}")),
            (Some(_), None) => lines.push(format!("removed: {kind} {key}")),
            (Some(was), Some(is)) if was.spec != is.spec => lines.push(format!("changed: {kind} {key}")),
            _ => {}
        }
    }
}
