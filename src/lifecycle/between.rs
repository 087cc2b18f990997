//! A process between the old and the new one, where systemd looks after them.
//!
//! systemd notices the end of its own children only. Of a main process that is
//! another one's child it says so ("not our child"), and as long as that other one
//! drains, a crash goes unnoticed and a stop kills everything at once. Who loses its
//! parent becomes systemd's child: so the new process begins by putting one between
//! itself and the old one, which the old one kills just before it names the new one.
//!
//! Until then the one between stands for the new process: it ends as that ended, and
//! ends it when told to (`TERM`).

use std::{env, io};

use libc::{SIG_BLOCK, SIG_SETMASK, SIG_UNBLOCK, SIGCHLD, SIGKILL, SIGTERM, WNOHANG, pid_t, sigset_t};

use super::starting::{mask, set_of};

/// Whether there is one, or will be.
pub(super) fn is_wanted() -> bool {
    env::var_os("NOTIFY_SOCKET").is_some()
}

/// Makes the caller the child of a process that does nothing but wait for it.
///
/// To be called while there is one thread.
pub(super) fn step_behind() -> io::Result<()> {
    let before = heard_later()?;
    // SAFETY: there is one thread, so that no lock is held by one that is not copied.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => mask(SIG_SETMASK, &before).map(drop),
        new => wait_for(new),
    }
}

/// Waits for the new process and ends as it did.
fn wait_for(new: pid_t) -> ! {
    // SAFETY: a plain system call; nothing is used afterwards that a descriptor belongs
    // to. Held open here, they would hide the new process's end from the old one.
    unsafe { libc::close_range(0, libc::c_uint::MAX, 0) };
    let (wanted, mut heard, mut how) = (those_heard(), 0, 0);
    // SAFETY: plain system calls; the new process's number is its own until it is waited for.
    unsafe {
        while libc::waitpid(new, &raw mut how, WNOHANG) == 0 {
            libc::sigwait(&raw const wanted, &raw mut heard);
            if heard == SIGTERM {
                libc::kill(new, SIGKILL);
                libc::waitpid(new, &raw mut how, 0);
                break;
            }
        }
        if libc::WIFEXITED(how) {
            libc::_exit(libc::WEXITSTATUS(how));
        }
        // It may be one that waits since the start; another that waits is not meant.
        let _ = mask(SIG_UNBLOCK, &set_of(&[libc::WTERMSIG(how)]));
        libc::raise(libc::WTERMSIG(how));
        libc::_exit(1)
    }
}

/// Has the signals that [`wait_for`] waits for wait for it. Returns how it was before.
fn heard_later() -> io::Result<sigset_t> {
    mask(SIG_BLOCK, &those_heard())
}

fn those_heard() -> sigset_t {
    set_of(&[SIGCHLD, SIGTERM])
}
