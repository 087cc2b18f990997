//! The end of the process: as soon as it is idle, at the ceiling, or at once.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use pingora::server::ShutdownWatch;
use tokio::sync::{Notify, watch};

use super::AdminSocket;
use crate::{edge::Drain, snapshot::Current, telemetry::AccessLog};

/// Ends this process, once.
pub struct Shutdown {
    drain: Arc<Drain>,
    access_log: Arc<AccessLog>,
    current: Arc<Current>,
    /// Removed at the end, so that a command says "nothing listens" at once.
    admin_socket: Arc<AdminSocket>,
    /// What the operator asked for, until it begins.
    asked: Mutex<Option<DrainRequest>>,
    wake: Notify,
    fails_readiness: AtomicBool,
    /// Another process serves: the private services end, too.
    handed_over: watch::Sender<bool>,
}

/// How the operator wants the process to end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DrainRequest {
    /// Whether `/readyz` says 503 from now on. An NLB resets the connections of a
    /// target that turns unhealthy, unless its target group says otherwise.
    pub fail_readiness: bool,
    /// How long to go on accepting, until the load balancer sends nobody any more.
    pub accept_for: Duration,
}

impl Shutdown {
    /// Watches `drain` for open connections.
    pub fn new(
        drain: Arc<Drain>,
        access_log: Arc<AccessLog>,
        current: Arc<Current>,
        admin_socket: Arc<AdminSocket>,
    ) -> Self {
        Self {
            drain,
            access_log,
            current,
            admin_socket,
            asked: Mutex::default(),
            wake: Notify::new(),
            fails_readiness: AtomicBool::new(false),
            handed_over: watch::Sender::new(false),
        }
    }

    /// Asks for the end; false when it has begun already.
    pub fn ask(&self, request: DrainRequest) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_draining() || asked.is_some() {
            return false;
        }
        *asked = Some(request);
        self.wake.notify_one();
        true
    }

    /// Waits until the operator asks for the end.
    pub async fn asked(&self) -> DrainRequest {
        loop {
            self.wake.notified().await;
            if let Some(request) = *self.asked.lock().unwrap_or_else(PoisonError::into_inner) {
                self.fails_readiness.store(request.fail_readiness, Ordering::Relaxed);
                return request;
            }
        }
    }

    /// Another process serves now: this one finishes its work.
    pub fn hand_over(&self) {
        self.handed_over.send_replace(true);
    }

    /// Waits until another process serves.
    pub async fn handed_over(&self) {
        // An error means that the sender is gone, which `self` holds.
        let _ = self.handed_over.subscribe().wait_for(|handed| *handed).await;
    }

    /// What private services watch: they go on through a drain, and end when another
    /// process answers in their place.
    pub fn of_private_services(&self) -> ShutdownWatch {
        self.handed_over.subscribe()
    }

    /// How long connections may take to end.
    pub fn max_drain(&self) -> Duration {
        self.current.load().limits().max_drain
    }

    /// Whether the process is ending.
    pub fn is_draining(&self) -> bool {
        self.drain.has_begun()
    }

    /// Whether the load balancer is to hear of it.
    pub fn fails_readiness(&self) -> bool {
        self.fails_readiness.load(Ordering::Relaxed)
    }

    /// How many connections are left.
    pub fn connections(&self) -> usize {
        self.drain.open()
    }

    /// Asks every connection to end.
    pub fn begin(&self, why: &str) {
        log::info!("draining: reason={why} connections={}", self.drain.open());
        self.drain.begin();
    }

    /// Waits until no connection is open, or the ceiling.
    pub async fn drained(&self) {
        // The cut of a connection at its own ceiling comes first.
        let ceiling = Instant::now() + self.max_drain() + MARGIN;
        let mut idle = 0;
        while idle < IDLE_TICKS && Instant::now() < ceiling {
            tokio::time::sleep(TICK).await;
            idle = if self.drain.open() == 0 { idle + 1 } else { 0 };
        }
        log::info!("drained: connections_left={}", self.drain.open());
    }

    /// Ends without waiting for anyone.
    pub fn now(&self, why: &str) {
        log::warn!("ending at once: reason={why} connections={}", self.drain.open());
        self.exit();
    }

    /// Writes out what is waiting and ends the process.
    pub fn exit(&self) -> ! {
        self.access_log.close(FLUSH);
        // The file's number may be another process's by now: numbers are used again.
        if !*self.handed_over.borrow() {
            self.admin_socket.remove();
        }
        std::process::exit(0)
    }
}

const TICK: Duration = Duration::from_millis(20);

/// HTTP/2 requests write their log line shortly after their connection closed,
/// and an accepted connection shows up shortly after it was accepted.
const IDLE_TICKS: u32 = 5;

const MARGIN: Duration = Duration::from_secs(2);
const FLUSH: Duration = Duration::from_secs(2);
