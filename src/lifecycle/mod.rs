//! The life of the process: reload, signals, drain, listening sockets.

mod doors;
mod files;
mod imds;
mod lasting;
mod reload;
mod shutdown;
mod signals;
mod sockets;
mod zones;

pub use doors::Doors;
pub use files::most_connections;
pub use imds::learn as learn_place;
pub use lasting::Lasting;
pub use reload::{Followers, Refused, Reloaded, Reloader};
pub use shutdown::{DrainRequest, Left, Shutdown};
pub use signals::Signals;
pub use sockets::{BindError, Sockets};
pub use zones::{ZoneChange, ZoneRefused};
