//! What active health checks found, by upstream.
//!
//! Endpoints are counted, not named: there may be ten thousand of them. Which
//! ones they are the process log and `tollgate status` say.

use std::{collections::HashSet, sync::Mutex};

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Registry, Result};

use super::{closed_set::closed_set, counters, opts, traffic::lock};

closed_set! {
    /// What is held of an endpoint.
    pub enum EndpointState {
        /// No probe ended yet.
        Unproven = "unproven",
        /// It takes traffic.
        Healthy = "healthy",
        /// It takes none.
        Unhealthy = "unhealthy",
    }
}

closed_set! {
    /// How a probe ended.
    pub enum ProbeResult {
        /// As the check wants it.
        Passed = "passed",
        /// No connection: refused, or no way there.
        Refused = "refused",
        /// The probe as a whole took too long.
        Timeout = "timeout",
        /// The handshake failed, or the certificate proves nothing.
        Tls = "tls",
        /// The connection was lost before the whole answer came.
        Reset = "reset",
        /// A status that does not pass.
        Status = "status",
        /// gRPC's answer is not SERVING.
        NotServing = "not_serving",
        /// What came is not the protocol of the check.
        ProtocolError = "protocol_error",
    }
}

/// Counts the probes and endpoints of one upstream.
pub struct HealthSeries {
    upstream: Box<str>,
    checks: IntCounterVec,
    endpoints: [IntGauge; EndpointState::ALL.len()],
}

impl HealthSeries {
    /// One probe of an endpoint is over.
    pub fn checked(&self, result: ProbeResult) {
        self.checks.with_label_values(&[&*self.upstream, result.word()]).inc();
    }

    /// An endpoint changed.
    pub fn moved(&self, from: EndpointState, to: EndpointState) {
        let gauge = |state: EndpointState| self.endpoints.get(state as usize);
        gauge(from).inspect(|gauge| gauge.dec());
        gauge(to).inspect(|gauge| gauge.inc());
    }

    /// All endpoints were counted anew, in the order of [`EndpointState::ALL`].
    pub fn counted(&self, counts: [i64; EndpointState::ALL.len()]) {
        self.endpoints.iter().zip(counts).for_each(|(gauge, count)| gauge.set(count));
    }
}

/// The families; probes are rare enough for the crate's own handles.
pub(super) struct HealthFamilies {
    checks: IntCounterVec,
    endpoints: IntGaugeVec,
    known: Mutex<HashSet<Box<str>>>,
}

impl HealthFamilies {
    pub(super) fn new(registry: &Registry) -> Result<Self> {
        let endpoints = IntGaugeVec::new(opts(ENDPOINTS), &["upstream", "state"])?;
        registry.register(Box::new(endpoints.clone()))?;
        let checks = counters(registry, CHECKS, &["upstream", "result"])?;
        Ok(Self { checks, endpoints, known: Mutex::default() })
    }

    pub(super) fn series(&self, upstream: &str) -> HealthSeries {
        lock(&self.known).insert(upstream.into());
        HealthSeries {
            upstream: upstream.into(),
            checks: self.checks.clone(),
            endpoints: EndpointState::ALL.map(|s| self.endpoints.with_label_values(&[upstream, s.word()])),
        }
    }

    pub(super) fn retain(&self, upstreams: &HashSet<&str>) {
        lock(&self.known).retain(|name| {
            let keeps = upstreams.contains(&**name);
            if !keeps {
                // What never was counted cannot be removed: that is no fault.
                for result in ProbeResult::ALL {
                    let _ = self.checks.remove_label_values(&[name, result.word()]);
                }
                for state in EndpointState::ALL {
                    let _ = self.endpoints.remove_label_values(&[name, state.word()]);
                }
            }
            keeps
        });
    }
}

const CHECKS: (&str, &str) =
    ("tollgate_health_checks_total", "Probes of endpoints that are over, by how they ended.");
const ENDPOINTS: (&str, &str) =
    ("tollgate_upstream_endpoints", "Endpoints of upstreams with a health check, by what is held of them.");
