//! The sockets that the process listens at, beside Pingora's own handles: to close
//! them without a loss, to pass them on, and to leave them with systemd.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use socket2::{SockRef, Socket};

use super::{doors::Doors, handover::SocketNote};

/// Who made a socket.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A gateway: this process or one before it.
    Bound,
    /// A socket unit, which listens on when the gateway has ended.
    Unit,
}

/// Second handles of the listening sockets. While they are there the sockets stay
/// open, whoever closes the others.
#[derive(Default)]
pub struct Listening(Mutex<State>);

#[derive(Default)]
struct State {
    sockets: Vec<Kept>,
    /// Another process has them, too.
    shared: bool,
    /// They are being closed.
    closing: bool,
}

struct Kept {
    address: SocketAddr,
    origin: Origin,
    /// For clients, not for operators and load balancers.
    edge: bool,
    socket: Socket,
}

impl Listening {
    /// From now on the process before has them, too, until it lets go.
    pub(super) fn share_all(&self) {
        self.state().shared = true;
    }

    /// One more.
    pub(super) fn add(
        &self,
        address: SocketAddr,
        origin: Origin,
        edge: bool,
        socket: &impl AsFd,
    ) -> io::Result<()> {
        let socket = SockRef::from(socket).try_clone()?;
        self.state().sockets.push(Kept { address, origin, edge, socket });
        Ok(())
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.state().sockets.iter().map(|kept| kept.address).collect()
    }

    /// The clients' sockets, to be closed by an end that nobody follows; none when
    /// another process has them. What a socket unit made is for it to close, and who
    /// connects meanwhile waits for the next process.
    pub fn doors(&self) -> Doors {
        let mut doors = Doors::default();
        let mut state = self.state();
        if state.shared {
            return doors;
        }
        state.closing = true;
        for kept in state.sockets.drain(..).filter(|kept| kept.edge && kept.origin == Origin::Bound) {
            doors.add(kept.socket);
        }
        doors
    }

    /// From now on another process has those of these addresses; the others are closed
    /// with Pingora's. False when they are being closed already.
    pub(super) fn share(&self, addresses: &[SocketAddr]) -> bool {
        let mut state = self.state();
        state.shared = !state.closing;
        state.sockets.retain(|kept| addresses.contains(&kept.address));
        state.shared
    }

    /// The other process is gone, or takes no more connections from them.
    pub(super) fn share_no_more(&self) {
        self.state().shared = false;
    }

    /// What the next process is told, and handles that live as long as it takes to
    /// tell it.
    pub(super) fn to_hand_over(&self) -> io::Result<(Vec<SocketNote>, Vec<OwnedFd>)> {
        let all = &self.state().sockets;
        let notes = all.iter().map(|kept| SocketNote { address: kept.address, origin: kept.origin });
        let handles = all.iter().map(|kept| kept.socket.try_clone().map(OwnedFd::from));
        Ok((notes.collect(), handles.collect::<io::Result<_>>()?))
    }

    /// Tells of each socket that a gateway bound, by the name it is stored under.
    pub(super) fn each_bound(&self, tell: impl Fn(&str, BorrowedFd<'_>)) {
        for kept in self.state().sockets.iter().filter(|kept| kept.origin == Origin::Bound) {
            tell(&stored_name(kept.address), kept.socket.as_fd());
        }
    }

    /// A panic elsewhere breaks no promise of the list.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// systemd takes no colons in names.
pub(super) fn stored_name(address: SocketAddr) -> String {
    format!("{STORED}{}", address.to_string().replace(':', "_"))
}

/// What the names of sockets in systemd's store begin with: a socket unit's are others.
pub(super) const STORED: &str = "kept-";
