//! Rules for the sections about the process.

use std::time::Duration;

use super::{At, Rules};
use crate::config::{
    server::{
        AccessLogSpec, AdminSpec, ConnectionsSpec, ForwardedSpec, ReadinessSpec, RequestsSpec, RuntimeSpec,
    },
    types::ByteSize,
};

impl Rules for ReadinessSpec {
    fn check(&self, _: &mut At<'_>) {}
}

impl Rules for ForwardedSpec {
    fn check(&self, _: &mut At<'_>) {}
}

impl Rules for AdminSpec {
    fn check(&self, at: &mut At<'_>) {
        if self.socket.as_os_str().is_empty() {
            at.error("socket", "no path is written; write one, as `/run/tollgate/admin.sock`");
        }
        if let Some(metrics) = self.metrics.filter(|m| !m.socket().ip().to_canonical().is_loopback()) {
            let text = format!(
                "`{metrics}` is not loopback, and metrics ask nobody who they are; write `127.0.0.1:9901`, or guard it"
            );
            at.warn("metrics", text);
        }
    }
}

impl Rules for RuntimeSpec {
    fn check(&self, at: &mut At<'_>) {
        if let Some(threads) = self.threads {
            at.range("threads", threads, 1, 1024);
        }
        if let Some(connections) = self.upstream_connections {
            at.range("upstream_connections", connections, 1, MOST_CONNECTIONS);
        }
    }
}

impl Rules for ConnectionsSpec {
    fn check(&self, at: &mut At<'_>) {
        at.range("max", self.max, 1, MOST_CONNECTIONS);
        at.range("max_per_client", self.max_per_client, 1, MOST_CONNECTIONS);
        at.range("max_per_tenant", self.max_per_tenant, 1, MOST_CONNECTIONS);
        at.range("max_streams", self.max_streams, 1, 1000);
        at.range("max_requests", self.max_requests, 1, u32::MAX);
        if self.idle.duration() >= NLB_FORGETS {
            let text = format!(
                "`{}` is no less than the 350 s after which an NLB forgets a flow; write `330s` behind one",
                self.idle
            );
            at.warn("idle", text);
        }
        if self.max_drain_streams.duration() < self.max_drain.duration() {
            let text = format!(
                "`{}` is less than `max_drain`, which streams have in any case; write at least `{}`",
                self.max_drain_streams, self.max_drain
            );
            at.warn("max_drain_streams", text);
        }
    }
}

impl Rules for RequestsSpec {
    fn check(&self, at: &mut At<'_>) {
        if self.methods.is_empty() && at.is_whole("methods") {
            at.error("methods", "no method is let in; write at least one, or remove the key");
        }
        at.range("max_header_fields", self.max_header_fields, 1, 1000);
        at.range("max_header_bytes", self.max_header_bytes, ByteSize::new(1 << 10), ByteSize::new(1 << 20));
        at.range("max_target_bytes", self.max_target_bytes, ByteSize::new(256), ByteSize::new(1 << 20));
        if self.max_target_bytes > self.max_header_bytes {
            let text = format!(
                "`{}` is more than `max_header_bytes`, which counts the target too; write at most `{}`",
                self.max_target_bytes, self.max_header_bytes
            );
            at.error("max_target_bytes", text);
        }
    }
}

impl Rules for AccessLogSpec {
    fn check(&self, at: &mut At<'_>) {
        if self.path.is_empty() {
            at.error("path", "no path is written; write a file, `-` for standard output, or `off`");
        }
        at.range("queue", self.queue, 1, 10_000_000);
    }
}

/// More descriptors than a process can have.
const MOST_CONNECTIONS: u32 = 10_000_000;
const NLB_FORGETS: Duration = Duration::from_secs(350);
