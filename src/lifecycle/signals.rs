//! What the process hears: HUP reloads, TERM, QUIT and the operator's `drain`
//! drain, INT ends at once, USR1 opens the access log anew, USR2 upgrades. A second TERM, QUIT or INT ends at once.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Doors, Forerunners, Listening, Reloader, Shutdown, Starting, Systemd, Upgrader};
use crate::telemetry::AccessLog;

/// Pingora's main loop waits here until the process has to end.
pub struct Signals {
    /// What HUP does.
    pub reloader: Arc<Reloader>,
    /// What USR1 opens anew.
    pub access_log: Arc<AccessLog>,
    /// What TERM begins.
    pub shutdown: Arc<Shutdown>,
    /// What USR2 does.
    pub upgrader: Arc<Upgrader>,
    /// What TERM closes first.
    pub listening: Arc<Listening>,
    /// Who is told of the end.
    pub systemd: Arc<Systemd>,
    /// Who may still finish their work.
    pub forerunners: Arc<Forerunners>,
    /// What it ends.
    pub starting: Arc<Starting>,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let Some(mut heard) = Heard::listen() else {
            log::error!("signals cannot be heard; ending");
            return ShutdownSignal::FastShutdown;
        };
        self.starting.is_over();
        loop {
            tokio::select! {
                // In this order: an end that came with a hand-over is the next process's, too.
                biased;
                _ = heard.hangup.recv() => self.reload(),
                _ = heard.user1.recv() => self.access_log.reopen(),
                _ = heard.user2.recv() => self.upgrade(),
                _ = heard.interrupt.recv() => {
                    self.shutdown.now("interrupt");
                }
                _ = heard.terminate.recv() => return self.drain("terminate", Duration::ZERO, heard).await,
                _ = heard.quit.recv() => return self.drain("quit", Duration::ZERO, heard).await,
                asked = self.shutdown.asked() => return self.drain("operator", asked.accept_for, heard).await,
                () = self.shutdown.handed_over() => return self.end("upgrade", Doors::default(), heard).await,
            }
        }
    }
}

impl Signals {
    fn reload(&self) {
        let reloader = self.reloader.clone();
        // The outcome stands in log and metrics; its warnings nobody else is told.
        tokio::task::spawn_blocking(move || {
            let warnings = reloader.reload_in_turn().map(|done| done.warnings).unwrap_or_default();
            warnings.iter().for_each(|warning| log::warn!("{warning}"));
        });
    }

    fn upgrade(&self) {
        let upgrader = self.upgrader.clone();
        tokio::task::spawn_blocking(move || drop(upgrader.upgrade(UPGRADES)));
    }

    /// Nobody follows: who connects from now on is turned away. A process that follows
    /// already was meant, too.
    async fn drain(&self, why: &'static str, accept_for: Duration, mut heard: Heard) -> ShutdownSignal {
        self.systemd.stopping("draining", accept_for + self.shutdown.most());
        if self.shutdown.begin(why) {
            self.upgrader.end_next();
        }
        tokio::select! {
            () = tokio::time::sleep(accept_for) => {}
            () = heard.any_end() => self.shutdown.now("second signal"),
        }
        let doors = self.listening.doors();
        self.end(why, doors, heard).await
    }

    /// Pingora stops accepting when this returns; our own monitor ends the
    /// process, since Pingora's would sleep its whole grace period.
    async fn end(&self, why: &'static str, doors: Doors, mut heard: Heard) -> ShutdownSignal {
        if !self.shutdown.is_draining() {
            self.shutdown.begin(why);
        }
        tokio::select! {
            () = doors.close() => {}
            () = heard.any_end() => self.shutdown.now("second signal"),
        }
        let (shutdown, upgrader, systemd) =
            (self.shutdown.clone(), self.upgrader.clone(), self.systemd.clone());
        // A process that handed over is waited for by the one that follows it.
        let last = if self.systemd.is_there() { self.forerunners.clone() } else { Arc::default() };
        let watched = std::thread::Builder::new().name("drain".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return shutdown.now("no runtime to drain in") };
            runtime.block_on(async {
                tokio::select! {
                    () = async {
                        shutdown.drained(&last, &systemd).await;
                        upgrader.settled().await;
                    } => {}
                    () = heard.any_end() => shutdown.now("second signal"),
                }
            });
            shutdown.exit();
        });
        if watched.is_err() {
            self.shutdown.now("no thread to drain in");
        }
        ShutdownSignal::GracefulTerminate
    }
}

struct Heard {
    hangup: Signal,
    user1: Signal,
    user2: Signal,
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
}

impl Heard {
    fn listen() -> Option<Self> {
        Some(Self {
            hangup: signal(SignalKind::hangup()).ok()?,
            user1: signal(SignalKind::user_defined1()).ok()?,
            user2: signal(SignalKind::user_defined2()).ok()?,
            interrupt: signal(SignalKind::interrupt()).ok()?,
            terminate: signal(SignalKind::terminate()).ok()?,
            quit: signal(SignalKind::quit()).ok()?,
        })
    }

    async fn any_end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

/// For the new process to be ready, when nobody says how long.
pub const UPGRADES: Duration = Duration::from_secs(60);
