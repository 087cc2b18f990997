//! The life of the process: reload, signals, drain, listening sockets.

mod confirm;
mod doors;
mod files;
mod frozen;
mod imds;
mod lasting;
mod plan;
mod reload;
mod renewal;
mod shutdown;
mod signals;
mod sockets;
mod zones;

pub use confirm::{CalledBack, FormerStatus};
pub use doors::Doors;
pub use files::most_connections;
pub use imds::learn as learn_place;
pub use lasting::Lasting;
pub use plan::{Change, Kept, Plan, What};
pub use reload::{Followers, Refused, Reloaded, Reloader};
pub use renewal::{MisfitStatus, watch_certificates};
pub use shutdown::{DrainRequest, Shutdown};
pub use signals::Signals;
pub use sockets::{BindError, Sockets};
pub use zones::{ZoneChange, ZoneRefused};
