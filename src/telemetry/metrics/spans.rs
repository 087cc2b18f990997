//! What becomes of spans.

use super::closed_set::closed_set;

closed_set! {
    /// What became of a span.
    pub enum SpanResult {
        /// The collector took it.
        Exported = "exported",
        /// The collector answered that it does not take it.
        Rejected = "rejected",
        /// No collector took it in several tries.
        Failed = "failed",
        /// The queue was full, or the process ended.
        Dropped = "dropped",
    }
}
