//! Rules for `upstreams[].health_check`.

use http::uri::Authority;

use super::At;
use crate::config::{
    health_check::{HealthCheckSpec, ProbeProtocol},
    types::{HostPattern, Span},
};

/// Tells everything that is wrong with it.
pub(super) fn check(spec: &HealthCheckSpec, at: &mut At<'_>) {
    check_question(spec, at);
    check_times(spec, at);
    at.range("health_check.healthy_after", spec.healthy_after, 1, 100);
    at.range("health_check.unhealthy_after", spec.unhealthy_after, 1, 100);
    if spec.port == Some(0) {
        at.error("health_check.port", "`0` is no port; write the port that answers, or remove the key");
    }
}

fn check_question(spec: &HealthCheckSpec, at: &mut At<'_>) {
    let is = |protocol| spec.protocol == protocol;
    match spec.path.as_deref() {
        None if is(ProbeProtocol::Http) && at.is_whole("health_check") => {
            at.error("health_check.path", "no path is asked for; write one, as `/healthz`");
        }
        Some(path) if is(ProbeProtocol::Http) && !is_path(path) => {
            let text = format!("`{path}` is not a path; write one in ASCII that begins with `/`");
            at.error("health_check.path", text);
        }
        _ => {}
    }
    if let Some(host) = spec.host.as_deref().filter(|host| !is_host(host)) {
        let text = format!("`{host}` is not one host; write `api.example.com` or `api.example.com:8443`");
        at.error("health_check.host", text);
    }
    if spec.expect.is_empty() && at.is_whole("health_check.expect") {
        at.error("health_check.expect", "no status passes; write at least one, as `[200-299]`");
    }
    let http = is(ProbeProtocol::Http);
    let expects = spec.expect != HealthCheckSpec::default().expect;
    let keys = [
        ("path", spec.path.is_some() && !http, "`http`"),
        ("host", spec.host.is_some() && is(ProbeProtocol::Tcp), "`http` and `grpc`"),
        ("expect", expects && !http, "`http`"),
        ("service", spec.service.is_some() && !is(ProbeProtocol::Grpc), "`grpc`"),
    ];
    for (key, _, protocols) in keys.iter().filter(|(_, misplaced, _)| *misplaced) {
        let text =
            format!("only probes of protocol {protocols} have this; remove it, or write that protocol");
        at.error(format!("health_check.{key}"), text);
    }
}

fn check_times(spec: &HealthCheckSpec, at: &mut At<'_>) {
    at.range("health_check.interval", spec.interval, SHORTEST, LONGEST);
    at.range("health_check.unhealthy_interval", spec.unhealthy_interval, SHORTEST, LONGEST);
    let at_most = [("timeout", spec.timeout), ("unhealthy_interval", spec.unhealthy_interval)];
    for (key, span) in at_most.iter().filter(|(_, span)| *span > spec.interval) {
        if at.is_whole("health_check.interval") && at.is_whole(&format!("health_check.{key}")) {
            let text = format!("`{span}` is more than `interval`; write at most `{}`", spec.interval);
            at.error(format!("health_check.{key}"), text);
        }
    }
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.len() <= 2048 && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
}

fn is_host(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else { return false };
    let exact = matches!(authority.host().parse(), Ok(HostPattern::Exact(_)));
    let rest = text.strip_prefix(authority.host());
    exact && rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Below it probes are a load test.
const SHORTEST: Span = Span::millis(100);
const LONGEST: Span = Span::secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_with_a_slash_and_is_ascii() {
        assert!(is_path("/") && is_path("/healthz?full=1"));
        for bad in ["", "healthz", "/a b", "/\u{e9}", "/a#b", "/a\r\nx: y"] {
            assert!(!is_path(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_host_is_one_host_with_or_without_port() {
        for good in ["api.example.com", "api.example.com:8443", "10.0.0.1", "[::1]:80"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "*.example.com", "a b", "a:0", "a:", "a:99999", "u@a", "a/b", "a\r\nb"] {
            assert!(!is_host(bad), "{bad:?}");
        }
    }
}
