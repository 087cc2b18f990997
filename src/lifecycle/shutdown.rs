//! The end of the process: as soon as it is idle, at the ceiling, or at once.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use pingora::server::ShutdownWatch;
use serde::Serialize;
use tokio::sync::{Notify, watch};

use super::{AdminSocket, Forerunners, Systemd};
use crate::{
    edge::{Ceiling, Drain},
    snapshot::Current,
    telemetry::{AccessLog, SpanExporter},
};

/// Ends this process, once.
pub struct Shutdown {
    drain: Arc<Drain>,
    access_log: Arc<AccessLog>,
    spans: Arc<SpanExporter>,
    current: Arc<Current>,
    /// Removed at the end, so that a command says "nothing listens" at once.
    admin_socket: Arc<AdminSocket>,
    /// What the operator asked for, until it begins.
    asked: Mutex<Option<DrainRequest>>,
    wake: Notify,
    fails_readiness: AtomicBool,
    /// Another process serves: the private services end, too.
    handed_over: watch::Sender<bool>,
    /// Once connections were asked to end: when they are cut.
    ceiling: Mutex<Option<Ceiling>>,
}

/// Who is still there.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Left {
    /// Open connections, those below among them.
    pub connections: usize,
    /// Those that became WebSockets.
    pub websockets: usize,
    /// Those that carry server-sent events or gRPC calls.
    pub streams: usize,
}

