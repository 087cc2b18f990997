//! The processes before this one, as long as they finish their work.
//!
//! systemd takes the end of the main process for the end of the service, and kills what
//! is left of it. So the main process ends after those that it took over from, whose
//! clients are its own as much.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

/// Those that handed over, one after the other, down to this process.
#[derive(Debug, Default)]
pub struct Forerunners(Vec<(u32, OwnedFd)>);

impl Forerunners {
    /// Those of these numbers that live. To be called while the one that told them does:
    /// numbers are used again.
    pub fn of(pids: &[u32]) -> Self {
        Self(pids.iter().filter_map(|pid| Some((*pid, handle(*pid).ok()?))).collect())
    }

    /// The numbers of those that live still.
    pub fn living(&self) -> Vec<u32> {
        self.0.iter().filter(|(_, handle)| lives(handle.as_raw_fd())).map(|(pid, _)| *pid).collect()
    }
}

/// What stays this process's, whoever gets its number.
fn handle(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: a plain system call, which makes a descriptor for us alone.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match RawFd::try_from(fd) {
        // SAFETY: the kernel made this descriptor for us in this very call.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A handle can be read once its process has ended. Who cannot be asked about lives:
/// to wait is the lesser harm.
fn lives(handle: RawFd) -> bool {
    let mut asked = libc::pollfd { fd: handle, events: libc::POLLIN, revents: 0 };
    // SAFETY: it fills in the one place that it is given, and waits for nothing.
    unsafe { libc::poll(&raw mut asked, 1, 0) != 1 }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn who_has_ended_is_not_waited_for() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let before = Forerunners::of(&[child.id()]);
        assert_eq!(before.living(), [child.id()]);

        child.kill().unwrap();
        child.wait().unwrap();

        assert_eq!(before.living(), [0; 0]);
        assert_eq!(Forerunners::of(&[child.id()]).living(), [0; 0]);
    }
}
