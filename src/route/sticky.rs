//! The key that keeps a client on one upstream of a weighted split.
//!
//! Owns the hash. It depends on the key alone: the same in every process, on
//! every machine, before and after a reload and an upgrade, and for every route,
//! so that a client who sees the new version of one route sees it on all routes
//! that split alike.

use std::net::IpAddr;

use http::HeaderName;

use super::{Facts, build::Site, cookie};
use crate::config::route::StickySpec;

/// Where the key is found.
#[derive(Debug)]
pub(super) enum Sticky {
    /// The first line of this header field.
    Header(HeaderName),
    /// The first cookie with this name.
    Cookie(Box<str>),
    /// The address; of IPv6 the first 64 bits, which is what one client has.
    /// With the VPC endpoint, where there is one: behind two it is two clients.
    ClientAddress,
}

impl Sticky {
    pub(super) fn build(spec: &StickySpec, site: &mut Site<'_>) -> Option<Self> {
        match spec {
            StickySpec::Header(name) => Some(Self::Header(name.header().clone())),
            StickySpec::Cookie(name) if cookie::is_name(name) => Some(Self::Cookie(name.as_str().into())),
            StickySpec::Cookie(name) => {
                site.error(
                    "sticky",
                    format!("`{name}` is not a cookie name; write letters, digits, `-` and `_`"),
                );
                None
            }
            StickySpec::ClientAddress => Some(Self::ClientAddress),
        }
    }

    /// The hash of the request's key, spread evenly over all numbers. `None`
    /// when the request has no key or an empty one.
    pub(super) fn hash(&self, facts: &Facts<'_>) -> Option<u64> {
        let of = |key: &[u8]| (!key.is_empty()).then(|| stable_hash(key));
        match self {
            Self::Header(name) => facts.headers.get(name).and_then(|value| of(value.as_bytes())),
            Self::Cookie(name) => cookie::values(facts.headers, name).next().and_then(of),
            Self::ClientAddress => {
                let endpoint = facts.vpc_endpoint.unwrap_or_default().as_bytes();
                Some(match facts.client.to_canonical() {
                    IpAddr::V4(address) => stable_hash(address.octets().iter().chain(endpoint)),
                    IpAddr::V6(address) => {
                        let network = ((address.to_bits() >> 64) as u64).to_be_bytes();
                        stable_hash(network.iter().chain(endpoint))
                    }
                })
            }
        }
    }
}

/// FNV-1a of the key, then the finish of MurmurHash3, since the high bits of
/// FNV-1a alone are poor for short keys. Begins with text of its own, so that it
/// has nothing in common with the hash that balances inside an upstream.
fn stable_hash<'k>(key: impl IntoIterator<Item = &'k u8>) -> u64 {
    let bytes = b"tollgate split ".iter().chain(key);
    let fnv = bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let once = (fnv ^ fnv >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let twice = (once ^ once >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    twice ^ twice >> 33
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::testing::Request;

    #[test]
    fn the_hash_never_changes() {
        // Worked out elsewhere. Changing it moves every sticky client of every fleet at once.
        assert_eq!(stable_hash(b""), 0xaf7b_aaa0_bc91_6aa5);
        assert_eq!(stable_hash(b"alice"), 0x524f_2885_6ef5_4f19);
        assert_eq!(stable_hash(&[10, 0, 0, 1]), 0x61e1_0151_274a_ae30);
    }

    #[test]
    fn every_eighth_of_the_numbers_gets_its_share_of_short_keys() {
        let mut eighths = [0; 8];

        (0..8000).for_each(|n| eighths[(stable_hash(n.to_string().as_bytes()) >> 61) as usize] += 1);

        assert!(eighths.iter().all(|count| (850..1150).contains(count)), "{eighths:?}");
    }

    #[test]
    fn the_key_is_a_header_a_cookie_or_an_address() {
        let request = Request::get("h", "/").header("x-user", "alice").header("cookie", "a=1; id=alice");
        let hash = |sticky: Sticky| sticky.hash(&request.facts());

        assert_eq!(hash(Sticky::Header(HeaderName::from_static("x-user"))), Some(stable_hash(b"alice")));
        assert_eq!(hash(Sticky::Cookie("id".into())), Some(stable_hash(b"alice")));
        assert_eq!(hash(Sticky::Cookie("other".into())), None);
        assert_eq!(hash(Sticky::Header(HeaderName::from_static("x-other"))), None);
        assert_eq!(
            Sticky::Header(HeaderName::from_static("x-e"))
                .hash(&Request::get("h", "/").header("x-e", "").facts()),
            None
        );
    }

    #[test]
    fn addresses_of_one_client_are_one_key() {
        let hash = |client: &str| Sticky::ClientAddress.hash(&Request::get("h", "/").client(client).facts());

        assert_eq!(hash("2001:db8:0:1::1"), hash("2001:db8:0:1:ffff::2"));
        assert_ne!(hash("2001:db8:0:1::1"), hash("2001:db8:0:2::1"));
        assert_eq!(hash("::ffff:10.0.0.1"), hash("10.0.0.1"));
        assert_ne!(hash("10.0.0.1"), hash("10.0.0.2"));
    }

    #[test]
    fn one_address_behind_two_endpoints_is_two_keys() {
        let behind = |endpoint| {
            let request = Request::get("h", "/").client("10.0.0.1");
            Sticky::ClientAddress.hash(&Facts { vpc_endpoint: endpoint, ..request.facts() })
        };

        assert_eq!(behind(None), Some(0x61e1_0151_274a_ae30));
        assert_ne!(behind(None), behind(Some("vpce-0a1b2c3d")));
        assert_ne!(behind(Some("vpce-0a1b2c3d")), behind(Some("vpce-11111111")));
        assert_eq!(behind(Some("vpce-0a1b2c3d")), behind(Some("vpce-0a1b2c3d")));
    }
}
