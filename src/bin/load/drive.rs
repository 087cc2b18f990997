//! Sends what is due on as many connections as there may be.
//!
//! Owns which connection takes the next request and when one is opened anew. Always
//! holds: a request's time counts from the instant that it was due at, whether it
//! waited for the clock, a connection or the gateway; and one that was never sent is
//! told as such.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use tokio::{
    sync::{
        Mutex,
        mpsc::{UnboundedReceiver, unbounded_channel},
    },
    time::timeout,
};

use crate::{
    connection::{Answer, Connection, Failure},
    histogram::Histogram,
    schedule::Schedule,
    tally::Tally,
    target::Target,
};

/// What is to be done.
pub struct Plan {
    /// Whom to ask.
    pub target: Target,
    /// When.
    pub schedule: Schedule,
    /// The most that may be under way.
    pub connections: usize,
    /// After so many requests a connection is opened anew; 0: never.
    pub requests_per_connection: u64,
    /// For a request, with its connection; and for how long one waits to be sent.
    pub timeout: Duration,
    /// A request that is sent later than this after it was due was not sent at the rate.
    pub late: Duration,
    /// The statuses that are good.
    pub statuses: Vec<u16>,
}

impl Plan {
    /// Opens a connection, within the timeout.
    pub async fn open(&self) -> Result<Connection, Failure> {
        timeout(self.timeout, Connection::open(&self.target)).await.unwrap_or(Err(Failure::Timeout))
    }

    /// So many open connections, few at a time, and how many could not be opened.
    pub async fn open_many(&self, count: usize, greet: bool) -> (Vec<Connection>, usize) {
        let each = stream::iter(0..count).map(|_| self.open_one(greet));
        let opened: Vec<_> = each.buffer_unordered(AT_ONCE).collect().await;
        let open: Vec<_> = opened.into_iter().filter_map(Result::ok).collect();
        let failed = count - open.len();
        (open, failed)
    }

    async fn open_one(&self, greet: bool) -> Result<Connection, Failure> {
        let mut connection = self.open().await?;
        if greet {
            let answer = self.ask(&mut connection).await?;
            self.judged(answer)?;
        }
        Ok(connection)
    }

    async fn ask(&self, connection: &mut Connection) -> Result<Answer, Failure> {
        timeout(self.timeout, connection.ask(&self.target)).await.unwrap_or(Err(Failure::Timeout))
    }

    fn judged(&self, answer: Answer) -> Result<u16, Failure> {
        if self.statuses.contains(&answer.status) { Ok(answer.status) } else { Err(Failure::Status) }
    }
}

/// Does it all; returns when the last request was answered or given up.
pub async fn drive(plan: &Arc<Plan>) -> Tally {
    // Their handshakes are nobody's latency, unless each request has its own.
    let ready = if plan.requests_per_connection == 1 { 0 } else { plan.connections };
    let (mut open, _) = plan.open_many(ready, false).await;
    let (give, take) = unbounded_channel();
    let take = Arc::new(Mutex::new(take));
    let workers: Vec<_> = (0..plan.connections)
        .map(|_| {
            let worker = Worker { plan: Arc::clone(plan), kept: open.pop(), used: 0, tally: Tally::new() };
            tokio::spawn(worker.run(Arc::clone(&take)))
        })
        .collect();
    let schedule = plan.schedule;
    // The channel ends with the clock, and the workers with the channel.
    let clock = thread::spawn(move || {
        let mut behind = Histogram::new();
        schedule.keep(Instant::now(), |due| {
            behind.record(due.elapsed());
            give.send(due).is_ok()
        });
        behind
    });
    let mut tally = Tally::new();
    for worker in workers {
        // A worker that panicked sent nothing that is known: its requests are missing.
        if let Ok(of_one) = worker.await {
            tally.add(&of_one);
        }
    }
    tally.clock = clock.join().unwrap_or_else(|_| Histogram::new());
    tally
}

/// One connection's user.
struct Worker {
    plan: Arc<Plan>,
    kept: Option<Connection>,
    /// Requests on that connection so far.
    used: u64,
    tally: Tally,
}

impl Worker {
    async fn run(mut self, take: Arc<Mutex<UnboundedReceiver<Instant>>>) -> Tally {
        loop {
            // Whoever waits longest gets the next one: connections take turns.
            let due = take.lock().await.recv().await;
            let Some(due) = due else { return self.tally };
            self.one(due).await;
        }
    }

    async fn one(&mut self, due: Instant) {
        let began = Instant::now();
        let waited = began.saturating_duration_since(due);
        if waited > self.plan.timeout {
            self.tally.unsent += 1;
            return;
        }
        self.tally.late += u64::from(waited > self.plan.late);
        let found = self.ask().await;
        self.tally.record(found, due.elapsed(), began.elapsed());
    }

    async fn ask(&mut self) -> Result<u16, Failure> {
        let mut connection = match self.still_open() {
            Some(kept) => kept,
            None => self.reopened().await?,
        };
        let answer = self.plan.ask(&mut connection).await?;
        self.used += 1;
        if !answer.last && self.used != self.plan.requests_per_connection {
            self.kept = Some(connection);
        }
        self.plan.judged(answer)
    }

    /// The connection before, unless the server has ended it.
    fn still_open(&mut self) -> Option<Connection> {
        let mut kept = self.kept.take()?;
        let open = kept.is_open();
        self.tally.closed_between += u64::from(!open);
        open.then_some(kept)
    }

    async fn reopened(&mut self) -> Result<Connection, Failure> {
        self.tally.reopened += 1;
        self.used = 0;
        self.plan.open().await
    }
}

/// Connections that are opened at the same time: a listener's queue holds them.
const AT_ONCE: usize = 100;
