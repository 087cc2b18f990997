//! Requests that wait for room at an upstream, in the order in which they came.
//!
//! Only the first one looks for room, so that nobody overtakes and a place that is
//! given back wakes one. Does not own the wait itself, nor what becomes of who has
//! waited: the gateway does. Belongs to the upstream's experience: a reload changes
//! neither who waits nor in which order.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{Relaxed, SeqCst},
            fence,
        },
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    Upstream,
    live::{UpstreamLive, locked},
};
use crate::config::failover::MaxInFlightSpec;

/// Who may wait for room at an upstream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    /// So many at a time; 0 is nobody.
    most: u32,
    /// Each for so long.
    patience: Duration,
}

impl From<&MaxInFlightSpec> for Waits {
    fn from(spec: &MaxInFlightSpec) -> Self {
        Self { most: spec.queue, patience: spec.queue_timeout.duration() }
    }
}

impl Waits {
    /// Whether anybody may.
    pub(super) fn is_any(self) -> bool {
        self.most > 0
    }
}

/// Requests that wait, and what became of those that did.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// As many as `places`; read without its lock.
    waiting: AtomicU32,
    places: Mutex<VecDeque<Arc<Notify>>>,
    served: AtomicU64,
    gave_up: AtomicU64,
}

impl Queue {
    /// Somebody gave a place back.
    pub(super) fn room(&self) {
        // Either this sees who waits, or who came to wait sees the place.
        fence(SeqCst);
        if self.waiting.load(Relaxed) > 0 {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(first) = locked(&self.places).front() {
            first.notify_one();
        }
    }
}

/// A request in the queue. Dropping it, in whatever way it ends, lets the next one
/// look.
pub struct Waiting {
    live: Arc<UpstreamLive>,
    place: Arc<Notify>,
    is_served: bool,
}

impl Waiting {
    /// Whether it is its turn to look for room.
    pub fn is_first(&self) -> bool {
        locked(&self.live.queue.places).front().is_some_and(|first| Arc::ptr_eq(first, &self.place))
    }

    /// Until there may be room, or the one before has gone. After a moment in any
    /// case: where an endpoint came back, or a reload allows more, nobody gives a
    /// place back.
    pub async fn turn(&self) {
        let _ = tokio::time::timeout(MOMENT, self.place.notified()).await;
    }

    /// It found room.
    pub fn served(mut self) {
        self.is_served = true;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let queue = &self.live.queue;
        let mut places = locked(&queue.places);
        if let Some(at) = places.iter().position(|place| Arc::ptr_eq(place, &self.place)) {
            places.remove(at);
            queue.waiting.fetch_sub(1, Relaxed);
        }
        drop(places);
        let count = if self.is_served { &queue.served } else { &queue.gave_up };
        count.fetch_add(1, Relaxed);
        queue.wake();
    }
}

/// What an upstream's queue is now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Queued {
    /// Requests that wait.
    pub waiting: u32,
    /// Those that waited and found room.
    pub served: u64,
    /// Those that did not: their time was over, or their client left.
    pub gave_up: u64,
}

impl Upstream {
    /// How long a request waits for room; `None` where none does.
    pub fn patience(&self) -> Option<Duration> {
        self.waits.is_any().then_some(self.waits.patience)
    }

    /// Whether others came before: then nobody looks for room at once.
    pub fn has_queue(&self) -> bool {
        self.waits.is_any() && self.live.queue.waiting.load(Relaxed) > 0
    }

    /// The end of the queue; `None` when it is full.
    pub fn enqueue(&self) -> Option<Waiting> {
        let queue = &self.live.queue;
        let mut places = locked(&queue.places);
        if places.len() >= self.waits.most as usize {
            return None;
        }
        let place = Arc::new(Notify::new());
        places.push_back(place.clone());
        queue.waiting.fetch_add(1, Relaxed);
        drop(places);
        fence(SeqCst);
        Some(Waiting { live: self.live.clone(), place, is_served: false })
    }

    /// What its queue is now; `None` where nobody waits.
    pub fn queued(&self) -> Option<Queued> {
        let queue = &self.live.queue;
        self.patience().map(|_| Queued {
            waiting: queue.waiting.load(Relaxed),
            served: queue.served.load(Relaxed),
            gave_up: queue.gave_up.load(Relaxed),
        })
    }
}

const MOMENT: Duration = Duration::from_millis(100);
