//! What a connection may do, in the edge's words.

use std::time::Duration;

use crate::{
    config::{Config, types::ByteSize},
    edge::{Limits, MinRate},
};

/// As the sections `connections` and `requests` say.
pub(super) fn limits(config: &Config) -> Limits {
    let c = &config.connections;
    let bytes = |size: ByteSize| usize::try_from(size.bytes()).unwrap_or(usize::MAX);
    Limits {
        max: c.max,
        max_per_client: c.max_per_client,
        max_per_tenant: c.max_per_tenant,
        handshake_timeout: c.handshake_timeout.duration(),
        header_timeout: c.header_timeout.duration(),
        idle: c.idle.duration(),
        read: c.read.duration(),
        write: c.write.duration(),
        max_age: c.max_age.duration(),
        max_drain: c.max_drain.duration().max(Duration::from_secs(1)),
        max_drain_streams: c
            .max_drain_streams
            .duration()
            .max(c.max_drain.duration())
            .max(Duration::from_secs(1)),
        max_header_bytes: bytes(config.requests.max_header_bytes),
        max_target_bytes: bytes(config.requests.max_target_bytes),
        max_requests: c.max_requests,
        min_rate: MinRate {
            bytes: c.min_rate.bytes.bytes(),
            grace: c.min_rate.grace.duration().max(Duration::from_secs(1)),
        },
    }
}
