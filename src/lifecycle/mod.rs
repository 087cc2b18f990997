//! The life of the process: reload, signals, drain, listening sockets.

mod reload;
mod shutdown;
mod signals;
mod sockets;

pub use reload::{Refused, Reloaded, Reloader};
pub use shutdown::Shutdown;
pub use signals::Signals;
pub use sockets::{BindError, Sockets};
