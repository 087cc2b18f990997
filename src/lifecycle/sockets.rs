//! Listening sockets: bound before any service starts, so that a busy port is
//! an error and an exit. Pingora announces ready before it binds, retries for
//! thirty seconds, and then panics in a task while the process lives on.
//!
//! A small service hands the sockets to Pingora's table under the very strings
//! that its listeners ask for.

use std::{
    fmt,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{IntoRawFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixListener},
    },
    path::Path,
    sync::Mutex,
    time::Duration,
};

use async_trait::async_trait;
use pingora::{
    server::{ListenFds, ShutdownWatch},
    services::{ServiceReadyNotifier, ServiceWithDependents},
};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::doors::Doors;

/// The sockets of this process, until Pingora takes them.
#[derive(Default)]
pub struct Sockets(Mutex<Vec<(String, OwnedFd)>>);

/// A socket that cannot be had.
#[derive(Debug)]
pub struct BindError {
    what: String,
    cause: std::io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = match self.cause.kind() {
            std::io::ErrorKind::AddrInUse => "; another process listens there",
            std::io::ErrorKind::PermissionDenied => {
                "; ports below 1024 need CAP_NET_BIND_SERVICE, a socket file a folder that can be written"
            }
            std::io::ErrorKind::NotFound => "; the folder does not exist",
            std::io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
            _ => "",
        };
        write!(f, "cannot listen at {}: {}{hint}", self.what, self.cause)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl Sockets {
    /// Binds a TCP address; `name` says what for.
    pub fn tcp(&self, name: &str, address: SocketAddr) -> Result<(), BindError> {
        let failed = |cause| BindError { what: format!("{address} ({name})"), cause };
        let listener = bind_tcp(address).map_err(failed)?;
        self.keep(address.to_string(), listener.into());
        Ok(())
    }

    /// Binds a unix socket with mode 0600, in the place of a dead one. A live
    /// one is another gateway's and stays.
    pub fn unix(&self, path: &Path) -> Result<(), BindError> {
        let failed = |cause| BindError { what: path.display().to_string(), cause };
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(failed(std::io::ErrorKind::AddrInUse.into()));
        }
        if std::fs::symlink_metadata(path).is_ok_and(|found| is_socket(&found)) {
            std::fs::remove_file(path).map_err(failed)?;
        }
        let listener = bind_unix(path).map_err(failed)?;
        self.keep(path.display().to_string(), listener.into());
        Ok(())
    }

    /// The sockets that were bound until now, to be closed without a loss.
    pub fn doors(&self) -> Result<Doors, BindError> {
        let sockets = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut doors = Doors::default();
        for (address, fd) in sockets.iter() {
            doors.add(fd).map_err(|cause| BindError { what: address.clone(), cause })?;
        }
        Ok(doors)
    }

    fn keep(&self, address: String, fd: OwnedFd) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((address, fd));
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
            let sockets = self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
            for (address, fd) in sockets.drain(..) {
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
    // Accepted connections inherit it from the listener: none costs a call.
    let probes =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(Duration::from_secs(15)).with_retries(4);
    socket.set_tcp_keepalive(&probes)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    // Pingora takes it as it is; a blocking accept would stop a worker.
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn bind_unix(path: &Path) -> std::io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn is_socket(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    found.file_type().is_socket()
}

/// Well below the 350 s after which an NLB forgets a silent flow.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_is_an_error_that_names_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();

        let why = Sockets::default().tcp("public", address).unwrap_err().to_string();

        assert!(why.contains(&address.to_string()) && why.contains("another process"), "{why}");
    }

    #[test]
    fn a_dead_socket_file_gives_way_and_a_live_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let first = UnixListener::bind(&path).unwrap();
        assert!(Sockets::default().unix(&path).is_err());

        drop(first);

        assert!(Sockets::default().unix(&path).is_ok());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
