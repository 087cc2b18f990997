//! The way back: the snapshot before the one that serves, and reloads that are undone
//! unless somebody confirms them.
//!
//! Owns what is kept for it. Always holds: at most one former snapshot is kept, and at
//! most one confirmation is pending; whoever is asked to confirm can be late by no more
//! than one word, never half.
//!
//! What is kept holds on to all that its snapshot does: counts of its limits, keys of
//! its signers, the experience with its endpoints. That is the memory of one snapshot,
//! and what its upstreams were taught is still there when it is called back. Its
//! endpoints are not probed meanwhile: they are asked anew before they serve.

use std::{
    io,
    sync::{
        Arc, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    plan::Plan,
    refused::Refused,
    reload::{Alone, Reloader},
};
use crate::{
    config,
    snapshot::Snapshot,
    telemetry::{metrics::Rollback, short_hash},
    upstream::discovery::Remembered,
};

/// What can be called back, and what waits to be confirmed.
#[derive(Default)]
pub(super) struct Past {
    former: Option<Former>,
    pending: Option<Pending>,
    /// What serves was called back, and nothing was reloaded since.
    is_back: bool,
}

impl Past {
    /// Twice is as if nothing had been.
    fn turn_around(&mut self) {
        self.is_back = !self.is_back;
    }
}

/// The snapshot before the one that serves.
struct Former {
    snapshot: Arc<Snapshot>,
    /// What its names stood for: nobody looks them up meanwhile.
    found: Remembered,
}

/// A configuration that serves and is not confirmed.
struct Pending {
    until: Instant,
    /// Dropping it stops the timer.
    _armed: Sender<Instant>,
}

/// Waits for the end of a confirmation's time, in a thread of its own: whoever asked
/// for the reload may be gone. It ends with the process; dropped, it ends at once.
pub(super) struct Timer {
    arm: Sender<Instant>,
    window: Duration,
}

impl Timer {
    /// Fails when the system gives no thread. It does not run before it is armed.
    pub(super) fn start(reloader: Arc<Reloader>, window: Duration) -> io::Result<Self> {
        let (arm, armed) = channel();
        thread::Builder::new().name("confirm".to_owned()).spawn(move || wait(&reloader, &armed))?;
        Ok(Self { arm, window })
    }

    pub(super) fn window(&self) -> Duration {
        self.window
    }
}

fn wait(reloader: &Reloader, armed: &Receiver<Instant>) {
    let Ok(until) = armed.recv() else { return };
    let left = until.saturating_duration_since(Instant::now());
    if armed.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
        reloader.end_confirmation(until);
    }
}

/// What a rollback did.
#[derive(Clone, Debug, Serialize)]
pub struct CalledBack {
    /// The generation that serves now.
    pub generation: u64,
    /// The generation whose configuration that is.
    pub of_generation: u64,
    /// Names the content of its files, as they were then.
    pub hash: String,
    /// Whether the files on the disk are others, as they are now; `None` when they cannot
    /// be used, or nobody looked.
    pub differs_from_disk: Option<bool>,
    /// What is different from before, and what is kept.
    #[serde(flatten)]
    pub plan: Plan,
}

/// A former configuration, as status tells it.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct FormerStatus {
    pub generation: u64,
    pub config_hash: String,
}

impl Reloader {
    /// How long the configuration that serves has still to be confirmed; `None` when
    /// it has not to be.
    pub fn pending_confirmation(&self) -> Option<Duration> {
        let until = self.past().pending.as_ref()?.until;
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// What [`rollback`](Self::rollback) would call back.
    pub fn former(&self) -> Option<FormerStatus> {
        let past = self.past();
        let snapshot = &past.former.as_ref()?.snapshot;
        Some(FormerStatus { generation: snapshot.generation, config_hash: snapshot.hash.clone() })
    }

    /// Whether what serves was called back, so that a new process may read others.
    pub fn is_called_back(&self) -> bool {
        self.past().is_back
    }

    /// The configuration that serves stays; says its generation.
    pub fn confirm(&self) -> Result<u64, Refused> {
        if self.past().pending.take().is_none() {
            return Err(Refused::NothingToConfirm);
        }
        self.metrics.configuration().waits_for_confirmation(false);
        let now = self.current.load();
        log::info!("snapshot confirmed: generation={} hash={}", now.generation, short_hash(&now.hash));
        Ok(now.generation)
    }

    /// Calls the snapshot back that served before the last change: its configuration,
    /// certificates, keys and secrets as they were read then, with what is known now of
    /// endpoints and limits. It gets a generation of its own, and the one that serves
    /// until now is the one to be called back next: twice is as if nothing had been.
    /// Blocks as a reload does.
    pub fn rollback(&self) -> Result<CalledBack, Refused> {
        let alone = self.turn()?;
        let done = self.call_back(&alone, Rollback::Asked)?;
        Ok(CalledBack { differs_from_disk: self.differs_from_disk(&done.hash), ..done })
    }

    /// After the change: a disk that hangs is no reason to go on with what somebody
    /// wants away.
    fn differs_from_disk(&self, hash: &str) -> Option<bool> {
        config::load(&self.path).ok().map(|loaded| loaded.hash != hash)
    }

    /// Keeps what served, so that it can be called back.
    pub(super) fn remember(&self, snapshot: Arc<Snapshot>) {
        let found = self.followers.discovery.remembered(snapshot.config());
        self.past().former = Some(Former { snapshot, found });
    }

    /// The files that serve are those on the disk.
    pub(super) fn is_of_disk(&self) {
        self.past().is_back = false;
    }

    /// From now on the one that serves has to be confirmed, if there is a timer.
    pub(super) fn await_confirmation(&self, timer: Option<Timer>) {
        let Some(Timer { arm, window }) = timer else { return };
        let until = Instant::now() + window;
        let mut past = self.past();
        // The thread lives: it waits for this.
        if arm.send(until).is_ok() {
            past.pending = Some(Pending { until, _armed: arm });
            self.metrics.configuration().waits_for_confirmation(true);
        }
    }

    /// Nobody confirmed in time, unless somebody did by now.
    fn end_confirmation(&self, until: Instant) {
        let alone = self.own_turn();
        // Taken at once: from here on it is too late to confirm.
        let over = self.past().pending.take_if(|pending| pending.until == until).is_some();
        if over && let Err(why) = self.call_back(&alone, Rollback::Unconfirmed) {
            log::error!("the configuration before cannot be called back: {why}");
        }
    }

    fn call_back(&self, _turn: &Alone<'_>, why: Rollback) -> Result<CalledBack, Refused> {
        let _alone = self.alone();
        let former = {
            let mut past = self.past();
            // Whoever confirms from now on is too late.
            past.pending = None;
            past.former.take().ok_or(Refused::NoneBefore)?
        };
        self.metrics.configuration().waits_for_confirmation(false);
        let before = self.current.load();
        let discovery = &self.followers.discovery;
        discovery.learn(former.snapshot.config());
        discovery.remind(&former.found);
        let next = former.snapshot.called_back(before.generation + 1, &self.live, &self.metrics);
        let done = CalledBack {
            generation: next.generation,
            of_generation: former.snapshot.generation,
            hash: next.hash.clone(),
            differs_from_disk: None,
            plan: Plan::between(&before, &next, Instant::now()),
        };
        self.remember(before);
        self.past().turn_around();
        self.take_over(next);
        self.metrics.configuration().rolled_back(why, done.generation, &done.hash);
        log::warn!(
            "snapshot called back: generation={} of_generation={} hash={} reason={}",
            done.generation,
            done.of_generation,
            short_hash(&done.hash),
            why.word()
        );
        Ok(done)
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
