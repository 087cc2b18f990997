//! A header of version 2 as the specification has it, and as it has it not.

use std::net::{IpAddr, SocketAddr};

use crate::edge::proxy_protocol::checksum::Crc32c;

/// A header of version 2, written by the specification.
pub(super) struct V2 {
    pub(super) version_command: u8,
    pub(super) family: u8,
    pub(super) addresses: Vec<u8>,
    pub(super) tlvs: Vec<(u8, Vec<u8>)>,
}

impl V2 {
    pub(super) fn tcp(client: &str, server: &str) -> Self {
        let (client, server): (SocketAddr, SocketAddr) = (client.parse().unwrap(), server.parse().unwrap());
        let (family, [from, to]) = match (client.ip(), server.ip()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (0x11, [a.octets().to_vec(), b.octets().to_vec()]),
            (IpAddr::V6(a), IpAddr::V6(b)) => (0x21, [a.octets().to_vec(), b.octets().to_vec()]),
            _ => panic!("of one family"),
        };
        let ports = [client.port().to_be_bytes(), server.port().to_be_bytes()].concat();
        Self { version_command: 0x21, family, addresses: [from, to, ports].concat(), tlvs: Vec::new() }
    }

    pub(super) fn v4() -> Self {
        Self::tcp("203.0.113.7:4711", "10.0.0.5:443")
    }

    pub(super) fn tlv(mut self, kind: u8, value: impl AsRef<[u8]>) -> Self {
        self.tlvs.push((kind, value.as_ref().to_vec()));
        self
    }

    pub(super) fn endpoint(self, id: &str) -> Self {
        self.tlv(0xea, [b"\x01", id.as_bytes()].concat())
    }

    /// With the right checksum in the place of any.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.raw();
        let mut at = 16 + self.addresses.len();
        for (kind, value) in &self.tlvs {
            if *kind == 3 && value.len() == 4 {
                bytes[at + 3..at + 7].fill(0);
                let sum = Crc32c::default().add(&bytes).value();
                bytes[at + 3..at + 7].copy_from_slice(&sum.to_be_bytes());
            }
            at += 3 + value.len();
        }
        bytes
    }

    pub(super) fn raw(&self) -> Vec<u8> {
        let mut block = self.addresses.clone();
        for (kind, value) in &self.tlvs {
            block.push(*kind);
            block.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            block.extend(value);
        }
        let mut out = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        out.extend([self.version_command, self.family]);
        out.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
        out.extend(block);
        out
    }
}
