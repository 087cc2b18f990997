//! Hosts that rewrites and redirects name: a host, with port if need be.

use crate::config::types::{HostPattern, Invalid};

/// The host in lower case, with its port if one was written.
///
/// # Errors
/// The sentence to tell.
pub(super) fn authority(text: &str) -> Result<String, Invalid> {
    let (host, port) = split(text);
    let port_is_good = port.is_none_or(is_port);
    match host.parse::<HostPattern>() {
        Ok(HostPattern::Exact(host)) if port_is_good => {
            Ok(port.map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
        }
        _ => Err(Invalid::new(format!(
            "`{text}` is not one host; write `api.example.com` or `api.example.com:8443`"
        ))),
    }
}

/// Host and port of an authority; an IPv6 address keeps its brackets.
pub(super) fn split(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_or_without_port_is_kept_in_lower_case() {
        let good = [
            ("API.a.b", "api.a.b"),
            ("a.b:8443", "a.b:8443"),
            ("[::1]:80", "[::1]:80"),
            ("[::1]", "[::1]"),
            ("10.0.0.1", "10.0.0.1"),
        ];

        for (text, wanted) in good {
            assert_eq!(authority(text).as_deref(), Ok(wanted));
        }
    }

    #[test]
    fn what_is_not_one_host_says_what_to_write() {
        for text in [
            "", "*", "*.a.b", "a b", "a\r\nb", "http://a", "a/b", "a:0", "a:65536", "a:", "a:+80", "::1",
            "u@a",
        ] {
            assert!(authority(text).unwrap_err().to_string().contains("write `api.example.com`"), "{text}");
        }
    }
}
