//! The PROXY protocol, versions 1 and 2: who is behind the load balancer that
//! connected here.
//!
//! Owns what a header must look like ([`parse`], pure and fuzzed) and, for a
//! listener, who may send one ([`ProxyProtocol`]). Does not own what is done with
//! the address. Always holds: a header is believed whole or not at all, and no
//! byte beyond it is read before that is known.
//!
//! Our own, because what is there is looser: `ppp` takes `+443` for a port and
//! leaves the checksum to others, `proxy-protocol-rs` brings a listener of its
//! own; and neither says how many bytes are surely still to come, which is what
//! lets the edge read a header and nothing behind it.

mod checksum;
#[cfg(any(test, fuzzing))]
pub mod oracle;
mod receive;
mod skip;
mod v1;
mod v2;

use std::net::{IpAddr, SocketAddr};

pub use receive::ProxyProtocol;
pub(super) use receive::{Silence, refuse_second};
pub use skip::SkipsProxyHeader;

use crate::telemetry::metrics::EarlyEnd;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Parsed<'a> {
    /// No PROXY header, whatever follows.
    Other,
    /// The beginning of one. At least so many more bytes belong to it; never 0.
    Incomplete(usize),
    /// A whole one, first of all that came.
    Whole(Header<'a>),
    /// One that cannot be believed, whatever follows.
    Bad(Flaw),
}

/// What a header says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header<'a> {
    /// How many bytes it has.
    pub length: usize,
    /// Who connected to the load balancer; an IPv4 address that is written as an
    /// IPv6 one is IPv4 here. `None`: the load balancer speaks for itself, or the
    /// client has no address of IP.
    pub client: Option<SocketAddr>,
    /// The VPC endpoint that the client came through, as `vpce-0123456789abcdef0`.
    pub vpc_endpoint: Option<&'a str>,
}

/// Why a header is not believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flaw {
    /// It is not written as the protocol says.
    Malformed,
    /// It is of a later version than 2.
    Version,
    /// It is longer than allowed.
    TooLarge,
    /// Its checksum is another one.
    Checksum,
}

impl Flaw {
    fn early_end(self) -> EarlyEnd {
        match self {
            Self::Malformed => EarlyEnd::ProxyMalformed,
            Self::Version => EarlyEnd::ProxyVersion,
            Self::TooLarge => EarlyEnd::ProxyTooLarge,
            Self::Checksum => EarlyEnd::ProxyChecksum,
        }
    }
}

/// Reads the header that `bytes` begin with. A header of more than `max` bytes
/// is [`Flaw::TooLarge`], of version 1 one of more than 107.
pub fn parse(bytes: &[u8], max: usize) -> Parsed<'_> {
    match signature(bytes) {
        Signature::Other => Parsed::Other,
        // A signature has fewer bytes than any header.
        Signature::Incomplete => Parsed::Incomplete(SHORTEST.saturating_sub(bytes.len()).max(1)),
        Signature::V1 => v1::parse(bytes, max),
        Signature::V2 => v2::parse(bytes, max),
    }
}

/// What the first bytes promise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Signature {
    /// Something else than a header.
    Other,
    /// Too few of them to tell.
    Incomplete,
    V1,
    V2,
}

fn signature(bytes: &[u8]) -> Signature {
    for (signature, known) in [(Signature::V1, v1::SIGNATURE), (Signature::V2, v2::SIGNATURE)] {
        if bytes.starts_with(known) {
            return signature;
        }
        if known.starts_with(bytes) {
            return Signature::Incomplete;
        }
    }
    Signature::Other
}

fn client(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

/// No header of either version has fewer bytes.
const SHORTEST: usize = v1::SHORTEST;

#[cfg(test)]
mod tests;
