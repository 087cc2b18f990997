//! Where a server answers: a host and a port.

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{EndpointAddress, Invalid};

/// Where a server answers, which is asked for anew with each connection:
/// `redis.internal:6379` or `10.0.1.10:6379`. The port is never 0.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerAddress {
    host: String,
    port: u16,
}

impl ServerAddress {
    /// A name or an IP address, in lower case and without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is surely on this machine.
    pub fn is_loopback(&self) -> bool {
        self.host.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback()) || self.host == "localhost"
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<Ipv6Addr>() {
            Ok(ip) => write!(f, "[{ip}]:{}", self.port),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for ServerAddress {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let address = match text.parse() {
            Ok(EndpointAddress::Socket(address)) => {
                let address = address.socket();
                Some(Self { host: address.ip().to_string(), port: address.port() })
            }
            Ok(EndpointAddress::Host(host, port)) => Some(Self { host, port }),
            Ok(EndpointAddress::Service(_)) | Err(_) => None,
        };
        address.filter(|address| address.port != 0).ok_or_else(|| {
            Invalid::new(format!(
                "`{text}` is not the address of a server; write a name or an IP address and a port, as `redis.internal:6379`"
            ))
        })
    }
}

super::text_value!(ServerAddress, r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):[0-9]+$", "redis.internal:6379");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_host_and_a_port() {
        for text in ["redis.internal:6379", "10.0.1.10:6379", "[::1]:6379"] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().to_string(), text);
        }
        assert_eq!("[::1]:1".parse::<ServerAddress>().unwrap().host(), "::1");
        for bad in [
            "",
            "redis.internal",
            "redis.internal:0",
            "10.0.0.1:0",
            "srv:_redis._tcp.internal",
            "redis://a:1",
        ] {
            let why = bad.parse::<ServerAddress>().unwrap_err().to_string();
            assert!(why.contains("as `redis.internal:6379`"), "{why}");
        }
    }

    #[test]
    fn what_is_on_this_machine_is_told_from_the_rest() {
        let is_loopback = |text: &str| text.parse::<ServerAddress>().unwrap().is_loopback();

        assert!(
            ["127.0.0.1:1", "[::1]:1", "localhost:1", "[::ffff:127.0.0.1]:1"].into_iter().all(is_loopback)
        );
        assert!(!["10.0.0.1:1", "redis.internal:1"].into_iter().any(is_loopback));
    }
}
