//! Who a connection says it is from: PROXY protocol version 2, as a load balancer
//! sends it (haproxy.org, proxy-protocol.txt §2.2; the VPC endpoint is AWS's 0xEA).
//!
//! Owns the bytes and whose turn it is. Without any of the options nothing is sent.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
};

use ipnet::Ipv4Net;

/// The clients that connections are from, in turn.
#[derive(Debug)]
pub struct Senders {
    /// Their addresses; the second of 10.0.0.0/8 is 10.0.0.2.
    network: Option<Ipv4Net>,
    /// Their VPC endpoints; the next connection has the next one.
    endpoints: Vec<String>,
    next: AtomicU32,
}

impl Senders {
    /// Endpoints without a network are of 10.0.0.0/8.
    pub fn new(network: Option<Ipv4Net>, endpoints: Vec<String>) -> Self {
        let network = network.or_else(|| (!endpoints.is_empty()).then(anywhere));
        Self { network, endpoints, next: AtomicU32::new(0) }
    }

    /// What the next connection towards there begins with; nothing unless there are senders.
    pub fn next(&self, to: SocketAddr) -> Vec<u8> {
        let Some(network) = self.network else { return Vec::new() };
        let nth = self.next.fetch_add(1, Ordering::Relaxed);
        let turn = (nth as usize).checked_rem(self.endpoints.len());
        let endpoint = turn.and_then(|turn| self.endpoints.get(turn));
        // Ports below 1024 would be unlike any client's.
        let port = 1024 + (nth % 60_000) as u16;
        header((address(network, nth), port), to, endpoint.map(String::as_str))
    }
}

fn anywhere() -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8)
}

/// Neither the network's own address nor its last one, where it has more than two.
fn address(network: Ipv4Net, nth: u32) -> Ipv4Addr {
    let first = u32::from(network.network());
    let last = u32::from(network.broadcast());
    match last - first {
        0 | 1 => (first + nth % (last - first + 1)).into(),
        more => (first + 1 + nth % (more - 1)).into(),
    }
}

fn header(from: (Ipv4Addr, u16), to: SocketAddr, endpoint: Option<&str>) -> Vec<u8> {
    let SocketAddr::V4(to) = to else {
        // The families of both have to be the same one; who is asked matters to nobody.
        return header(from, SocketAddr::from((Ipv4Addr::LOCALHOST, to.port())), endpoint);
    };
    let mut rest = [from.0.octets(), to.ip().octets()].concat();
    rest.extend([from.1.to_be_bytes(), to.port().to_be_bytes()].concat());
    if let Some(id) = endpoint {
        let length = u16::try_from(id.len() + 1).unwrap_or(u16::MAX);
        rest.push(AWS);
        rest.extend(length.to_be_bytes());
        rest.push(VPC_ENDPOINT_ID);
        rest.extend(id.as_bytes());
    }
    let length = u16::try_from(rest.len()).unwrap_or(u16::MAX);
    [&SIGNATURE[..], &[VERSION_2_PROXY, TCP_OVER_IPV4], &length.to_be_bytes(), &rest].concat()
}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_2_PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const AWS: u8 = 0xea;
const VPC_ENDPOINT_ID: u8 = 1;

#[cfg(test)]
mod tests {
    use tollgate::edge::proxy_protocol::{Parsed, parse};

    use super::*;

    fn to() -> SocketAddr {
        "127.0.0.1:8443".parse().unwrap()
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let bytes = header((Ipv4Addr::new(10, 1, 2, 3), 4096), to(), Some("vpce-1"));

        let rest = b"\x0a\x01\x02\x03\x7f\0\0\x01\x10\0\x20\xfb\xea\0\x07\x01vpce-1";
        assert_eq!(bytes, [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x16", &rest[..]].concat());
        let Parsed::Whole(read) = parse(&bytes, 4096) else { unreachable!("the gateway reads {bytes:?}") };
        assert_eq!((read.length, read.vpc_endpoint), (bytes.len(), Some("vpce-1")));
        assert_eq!(read.client, Some("10.1.2.3:4096".parse().unwrap()));
    }

    #[test]
    fn addresses_and_endpoints_take_turns() {
        let network = "10.9.0.0/30".parse().unwrap();
        let senders = Senders::new(Some(network), vec!["vpce-a".into(), "vpce-b".into()]);

        let said: Vec<_> = (0..3).map(|_| senders.next(to())).collect();

        let who: Vec<_> = said.iter().map(|bytes| (bytes[19], bytes[bytes.len() - 1])).collect();
        assert_eq!(who, [(1, b'a'), (2, b'b'), (1, b'a')]);
        assert_eq!(address("10.9.0.7/32".parse().unwrap(), 5), Ipv4Addr::new(10, 9, 0, 7));
    }

    #[test]
    fn nothing_is_said_unless_there_are_senders() {
        assert!(Senders::new(None, Vec::new()).next(to()).is_empty());
        assert!(!Senders::new(None, vec!["vpce-a".into()]).next(to()).is_empty());
    }
}
