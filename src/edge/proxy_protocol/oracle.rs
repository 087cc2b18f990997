//! What must hold for every input, as a function that panics when it does not.
//!
//! The fuzz target in `fuzz/` calls it with what the fuzzer makes up, a test with
//! every file of `fuzz/corpus/proxy_protocol/`. Headers are read a second time
//! here, slowly and by other means than in the code it watches.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how an oracle speaks"
)]

use std::{net::SocketAddr, sync::LazyLock};

use regex::bytes::Regex;

use super::{Flaw, Parsed, parse};

/// A header is whole if and only if the slow reading says so, and says the same;
/// every beginning of it is incomplete, and asks for no byte behind it.
pub fn proxy_protocol(bytes: &[u8]) {
    let parsed = parse(bytes, MAX);
    let expected = if bytes.starts_with(b"PROXY") { read_text(bytes) } else { read_binary(bytes) };
    match (parsed, expected) {
        (Parsed::Whole(header), Some(slow)) => {
            let endpoint = header.vpc_endpoint.map(str::to_owned);
            assert_eq!((header.length, header.client, endpoint), (slow.length, slow.client, slow.endpoint));
            assert!(header.length <= MAX && header.length <= bytes.len());
            beginnings_wait(&bytes[..header.length], parsed);
        }
        (Parsed::Whole(_), None) => panic!("believed what is no header"),
        (_, Some(_)) => panic!("did not believe a header: {parsed:?}"),
        (Parsed::Incomplete(missing), None) => {
            assert!(missing > 0, "waits for nothing");
            assert!(bytes.len() < MAX, "waits without bound");
        }
        (Parsed::Bad(Flaw::Checksum), None) => with_its_checksum(bytes),
        (Parsed::Bad(_) | Parsed::Other, None) => {}
    }
}

fn beginnings_wait(header: &[u8], whole: Parsed<'_>) {
    assert_eq!(parse(header, MAX), whole, "what follows a header changes it");
    for length in 0..header.len() {
        match parse(&header[..length], MAX) {
            Parsed::Incomplete(missing) => {
                assert!((1..=header.len() - length).contains(&missing), "{missing} at {length}");
            }
            other => panic!("{other:?} of {length} bytes"),
        }
    }
}

/// The fuzzer hardly ever guesses a checksum: here it is put right.
fn with_its_checksum(bytes: &[u8]) {
    let length = 16 + usize::from(bytes[14]) * 256 + usize::from(bytes[15]);
    let mut header = bytes[..length].to_vec();
    let at = checksum_at(&header).unwrap();
    header[at..at + 4].fill(0);
    let right = checksum(&header);
    header[at..at + 4].copy_from_slice(&right.to_be_bytes());
    assert!(matches!(parse(&header, MAX), Parsed::Whole(_)), "a right checksum is refused");
}

struct Slow {
    length: usize,
    client: Option<SocketAddr>,
    endpoint: Option<String>,
}

fn read_text(bytes: &[u8]) -> Option<Slow> {
    static LINE: LazyLock<Regex> = LazyLock::new(|| {
        let port = "(0|[1-9][0-9]{0,4})";
        let tcp = |family, address| format!("{family} ({address}+) ({address}+) {port} {port}");
        let (v4, v6) = (tcp("TCP4", "[0-9.]"), tcp("TCP6", "[0-9a-fA-F:.]"));
        Regex::new(&format!(r"(?s-u)\APROXY (?:UNKNOWN(?: [^\r\n]*)?|{v4}|{v6})\r\n")).unwrap()
    });
    let found = LINE.captures(bytes).filter(|found| found[0].len() <= 107)?;
    let text = |nth: usize| found.get(nth).map(|word| str::from_utf8(word.as_bytes()).unwrap());
    let number = |nth| Some(text(nth)?.parse::<u16>());
    let client = if let (Some(from), Some(to)) = (text(1), text(2)) {
        let (from, _): (std::net::Ipv4Addr, std::net::Ipv4Addr) = (from.parse().ok()?, to.parse().ok()?);
        let _ = number(4)?.ok()?;
        Some(SocketAddr::new(from.into(), number(3)?.ok()?))
    } else if let (Some(from), Some(to)) = (text(5), text(6)) {
        let (from, _): (std::net::Ipv6Addr, std::net::Ipv6Addr) = (from.parse().ok()?, to.parse().ok()?);
        let _ = number(8)?.ok()?;
        Some(SocketAddr::new(from.to_canonical(), number(7)?.ok()?))
    } else {
        // Text that is no text is not ignored either.
        str::from_utf8(&found[0]).ok()?;
        None
    };
    Some(Slow { length: found[0].len(), client, endpoint: None })
}

