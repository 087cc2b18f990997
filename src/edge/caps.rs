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
    most: u32,
}

impl Default for Caps {
    fn default() -> Self {
        Self::at_most(u32::MAX)
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
    /// Never more than so many, whatever the configuration says: there are files
    /// for no more.
    pub fn at_most(most: u32) -> Self {
        Self { open: Arc::default(), clients: Inflight::new(), most }
    }

    /// Lets a connection in, until the permit is dropped, or says which cap is
    /// full.
    pub fn admit(&self, client: IpAddr, max: u32, max_per_client: u32) -> Result<Permit, Full> {
        let open = OpenCount::enter(&self.open);
        if open.1 > max.min(self.most) {
            return Err(Full::Process);
        }
        let (guard, of_client) = self.clients.incr(client_key(client), 1);
        if of_client > isize::try_from(max_per_client).unwrap_or(isize::MAX) {
            return Err(Full::Client);
        }
        Ok(Permit { _open: open.0, _client: guard })
    }
}

/// A connection that was let in.
pub struct Permit {
    _open: OpenCount,
    _client: Guard,
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

    #[test]
    fn one_client_cannot_take_the_place_of_others() {
        let caps = Caps::default();
        let _held: Vec<_> = (0..2).map(|_| caps.admit(ip("10.0.0.1"), 10, 2).ok().unwrap()).collect();

        assert_eq!(caps.admit(ip("10.0.0.1"), 10, 2).err(), Some(Full::Client));
        assert!(caps.admit(ip("10.0.0.2"), 10, 2).is_ok());
    }

    #[test]
    fn a_permit_that_ends_makes_room() {
        let caps = Caps::default();
        let held = caps.admit(ip("10.0.0.1"), 1, 1).ok().unwrap();
        assert_eq!(caps.admit(ip("10.0.0.2"), 1, 1).err(), Some(Full::Process));

        drop(held);

        assert!(caps.admit(ip("10.0.0.2"), 1, 1).is_ok());
    }

    #[test]
    fn there_are_never_more_than_there_are_files_for() {
        let caps = Caps::at_most(1);
        let _held = caps.admit(ip("10.0.0.1"), 10, 10).ok().unwrap();

        assert_eq!(caps.admit(ip("10.0.0.2"), 10, 10).err(), Some(Full::Process));
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_client() {
        let caps = Caps::default();
        let _held = caps.admit(ip("2001:db8::1"), 10, 1).ok().unwrap();

        assert_eq!(caps.admit(ip("2001:db8::2"), 10, 1).err(), Some(Full::Client));
        assert!(caps.admit(ip("2001:db8:0:1::1"), 10, 1).is_ok());
    }
}
