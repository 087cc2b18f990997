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
        if raw.is_empty() {
            return Err(Refusal::HostMissing);
        }
        let (host, rest) = if raw.first() == Some(&b'[') { read_ipv6(raw) } else { read_name(raw) }?;
        let port = match rest {
            [] => None,
            [b':', digits @ ..] => Some(read_port(digits).ok_or(Refusal::Host)?),
            _ => return Err(Refusal::Host),
        };
        let canonical = raw.strip_suffix(rest) == Some(host.as_bytes());
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

/// Takes the text of [`text`] apart again.
pub(super) fn split(canonical: &str) -> Option<(&str, Option<u16>)> {
    match canonical.rsplit_once(':') {
        Some((host, digits)) if !digits.ends_with(']') => Some((host, Some(read_port(digits.as_bytes())?))),
        _ => Some((canonical, None)),
    }
}

/// 1 to 65535, written one way only: no sign, no leading zero.
fn read_port(digits: &[u8]) -> Option<u16> {
    let plain = digits.first() != Some(&b'0') && digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
}

/// A name or an IPv4 address, and what stands behind it. One pass: every
/// request goes through here.
fn read_name(raw: &[u8]) -> Result<(Cow<'_, str>, &[u8]), Refusal> {
    let mut has_upper = false;
    let mut before = b'.';
    let is_end = |byte: &u8| {
        match *byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
            b'A'..=b'Z' => has_upper = true,
            b'.' if before != b'.' => {}
            _ => return true,
        }
        before = *byte;
        false
    };
    let end = raw.iter().position(is_end).unwrap_or(raw.len());
    let (name, rest) = raw.split_at_checked(end).ok_or(Refusal::Host)?;
    let name = str::from_utf8(name.strip_suffix(b".").unwrap_or(name)).map_err(|_| Refusal::Host)?;
    if name.is_empty() || !fits_dns(name) {
        return Err(Refusal::Host);
    }
    Ok((if has_upper { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) }, rest))
}

/// An IPv6 address in its brackets, and what stands behind it.
fn read_ipv6(raw: &[u8]) -> Result<(Cow<'_, str>, &[u8]), Refusal> {
    let end = raw.iter().position(|byte| *byte == b']').ok_or(Refusal::Host)? + 1;
    let (name, rest) = raw.split_at_checked(end).ok_or(Refusal::Host)?;
    let name = str::from_utf8(name).map_err(|_| Refusal::Host)?;
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let address: Ipv6Addr = address.and_then(|text| text.parse().ok()).ok_or(Refusal::Host)?;
    let host = format!("[{address}]");
    Ok((if host == name { Cow::Borrowed(name) } else { Cow::Owned(host) }, rest))
}

fn fits_dns(name: &str) -> bool {
    let labels_fit = || name.split('.').all(|label| label.len() <= MAX_LABEL);
    name.len() <= MAX_LABEL || (name.len() <= MAX_NAME && labels_fit())
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
