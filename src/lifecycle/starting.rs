//! Signals that come before there is anybody to hear them.
//!
//! They wait: the process may take connections already. Always holds: a start ends, by
//! itself or by those that wait, and no program that this one starts has any wait.

use std::{
    io,
    mem::MaybeUninit,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use libc::{
    SIG_BLOCK, SIG_SETMASK, SIG_UNBLOCK, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, c_int, sigset_t,
};

/// A start that is under way.
pub struct Starting {
    over: Sender<()>,
}

impl Starting {
    /// Ends a start that hangs, as one whose log is a pipe that nobody reads, if it is
    /// told to end: all that a start waits for has a limit, and the sum of them is over.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn watch() -> io::Result<Self> {
        let (over, is_over) = channel();
        let watch = move || {
            if is_over.recv_timeout(MOST) == Err(RecvTimeoutError::Timeout) {
                let _ = mask(SIG_UNBLOCK, &set_of(&ENDS));
                log::warn!("the start hangs, and ends when it is told to: after={}s", MOST.as_secs());
                // In this thread alone they do not wait.
                let _ = is_over.recv();
            }
        };
        thread::Builder::new().name("starting".into()).spawn(watch)?;
        Ok(Self { over })
    }

    /// Signals are heard: those that came meanwhile, too.
    ///
    /// To be called by a thread that lives as long as the process.
    pub(super) fn is_over(&self) {
        let _ = mask(SIG_UNBLOCK, &set_of(&HELD));
        let _ = self.over.send(());
    }
}

/// Has the signals wait that would end a process which does not listen yet, though it
/// may serve already: they are heard once it does.
///
/// To be called while there is one thread: others do as the one that started them.
pub fn hold_back() {
    let _ = mask(SIG_BLOCK, &set_of(&HELD));
}

/// Starts a program in which no signal waits: it may be of a version that does not know
/// which ones to let through.
pub(super) fn with_none_held<T>(start: impl FnOnce() -> T) -> T {
    // Not between fork and exec: then all of the process's memory would be mapped anew,
    // while it serves.
    let before = mask(SIG_UNBLOCK, &set_of(&HELD));
    let started = start();
    if let Ok(before) = before {
        let _ = mask(SIG_SETMASK, &before);
    }
    started
}

pub(super) fn set_of(signals: &[c_int]) -> sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the first call fills the set in, and the numbers are signals.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}

/// Changes which signals wait in this thread. Returns how it was before.
pub(super) fn mask(how: c_int, set: &sigset_t) -> io::Result<sigset_t> {
    let mut before = MaybeUninit::uninit();
    // SAFETY: it fills in what was before, unless it fails.
    match unsafe { libc::pthread_sigmask(how, set, before.as_mut_ptr()) } {
        0 => Ok(unsafe { before.assume_init() }),
        why => Err(io::Error::from_raw_os_error(why)),
    }
}

const ENDS: [c_int; 3] = [SIGTERM, SIGQUIT, SIGINT];
const HELD: [c_int; 6] = [SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGQUIT, SIGINT];

/// More than the metadata service, names, identity providers' keys and first probes may
/// take together.
const MOST: Duration = Duration::from_secs(15);
