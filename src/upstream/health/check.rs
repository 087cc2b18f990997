//! A health check at work: what is asked, how often, and when it counts.
//!
//! Always holds: two checks with the same [`Check::definition`] ask the same
//! question on the same terms, so that one probe answers for both.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use pingora::{protocols::ALPN, upstreams::peer::HttpPeer};

use super::{
    super::{Endpoint, Health, peer::PeerTls},
    streak::Thresholds,
};
use crate::config::{
    health_check::{HealthCheckSpec, ProbeProtocol, StatusRange},
    upstream::{Protocol, UpstreamSpec},
};

/// How an upstream's endpoints are asked whether they can serve.
#[derive(Debug)]
pub struct Check {
    pub(super) question: Question,
    pub(super) timeout: Duration,
    pub(super) thresholds: Thresholds,
    interval: Duration,
    unhealthy_interval: Duration,
    port: Option<u16>,
    definition: Arc<str>,
}

/// What a probe asks. Without a `host` it asks for the address.
#[derive(Debug)]
pub(super) enum Question {
    Http { path: String, host: Option<String>, expect: Box<[StatusRange]> },
    Tcp,
    Grpc { host: Option<String>, service: String },
}

impl Check {
    /// The upstream's check, if it has one.
    pub fn new(spec: &UpstreamSpec, tls: Option<&PeerTls>) -> Option<Self> {
        let check = spec.health_check.as_ref()?;
        let host = || check.host.clone().or_else(|| tls.map(|tls| tls.server_name.clone()));
        let question = match check.protocol {
            ProbeProtocol::Http => Question::Http {
                path: check.path.clone().unwrap_or_else(|| "/".to_owned()),
                host: host(),
                expect: check.expect.as_slice().into(),
            },
            ProbeProtocol::Tcp => Question::Tcp,
            ProbeProtocol::Grpc => {
                Question::Grpc { host: host(), service: check.service.clone().unwrap_or_default() }
            }
        };
        Some(Self {
            question,
            timeout: check.timeout.duration(),
            thresholds: Thresholds { healthy: check.healthy_after, unhealthy: check.unhealthy_after },
            interval: check.interval.duration(),
            unhealthy_interval: check.unhealthy_interval.duration(),
            port: check.port,
            definition: definition(check, spec.protocol, tls),
        })
    }

    /// From one probe to the next of an endpoint of which this is held.
    pub(super) fn interval(&self, health: Health) -> Duration {
        if health == Health::Healthy { self.interval } else { self.unhealthy_interval }
    }

    /// What tells one probe from another.
    pub(super) fn definition(&self) -> &Arc<str> {
        &self.definition
    }

    /// Where the endpoint is asked.
    pub(super) fn address(&self, endpoint: &Endpoint) -> SocketAddr {
        let mut address = endpoint.address;
        self.port.into_iter().for_each(|port| address.set_port(port));
        address
    }

    /// What a probe connects to: as traffic does, on a connection of its own.
    pub(super) fn peer(&self, endpoint: &Endpoint) -> HttpPeer {
        let mut peer = endpoint.peer();
        self.port.into_iter().for_each(|port| peer._address.set_port(port));
        let options = &mut peer.options;
        // The deadline of the probe as a whole is the only one.
        options.connection_timeout = None;
        options.total_connection_timeout = None;
        options.read_timeout = None;
        options.write_timeout = None;
        // Full with its one stream: it goes into no pool.
        options.max_h2_streams = 1;
        if matches!(self.question, Question::Grpc { .. }) {
            options.alpn = ALPN::H2;
        }
        peer
    }
}

fn definition(check: &HealthCheckSpec, protocol: Protocol, tls: Option<&PeerTls>) -> Arc<str> {
    let tls = tls.map(|tls| (&tls.server_name, tls.identity));
    serde_json::to_string(&(check, protocol, tls)).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Check {
        let text = format!("{{ name: u, endpoints: [], {text} }}");
        Check::new(&serde_yaml::from_str(&text).unwrap(), None).unwrap()
    }

    #[test]
    fn checks_are_the_same_when_all_of_their_terms_are() {
        let base = check("health_check: { path: /a }");

        assert_eq!(base.definition(), check("health_check: { path: /a, interval: 2s }").definition());
        for other in [
            "health_check: { path: /b }",
            "health_check: { path: /a, port: 1 }",
            "health_check: { path: /a, unhealthy_after: 4 }",
            "protocol: http2, health_check: { path: /a }",
        ] {
            assert_ne!(base.definition(), check(other).definition(), "{other}");
        }
    }

    #[test]
    fn an_unhealthy_endpoint_is_asked_more_often() {
        let check = check("health_check: { path: /, interval: 4s, unhealthy_interval: 1s }");

        assert_eq!(check.interval(Health::Healthy), Duration::from_secs(4));
        assert_eq!(check.interval(Health::Unhealthy), Duration::from_secs(1));
        assert_eq!(check.interval(Health::Unproven), Duration::from_secs(1));
    }
}
