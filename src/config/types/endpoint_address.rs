//! Where an endpoint answers: an IP address, or a name that stands for some.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Address, Invalid, is_host_name};

/// Where an endpoint answers. Names are looked up in DNS, again and again: each
/// address that they have is an endpoint.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum EndpointAddress {
    /// `10.0.1.10:8080`.
    Socket(Address),
    /// `orders.internal:8080`: the A and AAAA records of a host, and a port.
    Host(String, u16),
    /// `srv:_orders._tcp.internal`: the SRV records of a service (RFC 2782).
    Service(String),
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
            Self::Service(name) => write!(f, "{SERVICE}{name}"),
        }
    }
}

impl FromStr for EndpointAddress {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Socket(address));
        }
        let named = match text.strip_prefix(SERVICE) {
            Some(name) => name_of(name).filter(|name| name.starts_with('_')).map(Self::Service),
            None => text.rsplit_once(':').and_then(|(host, port)| {
                let host = name_of(host).filter(|host| !looks_numeric(host))?;
                Some(Self::Host(host, port.parse().ok()?))
            }),
        };
        named.ok_or_else(|| {
            Invalid::new(format!(
                "`{text}` is not an address; write an IP address and a port, as `10.0.1.10:8080` or `[::1]:8080`, \
                 a name and a port, as `orders.internal:8080`, or a service, as `srv:_orders._tcp.internal`"
            ))
        })
    }
}

/// Lower case, without the dot at its end.
fn name_of(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let name = lower.strip_suffix('.').unwrap_or(&lower);
    is_host_name(name).then(|| name.to_owned())
}

/// No top-level domain is a number: this is an address with a fault in it.
fn looks_numeric(host: &str) -> bool {
    host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
}

impl From<Address> for EndpointAddress {
    fn from(address: Address) -> Self {
        Self::Socket(address)
    }
}

super::text_value!(
    EndpointAddress,
    r"^((\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):[0-9]+|srv:_[A-Za-z0-9_.-]+)$",
    "10.0.1.10:8080"
);

const SERVICE: &str = "srv:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hosts_and_services_are_told_apart() {
        let read = |text: &str| text.parse::<EndpointAddress>();

        assert_eq!(read("[::1]:80"), Ok(EndpointAddress::Socket("[::1]:80".parse().unwrap())));
        assert_eq!(read("Orders.Internal.:80"), Ok(EndpointAddress::Host("orders.internal".into(), 80)));
        assert_eq!(
            read("srv:_orders._tcp.internal"),
            Ok(EndpointAddress::Service("_orders._tcp.internal".into()))
        );
        for bad in
            ["", "orders", "orders:", "10.0.0.256:80", "a b:80", "srv:orders.internal", "a:80:80", "a:99999"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
