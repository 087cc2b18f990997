//! What systemd is told, where it started the process: ready, how it goes, who the
//! main process is, that it lives, and which sockets to keep.
//!
//! Only the main process is listened to (`NotifyAccess=main`), so a process that
//! follows another one is silent until it is that. Without systemd nothing is said.

use std::{
    os::fd::BorrowedFd,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use sd_notify::NotifyState;

use super::{
    Found,
    listening::{Listening, stored_name},
};
use crate::{snapshot::Snapshot, telemetry::short_hash};

/// The way to systemd.
#[derive(Debug)]
pub struct Systemd {
    is_main: AtomicBool,
}

impl Systemd {
    /// For the main process, or one that may become it.
    pub fn new(is_main: bool) -> Self {
        Self { is_main: AtomicBool::new(is_main) }
    }

    /// Whether systemd listens, and would start the process again.
    pub fn is_there(&self) -> bool {
        std::env::var_os("NOTIFY_SOCKET").is_some()
    }

    /// This process is the main one now.
    pub(super) fn is_main_now(&self) {
        self.is_main.store(true, Ordering::Relaxed);
    }

    /// The process serves.
    pub fn ready(&self, status: &str) {
        self.say(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// A reload has begun; [`ready`](Self::ready) ends it, taken or not.
    pub fn reloading(&self) {
        let since = NotifyState::monotonic_usec_now().ok();
        self.say(&[Some(NotifyState::Reloading), since].into_iter().flatten().collect::<Vec<_>>());
    }

    /// The process ends, when it has finished its work.
    ///
    /// It may take `at_most` so long, whatever the unit says.
    pub fn stopping(&self, status: &str, at_most: Duration) {
        let extend = extend(at_most);
        self.say(&[NotifyState::Stopping, NotifyState::Custom(&extend), NotifyState::Status(status)]);
    }

    /// One line for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.say(&[NotifyState::Status(status)]);
    }

    /// The process lives.
    pub fn alive(&self) {
        self.say(&[NotifyState::Watchdog]);
    }

    /// Another process is the main one now; this one is silent from here on. There is no
    /// way back: systemd hears the main process alone, and does not hear this one say that
    /// it is that again.
    pub fn hand_over(&self, pid: u32) {
        self.say(&[NotifyState::MainPid(pid)]);
        self.is_main.store(false, Ordering::Relaxed);
    }

    /// Leaves the sockets that a gateway bound in systemd's store, from where the next
    /// process gets them after a crash or a restart, and takes out those of `stale`.
    pub fn store(&self, listening: &Listening, stale: &[Found]) {
        let kept: Vec<_> = listening.addresses().into_iter().map(stored_name).collect();
        let gone = stale.iter().filter_map(|found| found.kept_as.as_deref());
        for name in gone.filter(|name| !kept.iter().any(|kept| kept == name)) {
            self.say(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
        }
        listening.each_bound(|name, socket| self.say_with(name, socket));
    }

    fn say_with(&self, name: &str, socket: BorrowedFd<'_>) {
        if !self.is_main.load(Ordering::Relaxed) {
            return;
        }
        let states = [NotifyState::FdStore, NotifyState::FdName(name)];
        if let Err(why) = sd_notify::notify_with_fds(&states, &[socket]) {
            log::warn!("systemd does not keep a socket: name={name} error={why}");
        }
    }

    fn say(&self, states: &[NotifyState<'_>]) {
        if !self.is_main.load(Ordering::Relaxed) {
            return;
        }
        if let Err(why) = sd_notify::notify(states) {
            log::debug!("systemd cannot be told: error={why}");
        }
    }
}

/// The crate's own word for it ends at 71 minutes, in 32 bits; systemd reads 64.
fn extend(by: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}", by.as_micros())
}

/// One line that says what serves.
pub(super) fn serving(now: &Snapshot) -> String {
    format!("serving: generation {} config {}", now.generation, short_hash(&now.hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_may_take_longer_than_71_minutes() {
        assert_eq!(extend(Duration::from_secs(5 * 3600)), "EXTEND_TIMEOUT_USEC=18000000000");
    }
}
