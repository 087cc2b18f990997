//! PROXY headers as a load balancer writes them, by the specification and by no
//! code of the gateway's.

use std::net::SocketAddr;

/// Version 1, with addresses.
pub fn v1(client: &str) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let (family, server) = if client.is_ipv4() { ("TCP4", "10.0.0.5") } else { ("TCP6", "2001:db8::5") };
    format!("PROXY {family} {} {server} {} 443\r\n", client.ip(), client.port()).into_bytes()
}

/// Version 2, with addresses and these typed values; a checksum (type 3) is put
/// in where it says so with four zeros.
pub fn v2(client: &str, values: &[(u8, &[u8])]) -> Vec<u8> {
    let client: SocketAddr = client.parse().unwrap();
    let mut block = match client.ip() {
        std::net::IpAddr::V4(ip) => [&ip.octets()[..], &[10, 0, 0, 5]].concat(),
        std::net::IpAddr::V6(ip) => [&ip.octets()[..], &[0xfd; 16]].concat(),
    };
    block.extend(client.port().to_be_bytes());
    block.extend(443_u16.to_be_bytes());
    let family = if client.is_ipv4() { 0x11 } else { 0x21 };
    v2_raw(0x21, family, &block, values)
}

/// Version 2, with any content.
pub fn v2_raw(version_command: u8, family: u8, block: &[u8], values: &[(u8, &[u8])]) -> Vec<u8> {
    let mut block = block.to_vec();
    let mut checksum = None;
    for (kind, value) in values {
        block.push(*kind);
        block.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        if *kind == 3 && *value == [0; 4] {
            checksum = Some(16 + block.len());
        }
        block.extend(*value);
    }
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    let mut header = [b"\r\n\r\n\0\r\nQUIT\n", &[version_command, family][..], &length, &block].concat();
    if let Some(at) = checksum {
        let sum = crc32c(&header);
        header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    }
    header
}

/// What an NLB sends for a client that came through a VPC endpoint.
pub fn nlb(client: &str, endpoint: &str) -> Vec<u8> {
    let endpoint = [b"\x01", endpoint.as_bytes()].concat();
    v2(client, &[(3, &[0; 4]), (0xea, &endpoint), (4, &[0; 11])])
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
