//! What keeps a request on an endpoint: the hash of a header, a cookie, the
//! client, the tenant or the consumer.

use std::net::IpAddr;

use http::{HeaderMap, header};

use crate::{
    config::balance::HashKeySpec,
    identity::{Principal, Tenants},
    upstream,
};

/// The hash of the request's key; `None` when it has none, or an empty one.
pub fn hash(key: &HashKeySpec, headers: &HeaderMap, who: Principal<'_>, tenants: &Tenants) -> Option<u64> {
    let of = |bytes: &[u8]| (!bytes.is_empty()).then(|| upstream::hash(bytes));
    match key {
        HashKeySpec::Header(name) => headers.get(name.header()).and_then(|value| of(value.as_bytes())),
        HashKeySpec::Cookie(name) => cookie(headers, name).and_then(of),
        HashKeySpec::ClientAddress => {
            let behind = who.vpc_endpoint.unwrap_or_default().as_bytes();
            Some(match who.address.to_canonical() {
                IpAddr::V4(address) => upstream::hash(address.octets().iter().chain(behind)),
                IpAddr::V6(address) => {
                    let network = ((address.to_bits() >> 64) as u64).to_be_bytes();
                    upstream::hash(network.iter().chain(behind))
                }
            })
        }
        HashKeySpec::Tenant => {
            let name = who.tenant().and_then(|tenant| tenants.name(tenant));
            name.and_then(|name| of(name.as_bytes()))
        }
        HashKeySpec::Consumer => who.consumer.and_then(|consumer| of(consumer.name.as_bytes())),
    }
}

/// The first cookie of this name; HTTP/2 splits them over several lines.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    let mut pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.find_map(|pair| {
        pair.trim_ascii()
            .strip_prefix(name.as_bytes())?
            .trim_ascii_start()
            .strip_prefix(b"=")
            .map(<[u8]>::trim_ascii)
    })
}
