//! Listening sockets that come from outside: from systemd, by `LISTEN_FDS`, for a
//! socket unit or out of its store, or from the process before.

use std::{
    io,
    net::SocketAddr,
    os::fd::{FromRawFd, OwnedFd},
};

use socket2::Socket;

use super::{
    handover::SocketNote,
    listening::{Origin, STORED, stored_name},
};

/// A listening socket that came from outside.
#[derive(Debug)]
pub struct Found {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who made it.
    pub origin: Origin,
    /// The socket.
    pub fd: OwnedFd,
    /// Its name in systemd's store, if it may be there.
    pub kept_as: Option<String>,
}

impl Found {
    /// What systemd passed to this very process. A socket that cannot be used is
    /// told and left out.
    ///
    /// To be called once, before anything else opens files.
    pub fn of_systemd() -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        for (fd, name) in sd_notify::listen_fds_with_names()? {
            // SAFETY: systemd made this descriptor for us, and this is the only call.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            let origin = if name.starts_with(STORED) { Origin::Bound } else { Origin::Unit };
            let kept_as = name.starts_with(STORED).then(|| name.clone());
            match Self::new(fd, origin) {
                Ok(socket) => found.push(Self { kept_as, ..socket }),
                Err(why) => log::warn!("a socket from systemd cannot be used: name={name} error={why}"),
            }
        }
        Ok(found)
    }

    /// What the process before passed on.
    pub(super) fn of_process(notes: &[SocketNote], fds: Vec<OwnedFd>) -> Vec<Self> {
        let one = |(note, fd): (&SocketNote, OwnedFd)| {
            let kept_as = (note.origin == Origin::Bound).then(|| stored_name(note.address));
            (note.address, Self::new(fd, note.origin).map(|found| Self { kept_as, ..found }))
        };
        let each = notes.iter().zip(fds).map(one);
        let usable = each.filter_map(|(address, found)| {
            found.map_err(|why| log::warn!("a socket cannot be used: address={address} error={why}")).ok()
        });
        usable.collect()
    }

    fn new(fd: OwnedFd, origin: Origin) -> io::Result<Self> {
        let socket = Socket::from(fd);
        let address = socket.local_addr()?.as_socket();
        let listens = socket.is_listener()?;
        let (Some(address), true) = (address, listens) else {
            let text =
                "it does not listen at a TCP address; in a socket unit write `ListenStream=ADDRESS:PORT`";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        // A process that drained turned new connections away; see `doors`.
        if let Err(why) = socket.detach_filter() {
            log::debug!("no filter taken off: address={address} error={why}");
        }
        Ok(Self { address, origin, fd: socket.into(), kept_as: None })
    }
}
