//! End to end: the real binary between real origins and clients, one file a
//! subject. `support` owns the vocabulary.

// Tests may unwrap, and a helper of a test is part of the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code)] // The vocabulary is there before all of its tests.
mod support;

mod admin;
mod answer_hygiene;
mod arguments;
mod authentication;
mod bad_config;
mod bodies;
mod certificates;
mod changes;
mod churn;
mod cli;
mod client_auth;
mod client_certificates;
mod desync;
mod discovery;
mod drain;
mod edge;
mod explain;
mod failures;
mod faults;
mod floods;
mod forwarding;
mod generator;
mod grpc;
mod health_checks;
mod http2;
mod hygiene;
mod identity_provider;
mod idle_connections;
mod idle_upstreams;
mod jwt;
mod keys;
mod leaving;
mod limits;
mod log_hygiene;
mod origins;
mod outliers;
mod pace;
mod page;
mod protocols;
mod prove;
mod proxy_protocol;
mod proxy_refusals;
mod proxy_senders;
mod queue;
mod refusals;
mod refused_bodies;
mod refused_http2;
mod reload;
mod reload_certificates;
mod reload_dry_run;
mod reload_rollback;
mod routing;
mod running;
mod signing;
mod simulate;
mod slow_clients;
mod smoke;
mod starting;
mod streaming;
mod tenants;
mod tls;
mod tracing;
mod trust;
mod unread_bodies;
mod upgrade;
mod upstream_mtls;
mod upstreams;
mod vanished;
mod verifiers;
mod watch;
mod websocket;
mod zone_drain;
mod zones;
