//! Tollgate: an API gateway for EC2 fleets, on Pingora and BoringSSL.

pub mod admin;
pub mod cli;
pub mod config;
pub mod edge;
pub mod gate;
pub mod gateway;
pub mod lifecycle;
pub mod live;
pub mod route;
pub mod server;
pub mod snapshot;
pub mod telemetry;
pub mod tls;
pub mod upstream;
