//! The way of a connection, from accept to close, in front of Pingora's proxy.
//!
//! Owns caps, PROXY headers, deadlines, the connection's age and its drain, and
//! what ends a connection early. Does not own certificates (a [`Handshake`] is given) nor
//! requests (an HTTP app is given). Always holds: whatever ends a connection
//! before a request was served is counted by reason, once; and a connection is
//! closed so that its last answer arrives (a lingering close).

mod app;
mod caps;
mod clock;
mod connection;
mod drain;
mod frame_heads;
pub mod frames;
mod gather;
mod head;
mod io;
mod linger;
mod nudge;
mod pace;
pub mod proxy_protocol;
mod refusal;
mod session;
mod streams;
mod taken;
mod websocket;

pub use app::{Edge, EdgeListener, Handshake, Limits};
pub use caps::Caps;
pub use clock::Clock;
pub use connection::{Caller, Connection, Upload};
pub use drain::{ConnectionGuard, Drain};
pub use pace::MinRate;
pub use proxy_protocol::{ProxyProtocol, SkipsProxyHeader};
pub use streams::{Ceiling, StreamCounts, StreamGuard, StreamKind};
