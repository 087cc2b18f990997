//! A child process: what it wrote, how it ended.
//!
//! Always holds: it ends with its owner, also when the whole test process is
//! killed, and a failing test shows what it wrote to standard error.

use std::{
    io::Read,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{PATIENCE, eventually};

/// A running child.
pub struct Process {
    /// Its process id.
    pub pid: u32,
    child: Mutex<Child>,
    stdout: Captured,
    stderr: Captured,
    _stdin: Option<ChildStdin>,
    /// Whatever it starts ends with it.
    leads: bool,
}

impl Process {
    /// As [`spawn`](Self::spawn), for one that starts others which outlive it.
    pub fn spawn_leader(mut command: Command) -> Self {
        command.process_group(0);
        let mut process = Self::spawn(command);
        process.leads = true;
        process
    }

    /// Starts it with its standard streams captured. Its stdin stays open.
    pub fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        end_with_parent(&mut command);
        let mut child = command.spawn().unwrap();
        Self {
            pid: child.id(),
            stdout: Captured::of(child.stdout.take().unwrap()),
            stderr: Captured::of(child.stderr.take().unwrap()),
            _stdin: child.stdin.take(),
            child: Mutex::new(child),
            leads: false,
        }
    }

    /// What it wrote to standard output until now.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it wrote to standard error until now.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Sends a signal, as `libc::SIGTERM`.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.pid).unwrap();
        // SAFETY: a plain system call. The child is waited for only in `drop`
        // and in `ended`, so that the id is still its own or that of no process.
        unsafe { libc::kill(pid, signal) };
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    /// Waits until it has ended and all that it wrote was read.
    pub async fn wait_exit(&self, deadline: Duration) -> Exit {
        let status = eventually(deadline, || async { self.ended() }).await;
        eventually(deadline, || async { self.stdout.is_complete() && self.stderr.is_complete() }).await;
        Exit { code: status.code(), signal: status.signal(), stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.leads {
            let group = i32::try_from(self.pid).unwrap();
            // SAFETY: a plain system call. Nobody else's group can have the number while
            // one of ours is in it, and no other process here takes a number so soon.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
        if std::thread::panicking() {
            eprintln!("--- standard error of process {}:\n{}---", self.pid, self.stderr.text());
        }
    }
}

/// How a process ended.
#[derive(Clone, Debug)]
pub struct Exit {
    /// `None`: by a signal.
    pub code: Option<i32>,
    /// `None`: by itself.
    pub signal: Option<i32>,
    /// All of it.
    pub stdout: String,
    /// All of it.
    pub stderr: String,
}

impl Exit {
    /// Runs a command to its end; panics when it has none.
    pub async fn of(command: Command) -> Self {
        let mut command = tokio::process::Command::from(command);
        let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await;
        let output = output.unwrap_or_else(|_| panic!("it goes on: {command:?}")).unwrap();
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Everything that came out of a pipe. A thread reads it, so that a child never
/// waits for a test that is busy.
struct Captured(Arc<Mutex<(Vec<u8>, Ended)>>);

type Ended = bool;

impl Captured {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let seen = Arc::new(Mutex::new((Vec::new(), false)));
        let writes = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut piece = [0; 8192];
            while let Ok(read @ 1..) = pipe.read(&mut piece) {
                writes.lock().unwrap().0.extend_from_slice(&piece[..read]);
            }
            writes.lock().unwrap().1 = true;
        });
        Self(seen)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap().0).into_owned()
    }

    fn is_complete(&self) -> bool {
        self.0.lock().unwrap().1
    }
}

/// The kernel ends the child when this test's thread is gone: a test run that
/// is killed leaves nothing behind.
/// Lets it have so many files open, and no more.
pub fn limit_open_files(command: &mut Command, most: u64) {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    let ask = move || {
        // SAFETY: a plain system call that reads one struct.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
        Ok(())
    };
    // SAFETY: as in `end_with_parent`.
    unsafe { command.pre_exec(ask) };
}

fn end_with_parent(command: &mut Command) {
    let ask = || {
        // SAFETY: a plain system call with constant arguments.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes one system call; it
    // touches no memory and takes no lock.
    unsafe { command.pre_exec(ask) };
}
