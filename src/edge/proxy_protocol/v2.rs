//! Version 2: binary, with typed values (TLVs) behind the addresses.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Flaw, Header, Parsed, checksum::Crc32c, client};

/// Reads the header that `bytes` begin with; they begin with the signature.
pub(super) fn parse(bytes: &[u8], max: usize) -> Parsed<'_> {
    let Some((fixed, block)) = bytes.split_first_chunk::<FIXED>() else {
        return Parsed::Incomplete(FIXED - bytes.len());
    };
    let [.., version_command, family, high, low] = *fixed;
    let block_length = usize::from(u16::from_be_bytes([high, low]));
    let length = FIXED + block_length;
    let (version, command) = (version_command >> 4, version_command & 0xf);
    let header = |client, vpc_endpoint| Parsed::Whole(Header { length, client, vpc_endpoint });
    if version != 2 {
        return Parsed::Bad(Flaw::Version);
    }
    if length > max {
        return Parsed::Bad(Flaw::TooLarge);
    }
    let (Some(whole), Some(block)) = (bytes.get(..length), block.get(..block_length)) else {
        return Parsed::Incomplete(length - bytes.len());
    };
    match (command, family) {
        // The specification has whatever stands in these discarded.
        (LOCAL, _) | (PROXY, UNSPECIFIED) => header(None, None),
        (PROXY, _) => match said(whole, family, block) {
            Ok((client, vpc_endpoint)) => header(client, vpc_endpoint),
            Err(flaw) => Parsed::Bad(flaw),
        },
        _ => Parsed::Bad(Flaw::Malformed),
    }
}

type Said<'a> = (Option<SocketAddr>, Option<&'a str>);

fn said<'a>(whole: &'a [u8], family: u8, block: &'a [u8]) -> Result<Said<'a>, Flaw> {
    let (client, tlvs) = match family {
        TCP4 => {
            let (addresses, tlvs) = block.split_first_chunk().ok_or(Flaw::Malformed)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
            (Some(client(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low]))), tlvs)
        }
        TCP6 => {
            let (source, rest) = block.split_first_chunk::<16>().ok_or(Flaw::Malformed)?;
            let (_destination, rest) = rest.split_first_chunk::<16>().ok_or(Flaw::Malformed)?;
            let ([high, low, _, _], tlvs) = rest.split_first_chunk().ok_or(Flaw::Malformed)?;
            (Some(client(Ipv6Addr::from(*source).into(), u16::from_be_bytes([*high, *low]))), tlvs)
        }
        UNIX => (None, block.get(UNIX_ADDRESSES..).ok_or(Flaw::Malformed)?),
        _ => return Err(Flaw::Malformed),
    };
    Ok((client, walk(whole, tlvs)?))
}

/// Walks over the typed values at the end of `whole`, and finds the VPC endpoint.
fn walk<'a>(whole: &[u8], mut tlvs: &'a [u8]) -> Result<Option<&'a str>, Flaw> {
    let (mut endpoint, mut checksum) = (None, None);
    while !tlvs.is_empty() {
        let ([kind, high, low], rest) = tlvs.split_first_chunk().ok_or(Flaw::Malformed)?;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, after) = rest.split_at_checked(length).ok_or(Flaw::Malformed)?;
        match (*kind, value) {
            (CRC32C, value) => {
                let told = value.try_into().map_err(|_| Flaw::Malformed)?;
                once(&mut checksum, (u32::from_be_bytes(told), after.len()))?;
            }
            (AWS, [AWS_VPC_ENDPOINT, id @ ..]) => once(&mut endpoint, vpc_endpoint(id)?)?,
            (AWS, []) => return Err(Flaw::Malformed),
            // Everything else is for others: what it holds is not looked at.
            _ => {}
        }
        tlvs = after;
    }
    match checksum {
        Some((told, after)) if checksum_of(whole, after) != Some(told) => Err(Flaw::Checksum),
        _ => Ok(endpoint),
    }
}

/// Who says a thing twice may mean either.
fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Flaw> {
    if slot.replace(value).is_some() { Err(Flaw::Malformed) } else { Ok(()) }
}

fn vpc_endpoint(id: &[u8]) -> Result<&str, Flaw> {
    let rest = id.strip_prefix(b"vpce-").ok_or(Flaw::Malformed)?;
    let good = (1..=MAX_ENDPOINT).contains(&rest.len())
        && rest.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z'));
    str::from_utf8(id).ok().filter(|_| good).ok_or(Flaw::Malformed)
}

/// Of the whole header, with zeros in the checksum's own place, which `after`
/// bytes follow.
fn checksum_of(whole: &[u8], after: usize) -> Option<u32> {
    let (before, rest) = whole.split_at_checked(whole.len().checked_sub(after + 4)?)?;
    Some(Crc32c::default().add(before).add(&[0; 4]).add(rest.get(4..)?).value())
}

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const FIXED: usize = 16;

const LOCAL: u8 = 0;
const PROXY: u8 = 1;

const UNSPECIFIED: u8 = 0;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;

/// Two paths of 108 bytes.
const UNIX_ADDRESSES: usize = 216;

const CRC32C: u8 = 0x03;
/// Amazon's own; its first byte says of what.
const AWS: u8 = 0xea;
const AWS_VPC_ENDPOINT: u8 = 0x01;

/// Characters after `vpce-`: 17 today, 8 in old ones.
const MAX_ENDPOINT: usize = 32;
