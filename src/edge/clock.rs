//! Spares workers a wake-up for each new connection.
//!
//! A worker that sleeps is woken when a timer is set that is due before it would wake by
//! itself, also by the worker that is about to sleep: a system call, and a round of its
//! loop for nothing. With a clock that ticks more often than any timer of a connection
//! is short, none is the next to be due.

use std::{sync::Once, time::Duration};

/// Ticks in the runtime that asked first, as long as that is there.
#[derive(Debug)]
pub struct Clock(Once);

impl Default for Clock {
    fn default() -> Self {
        Self(Once::new())
    }
}

impl Clock {
    /// Sees to it that it ticks. Needs a runtime.
    pub fn keep(&self) {
        self.0.call_once(|| {
            tokio::spawn(async {
                loop {
                    tokio::time::sleep(TICK).await;
                }
            });
        });
    }
}

/// Half of the shortest timer of a connection, the silence that ends a close.
const TICK: Duration = Duration::from_millis(500);
