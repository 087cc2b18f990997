//! What is tried again, and how much of it an upstream's traffic allows.

use std::time::{Duration, Instant};

use super::{Upstream, budget::Allowance};
use crate::config::failover::{RetriesSpec, RetryOn};

/// What is tried again, and how often.
#[derive(Clone, Debug)]
pub struct Retries {
    /// Attempts in all for one request, at least 1.
    pub attempts: u8,
    /// A connection that could not be made.
    pub on_connect: bool,
    /// A connection that was lost before an answer.
    pub on_reset: bool,
    /// How long an attempt may be silent while others are left.
    pub per_try_timeout: Option<Duration>,
    statuses: Box<[u16]>,
    allowance: Allowance,
}

impl Retries {
    /// Whether an answer with this status is tried again.
    pub fn on_status(&self, status: u16) -> bool {
        self.statuses.contains(&status)
    }

    /// The statuses that are tried again.
    pub fn statuses(&self) -> &[u16] {
        &self.statuses
    }
}

impl From<&RetriesSpec> for Retries {
    fn from(spec: &RetriesSpec) -> Self {
        let status = |on: &RetryOn| match on {
            RetryOn::Status(status) => Some(*status),
            RetryOn::Connect | RetryOn::Reset => None,
        };
        Self {
            attempts: spec.attempts.max(1),
            on_connect: spec.on.contains(&RetryOn::Connect),
            on_reset: spec.on.contains(&RetryOn::Reset),
            per_try_timeout: spec.per_try_timeout.map(|span| span.duration()),
            statuses: spec.on.iter().filter_map(status).collect(),
            allowance: Allowance { share: spec.budget.share(), floor: spec.budget_floor },
        }
    }
}

impl Upstream {
    /// Takes a retry from the budget; `false` when none is left.
    pub fn may_retry(&self, now: Instant) -> bool {
        self.live.budget.take(self.retries.allowance, now)
    }
}
