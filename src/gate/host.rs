//! Reads `host[:port]` into the one spelling that routes, certificates, logs
//! and upstreams see.
//!
//! A host that exists here is lower case, without trailing dot, and one of:
//! labels of letters, digits, `-` and `_`; an IPv4 address; an IPv6 address in
//! brackets as RFC 5952 writes it. Everything that two readers could split
//! differently (`a,b` `a@b` `a/b` `a b` `%41`) is refused, not repaired.

use std::{borrow::Cow, net::Ipv6Addr};

use super::refusal::Refusal;

/// A host and the port that was written with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Authority<'r> {
    pub host: Cow<'r, str>,
    pub port: Option<u16>,
    /// Whether the text is already in its one spelling.
    pub canonical: bool,
}

impl<'r> Authority<'r> {
    /// Reads the value of `Host` or `:authority`.
    pub fn read(raw: &'r [u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(raw).map_err(|_| Refusal::Host)?;
        if text.is_empty() {
            return Err(Refusal::HostMissing);
        }
        let (name, port) = split_port(text).ok_or(Refusal::Host)?;
        let port = port.map(|digits| read_port(digits).ok_or(Refusal::Host)).transpose()?;
        let host = match name.strip_prefix('[') {
            Some(rest) => read_ipv6(name, rest),
            None => read_name(name),
        };
        let host = host.ok_or(Refusal::Host)?;
        let canonical = *host == *name;
        Ok(Self { host, port, canonical })
    }
}

/// `host` or `host:port`.
pub(super) fn text(host: &str, port: Option<u16>) -> String {
    match port {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Splits before the colon of the port, which is the first one outside
/// brackets.
pub(super) fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    let name_end = match text.starts_with('[') {
        true => text.find(']')? + 1,
        false => text.find(':').unwrap_or(text.len()),
    };
    let (name, rest) = text.split_at_checked(name_end)?;
    match rest.strip_prefix(':') {
        Some(digits) => Some((name, Some(digits))),
        None => rest.is_empty().then_some((name, None)),
    }
}

/// 1 to 65535, written one way only: no sign, no leading zero.
pub(super) fn read_port(digits: &str) -> Option<u16> {
    let plain = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

fn read_ipv6<'r>(name: &'r str, rest: &str) -> Option<Cow<'r, str>> {
    let address: Ipv6Addr = rest.strip_suffix(']')?.parse().ok()?;
    let text = format!("[{address}]");
    Some(if text == name { Cow::Borrowed(name) } else { Cow::Owned(text) })
}

fn read_name(name: &str) -> Option<Cow<'_, str>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut upper = false;
    let mut label = 0;
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => label += 1,
            b'A'..=b'Z' => {
                label += 1;
                upper = true;
            }
            b'.' if label > 0 => label = 0,
            _ => return None,
        }
        if label > MAX_LABEL {
            return None;
        }
    }
    if label == 0 || name.len() > MAX_NAME {
        return None;
    }
    Some(if upper { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) })
}

/// RFC 1035 §2.3.4, octets without the root's dot.
const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, Refusal> {
        let authority = Authority::read(text.as_bytes())?;
        Ok(super::text(&authority.host, authority.port))
    }

    #[test]
    fn one_host_has_one_spelling() {
        let cases = [
            ("api.example.com", "api.example.com"),
            ("API.Example.COM", "api.example.com"),
            ("api.example.com.", "api.example.com"),
            ("api.example.com.:8443", "api.example.com:8443"),
            ("a_b.example:80", "a_b.example:80"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[::1]", "[::1]"),
            ("[0:0:0:0:0:0:0:1]:443", "[::1]:443"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
            assert_eq!(Authority::read(text.as_bytes()).unwrap().canonical, text == expected, "{text}");
        }
    }

    #[test]
    fn what_two_readers_could_split_differently_is_refused() {
        let bad = [
            "a,b",
            "a b",
            " a",
            "a ",
            "a@b",
            "a#b",
            "a/b",
            "a?b",
            "a\\b",
            "a%41",
            "a;b",
            "a\tb",
            "a\0",
            "*",
            "..",
            ".",
            "a..b",
            ".a",
            "a..",
            "é.example",
            "[::1",
            "::1",
            "[::1]a",
            "[::1].",
            "[]",
            "[1.2.3.4]",
            "[fe80::1%25eth0]",
            "[fe80::1%eth0]",
            "a[::1]",
            "a\"b",
            "http://a",
        ];
        for text in bad {
            assert_eq!(read(text), Err(Refusal::Host), "{text:?}");
        }
        assert_eq!(Authority::read(b"a\xff"), Err(Refusal::Host));
    }

    #[test]
    fn a_port_is_a_plain_number_from_1_to_65535() {
        for bad in
            ["a:", "a:0", "a:080", "a:65536", "a:+80", "a:-1", "a:80:80", "a: 80", "a:80 ", "a:8a", "[::1]:"]
        {
            assert_eq!(read(bad), Err(Refusal::Host), "{bad:?}");
        }
        assert_eq!(read("a:65535").as_deref(), Ok("a:65535"));
    }

    #[test]
    fn an_empty_host_is_a_missing_one() {
        assert_eq!(read(""), Err(Refusal::HostMissing));
        assert_eq!(read(":80"), Err(Refusal::Host));
    }

    #[test]
    fn names_and_labels_end_where_dns_ends_them() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));

        assert!(read(&longest).is_ok());
        assert_eq!(read(&format!("{longest}a")), Err(Refusal::Host));
        assert_eq!(read(&format!("a{label}.example")), Err(Refusal::Host));
    }
}
