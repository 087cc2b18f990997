//! Why a reload, or a rollback, did nothing, in words for the operator.

use std::{fmt, time::Duration};

use crate::config::Problems;

/// Why a reload, or a rollback, did nothing.
#[derive(Debug)]
pub enum Refused {
    /// The configuration cannot be used.
    Problems(Problems),
    /// Another reload is under way.
    Busy,
    /// Somebody has to confirm the one that serves, for so long still.
    Unconfirmed(Duration),
    /// Another process serves by now.
    Elsewhere(u32),
    /// Nothing waits to be confirmed.
    NothingToConfirm,
    /// There is none before the one that serves.
    NoneBefore,
    /// The system gives no thread to wait in.
    NoTimer(std::io::Error),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problems(problems) => problems.fmt(f),
            Self::Busy => writeln!(f, "error: another reload is under way; try again when it is done"),
            Self::Unconfirmed(left) => writeln!(
                f,
                "error: the configuration that serves is not confirmed and goes back in {} s; \
                 `tollgate confirm` or `tollgate rollback` first",
                left.as_secs()
            ),
            Self::Elsewhere(pid) => writeln!(f, "error: process {pid} serves by now; ask it"),
            Self::NothingToConfirm => writeln!(
                f,
                "error: nothing waits to be confirmed: no reload was made with --confirm, \
                 or its time is over and the configuration before it is back"
            ),
            Self::NoneBefore => {
                writeln!(f, "error: there is no configuration before this one: nothing was reloaded yet")
            }
            Self::NoTimer(why) => writeln!(f, "error: no thread to wait for the confirmation in: {why}"),
        }
    }
}

impl std::error::Error for Refused {}
