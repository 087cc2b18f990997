//! Tollgate: an API gateway for EC2 fleets, on Pingora and BoringSSL.

pub mod config;
pub mod tls;
