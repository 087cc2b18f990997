//! What the gateway tells about itself: metrics, one access-log line for each
//! request, the process log, and the ids that join them with other systems.
//!
//! Owns names, formats and the ways out. Does not own what happened: the floors
//! above say that. No request waits here for a disk or a scrape.

pub mod access_log;
pub mod line;
pub mod metrics;
pub mod process_log;
pub mod random;
pub mod refusals;
pub mod request_id;
pub mod spans;
pub mod trace;

pub(crate) mod dechunk;
pub(crate) mod hex;
pub(crate) mod json;
mod queue;
pub(crate) mod shard;
mod timestamp;

pub use access_log::AccessLog;
pub use line::{ConfigMark, Line, short_hash};
pub use metrics::Metrics;
pub use request_id::RequestId;
pub use spans::SpanExporter;
pub use trace::TraceContext;
