//! End to end: the real binary between real origins and clients, one file a
//! subject. `support` owns the vocabulary.

// Tests may unwrap, and a helper of a test is part of the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code)] // The vocabulary is there before all of its tests.
mod support;

mod admin;
mod bad_config;
mod bodies;
mod certificates;
mod churn;
mod cli;
mod client_auth;
mod drain;
mod edge;
mod failures;
mod faults;
mod forwarding;
mod grpc;
mod http2;
mod leaving;
mod origins;
mod protocols;
mod reload;
mod routing;
mod running;
mod smoke;
mod starting;
mod streaming;
mod tls;
mod upstreams;
mod websocket;
