//! What was spent on each key and not told yet.

/// The entries.
pub(super) struct Ledger;

impl Ledger {
    pub(super) fn new(_memory: usize) -> Self {
        Self
    }

    pub(super) fn keys(&self) -> usize {
        0
    }

    pub(super) fn untold(&self) -> u64 {
        0
    }
}
