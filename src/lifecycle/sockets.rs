//! Listening sockets: taken over from the process before or from systemd, or bound,
//! before any service starts, so that a busy port is an error and an exit. Pingora
//! announces ready before it binds, retries for thirty seconds, and then panics in a
//! task while the process lives on.
//!
//! A socket is known by its address, never by the name that came with it. A small
//! service hands the sockets to Pingora's table under the very strings that its
//! listeners ask for.

use std::{
    fmt,
    net::{SocketAddr, TcpListener},
    os::fd::{IntoRawFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use pingora::{
    server::{ListenFds, ShutdownWatch},
    services::{ServiceReadyNotifier, ServiceWithDependents},
};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::{
    admin_socket::AdminSocket,
    found::Found,
    listening::{Listening, Origin},
};

/// The sockets of this process, until Pingora takes them.
#[derive(Default)]
pub struct Sockets {
    /// Came from outside; nobody asked for them yet.
    found: Vec<Found>,
    /// By the strings that Pingora's listeners ask for.
    table: Vec<(String, OwnedFd)>,
    /// Second handles of the ones with addresses.
    listening: Arc<Listening>,
}

/// A socket that cannot be had.
#[derive(Debug)]
pub struct BindError {
    what: String,
    cause: std::io::Error,
    /// Came from outside for the same port, and does not fit.
    beside: Option<SocketAddr>,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen at {}: {}", self.what, self.cause)?;
        if let Some(found) = self.beside {
            return write!(
                f,
                "; the socket that came from outside is for {found}: in the socket unit write \
                 `ListenStream=` with the listener's own address"
            );
        }
        let hint = match self.cause.kind() {
            std::io::ErrorKind::AddrInUse => "; another process listens there",
            std::io::ErrorKind::PermissionDenied => {
                "; ports below 1024 need CAP_NET_BIND_SERVICE, a socket file a folder that can be written"
            }
            std::io::ErrorKind::NotFound => {
                "; its folder does not exist: make it, or write another path, as `admin: { socket: admin.sock }`, beside the main file"
            }
            std::io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
            _ => "",
        };
        f.write_str(hint)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl BindError {
    /// `what` could not be had.
    pub(super) fn new(what: impl fmt::Display, cause: std::io::Error) -> Self {
        Self { what: what.to_string(), cause, beside: None }
    }
}

impl Sockets {
    /// With these to take from before anything is bound.
    pub fn with(found: Vec<Found>) -> Self {
        Self { found, ..Self::default() }
    }

    /// They are the process before's, too: an end that comes before this process's turn
    /// leaves them as they are.
    pub fn share(&self) {
        self.listening.share_all();
    }

    /// Takes or binds the address of a listener, `name` in the configuration.
    pub fn listener(&mut self, name: &str, address: SocketAddr) -> Result<(), BindError> {
        self.tcp(name, address, true)
    }

    /// Takes or binds a private address; `name` says what for.
    pub fn private(&mut self, name: &str, address: SocketAddr) -> Result<(), BindError> {
        self.tcp(name, address, false)
    }

    /// Binds an address of this process alone, which nobody else is told.
    pub fn own(&mut self, address: SocketAddr) -> Result<SocketAddr, BindError> {
        let failed = |cause| BindError::new(address, cause);
        let listener = bind_tcp(address).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        self.table.push((bound.to_string(), listener.into()));
        Ok(bound)
    }

    /// Hands over the operator's socket.
    pub fn operator(&mut self, socket: &AdminSocket, fd: OwnedFd) {
        self.table.push((socket.bound().display().to_string(), fd));
    }

    /// Every socket that has an address, for whoever closes them or passes them on.
    pub fn listening(&self) -> Arc<Listening> {
        self.listening.clone()
    }

    /// What came from outside and nobody asked for. Closed when dropped.
    pub fn leftover(&mut self) -> Vec<Found> {
        std::mem::take(&mut self.found)
    }

    fn tcp(&mut self, name: &str, address: SocketAddr, edge: bool) -> Result<(), BindError> {
        let beside = self.found.iter().map(|found| found.address).find(|a| a.port() == address.port());
        let failed = |cause| BindError { beside, ..BindError::new(format!("{address} ({name})"), cause) };
        let found = self.found.iter().position(|found| found.address == address);
        let (fd, origin) = match found.map(|at| self.found.swap_remove(at)) {
            Some(found) => (found.fd, found.origin),
            None => (bind_tcp(address).map_err(failed)?.into(), Origin::Bound),
        };
        let socket = Socket::from(fd);
        prepare(&socket).map_err(failed)?;
        self.listening.add(address, origin, edge, &socket).map_err(failed)?;
        self.table.push((address.to_string(), socket.into()));
        Ok(())
    }
}

/// Hands the sockets over, then says ready: the listeners wait for it.
#[async_trait]
impl ServiceWithDependents for Sockets {
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
        ready: ServiceReadyNotifier,
    ) {
        if let Some(table) = fds {
            let mut table = table.lock();
            for (address, fd) in self.table.drain(..) {
                table.add(address, fd.into_raw_fd());
            }
        }
        ready.notify_ready();
    }

    fn name(&self) -> &str {
        "sockets"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

fn bind_tcp(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` does not take IPv4's port in silence; write both listeners.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    // Pingora takes it as it is; a blocking accept would stop a worker.
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Brings a socket into the state that the gateway wants, whoever made it.
fn prepare(socket: &Socket) -> std::io::Result<()> {
    // Accepted connections inherit it from the listener: none costs a call.
    let probes =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(Duration::from_secs(15)).with_retries(4);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_nonblocking(true)?;
    socket.set_cloexec(true)
}

/// Well below the 350 s after which an NLB forgets a silent flow.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(listening: TcpListener) -> Found {
        let address = listening.local_addr().unwrap();
        Found { address, origin: Origin::Unit, fd: listening.into(), kept_as: None }
    }

    #[test]
    fn a_busy_port_is_an_error_that_names_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();

        let why = Sockets::default().listener("public", address).unwrap_err().to_string();

        assert!(why.contains(&address.to_string()) && why.contains("another process"), "{why}");
    }

    #[test]
    fn a_socket_from_outside_is_taken_by_its_address() {
        let [one, two] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = one.local_addr().unwrap();
        let mut sockets = Sockets::with(vec![found(two), found(one)]);

        sockets.listener("public", address).unwrap();

        assert_eq!(sockets.leftover().len(), 1);
        assert_eq!(sockets.listening().addresses(), [address]);
    }

    #[test]
    fn a_socket_for_another_address_of_the_port_is_named() {
        let other = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let mut sockets = Sockets::with(vec![found(other)]);

        let why = sockets.listener("public", SocketAddr::from(([127, 0, 0, 1], port)));

        let why = why.unwrap_err().to_string();
        assert!(why.contains(&format!("is for 0.0.0.0:{port}")) && why.contains("ListenStream="), "{why}");
    }
}
