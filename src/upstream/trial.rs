//! Who is known to be unreachable, and how it is found out that it no longer is.
//!
//! No request is spent on that: while an endpoint is unreachable, a connection to
//! it is tried now and then, and nothing is sent on it. Owns that knowledge; where
//! it keeps requests away, `table` decides.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{Endpoint, Outcome, Upstream, live::EndpointLive};

/// Connects to an unreachable endpoint until that works.
pub struct Trial {
    upstream: Arc<str>,
    address: SocketAddr,
    live: Weak<EndpointLive>,
    patience: Duration,
}

impl Trial {
    /// Ends once the endpoint is reached, by whomever, or no configuration has it
    /// any more. A restart takes a moment: at first it is tried soon, then once in
    /// a second.
    pub async fn run(self) {
        let mut pause = SOONEST;
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(LATEST);
            match self.live.upgrade() {
                None => return,
                Some(live) if !live.is_unreachable() && live.ends_trial() => return,
                Some(_) => {}
            }
            if matches!(timeout(self.patience, TcpStream::connect(self.address)).await, Ok(Ok(_))) {
                self.succeed();
            }
        }
    }

    fn succeed(&self) {
        if self.live.upgrade().is_some_and(|live| live.is_reached()) {
            log::info!("endpoint is reached again: upstream={} endpoint={}", self.upstream, self.address);
        }
    }
}

impl Upstream {
    /// Counts who is not reached, one time after the other.
    pub(super) fn reached(&self, endpoint: &Endpoint, outcome: Outcome) -> Option<Trial> {
        if !self.watches() {
            return None;
        }
        let live = &endpoint.live;
        if outcome != Outcome::Unreached {
            if live.is_reached() {
                log::info!("endpoint is reached again: upstream={} endpoint={}", self.name, endpoint.address);
            }
            return None;
        }
        // In one order with `ends_trial`: one of the two sees the other.
        if live.unreached.fetch_add(1, SeqCst).saturating_add(1) != ENOUGH {
            return None;
        }
        live.changed();
        log::warn!("endpoint is unreachable: upstream={} endpoint={}", self.name, endpoint.address);
        let is_first = !live.on_trial.swap(true, SeqCst);
        is_first.then(|| Trial {
            upstream: self.name.clone(),
            address: endpoint.address,
            live: Arc::downgrade(live),
            patience: self.timeouts.connect,
        })
    }

    /// Without anyone who says which endpoints are in service, each request tries
    /// anew: its operator wants it so.
    pub(super) fn watches(&self) -> bool {
        self.probed || self.outliers.is_some()
    }
}

impl EndpointLive {
    /// Whether the last attempts did not reach its host.
    pub(super) fn is_unreachable(&self) -> bool {
        self.unreached.load(Relaxed) >= ENOUGH
    }

    /// Notes that it is not reached any more.
    pub(super) fn lose(&self) {
        self.unreached.store(ENOUGH, Relaxed);
        self.changed();
    }

    /// Notes that it was reached; whether that is news.
    fn is_reached(&self) -> bool {
        // Hardly ever written: a line that every core reads stays shared.
        let news = self.unreached.load(Relaxed) > 0 && self.unreached.swap(0, Relaxed) >= ENOUGH;
        if news {
            self.changed();
        }
        news
    }

    /// Whether the trial is over: not if the endpoint was lost again just now, by
    /// someone who saw that it is on trial.
    fn ends_trial(&self) -> bool {
        self.on_trial.store(false, SeqCst);
        self.unreached.load(SeqCst) < ENOUGH || self.on_trial.swap(true, SeqCst)
    }
}

/// So many attempts in a row: one may have met a full queue.
const ENOUGH: u32 = 3;
const SOONEST: Duration = Duration::from_millis(100);
const LATEST: Duration = Duration::from_secs(1);
