//! How many connections may be open: of the process, and of one client.
//!
//! Clients are counted by a sketch of fixed size (`pingora_limits::Inflight`),
//! so that memory does not follow the number of addresses; it may count a
//! client a little too high, never too low.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use pingora_limits::inflight::{Guard, Inflight};

/// The counts of this process.
pub struct Caps {
    open: Arc<AtomicU32>,
    clients: Inflight,
}

impl Default for Caps {
    fn default() -> Self {
        Self { open: Arc::default(), clients: Inflight::new() }
    }
}

/// Which cap a connection met.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Full {
    /// The process has as many as it may have.
    Process,
    /// The client has.
    Client,
}

impl Caps {
    /// Lets a connection into the process, until the permit is dropped.
    pub fn enter(&self, max: u32) -> Result<Permit, Full> {
        let (open, count) = OpenCount::enter(&self.open);
        if count > max { Err(Full::Process) } else { Ok(Permit { _open: open, client: None }) }
    }

    /// Counts the permit's connection as this client's too, once it is known
    /// whose it is.
    pub fn attribute(&self, permit: &mut Permit, client: IpAddr, max_per_client: u32) -> Result<(), Full> {
        let (guard, of_client) = self.clients.incr(client_key(client), 1);
        permit.client = Some(guard);
        let full = of_client > isize::try_from(max_per_client).unwrap_or(isize::MAX);
        if full { Err(Full::Client) } else { Ok(()) }
    }
}

/// A connection that was let in.
pub struct Permit {
    _open: OpenCount,
    client: Option<Guard>,
}

struct OpenCount(Arc<AtomicU32>);

impl OpenCount {
    fn enter(open: &Arc<AtomicU32>) -> (Self, u32) {
        let before = open.fetch_add(1, Ordering::Relaxed);
        (Self(open.clone()), before.saturating_add(1))
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One client is an IPv4 address or the first 64 bits of an IPv6 one: more
/// are handed out to a single host.
fn client_key(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64 | 1 << 63,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn admit(caps: &Caps, client: &str, max: u32, max_per_client: u32) -> Result<Permit, Full> {
        let mut permit = caps.enter(max)?;
        caps.attribute(&mut permit, ip(client), max_per_client)?;
        Ok(permit)
    }

    #[test]
    fn one_client_cannot_take_the_place_of_others() {
        let caps = Caps::default();
        let _held: Vec<_> = (0..2).map(|_| admit(&caps, "10.0.0.1", 10, 2).ok().unwrap()).collect();

        assert_eq!(admit(&caps, "10.0.0.1", 10, 2).err(), Some(Full::Client));
        assert!(admit(&caps, "10.0.0.2", 10, 2).is_ok());
    }

    #[test]
    fn a_permit_that_ends_makes_room() {
        let caps = Caps::default();
        let held = admit(&caps, "10.0.0.1", 1, 1).ok().unwrap();
        assert_eq!(admit(&caps, "10.0.0.2", 1, 1).err(), Some(Full::Process));

        drop(held);

        assert!(admit(&caps, "10.0.0.2", 1, 1).is_ok());
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_client() {
        let caps = Caps::default();
        let _held = admit(&caps, "2001:db8::1", 10, 1).ok().unwrap();

        assert_eq!(admit(&caps, "2001:db8::2", 10, 1).err(), Some(Full::Client));
        assert!(admit(&caps, "2001:db8:0:1::1", 10, 1).is_ok());
    }
}