fn read_binary(bytes: &[u8]) -> Option<Slow> {
    let fixed = bytes.get(..16)?;
    if fixed[..12] != *b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a" {
        return None;
    }
    let length = 16 + usize::from(fixed[14]) * 256 + usize::from(fixed[15]);
    let header = bytes.get(..length).filter(|_| length <= MAX)?;
    let (addresses, client) = match (fixed[12], fixed[13]) {
        (0x20, _) | (0x21, 0) => return Some(Slow { length, client: None, endpoint: None }),
        (0x21, 0x11) => (12, header.get(16..28).map(address_of::<4>)),
        (0x21, 0x21) => (36, header.get(16..52).map(address_of::<16>)),
        (0x21, 0x31) => (216, None),
        _ => return None,
    };
    let values = values(header.get(16 + addresses..)?)?;
    let ids: Vec<_> =
        values.iter().filter(|(kind, value)| *kind == 0xea && value.first() == Some(&1)).collect();
    let sums: Vec<_> = values.iter().filter(|(kind, _)| *kind == 3).collect();
    if ids.len() > 1 || sums.len() > 1 || values.iter().any(|(kind, value)| *kind == 0xea && value.is_empty())
    {
        return None;
    }
    if let Some((_, told)) = sums.first() {
        let at = checksum_at(header).filter(|_| told.len() == 4)?;
        let zeroed = [&header[..at], &[0; 4], &header[at + 4..]].concat();
        if checksum(&zeroed).to_be_bytes() != told[..] {
            return None;
        }
    }
    static ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?-u)\Avpce-[0-9a-z]{1,32}\z").unwrap());
    let endpoint = match ids.first() {
        Some((_, value)) if ID.is_match(&value[1..]) => Some(String::from_utf8(value[1..].to_vec()).unwrap()),
        Some(_) => return None,
        None => None,
    };
    Some(Slow { length, client, endpoint })
}

fn address_of<const N: usize>(addresses: &[u8]) -> SocketAddr
where
    std::net::IpAddr: From<[u8; N]>,
{
    let source: [u8; N] = addresses[..N].try_into().unwrap();
    let port = u16::from(addresses[2 * N]) * 256 + u16::from(addresses[2 * N + 1]);
    SocketAddr::new(std::net::IpAddr::from(source).to_canonical(), port)
}

/// Kinds and values; `None` when they do not fill the space.
fn values(mut bytes: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut values = Vec::new();
    while let [kind, high, low, rest @ ..] = bytes {
        let length = usize::from(*high) * 256 + usize::from(*low);
        values.push((*kind, rest.get(..length)?));
        bytes = &rest[length..];
    }
    bytes.is_empty().then_some(values)
}

/// Where the checksum stands in a header with well-formed values.
fn checksum_at(header: &[u8]) -> Option<usize> {
    let addresses = match header[13] {
        0x11 => 12,
        0x21 => 36,
        _ => 216,
    };
    let mut at = 16 + addresses;
    while header.get(at)? != &3 {
        at += 3 + usize::from(*header.get(at + 1)?) * 256 + usize::from(*header.get(at + 2)?);
    }
    Some(at + 3)
}

/// Bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        for bit in 0..8 {
            let feedback = (crc ^ u32::from(byte >> bit)) & 1;
            crc = (crc >> 1) ^ (feedback * 0x82f6_3b78);
        }
    }
    !crc
}

/// Small, so that the fuzzer finds the cap.
const MAX: usize = 512;
