//! A new process takes over the sockets; this one finishes its work.
//!
//! Start the program that is installed now, give it the sockets, wait until it can
//! serve; only then does anything change here. Whatever is wrong with the new
//! program, it is ended and this process goes on.
//!
//! Both accept from the same sockets for a moment, so that no connection is refused
//! and none waits.

use std::{
    fmt, io,
    process::ExitStatus,
    sync::{Arc, Mutex, TryLockError},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    AdminSocket, Forerunners, Left, Listening, Reloader, Shutdown, Systemd,
    handover::Handover,
    program::Program,
    successor::{self, Stops, Successor},
};
use crate::{live::LiveState, telemetry::Metrics, tls::TicketRing};

/// Replaces this process by a new one.
pub struct Upgrader {
    /// What is started.
    pub program: Program,
    /// What is handed over.
    pub listening: Arc<Listening>,
    /// No reload meanwhile.
    pub reloader: Arc<Reloader>,
    /// What the new process is told.
    pub live: Arc<LiveState>,
    /// And what it seals sessions with.
    pub tickets: Arc<TicketRing>,
    /// How this process ends.
    pub shutdown: Arc<Shutdown>,
    /// Where whoever serves answers.
    pub admin_socket: Arc<AdminSocket>,
    /// Who is told of it.
    pub systemd: Arc<Systemd>,
    /// Those before this process, of which the new one hears.
    pub forerunners: Arc<Forerunners>,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// One upgrade at a time.
    pub under_way: Mutex<()>,
}

/// What an upgrade did.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Upgraded {
    /// The process that serves now.
    pub pid: u32,
    /// The one that finishes its work.
    pub old_pid: u32,
    /// Until the new process could serve.
    pub ready_after_ms: u64,
    /// Who ends in the old process.
    #[serde(flatten)]
    pub left: Left,
}

/// Why this process goes on.
#[derive(Debug)]
pub enum UpgradeFailed {
    /// Another upgrade, or a reload, is under way.
    Busy,
    /// This process ends anyway.
    Draining,
    /// Somebody has to confirm what serves: the new process would not go back.
    Unconfirmed,
    /// What serves was called back: the new process would read what is on the disk.
    CalledBack,
    /// Whoever started this process ends everything when it ends.
    Followed,
    /// The program cannot be started.
    NotStarted(String, io::Error),
    /// The new process ended before it could serve.
    Ended(String, ExitStatus),
    /// The new process said what is wrong.
    Refused(String),
    /// The new process could not serve in time.
    TimedOut(Duration),
    /// This process was told to end meanwhile.
    Stopped,
    /// The two cannot speak with each other.
    Lost(io::Error),
}

impl UpgradeFailed {
    /// The word of what another moment may allow.
    pub const NOT_NOW: &str = "not_now";

    /// Its word in metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Busy | Self::Draining | Self::Unconfirmed | Self::CalledBack | Self::Followed => {
                Self::NOT_NOW
            }
            Self::NotStarted(..) => "not_started",
            Self::Ended(..) => "ended",
            Self::Refused(_) => "refused",
            Self::TimedOut(_) => "timeout",
            Self::Stopped => "stopped",
            Self::Lost(_) => "lost",
        }
    }
}

impl fmt::Display for UpgradeFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => {
                write!(f, "another upgrade or a reload is under way; try again when it is done")
            }
            Self::Draining => write!(f, "it drains already, and ends soon"),
            Self::Unconfirmed => write!(
                f,
                "the configuration that serves is not confirmed; `tollgate confirm` or `tollgate rollback` first"
            ),
            Self::CalledBack => write!(
                f,
                "the configuration that serves was called back, and a new process would read the files as they \
                 are; put them right, `tollgate reload`, then upgrade"
            ),
            Self::Followed => write!(
                f,
                "whoever started the gateway (process 1) ends what it started with it: replace the container \
                 instead; in a systemd unit write Type=notify"
            ),
            Self::NotStarted(program, why) => {
                let hint = match why.raw_os_error() {
                    Some(libc::ENOEXEC) => "; it is for another architecture, or no program",
                    Some(libc::ENOENT) => "; install it there",
                    Some(libc::EACCES) => "; make it executable for the gateway's user",
                    _ => "",
                };
                write!(f, "cannot start `{program}`: {why}{hint}")
            }
            Self::Ended(program, how) => {
                write!(f, "`{program}` ended before it could serve: {how}; its words are in the log")
            }
            Self::Refused(why) => write!(f, "the new process cannot serve: {}", why.trim_end()),
            Self::TimedOut(after) => {
                write!(f, "the new process could not serve within {} s, and was ended", after.as_secs())
            }
            Self::Stopped => write!(f, "the gateway was told to end meanwhile"),
            Self::Lost(why) => write!(f, "the new process cannot be spoken with: {why}"),
        }
    }
}

impl std::error::Error for UpgradeFailed {}

impl Upgrader {
    /// Starts the installed program, and hands over to it if it can serve within
    /// `patience`. Blocks; call it off the workers.
    pub fn upgrade(self: &Arc<Self>, patience: Duration) -> Result<Upgraded, UpgradeFailed> {
        let outcome = self.try_upgrade(patience);
        match &outcome {
            Ok(done) => {
                log::info!("upgraded: pid={} ready_after_ms={} {}", done.pid, done.ready_after_ms, done.left)
            }
            Err(why) => {
                self.metrics.upgrade(why.word());
                why.to_string().lines().for_each(|line| log::error!("upgrade refused: {line}"));
                self.systemd.status(&format!("upgrade refused, the old process serves: {}", first_line(why)));
            }
        }
        outcome
    }

