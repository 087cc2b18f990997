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

impl EndpointAddress {
    /// The availability zone's name in the zonal name of a VPC endpoint, as
    /// `us-east-1a` in `vpce-0abc-1xyz-us-east-1a.vpce-svc-0def.us-east-1.vpce.amazonaws.com`.
    pub fn zone_name(&self) -> Option<&str> {
        let Self::Host(host, _) = self else { return None };
        let service = VPC_ENDPOINTS.iter().find_map(|domain| host.strip_suffix(domain))?;
        let region = service.rsplit('.').next()?;
        let endpoint = service.split('.').next().filter(|label| label.starts_with("vpce-"))?;
        let (at, _) = endpoint.match_indices(region).last().filter(|_| !region.is_empty())?;
        let (before, zone) = endpoint.split_at_checked(at)?;
        (before.ends_with('-') && zone.len() > region.len()).then_some(zone)
    }
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
const VPC_ENDPOINTS: [&str; 2] = [".vpce.amazonaws.com", ".vpce.amazonaws.com.cn"];

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

    #[test]
    fn the_zonal_names_of_vpc_endpoints_say_their_zone() {
        let zone = |host: &str| {
            let address = EndpointAddress::Host(host.to_owned(), 443);
            address.zone_name().map(str::to_owned)
        };
        let own = "vpce-svc-0def.us-east-1.vpce.amazonaws.com";

        assert_eq!(zone(&format!("vpce-0abc-1xyz-us-east-1a.{own}")).as_deref(), Some("us-east-1a"));
        assert_eq!(
            zone("vpce-0abc-1xyz-us-west-2-lax-1a.s3.us-west-2.vpce.amazonaws.com").as_deref(),
            Some("us-west-2-lax-1a")
        );
        assert_eq!(
            zone("vpce-0-1-cn-north-1b.x.cn-north-1.vpce.amazonaws.com.cn").as_deref(),
            Some("cn-north-1b")
        );
        let regional = format!("vpce-0abc-1xyz.{own}");
        let others = ["orders.internal", "us-east-1a.internal", "vpce.amazonaws.com", &regional, own];
        for other in others {
            assert_eq!(zone(other), None, "{other}");
        }
    }
}
