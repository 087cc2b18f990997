//! The new process as the old one sees it. It is ended unless it was let serve.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    os::fd::{AsRawFd, OwnedFd},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    AdminSocket, UpgradeFailed, between,
    handover::{Handover, Line, Word, is_end, is_no_word},
    heir,
    starting::with_none_held,
};

/// A process that was started to follow this one.
pub(super) struct Successor {
    program: String,
    child: Child,
    /// Where it is the child's child; see `between`.
    grandchild: Option<u32>,
    line: Line,
    /// It takes clients' connections already.
    accepts: bool,
    serves: bool,
    /// Where the operators' socket is, beside which it may have left its own.
    admin_socket: Arc<AdminSocket>,
}

/// When to wait no more.
#[derive(Clone, Copy)]
pub(super) struct Stops<'a> {
    pub after: Duration,
    pub when: &'a dyn Fn() -> bool,
}

impl Successor {
    /// Starts it and tells it everything.
    pub fn start(
        mut command: Command,
        program: String,
        (told, sockets): (&Handover, &[OwnedFd]),
        admin_socket: Arc<AdminSocket>,
    ) -> Result<Self, UpgradeFailed> {
        let (mut line, input) = Line::pair().map_err(UpgradeFailed::Lost)?;
        command.stdin(Stdio::from(input)).env(heir::VARIABLE, "1");
        // They name this process, or what only it was given.
        for theirs in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"] {
            command.env_remove(theirs);
        }
        let child = match with_none_held(|| command.spawn()) {
            Ok(child) => child,
            Err(why) => return Err(UpgradeFailed::NotStarted(program, why)),
        };
        // The command holds the other end of the line, too.
        drop(command);
        let sockets: Vec<_> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
        let told = line.bequeath(told, &sockets);
        let (accepts, serves) = (false, false);
        let mut started = Self { program, child, grandchild: None, line, accepts, serves, admin_socket };
        match told {
            Ok(()) => Ok(started),
            Err(why) if is_end(&why) => Err(started.gone()),
            Err(why) => Err(UpgradeFailed::Lost(why)),
        }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.grandchild.unwrap_or_else(|| self.child.id())
    }

    /// Makes it the child of whoever takes orphans, which is systemd, if there is a
    /// process between the two. Its end is not seen from here any more.
    pub fn let_go(&mut self) {
        if self.grandchild.is_some() {
            let _ = self.child.kill();
            // An orphan is taken before its parent can be waited for.
            let _ = self.child.wait();
        }
    }

    /// Waits until it can serve. Returns the sockets that it took.
    pub fn ready(&mut self, stops: Stops<'_>) -> Result<Vec<SocketAddr>, UpgradeFailed> {
        let began = Instant::now();
        loop {
            if let Some(Word::Ready { pid, taken }) = self.heard(stops)? {
                self.grandchild = pid.filter(|pid| *pid != self.child.id());
                self.accepts = true;
                return Ok(taken);
            }
            if began.elapsed() > stops.after {
                return Err(UpgradeFailed::TimedOut(stops.after));
            }
        }
    }

    /// Waits for a while, in which it must not end.
    pub fn survives(&mut self, this_long: Duration, stops: Stops<'_>) -> Result<(), UpgradeFailed> {
        let until = Instant::now() + this_long;
        while Instant::now() < until {
            self.heard(stops)?;
        }
        Ok(())
    }

    /// What it said by now, if anything; an error when it ends, or this process does.
    fn heard(&mut self, stops: Stops<'_>) -> Result<Option<Word>, UpgradeFailed> {
        match self.line.hear(LOOK) {
            Ok(Word::Failed(why)) => Err(UpgradeFailed::Refused(why)),
            Ok(word @ Word::Ready { .. }) => Ok(Some(word)),
            Err(why) if is_end(&why) => Err(self.gone()),
            Err(why) if !is_no_word(&why) => Err(UpgradeFailed::Lost(why)),
            _ if (stops.when)() => Err(UpgradeFailed::Stopped),
            _ => Ok(None),
        }
    }

    /// Lets it serve; there is no way back. Returns when it says that it does, or when
    /// it takes too long to say so.
    ///
    /// # Errors
    /// When it ended instead: then it serves nobody.
    pub fn serve(&mut self, patience: Duration) -> Result<(), UpgradeFailed> {
        match self.line.send(&Word::Serve).and_then(|()| self.line.hear::<Word>(patience)) {
            Ok(_) => {}
            Err(why) if is_end(&why) => return Err(self.gone()),
            Err(why) => log::warn!("the new process does not say that it serves: error={why}"),
        }
        self.serves = true;
        Ok(())
    }

    /// Waits until it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.wait().ok()
    }

    /// It closed its end: how it ended.
    fn gone(&mut self) -> UpgradeFailed {
        match self.status() {
            Some(how) => UpgradeFailed::Ended(self.program.clone(), how),
            None => UpgradeFailed::Lost(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Keeps the line until the other end is closed. An end here would let the new
    /// process take what is still this one's: the sockets, and the operators' one.
    fn stay_there(&self) {
        let line = self.line.again();
        let stays = move || {
            let Ok(mut line) = line else { return };
            while line.hear::<Word>(SELDOM).err().is_none_or(|why| is_no_word(&why)) {}
        };
        if let Err(why) = std::thread::Builder::new().name("upgraded".into()).spawn(stays) {
            log::warn!("the new process is not waited for: error={why}");
        }
    }

    fn status(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + ENDS;
        while Instant::now() < until {
            match self.child.try_wait() {
                Ok(Some(how)) => return Some(how),
                Ok(None) => std::thread::sleep(LOOK),
                Err(_) => return None,
            }
        }
        None
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if self.serves {
            return;
        }
        let lives = matches!(self.child.try_wait(), Ok(None));
        if lives && self.accepts && signal(self.pid(), libc::SIGTERM) {
            // Clients are with it by now: it finishes its work, as this process does.
            return self.stay_there();
        }
        self.admin_socket.remove_beside(self.pid());
        if !lives {
            return;
        }
        // One between ends the other, and would leave it behind if it were killed.
        let told = between::is_wanted() && signal(self.child.id(), libc::SIGTERM) && self.status().is_some();
        if !told {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Has a process reload.
pub(super) fn hang_up(pid: u32) {
    signal(pid, libc::SIGHUP);
}

/// Has a process drain and end.
pub(super) fn terminate(pid: u32) {
    signal(pid, libc::SIGTERM);
}

/// Whether a process could be told.
fn signal(pid: u32, signal: libc::c_int) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return false };
    // SAFETY: a plain system call; the number is its own until it is waited for.
    unsafe { libc::kill(pid, signal) == 0 }
}

const LOOK: Duration = Duration::from_millis(20);

/// Between two looks at one that says no more.
const SELDOM: Duration = Duration::from_secs(10);

/// For a process that closed its end to end itself.
const ENDS: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_a_later_version_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let (admin_socket, _listening) = AdminSocket::bind(&folder.path().join("admin.sock")).unwrap();
        let (line, other) = Line::pair().unwrap();
        let mut next = Successor {
            program: "sleep".to_owned(),
            child: Command::new("sleep").arg("1000").spawn().unwrap(),
            grandchild: None,
            line,
            accepts: false,
            serves: false,
            admin_socket: Arc::new(admin_socket),
        };
        let mut new = Line::of(other);
        new.send(&serde_json::json!({ "weather": "fine" })).unwrap();
        new.send(&Word::Ready { pid: None, taken: vec![] }).unwrap();

        let ready = next.ready(Stops { after: Duration::from_secs(20), when: &|| false });

        assert_eq!(ready.map_err(|why| why.to_string()), Ok(vec![]));
    }
}
