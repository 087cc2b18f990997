//! Finishing old work and taking no new: the flag that connections watch, and
//! how many of them are left.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::watch;

use super::{caps::Permit, streams::StreamCounts};

/// The drain of this process.
pub struct Drain {
    flag: watch::Sender<bool>,
    open: AtomicUsize,
    streams: Arc<StreamCounts>,
}

impl Default for Drain {
    fn default() -> Self {
        Self { flag: watch::Sender::new(false), open: AtomicUsize::new(0), streams: Arc::default() }
    }
}

impl Drain {
    /// From now on every connection is asked to end. There is no way back.
    pub fn begin(&self) {
        // Not `send`: it stores nothing while no connection is open.
        self.flag.send_replace(true);
    }

    /// Whether the drain has begun.
    pub fn has_begun(&self) -> bool {
        *self.flag.borrow()
    }

    /// Connections that are open, lingering ones included.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Which of them carry something long.
    pub fn streams(&self) -> &Arc<StreamCounts> {
        &self.streams
    }

    /// Waits until the drain begins.
    pub async fn begun(&self) {
        // An error means that the sender is gone, which `self` holds.
        let _ = self.flag.subscribe().wait_for(|begun| *begun).await;
    }

    /// Counts one connection until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> ConnectionGuard {
        self.open.fetch_add(1, Ordering::Relaxed);
        ConnectionGuard { drain: self.clone(), permit: None }
    }
}

/// One open connection. Dropped last, after the socket was closed: the process
/// may exit when none is left, and the caps have room for another one.
pub struct ConnectionGuard {
    drain: Arc<Drain>,
    permit: Option<Permit>,
}

impl ConnectionGuard {
    /// Holds the connection's permit too.
    pub fn hold(self, permit: Permit) -> Self {
        let mut guard = self;
        guard.permit = Some(permit);
        guard
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.drain.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drain_that_began_before_anyone_watched_is_seen() {
        let drain = Arc::new(Drain::default());

        drain.begin();

        drain.begun().await;
        assert!(drain.has_begun());
    }

    #[test]
    fn guards_count_open_connections() {
        let drain = Arc::new(Drain::default());
        let first = drain.enter();
        let second = drain.enter();
        assert_eq!(drain.open(), 2);

        drop((first, second));

        assert_eq!(drain.open(), 0);
    }
}
