//! Who asks, as far as is known of them.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use super::{Consumer, Tenancy};
use crate::config::tenant::TenantIndex;

/// Who asks, as far as is known of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Principal<'a> {
    /// Whose endpoint they come through.
    pub tenancy: Tenancy,
    /// The id of the VPC endpoint that they come through.
    pub vpc_endpoint: Option<&'a str>,
    /// Their address, behind every trusted proxy. Means something only together
    /// with the endpoint: [`client`](Self::client).
    pub address: IpAddr,
    /// Who was authenticated.
    pub consumer: Option<&'a Consumer>,
    /// SHA-256 of the certificate that they showed and that was verified.
    pub certificate: Option<&'a [u8; 32]>,
}

impl<'a> Principal<'a> {
    /// Whose they are: by the VPC endpoint, or else by their key.
    pub fn tenant(&self) -> Option<TenantIndex> {
        self.tenancy.tenant().or(self.consumer.and_then(|consumer| consumer.tenant))
    }

    /// Which client it is: what is counted and limited by client goes by this.
    pub fn client(&self) -> ClientKey<'a> {
        ClientKey::new(self.vpc_endpoint, self.address)
    }
}

/// One client. Private addresses repeat: 10.0.0.5 behind one VPC endpoint is not
/// who it is behind another, or behind none.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ClientKey<'a> {
    vpc_endpoint: Option<&'a str>,
    /// An IPv4 address, or the first 64 bits of an IPv6 one: more are handed out
    /// to a single host.
    network: IpAddr,
}

impl<'a> ClientKey<'a> {
    /// The client with this address behind this endpoint.
    pub fn new(vpc_endpoint: Option<&'a str>, address: IpAddr) -> Self {
        let network = match address.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4(v4),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        };
        Self { vpc_endpoint, network }
    }

    /// What makes it: the VPC endpoint, and the address or the network.
    pub fn parts(&self) -> (Option<&'a str>, IpAddr) {
        (self.vpc_endpoint, self.network)
    }
}

/// As `192.0.2.7`, `2001:db8::/64`, or `10.0.0.5@vpce-0a1b` behind an endpoint.
impl fmt::Display for ClientKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.network.is_ipv6() { "/64" } else { "" };
        write!(f, "{}{whole}", self.network)?;
        self.vpc_endpoint.map_or(Ok(()), |endpoint| write!(f, "@{endpoint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<'a>(vpc_endpoint: Option<&'a str>, address: &str) -> ClientKey<'a> {
        let address = address.parse().unwrap();
        let who =
            Principal { tenancy: Tenancy::Direct, vpc_endpoint, address, consumer: None, certificate: None };
        who.client()
    }

    #[test]
    fn one_address_behind_two_endpoints_is_two_clients() {
        let (one, two) = (Some("vpce-0a1b2c3d"), Some("vpce-11111111"));

        assert_eq!(key(one, "10.0.0.5"), key(one, "10.0.0.5"));
        assert_ne!(key(one, "10.0.0.5"), key(two, "10.0.0.5"));
        assert_ne!(key(one, "10.0.0.5"), key(None, "10.0.0.5"));
        assert_ne!(key(one, "10.0.0.5"), key(one, "10.0.0.6"));
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_client() {
        assert_eq!(key(None, "2001:db8::1"), key(None, "2001:db8::2"));
        assert_ne!(key(None, "2001:db8::1"), key(None, "2001:db8:0:1::1"));
        assert_eq!(key(None, "::ffff:10.0.0.5"), key(None, "10.0.0.5"));
    }

    #[test]
    fn a_client_is_written_as_it_is_counted() {
        let text = |endpoint, address: &str| ClientKey::new(endpoint, address.parse().unwrap()).to_string();

        assert_eq!(text(None, "::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(text(None, "2001:db8::1"), "2001:db8::/64");
        assert_eq!(text(Some("vpce-0a1b"), "10.0.0.5"), "10.0.0.5@vpce-0a1b");
    }
}
