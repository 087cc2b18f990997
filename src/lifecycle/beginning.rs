//! From "everything is there" to "it serves", and the sign of life from then on.

use std::{
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use super::{AdminSocket, Found, Heir, Listening, Pulse, Shutdown, Systemd, systemd::serving};
use crate::{
    snapshot::Current,
    telemetry::{AccessLog, Metrics},
};

/// What is left to do when Pingora starts the services.
pub struct Beginning {
    /// Whether the workers work.
    pub pulse: Pulse,
    /// The process before, if there is one.
    pub heir: Option<Heir>,
    /// Who started the process.
    pub systemd: Arc<Systemd>,
    /// What it listens at.
    pub listening: Arc<Listening>,
    /// What came from outside and nobody asked for.
    pub leftover: Vec<Found>,
    /// Where operators come.
    pub admin_socket: Arc<AdminSocket>,
    /// What serves.
    pub current: Arc<Current>,
    /// Opened before it was this process's turn.
    pub access_log: Arc<AccessLog>,
    /// Where the upgrade is counted.
    pub metrics: Arc<Metrics>,
    /// Whether the end has begun.
    pub shutdown: Arc<Shutdown>,
}

impl Beginning {
    /// Waits on a thread of its own until the workers work, says so to whoever waits
    /// for it, and goes on to look whether they do, as often as systemd wants.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn watch(self) -> std::io::Result<()> {
        std::thread::Builder::new().name("pulse".into()).spawn(move || self.run()).map(drop)
    }

    fn run(mut self) {
        let until = Instant::now() + BEGINS;
        // Who is told to end by now begins nothing, and takes as long as a drain does.
        let is_there = |it: &Self| it.pulse.beats(LOOK_EACH * 10) && it.admin_socket.answers(LOOK_EACH * 10);
        while !self.shutdown.is_draining() && !is_there(&self) {
            if Instant::now() > until {
                log::error!(
                    "the workers or the operator's socket do not answer after {} s; ending",
                    BEGINS.as_secs()
                );
                // Somebody starts it again, or the old process goes on.
                std::process::exit(1);
            }
            sleep(LOOK_EACH);
        }
        if !self.shutdown.is_draining() {
            self.begin();
        }
        if let Some(every) = sd_notify::watchdog_enabled() {
            self.beat(every);
        }
    }

    fn begin(&mut self) {
        if let Some(heir) = &mut self.heir {
            let is_told = heir.await_turn(self.listening.addresses());
            if !is_told && self.shutdown.is_draining() {
                // It ends as the old one does, and takes nothing over.
                return;
            }
            if !is_told {
                log::warn!("the old process ended before it handed over; serving");
            }
            self.listening.share_no_more();
            self.systemd.is_main_now();
            // The old process was told when it was rotated, and may have been just now.
            self.access_log.reopen();
            self.metrics.upgrade("ok");
        }
        if let Err(why) = self.admin_socket.take_place() {
            log::error!("commands cannot reach this process: error={why}");
        }
        self.systemd.store(&self.listening, &self.leftover);
        self.leftover.clear();
        self.systemd.ready(&serving(&self.current.load()));
        if let Some(mut heir) = self.heir.take() {
            heir.serving();
        }
    }

    /// Twice in the time that systemd waits for it.
    fn beat(&self, every: Duration) {
        let half = every / 2;
        loop {
            let began = Instant::now();
            // No worker takes connections in a drain, which may have begun just now.
            match self.pulse.beats(half) || self.shutdown.is_draining() {
                true => self.systemd.alive(),
                false => log::error!("no worker takes connections; systemd ends the process soon"),
            }
            sleep(half.saturating_sub(began.elapsed()));
        }
    }
}

const LOOK_EACH: Duration = Duration::from_millis(10);

/// Starting the services takes milliseconds.
const BEGINS: Duration = Duration::from_secs(30);
