//! Addresses that are this test's alone for as long as it holds them.
//!
//! A socket that is bound and never listens keeps the port from everyone who
//! does not ask for address reuse, the kernel's own choices included; a gateway
//! does ask for it. While nothing listens, connections are refused.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A loopback address that nobody else gets.
pub struct Port {
    /// To bind, or to fail to connect to.
    pub address: SocketAddr,
    _held: Socket,
}

impl Port {
    /// A free one.
    pub fn reserve() -> Self {
        let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        held.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        // After the bind: before it, two reservations could get one port.
        held.set_reuse_address(true).unwrap();
        let address = held.local_addr().unwrap().as_socket().unwrap();
        Self { address, _held: held }
    }

    /// One whose last owner is gone.
    pub fn take(address: SocketAddr) -> Self {
        let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        held.set_reuse_address(true).unwrap();
        held.bind(&address.into()).unwrap();
        Self { address, _held: held }
    }
}
