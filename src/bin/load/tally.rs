//! What was seen, first by each worker, then of all.

use std::{collections::BTreeMap, time::Duration};

use crate::{connection::Failure, histogram::Histogram};

/// Counts of requests, and their times.
pub struct Tally {
    /// From when each was due to the end of its answer, failed ones too.
    pub latency: Histogram,
    /// From when each was sent; what a closed loop would have told.
    pub service: Histogram,
    /// How long after it was due each was given to the connections: this machine's part.
    pub clock: Histogram,
    /// Good answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// All others.
    pub failures: BTreeMap<Failure, u64>,
    /// Sent later than the rate allows.
    pub late: u64,
    /// Never sent: no connection was free in time.
    pub unsent: u64,
    /// Connections opened after the start.
    pub reopened: u64,
    /// Connections that the server ended while nothing was under way.
    pub closed_between: u64,
}

impl Tally {
    /// Of nothing.
    pub fn new() -> Self {
        Self {
            latency: Histogram::new(),
            service: Histogram::new(),
            clock: Histogram::new(),
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
            late: 0,
            unsent: 0,
            reopened: 0,
            closed_between: 0,
        }
    }

    /// Counts one request that was sent.
    pub fn record(&mut self, found: Result<u16, Failure>, latency: Duration, service: Duration) {
        self.latency.record(latency);
        self.service.record(service);
        match found {
            Ok(status) => *self.statuses.entry(status).or_default() += 1,
            Err(failure) => *self.failures.entry(failure).or_default() += 1,
        }
    }

    /// Counts all that another one counted.
    pub fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency);
        self.service.add(&other.service);
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (failure, count) in &other.failures {
            *self.failures.entry(*failure).or_default() += count;
        }
        self.late += other.late;
        self.unsent += other.unsent;
        self.reopened += other.reopened;
        self.closed_between += other.closed_between;
    }

    /// Requests that were sent.
    pub fn sent(&self) -> u64 {
        self.statuses.values().chain(self.failures.values()).sum()
    }

    /// Requests without a good answer.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}
