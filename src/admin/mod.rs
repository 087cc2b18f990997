//! The private ways in: readiness for the load balancer, metrics for the
//! scraper, and the operator's socket.
//!
//! Three listeners that share nothing with the public ones: none of these
//! paths exists there, and no route of the public ones exists here.

mod board;
mod explain;
mod fleet;
mod key_set;
mod key_sets;
mod keys;
mod latency;
mod limits;
mod operator;
mod page;
mod pages;
mod reload;
mod traffic;
mod upgrade;
mod upstreams;
mod zones;

pub use board::{Board, Overview};
pub use fleet::{FleetStatus, StoreStatus};
pub use key_set::PATHS as JWKS_PATHS;
pub use key_sets::KeySetStatus;
pub use keys::SigningKeyStatus;
pub use latency::LatencyStatus;
pub use limits::{KeyStatus, LimitStatus};
pub use operator::{Operator, Status};
pub use pages::{MetricsPage, Readiness};
pub use traffic::{RefusalStatus, RouteTraffic, Traffic, UpstreamTraffic};
pub use upstreams::{EndpointStatus, TierStatus, UpstreamStatus, watch};
pub use zones::{ZoneStatus, ZoneUpstream};
