//! The new process of an upgrade, until it is the main one.
//!
//! Always holds: when the old process is gone before it said anything, the new one
//! serves: somebody has to.

use std::{
    env, fmt, io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use super::{
    Found, between,
    handover::{Handover, Line, Word, is_end, is_no_word},
};

/// The new process's side of a hand-over.
#[derive(Debug)]
pub struct Heir {
    line: Line,
}

/// A hand-over that cannot be read. Nothing was started.
#[derive(Debug)]
pub struct NoHandover(io::Error);

impl fmt::Display for NoHandover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{VARIABLE} is set, but standard input is no gateway that hands over: {}; unset it, and write \
             `tollgate upgrade` to replace a running gateway",
            self.0
        )
    }
}

impl std::error::Error for NoHandover {}

impl Heir {
    /// What the process before tells, if it started this one.
    ///
    /// To be called while there is one thread.
    pub fn of_environment() -> Result<Option<(Self, Handover, Vec<Found>)>, NoHandover> {
        if env::var_os(VARIABLE).is_none() {
            return Ok(None);
        }
        if between::is_wanted() {
            between::step_behind().map_err(NoHandover)?;
        }
        let heard = line().and_then(|mut line| Ok((line.inherit(PATIENCE)?, line)));
        let ((told, fds), line) = match heard {
            Ok(heard) => heard,
            Err(why) if is_end(&why) => {
                log::warn!("the old process ended before it handed over; starting without it");
                return Ok(None);
            }
            Err(why) => return Err(NoHandover(why)),
        };
        let found = Found::of_process(&told.sockets, fds);
        Ok(Some((Self { line }, told, found)))
    }

    /// Tells the old process why this one ends.
    pub fn failed(&mut self, why: &str) {
        // Gone too: nobody is left to tell.
        let _ = self.line.send(&Word::Failed(why.to_owned()));
    }

    /// Says that it can serve, then waits to be the main process. False when the old one
    /// is gone and said nothing.
    pub fn await_turn(&mut self, taken: Vec<SocketAddr>) -> bool {
        let mut heard = self.line.send(&Word::Ready { pid: Some(std::process::id()), taken });
        while heard.as_ref().err().is_none_or(is_no_word) {
            match self.line.hear::<Word>(PATIENCE) {
                Ok(Word::Serve) => return true,
                Ok(_) => {}
                Err(why) => heard = Err(why),
            }
        }
        false
    }

    /// Tells the old process that this one is the main one now.
    pub fn serving(&mut self) {
        let _ = self.line.send(&Word::Serving);
    }
}

/// Standard input, which is nothing afterwards.
fn line() -> io::Result<Line> {
    let input = io::stdin();
    let line = Line::of(input.as_fd().try_clone_to_owned()?);
    let nothing = std::fs::File::open("/dev/null")?;
    // SAFETY: both are descriptors of this process, and nobody reads the input.
    match unsafe { libc::dup2(nothing.as_raw_fd(), input.as_raw_fd()) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(line),
    }
}

/// Says that standard input is a hand-over.
pub(super) const VARIABLE: &str = "TOLLGATE_HANDOVER";

/// Between two looks; for what the old process says at once.
const PATIENCE: Duration = Duration::from_secs(10);
