//! A new snapshot in this process: read, build, swap, report.
//!
//! Always holds: a reload that is refused changes nothing, and says everything
//! that is wrong.

use std::{
    collections::BTreeSet,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, TryLockError},
    time::SystemTime,
};

use serde::Serialize;

use crate::{
    config::{self, Config, Problems, Sourced},
    live::LiveState,
    snapshot::{Current, Snapshot},
    telemetry::Metrics,
};

/// Reloads this process from its main file.
pub struct Reloader {
    path: PathBuf,
    current: Arc<Current>,
    live: Arc<LiveState>,
    metrics: Arc<Metrics>,
    /// One reload at a time; a second one is told so.
    busy: Mutex<()>,
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
    /// These keys only change with an upgrade.
    NeedsUpgrade(Vec<String>),
    /// Another reload is under way.
    Busy,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problems(problems) => problems.fmt(f),
            Self::NeedsUpgrade(keys) => {
                writeln!(f, "error: needs a restart or an upgrade: {}", keys.join(", "))
            }
            Self::Busy => writeln!(f, "error: another reload is under way; try again when it is done"),
        }
    }
}

impl std::error::Error for Refused {}

impl Reloader {
    /// Reloads from `path` into `current`.
    pub fn new(path: PathBuf, current: Arc<Current>, live: Arc<LiveState>, metrics: Arc<Metrics>) -> Self {
        Self { path, current, live, metrics, busy: Mutex::new(()) }
    }

    /// Reads, builds, swaps. Blocks for as long as the files take; call it off
    /// the request path.
    pub fn reload(&self) -> Result<Reloaded, Refused> {
        let _alone = match self.busy.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(Refused::Busy),
            Err(TryLockError::Poisoned(broken)) => broken.into_inner(),
            Ok(alone) => alone,
        };
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
        let before = self.current.load();
        let built = Snapshot::load(&self.path, before.generation + 1, &self.live, &self.metrics);
        let (next, warnings) = built.map_err(Refused::Problems)?;
        let fixed = fixed_keys_that_differ(before.config(), next.config());
        if !fixed.is_empty() {
            return Err(Refused::NeedsUpgrade(fixed));
        }
        let changes = changes(before.config(), next.config());
        let done = Reloaded {
            generation: next.generation,
            hash: next.hash.clone(),
            changes,
            warnings: warnings.iter().map(ToString::to_string).collect(),
        };
        next.retain_metrics(&self.metrics);
        self.current.publish(next);
        drop(before);
        self.live.sweep();
        Ok(done)
    }
}

/// Keys that this process cannot change any more.
fn fixed_keys_that_differ(old: &Config, new: &Config) -> Vec<String> {
    let shape = |c: &Config| -> Vec<_> {
        let listener = |l: &Sourced<config::listener::ListenerSpec>| {
            (l.spec.name.clone(), l.spec.address, l.spec.tls.is_some())
        };
        c.listeners.iter().map(listener).collect()
    };
    let differs = [
        ("listeners (name, address, tls on or off)", shape(old) != shape(new)),
        ("readiness.address", old.readiness != new.readiness),
        ("admin", old.admin != new.admin),
        ("runtime", old.runtime != new.runtime),
        ("access_log", old.access_log != new.access_log),
        ("connections.max_streams", old.connections.max_streams != new.connections.max_streams),
        ("connections.idle", old.connections.idle != new.connections.idle),
    ];
    differs.iter().filter(|(_, differs)| *differs).map(|(key, _)| (*key).to_owned()).collect()
}

/// What a reload changes, a line each.
fn changes(old: &Config, new: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    named("upstream", &old.upstreams, &new.upstreams, |s| s.name.as_str(), &mut lines);
    named("route", &old.routes, &new.routes, |s| s.name.as_str(), &mut lines);
    named("listener", &old.listeners, &new.listeners, |s| s.name.as_str(), &mut lines);
    let sections = [
        ("connections", old.connections != new.connections),
        ("requests", old.requests != new.requests),
        ("forwarded", old.forwarded != new.forwarded),
    ];
    lines.extend(sections.iter().filter(|(_, differs)| *differs).map(|(name, _)| format!("changed: {name}")));
    lines
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
