//! Connections that do nothing while others are served.
//!
//! Owns how many there are and what became of them.

use serde::Serialize;

use crate::{connection::Connection, drive::Plan};

/// How many, and what became of them.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Idle {
    /// As the command line says.
    asked: usize,
    /// They never say anything, so that whoever waits for a request may end them.
    silent: bool,
    /// Could not be opened, or had no good answer to their one request.
    refused: usize,
    /// Still open at the end.
    open: usize,
}

/// Those that are held.
pub struct Held {
    idle: Idle,
    connections: Vec<Connection>,
}

impl Held {
    /// Opens them: each asks once, unless they are silent, and then waits.
    pub async fn open(plan: &Plan, asked: usize, silent: bool) -> Self {
        let (connections, refused) = plan.open_many(asked, !silent).await;
        Self { idle: Idle { asked, silent, refused, open: 0 }, connections }
    }

    /// Looks how many are still there, and lets them go.
    pub fn close(mut self) -> Idle {
        let open = self.connections.iter_mut().filter_map(|one| one.is_open().then_some(())).count();
        Idle { open, ..self.idle }
    }
}

impl Idle {
    /// What is not as it must be: silent ones may be ended, but have to be let in.
    pub fn wrong(&self) -> Option<String> {
        let lost = if self.silent { self.refused } else { self.asked - self.open };
        (lost > 0).then(|| format!("{lost} of {} idle connections were refused or ended", self.asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_ones_may_be_ended_and_others_may_not() {
        let idle = Idle { asked: 10, silent: false, refused: 0, open: 10 };

        assert_eq!(idle.wrong(), None);
        assert!(Idle { open: 9, ..idle }.wrong().is_some());
        assert_eq!(Idle { open: 0, silent: true, ..idle }.wrong(), None);
        assert!(Idle { silent: true, refused: 1, ..idle }.wrong().is_some());
    }
}