    fn try_upgrade(self: &Arc<Self>, patience: Duration) -> Result<Upgraded, UpgradeFailed> {
        let _alone = match self.under_way.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(broken)) => broken.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(UpgradeFailed::Busy),
        };
        if self.shutdown.is_draining() {
            return Err(UpgradeFailed::Draining);
        }
        if self.program.is_followed {
            return Err(UpgradeFailed::Followed);
        }
        // What a reload changed now the new process might not have read.
        let _no_reload = self.reloader.turn().map_err(|_| UpgradeFailed::Busy)?;
        if self.reloader.is_called_back() {
            return Err(UpgradeFailed::CalledBack);
        }
        if self.reloader.pending_confirmation().is_some() {
            return Err(UpgradeFailed::Unconfirmed);
        }
        let began = Instant::now();
        log::info!("upgrade: starting {}", self.program);
        let mut next = self.start(self.program.installed())?;
        let stops = Stops { after: patience, when: &|| self.shutdown.is_draining() };
        let taken = next.ready(stops)?;
        let ready_after = began.elapsed();
        log::info!("upgrade: the new process can serve: pid={}", next.pid());
        next.survives(SETTLES, stops)?;
        if !self.listening.share(&taken) {
            return Err(UpgradeFailed::Stopped);
        }
        next.let_go();
        // Its own words reach systemd only after these.
        self.systemd.hand_over(next.pid());
        if let Err(why) = next.serve(ANSWERS) {
            self.listening.share_no_more();
            if self.systemd.is_there() {
                // It saw its main process end.
                log::error!(
                    "systemd ends this process, too; if the new one failed, Restart=on-failure starts the unit again, with the same sockets"
                );
            }
            return Err(why);
        }
        let done = Upgraded {
            pid: next.pid(),
            old_pid: std::process::id(),
            ready_after_ms: u64::try_from(ready_after.as_millis()).unwrap_or(u64::MAX),
            left: self.shutdown.left(),
        };
        let _ = self.reloader.successor.set(next.pid());
        if self.shutdown.hand_over() {
            self.end_next();
        } else if !self.systemd.is_there() {
            self.clone().watch(next);
        }
        Ok(done)
    }

    /// Tells the process that serves now to end, as this one was while it handed over:
    /// whoever said so meant what serves, and knew of this one only.
    pub(super) fn end_next(&self) {
        if let Some(pid) = self.reloader.successor.get() {
            log::info!("told to end while handing over; the new process is, too: pid={pid}");
            successor::terminate(*pid);
        }
    }

    /// Waits for an upgrade that is under way. Without it the new process would hear of
    /// nobody that this one was told to end.
    pub(super) async fn settled(&self) {
        while matches!(self.under_way.try_lock(), Err(TryLockError::WouldBlock)) {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn start(&self, command: std::process::Command) -> Result<Successor, UpgradeFailed> {
        let (sockets, handles) = self.listening.to_hand_over().map_err(UpgradeFailed::Lost)?;
        let told = Handover {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sockets,
            tickets: self.tickets.export(),
            live: self.live.remember(),
            finishing: [vec![std::process::id()], self.forerunners.living()].concat(),
        };
        let program = self.program.to_string();
        Successor::start(command, program, (&told, &handles), self.admin_socket.clone())
    }

    /// As long as this process finishes its work, the new one does not die unnoticed:
    /// where no systemd starts it again, this very version does.
    fn watch(self: Arc<Self>, next: Successor) {
        let watched = move || {
            let mut next = next;
            for _ in 0..RESCUES {
                let how = next.ended();
                // It may have handed over itself, or was told to end.
                if how.as_ref().is_some_and(ExitStatus::success) || self.admin_socket.is_answered() {
                    return;
                }
                log::error!("the new process ended: {}", how.map_or_else(String::new, |how| how.to_string()));
                log::warn!("starting the old version again, with the same sockets");
                let stops = Stops { after: RESCUE_PATIENCE, when: &|| false };
                let again = self.start(self.program.running()).and_then(|mut again| {
                    again.ready(stops)?;
                    again.serve(ANSWERS)?;
                    Ok(again)
                });
                next = match again {
                    Ok(again) => again,
                    Err(why) => return log::error!("the old version does not start: {why}"),
                };
            }
        };
        if let Err(why) = std::thread::Builder::new().name("upgraded".into()).spawn(watched) {
            log::warn!("nobody watches the new process: error={why}");
        }
    }
}

fn first_line(why: &UpgradeFailed) -> String {
    why.to_string().lines().next().unwrap_or_default().to_owned()
}

/// A process that crashes does so at its first requests, which come meanwhile.
const SETTLES: Duration = Duration::from_millis(500);

const LOOK: Duration = Duration::from_millis(20);

/// For the new process to say that the operator's socket is its own.
const ANSWERS: Duration = Duration::from_secs(2);

const RESCUES: usize = 3;
const RESCUE_PATIENCE: Duration = Duration::from_secs(60);
