//! What a decision says, in a form that costs nothing until it is read.

use std::time::Duration;

use super::terms::Terms;

/// What a decision says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Every limit has room, and was taken from. With how the key stands at the
    /// limit that has the fewest tokens left.
    Admitted(Standing),
    /// One limit at least has no room; none was taken from.
    Refused {
        /// How the key stands at the limit that keeps it waiting longest.
        standing: Standing,
        /// Who waits that long is admitted, if nobody else takes meanwhile.
        retry_after: Duration,
    },
}

impl Verdict {
    /// Whether the request may go on.
    pub fn is_admitted(&self) -> bool {
        matches!(self, Self::Admitted(_))
    }

    /// How the key stands at the limit that says most.
    pub fn standing(&self) -> &Standing {
        match self {
            Self::Admitted(standing) | Self::Refused { standing, .. } => standing,
        }
    }
}

/// How a key stands at a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    pub(super) limit: usize,
    pub(super) terms: Terms,
    pub(super) ahead: u64,
}

impl Standing {
    /// Which of the limits that were asked, by its place among them.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The same by a share of the limit's terms.
    pub fn under(self, terms: Terms) -> Self {
        Self { terms, ..self }
    }

    /// What the limit grants.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The whole tokens that are left.
    pub fn remaining(&self) -> u32 {
        self.terms.remaining(self.ahead)
    }

    /// The tokens that are left, with what the next one has already: two limits
    /// compare by it.
    pub(super) fn left(&self) -> f64 {
        self.terms.left(self.ahead)
    }

    /// How long until the whole burst is there again.
    pub fn reset_after(&self) -> Duration {
        self.terms.time(self.ahead)
    }
}
