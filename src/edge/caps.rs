//! How many connections may be open: of the process, of one client, of one tenant.
//!
//! Clients and tenants are counted by a sketch of fixed size (`pingora_limits::Inflight`),
//! so that memory does not follow the number of addresses; it may count a
//! client a little too high, never too low.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use pingora_limits::inflight::{Guard, Inflight};

use crate::identity::{ClientKey, TenantKey};

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
    /// The tenant has.
    Tenant,
}

impl Caps {
    /// Never more than so many, whatever the configuration says: there are files
    /// for no more.
    pub fn at_most(most: u32) -> Self {
        Self { open: Arc::default(), clients: Inflight::new(), most }
    }

    /// Lets a connection into the process, until the permit is dropped.
    pub fn enter(&self, max: u32) -> Result<Permit, Full> {
        let (open, count) = OpenCount::enter(&self.open);
        if count > max.min(self.most) {
            Err(Full::Process)
        } else {
            Ok(Permit { _open: open, client: None, tenant: None })
        }
    }

    /// Counts the permit's connection as this client's too, once it is known
    /// whose it is.
    pub fn attribute(
        &self,
        permit: &mut Permit,
        client: ClientKey<'_>,
        max_per_client: u32,
    ) -> Result<(), Full> {
        let (guard, of_client) = self.clients.incr(client, 1);
        permit.client = Some(guard);
        if exceeds(of_client, max_per_client) { Err(Full::Client) } else { Ok(()) }
    }

    /// The same for the tenant.
    pub fn attribute_tenant(
        &self,
        permit: &mut Permit,
        tenant: TenantKey<'_>,
        max_per_tenant: u32,
    ) -> Result<(), Full> {
        let (guard, of_tenant) = self.clients.incr(tenant, 1);
        permit.tenant = Some(guard);
        if exceeds(of_tenant, max_per_tenant) { Err(Full::Tenant) } else { Ok(()) }
    }
}

fn exceeds(count: isize, max: u32) -> bool {
    count > isize::try_from(max).unwrap_or(isize::MAX)
}

/// A connection that was let in.
pub struct Permit {
    _open: OpenCount,
    client: Option<Guard>,
    tenant: Option<Guard>,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(caps: &Caps, client: &str, max: u32, max_per_client: u32) -> Result<Permit, Full> {
        let mut permit = caps.enter(max)?;
        let client = ClientKey::new(None, client.parse().unwrap());
        caps.attribute(&mut permit, client, max_per_client)?;
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
    fn there_are_never_more_than_there_are_files_for() {
        let caps = Caps::at_most(1);
        let _held = admit(&caps, "10.0.0.1", 10, 10).ok().unwrap();

        assert_eq!(admit(&caps, "10.0.0.2", 10, 10).err(), Some(Full::Process));
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_client() {
        let caps = Caps::default();
        let _held = admit(&caps, "2001:db8::1", 10, 1).ok().unwrap();

        assert_eq!(admit(&caps, "2001:db8::2", 10, 1).err(), Some(Full::Client));
        assert!(admit(&caps, "2001:db8:0:1::1", 10, 1).is_ok());
    }

    #[test]
    fn one_address_behind_two_endpoints_is_two_clients() {
        let caps = Caps::default();
        let mut held = [0; 4].map(|_| caps.enter(10).unwrap_or_else(|_| panic!()));
        let behind = [Some("vpce-0a1b2c3d"), Some("vpce-0a1b2c3d"), Some("vpce-11111111"), None];

        let each = held.iter_mut().zip(behind).map(|(permit, endpoint)| {
            let client = ClientKey::new(endpoint, "10.0.0.5".parse().unwrap());
            caps.attribute(permit, client, 1)
        });

        assert_eq!(each.collect::<Vec<_>>(), [Ok(()), Err(Full::Client), Ok(()), Ok(())]);
    }
}