impl Left {
    /// When the process ends whoever is there. Their cut at their own ceiling comes
    /// first.
    fn end(self, ceiling: &mut Ceiling, now: Instant) -> Instant {
        ceiling.end(now, self.websockets + self.streams > 0) + MARGIN
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, websockets, streams } = self;
        write!(f, "connections={connections} websockets={websockets} streams={streams}")
    }
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
        (access_log, spans): (Arc<AccessLog>, Arc<SpanExporter>),
        current: Arc<Current>,
        admin_socket: Arc<AdminSocket>,
    ) -> Self {
        Self {
            drain,
            access_log,
            spans,
            current,
            admin_socket,
            asked: Mutex::default(),
            wake: Notify::new(),
            fails_readiness: AtomicBool::new(false),
            handed_over: watch::Sender::new(false),
            ceiling: Mutex::default(),
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

    /// Another process serves now: this one finishes its work. True if it was ending
    /// already: then the other one is to hear of that.
    ///
    /// Of this and a [`begin`](Self::begin) at the same moment exactly one says so.
    pub fn hand_over(&self) -> bool {
        let mut is_ending = false;
        self.handed_over.send_modify(|handed_over| {
            *handed_over = true;
            is_ending = self.is_draining();
        });
        is_ending
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

    /// How long a drain that begins now may take.
    pub fn most(&self) -> Duration {
        let limits = self.current.load().limits();
        limits.max_drain.max(limits.max_drain_streams) + MARGIN + FLUSH
    }

    /// Whether the process is ending.
    pub fn is_draining(&self) -> bool {
        self.drain.has_begun()
    }

    /// Whether the load balancer is to hear of it.
    pub fn fails_readiness(&self) -> bool {
        self.fails_readiness.load(Ordering::Relaxed)
    }

    /// Who is still there.
    pub fn left(&self) -> Left {
        let streams = self.drain.streams();
        Left { connections: self.drain.open(), websockets: streams.websockets(), streams: streams.streams() }
    }

    /// In which time requests and streams are cut; `None` while nobody was asked
    /// to end.
    pub fn cut_in(&self) -> Option<(Duration, Duration)> {
        let ceiling = *self.ceiling.lock().unwrap_or_else(PoisonError::into_inner);
        ceiling.map(|ceiling| ceiling.left(Instant::now()))
    }

    /// Asks every connection to end. True if another process serves already.
    pub fn begin(&self, why: &str) -> bool {
        let limits = self.current.load().limits();
        let (requests, streams) = (limits.max_drain.as_secs(), limits.max_drain_streams.as_secs());
        let left = self.left();
        log::info!("draining: reason={why} max_drain={requests}s max_drain_streams={streams}s {left}");
        let ceiling = Ceiling::new(&limits, Instant::now());
        *self.ceiling.lock().unwrap_or_else(PoisonError::into_inner) = Some(ceiling);
        let handed_over = self.handed_over.borrow();
        self.drain.begin();
        *handed_over
    }

    /// Waits until no connection is open, or for the ceiling of those that are; then,
    /// unless another process serves, for those before, which began to end earlier.
    pub async fn drained(&self, before: &Forerunners, systemd: &Systemd) {
        let latest = Instant::now() + self.most();
        self.idle().await;
        let mut told = Vec::new();
        while !*self.handed_over.borrow() && Instant::now() < latest {
            let living = before.living();
            if living.is_empty() {
                return;
            }
            if living != told {
                log::info!("drained; waiting for the processes before: pids={living:?}");
                systemd.status(&format!("drained; waiting for pids {living:?} of an upgrade before"));
                told = living;
            }
            tokio::time::sleep(TICK).await;
        }
    }

    async fn idle(&self) {
        // Again: who came meanwhile has as much time.
        let mut ceiling = Ceiling::new(&self.current.load().limits(), Instant::now());
        let (mut idle, mut told) = (0, Instant::now());
        while idle < IDLE_TICKS {
            tokio::time::sleep(TICK).await;
            let (now, left) = (Instant::now(), self.left());
            let end = left.end(&mut ceiling, now);
            if now >= end {
                break;
            }
            if now - told >= TELL_EACH {
                told = now;
                log::info!("draining: ends_in={}s {left}", (end - now).as_secs());
            }
            idle = if left.connections == 0 { idle + 1 } else { 0 };
        }
        log::info!("drained: {}", self.left());
    }

    /// Ends without waiting for anyone.
    pub fn now(&self, why: &str) {
        log::warn!("ending at once: reason={why} {}", self.left());
        self.exit();
    }

    /// Writes out what is waiting and ends the process.
    pub fn exit(&self) -> ! {
        self.access_log.close(FLUSH);
        if !self.spans.close(FLUSH) {
            log::warn!("spans are lost, the collector does not take them: waited={}s", FLUSH.as_secs());
        }
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

/// What was cut is written down and lingers a second; and who came last was asked
/// to end two seconds later.
const MARGIN: Duration = Duration::from_secs(5);
const TELL_EACH: Duration = Duration::from_secs(30);
const FLUSH: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    use crate::{
        config::server::AccessLogSpec,
        lifecycle::reload::tests::{reloader, write},
    };

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn of_an_end_and_a_hand_over_the_later_one_knows_of_the_other() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, "serving");
        let reloader = reloader(&folder);
        let (socket, _listener) = AdminSocket::bind(&folder.path().join("admin.sock")).unwrap();
        let socket = Arc::new(socket);
        let shutdown = || {
            let spec = AccessLogSpec { path: "off".to_owned(), ..AccessLogSpec::default() };
            let log = Arc::new(AccessLog::open(&spec, &reloader.metrics).unwrap());
            let outlets = (log, reloader.followers.spans.clone());
            Shutdown::new(Arc::default(), outlets, reloader.current.clone(), socket.clone())
        };
        let (ends, hands_over) = (shutdown(), shutdown());

        assert_eq!([ends.begin("terminate"), ends.hand_over()], [false, true]);
        assert_eq!([hands_over.hand_over(), hands_over.begin("terminate")], [false, true]);
    }

    #[test]
    fn a_drain_waits_for_streams_while_there_are_any() {
        let begun = Instant::now();
        let mut ceiling = Ceiling::of(MINUTE, 30 * MINUTE, begun);
        let requests = Left { connections: 3, websockets: 0, streams: 0 };
        let sockets = Left { websockets: 1, ..requests };
        let events = Left { streams: 1, ..requests };

        assert_eq!(requests.end(&mut ceiling, begun), begun + MINUTE + MARGIN);
        assert_eq!(sockets.end(&mut ceiling, begun + 2 * MINUTE), begun + 30 * MINUTE + MARGIN);
        assert_eq!(events.end(&mut ceiling, begun + 3 * MINUTE), begun + 30 * MINUTE + MARGIN);
        assert_eq!(requests.end(&mut ceiling, begun + 3 * MINUTE), begun + 4 * MINUTE + MARGIN);
    }
}
