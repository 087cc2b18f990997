//! What traffic and probes taught about an upstream and its endpoints; it
//! outlives snapshots.
//!
//! Owns the memory, not what is made of it: `table` reads who is in service,
//! `outlier` decides who is ejected. Whatever changes who is in service counts
//! up `changes`, which the next pick sees.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::Instant,
};

use super::{budget::Budget, place::Distance, queue::Queue, shares::Held};

/// What is known of an upstream.
#[derive(Debug)]
pub struct UpstreamLive {
    /// When it was first heard of: endpoints that come later are new ones.
    pub(super) born: Instant,
    /// Requests on their way to all endpoints; counted only where it matters.
    pub(super) in_flight: AtomicU32,
    /// Ejections since it is known.
    pub(super) ejections: AtomicU64,
    /// The last interval whose outcomes were compared.
    pub(super) compared: AtomicU64,
    /// Requests that wait for room.
    pub(super) queue: Queue,
    /// What its traffic allows of retries.
    pub(super) budget: Budget,
    /// What only one may change at a time.
    pub(super) book: Mutex<Book>,
    /// It is for asking what would be: what becomes of it is told nobody.
    pub(super) is_copy: bool,
    changes: Arc<AtomicU64>,
    endpoints: Mutex<HashMap<SocketAddr, Arc<EndpointLive>>>,
}

/// What of the past a copy knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Memory {
    /// All of it: what rises or is held back does so in the copy.
    Kept,
    /// Who is healthy and ejected, but no hold-down and no slow start: as it is
    /// when they are over.
    Settled,
}

/// What is written down whenever a table of an upstream is built.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    /// Endpoints that may be picked, are healthy and not ejected.
    pub(super) in_service: usize,
    /// Endpoints that may be picked and are ejected.
    pub(super) ejected: usize,
    /// By tier: which there are may change.
    pub(super) held: Vec<(Distance, Held)>,
    /// Whether the last table was one of panic; to tell each change once.
    pub(super) panic: bool,
}

impl Default for UpstreamLive {
    fn default() -> Self {
        let born = Instant::now();
        Self {
            born,
            in_flight: AtomicU32::new(0),
            ejections: AtomicU64::new(0),
            compared: AtomicU64::new(0),
            queue: Queue::default(),
            budget: Budget::new(born),
            is_copy: false,
            book: Mutex::default(),
            changes: Arc::default(),
            endpoints: Mutex::default(),
        }
    }
}

impl UpstreamLive {
    /// What is known of an endpoint; the same for the same address as long as
    /// anyone holds it.
    pub fn endpoint(&self, address: SocketAddr) -> Arc<EndpointLive> {
        let fresh = || Arc::new(EndpointLive { changes: self.changes.clone(), ..EndpointLive::default() });
        locked(&self.endpoints).entry(address).or_insert_with(fresh).clone()
    }

    /// Forgets endpoints that nobody holds.
    pub fn sweep(&self) {
        locked(&self.endpoints).retain(|_, live| Arc::strong_count(live) > 1);
    }

    /// Whether anyone holds one of its endpoints.
    pub fn is_remembered(&self) -> bool {
        !locked(&self.endpoints).is_empty()
    }

    /// The same once more, for asking what would be; changes here and there do
    /// not meet, and nothing is on its way to it.
    pub(super) fn copy(&self, memory: Memory, now: Instant) -> Self {
        let copy = Self { is_copy: true, ..Self::default() };
        let endpoint = |live: &Arc<EndpointLive>| Arc::new(live.copy(memory, copy.changes.clone()));
        let endpoints: HashMap<_, _> =
            locked(&self.endpoints).iter().map(|(address, live)| (*address, endpoint(live))).collect();
        let (born, book) = match memory {
            Memory::Kept => (self.born, locked(&self.book).clone()),
            Memory::Settled => (now, Book::default()),
        };
        Self { born, book: Mutex::new(book), endpoints: Mutex::new(endpoints), ..copy }
    }

    /// Counts up whenever who is in service may have changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}

/// What is known of an endpoint.
#[derive(Debug, Default)]
pub struct EndpointLive {
    pub(super) in_flight: AtomicU32,
    /// Failures of its connection and 5xx, one after the other.
    pub(super) failures: AtomicU32,
    /// Of these, those that the endpoint's service did not answer itself.
    pub(super) gateway_errors: AtomicU32,
    /// Attempts that did not reach its host, one after the other.
    pub(super) unreached: AtomicU32,
    /// Somebody tries whether it can be reached again.
    pub(super) on_trial: AtomicBool,
    /// Back from an ejection: the next outcome decides.
    pub(super) on_probation: AtomicBool,
    /// Outcomes of the interval: all, and those that were good.
    pub(super) outcomes: [AtomicU32; 2],
    pub(super) record: Mutex<Record>,
    health: AtomicU8,
    changes: Arc<AtomicU64>,
}

/// What changes rarely.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// Whether it was in service when last looked at; `None` before the first look.
    pub(super) in_service: Option<bool>,
    /// Whether it ever was.
    pub(super) served: bool,
    /// Since when its share rises.
    pub(super) rising: Option<Instant>,
    /// Ejected until then.
    pub(super) ejected: Option<Instant>,
    /// How many ejections in a row.
    pub(super) ejections: u32,
    /// When the last one was over.
    pub(super) returned: Option<Instant>,
}

/// What active probes say of an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Health {
    /// No probe ended yet, or none is configured.
    Unproven,
    /// The last probes passed.
    Healthy,
    /// The last probes failed.
    Unhealthy,
}

impl Health {
    /// The word in status.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl EndpointLive {
    /// Requests that are on their way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// What probes say.
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            1 => Health::Healthy,
            2 => Health::Unhealthy,
            _ => Health::Unproven,
        }
    }

    /// Notes what probes say.
    pub fn set_health(&self, health: Health) {
        if self.health.swap(health as u8, Ordering::Relaxed) != health as u8 {
            self.changed();
        }
    }

    fn copy(&self, memory: Memory, changes: Arc<AtomicU64>) -> Self {
        let mut record = locked(&self.record).clone();
        if memory == Memory::Settled {
            record = Record { in_service: None, served: false, rising: None, ..record };
        }
        Self {
            record: Mutex::new(record),
            unreached: AtomicU32::new(self.unreached.load(Ordering::Relaxed)),
            health: AtomicU8::new(self.health() as u8),
            changes,
            ..Self::default()
        }
    }

    /// Who is in service is to be looked at again.
    pub(super) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }
}

/// A panic elsewhere breaks no promise of these values.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
