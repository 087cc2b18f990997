//! A listener's PROXY headers: who may send one, who must, and how it is read
//! from a connection.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use pingora::protocols::l4::stream::Stream as L4Stream;
use tokio::{io::AsyncReadExt, time::timeout};

use super::{Parsed, SHORTEST, Signature, parse, signature};
use crate::{
    config::listener::{ProxyMode, ProxyProtocolSpec},
    edge::connection::Caller,
    telemetry::metrics::EarlyEnd,
};

/// What a listener makes of PROXY headers.
#[derive(Clone, Debug)]
pub struct ProxyProtocol {
    required: bool,
    trusted: Vec<IpNet>,
    timeout: Duration,
    max_header: usize,
}

impl ProxyProtocol {
    /// `None`: the listener knows no PROXY header, and one is a bad request.
    pub fn new(spec: &ProxyProtocolSpec) -> Option<Self> {
        Some(Self {
            required: match spec.mode {
                ProxyMode::Off => return None,
                ProxyMode::Optional => false,
                ProxyMode::Required => true,
            },
            trusted: spec.trusted.clone(),
            timeout: spec.timeout.duration(),
            max_header: usize::try_from(spec.max_header.bytes()).unwrap_or(usize::MAX),
        })
    }

    /// Takes the header of whoever sends one, of the default size: for listeners
    /// where nothing depends on what it says.
    pub(super) fn from_anyone(timeout: Duration) -> Self {
        let trusted = vec![Ipv4Net::default().into(), Ipv6Net::default().into()];
        Self { required: false, trusted, timeout, max_header: 4 << 10 }
    }

    /// Reads the header of a connection that `peer` opened. `None`: there is none,
    /// and all that came can still be read.
    ///
    /// The deadline begins with the first byte: unless told otherwise, an NLB sends
    /// the header together with the first that its client says, and clients
    /// connect ahead of need.
    pub(in crate::edge) async fn receive(
        &self,
        stream: &mut L4Stream,
        peer: SocketAddr,
        silence: Silence,
    ) -> Result<Option<Caller>, EarlyEnd> {
        let trusted = self.trusts(peer.ip());
        if self.required && !trusted {
            return Err(EarlyEnd::ProxyUntrusted);
        }
        let mut bytes = Vec::with_capacity(USUAL);
        silence.broken_by(read(stream, &mut bytes, SHORTEST)).await?;
        let header = self.read_header(stream, bytes, peer, trusted);
        timeout(self.timeout, header).await.unwrap_or(Err(EarlyEnd::ProxyTimeout))
    }

    async fn read_header(
        &self,
        stream: &mut L4Stream,
        mut bytes: Vec<u8>,
        peer: SocketAddr,
        trusted: bool,
    ) -> Result<Option<Caller>, EarlyEnd> {
        loop {
            let missing = match self.judge(&bytes, peer, trusted)? {
                Judged::Header(caller) => return Ok(Some(caller)),
                Judged::NoHeader => break,
                Judged::Incomplete(missing) => missing,
            };
            if read(stream, &mut bytes, missing).await == 0 {
                return Err(EarlyEnd::ProxyTruncated);
            }
        }
        stream.rewind(&bytes);
        Ok(None)
    }

    fn judge(&self, bytes: &[u8], peer: SocketAddr, trusted: bool) -> Result<Judged, EarlyEnd> {
        if !trusted {
            // What it says is not looked at.
            return match signature(bytes) {
                Signature::Other => Ok(Judged::NoHeader),
                Signature::Incomplete => Ok(Judged::Incomplete(1)),
                Signature::V1 | Signature::V2 => Err(EarlyEnd::ProxyUntrusted),
            };
        }
        match parse(bytes, self.max_header) {
            Parsed::Whole(header) => {
                let vpc_endpoint = header.vpc_endpoint.map(Box::from);
                Ok(Judged::Header(Caller { peer, client: header.client.unwrap_or(peer), vpc_endpoint }))
            }
            Parsed::Incomplete(missing) => Ok(Judged::Incomplete(missing)),
            Parsed::Bad(flaw) => Err(flaw.early_end()),
            Parsed::Other if self.required => Err(EarlyEnd::ProxyMissing),
            Parsed::Other => Ok(Judged::NoHeader),
        }
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted.iter().any(|network| network.contains(&peer))
    }
}

enum Judged {
    Header(Caller),
    NoHeader,
    /// At least so many bytes more have to be seen.
    Incomplete(usize),
}

/// How long a client may say nothing, and what it is called when it does.
#[derive(Clone, Copy)]
pub(in crate::edge) struct Silence {
    pub most: Duration,
    pub why: EarlyEnd,
}

impl Silence {
    async fn broken_by(self, reading: impl Future<Output = usize>) -> Result<(), EarlyEnd> {
        match timeout(self.most, reading).await {
            Ok(0) => Err(EarlyEnd::Probe),
            Ok(_) => Ok(()),
            Err(_) => Err(self.why),
        }
    }
}

/// Looks at what follows a header, which can then still be read. A second header
/// is refused: it is from someone in front of who was trusted.
pub(in crate::edge) async fn refuse_second(stream: &mut L4Stream, silence: Silence) -> Result<(), EarlyEnd> {
    let mut bytes = Vec::with_capacity(USUAL);
    silence.broken_by(read(stream, &mut bytes, SHORTEST)).await?;
    let looking = async {
        loop {
            match signature(&bytes) {
                Signature::V1 | Signature::V2 => return Err(EarlyEnd::ProxyTwice),
                Signature::Incomplete if read(stream, &mut bytes, 1).await > 0 => {}
                _ => break,
            }
        }
        stream.rewind(&bytes);
        Ok(())
    };
    timeout(silence.most, looking).await.unwrap_or(Err(silence.why))
}

/// Reads up to so many bytes more, and says how many; 0 at the end, which a
/// reset is too.
async fn read(stream: &mut L4Stream, bytes: &mut Vec<u8>, most: usize) -> usize {
    let before = bytes.len();
    bytes.resize(before + most, 0);
    let read = stream.read(bytes.get_mut(before..).unwrap_or_default()).await.unwrap_or(0);
    bytes.truncate(before + read);
    read
}

/// Has room for the header of an NLB, its VPC endpoint included.
const USUAL: usize = 128;
