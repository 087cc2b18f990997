//! How fast each key may go, and how much of it at once.
//!
//! A [`RateLimit`] is a rate and a burst for each key (GCRA), exact and in bounded
//! memory: `terms` is its arithmetic, `cell` how threads share a key, `room` where
//! it can be, `rate` the table. [`decide()`] asks all that hold for a request
//! together. A [`ConcurrencyLimit`] counts what is under way. A [`Lease`] is a rate
//! that the gateways of a fleet share. [`key`] says per what they count, and hashes
//! it; taking the parts from a request is the gateway's. [`Limits`] are those of a
//! snapshot, [`LimitLive`] is what they counted, and [`KeyNames`] tell operators who
//! is behind a hash.
//!
//! Always holds: whoever stays below a limit is never refused by it.

mod cell;
mod concurrency;
mod costs;
mod counts;
mod decide;
mod fleet;
pub mod key;
pub mod lease;
mod limits;
mod names;
mod rate;
mod room;
pub mod store;
mod terms;
mod time;
mod verdict;

pub use concurrency::{ConcurrencyLimit, Permit};
pub use counts::{Basis, Counts, LimitLive};
pub use decide::{Ask, decide};
pub use fleet::{FleetLive, FleetSeeds, Freshness, NoSeeds};
pub use key::{KeyHash, KeyHasher, KeyPart, KeySeeds, LimitKey, Missing};
pub use lease::{Lease, Reckoned, Told};
pub use limits::{Limit, LimitKind, Limits, RouteLimits, Source, whole_seconds};
pub use names::{KeyName, KeyNames};
pub use rate::RateLimit;
pub use terms::Terms;
pub use time::{Clock, Moment};
pub use verdict::{Standing, Verdict};
