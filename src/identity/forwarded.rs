//! Whose word counts about where a request came from, and for which fields.
//!
//! Owns the trust list and the walk back along the hops. Does not write fields.
//! Always holds: a field that no trusted hop is known to write is its client's,
//! whoever passed it on; and nobody's word counts beyond the first hop, seen from
//! here, that is not trusted.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

use crate::config::server::{ForwardedField, ForwardedSpec};

/// The hops in front of the gateway that are believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedHops {
    networks: Vec<IpNet>,
    written: Believed,
}

/// The fields that count in one request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Believed(u16);

impl TrustedHops {
    /// As configured.
    pub fn new(spec: &ForwardedSpec) -> Self {
        let written = spec.fields.iter().fold(0, |all, field| all | bit(*field));
        Self { networks: spec.trusted.clone(), written: Believed(written) }
    }

    /// Which fields count in what this address sent; none of a stranger's.
    pub fn believe(&self, sender: IpAddr) -> Believed {
        if self.trust(sender) { self.written } else { Believed::NOTHING }
    }

    /// Who asks: `sender`, or behind trusted hops the last one that they name who
    /// is not one of them. `X-Forwarded-For` goes before `Forwarded`.
    pub fn client(&self, sender: IpAddr, believed: Believed, headers: &HeaderMap) -> IpAddr {
        if believed == Believed::NOTHING {
            return sender;
        }
        let (list, field) = if believed.has(ForwardedField::XForwardedFor) && headers.contains_key(&LIST) {
            (LIST, false)
        } else if believed.has(ForwardedField::Forwarded) {
            (header::FORWARDED, true)
        } else {
            return sender;
        };
        let lines: Vec<_> =
            headers.get_all(list).iter().map(|line| line.to_str().unwrap_or_default()).collect();
        let mut client = sender;
        for element in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            // What is no address ends the part of the list that can be believed.
            let named = if field { forwarded_for(element) } else { element.trim().parse().ok() };
            let Some(named) = named else { break };
            client = named.to_canonical();
            if !self.trust(client) {
                break;
            }
        }
        client
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }
}

impl Believed {
    /// What a stranger says.
    pub const NOTHING: Self = Self(0);

    /// Whether this field counts.
    pub fn has(self, field: ForwardedField) -> bool {
        self.0 & bit(field) != 0
    }
}

fn bit(field: ForwardedField) -> u16 {
    1 << field as u16
}

/// The address in an element of `Forwarded` (RFC 7239, 4 and 6). Elements are cut
/// at commas: inside of quotes there is none in an address.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let node = node.trim();
    let node = node.strip_prefix('"').and_then(|node| node.strip_suffix('"')).unwrap_or(node);
    if let Ok(with_port) = node.parse::<SocketAddr>() {
        return Some(with_port.ip());
    }
    let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']')).unwrap_or(node);
    bare.parse().ok()
}

const LIST: HeaderName = HeaderName::from_static("x-forwarded-for");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hops(fields: &[ForwardedField]) -> TrustedHops {
        let trusted = vec!["10.0.0.0/8".parse().unwrap(), "130.176.0.0/16".parse().unwrap()];
        TrustedHops::new(&ForwardedSpec { trusted, fields: fields.to_vec() })
    }

    fn client(hops: &TrustedHops, sender: &str, fields: &[(&'static str, &str)]) -> String {
        let sender = sender.parse().unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        hops.client(sender, hops.believe(sender), &headers).to_string()
    }

    #[test]
    fn the_client_is_the_last_whom_trusted_hops_name() {
        let hops = hops(&[ForwardedField::XForwardedFor]);
        for (sender, said, asks) in [
            ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "6.6.6.6, 198.51.100.7, 130.176.9.9", "198.51.100.7"),
            ("10.0.0.1", "6.6.6.6, junk, 130.176.9.9", "130.176.9.9"),
            ("10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ] {
            assert_eq!(client(&hops, sender, &[("x-forwarded-for", said)]), asks, "{said}");
        }
    }

    #[test]
    fn forwarded_counts_only_where_hops_write_it() {
        let said = [("forwarded", "by=3.1.2.3;for=198.51.100.7;host=api.example.com;proto=https")];

        assert_eq!(client(&hops(&[ForwardedField::XForwardedFor]), "10.0.0.1", &said), "10.0.0.1");
        assert_eq!(client(&hops(&[ForwardedField::Forwarded]), "10.0.0.1", &said), "198.51.100.7");
        assert_eq!(client(&hops(&[ForwardedField::Forwarded]), "192.0.2.1", &said), "192.0.2.1");
    }

    #[test]
    fn addresses_in_forwarded_are_read_in_every_spelling() {
        for (element, address) in [
            ("for=192.0.2.7", Some("192.0.2.7")),
            (" For=192.0.2.7 ; proto=https", Some("192.0.2.7")),
            ("for=\"192.0.2.7:4711\"", Some("192.0.2.7")),
            ("for=\"[2001:db8::7]\"", Some("2001:db8::7")),
            ("for=\"[2001:db8::7]:4711\";by=_us", Some("2001:db8::7")),
            ("for=unknown", None),
            ("for=_hidden", None),
            ("proto=https", None),
            ("", None),
        ] {
            assert_eq!(forwarded_for(element), address.map(|text| text.parse().unwrap()), "{element}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_said_makes_a_stranger_another(said in "\\PC*", field in "x-forwarded-for|forwarded") {
            let hops = hops(&[ForwardedField::XForwardedFor, ForwardedField::Forwarded]);
            let sender = "192.0.2.1".parse().unwrap();
            let mut headers = HeaderMap::new();
            let Ok(value) = http::HeaderValue::from_str(&said) else { return Ok(()) };
            headers.insert(HeaderName::try_from(field).unwrap(), value);

            prop_assert_eq!(hops.client(sender, hops.believe(sender), &headers), sender);
        }
    }
}
