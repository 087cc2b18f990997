//! Rules for `upstreams`.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use super::{At, Rules, health_check};
use crate::config::{
    balance::BalanceSpec,
    types::{EndpointAddress, HostPattern, Percent, Span},
    upstream::{EndpointSpec, Protocol, UpstreamSpec},
};

impl Rules for UpstreamSpec {
    fn check(&self, at: &mut At<'_>) {
        if at.is_whole("endpoints") {
            check_endpoints(self, at);
        }
        if self.protocol == Protocol::Auto && self.tls.is_none() && at.is_whole("tls") {
            at.error("protocol", "`auto` asks by ALPN and needs `tls`; write `tls`, or `http1` or `http2`");
        }
        if let Some(tls) = &self.tls
            && !is_server_name(&tls.server_name)
        {
            let text = format!(
                "`{}` is not a host name; write the name in the certificate, as `orders.internal`",
                tls.server_name
            );
            at.error("tls.server_name", text);
        }
        if let Some(spec) = &self.health_check {
            health_check::check(spec, at);
        }
        // Below, the kernel has not sent twice yet what was lost once.
        let (least, most) = (Span::millis(250), Span::secs(60));
        at.range("timeouts.unacknowledged", self.timeouts.unacknowledged, least, most);
        at.range("retries.attempts", self.retries.attempts, 1, 3);
        check_failover(self, at);
    }
}

fn check_failover(upstream: &UpstreamSpec, at: &mut At<'_>) {
    let all = Percent::new(100);
    at.range("retries.budget", upstream.retries.budget, Percent::new(0), all);
    at.range("locality.spill_below", upstream.locality.spill_below, Percent::new(10), all);
    at.range("locality.panic_below", upstream.locality.panic_below, Percent::new(0), all);
    if let Some(outliers) = &upstream.outlier_detection {
        at.range("outlier_detection.max_ejected", outliers.max_ejected, Percent::new(0), all);
    }
    if let BalanceSpec::ConsistentHash(hash) = &upstream.balance {
        let (least, most) = (Percent::new(110), Percent::new(1000));
        at.range("balance.consistent_hash.max_load", hash.max_load, least, most);
    }
    for (key, most) in
        [("upstream", upstream.max_in_flight.upstream), ("endpoint", upstream.max_in_flight.endpoint)]
    {
        if let Some(most) = most {
            at.range(&format!("max_in_flight.{key}"), most, 1, u32::MAX);
        }
    }
    let most = &upstream.max_in_flight;
    at.range("max_in_flight.queue", most.queue, 0, 1_000_000);
    if most.queue > 0 && most.upstream.is_none() && most.endpoint.is_none() && at.is_whole("max_in_flight") {
        let text = "nobody ever waits, for any number may be in flight; write `upstream` or `endpoint` too";
        at.error("max_in_flight.queue", text);
    }
    let zones: HashSet<_> = upstream.endpoints.iter().filter_map(|endpoint| endpoint.zone.as_ref()).collect();
    let notices = upstream.is_probed() || upstream.outlier_detection.is_some();
    if zones.len() > 1 && !notices && at.is_whole("outlier_detection") {
        let text = "nothing tells whether its zones work, so that no traffic leaves one that is dead; write `health_check` or `outlier_detection`";
        at.warn("endpoints", text);
    }
}

fn check_endpoints(upstream: &UpstreamSpec, at: &mut At<'_>) {
    let endpoints = &upstream.endpoints;
    if endpoints.is_empty() && upstream.endpoints_file.is_none() {
        at.error(
            "endpoints",
            "there is no endpoint; write at least one, or the `endpoints_file` that has them",
        );
    } else if upstream.endpoints_file.is_none() && endpoints.iter().all(|endpoint| endpoint.weight == 0) {
        at.error("endpoints", "every weight is 0; give at least one endpoint a share");
    }

    let mut seen = HashMap::new();
    for (index, endpoint) in endpoints.iter().enumerate() {
        let (key, address) = (format!("endpoints[{index}].address"), &endpoint.address);
        let port = match address {
            EndpointAddress::Socket(address) => Some(address.socket().port()),
            EndpointAddress::Host(_, port) => Some(*port),
            EndpointAddress::Service(_) => None,
        };
        if port == Some(0) {
            at.error(&key, format!("`{address}` has no port; write the port that it listens at"));
        }
        let first = *seen.entry(address).or_insert(index);
        if first != index {
            let text = format!("`{address}` is endpoints[{first}] already; write it once, with its weight");
            at.error(&key, text);
        }
    }
}

/// Of an `endpoints_file`; those of an upstream are looked at together.
impl Rules for EndpointSpec {
    fn check(&self, at: &mut At<'_>) {
        let address = &self.address;
        match address {
            EndpointAddress::Socket(socket) if socket.socket().port() == 0 => {
                at.error("address", format!("`{address}` has no port; write the port that it listens at"));
            }
            EndpointAddress::Socket(_) => {}
            EndpointAddress::Host(..) | EndpointAddress::Service(_) => {
                let text = format!(
                    "`{address}` is a name, and a file has addresses alone; write an IP address and a port, \
                     as `10.0.1.10:8080`, or the name in the upstream's `endpoints`"
                );
                at.error("address", text);
            }
        }
    }
}

/// What can be sent as SNI: a name, no pattern, no address.
pub(super) fn is_server_name(text: &str) -> bool {
    matches!(text.parse(), Ok(HostPattern::Exact(host)) if host.parse::<IpAddr>().is_err() && !host.starts_with('['))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_name_is_a_name_and_no_address() {
        assert!(is_server_name("orders.internal"));
        for bad in ["", "10.0.0.1", "[::1]", "*.internal", "a b", "a:443"] {
            assert!(!is_server_name(bad), "{bad}");
        }
    }
}
