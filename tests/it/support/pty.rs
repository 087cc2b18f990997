//! A command on a terminal of its own: what it draws, and keys that are pressed.

use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsRawFd, FromRawFd},
        unix::process::CommandExt,
    },
    process::{Child, Command, Stdio},
    ptr,
    sync::{Arc, Mutex},
};

use super::{PATIENCE, eventually};

/// A running command and its terminal. It ends with this value.
pub struct Pty {
    child: Mutex<Child>,
    keys: File,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Pty {
    /// Starts it, with the terminal as its standard streams.
    pub fn spawn(mut command: Command, (columns, rows): (u16, u16)) -> Self {
        let (mut ours, mut theirs) = (0, 0);
        let size = winsize(columns, rows);
        // SAFETY: both numbers and the size outlive the call; the null pointers ask for
        // no name and for the usual modes.
        let made = unsafe { libc::openpty(&mut ours, &mut theirs, ptr::null_mut(), ptr::null(), &size) };
        assert_eq!(made, 0);
        // SAFETY: both were just made and belong to nobody else.
        let (ours, theirs) = unsafe { (File::from_raw_fd(ours), File::from_raw_fd(theirs)) };
        let end = || Stdio::from(theirs.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "xterm");
        let own = || {
            // SAFETY: plain system calls in the child, between fork and exec: a session
            // of its own, whose terminal is standard input, and an end with its parent.
            unsafe {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            }
            Ok(())
        };
        // SAFETY: `own` touches no memory and takes no lock.
        unsafe { command.pre_exec(own) };
        let child = command.spawn().unwrap();
        let seen = Arc::<Mutex<Vec<u8>>>::default();
        let (mut screen, writes) = (ours.try_clone().unwrap(), seen.clone());
        std::thread::spawn(move || {
            let mut piece = [0; 8192];
            while let Ok(read @ 1..) = screen.read(&mut piece) {
                writes.lock().unwrap().extend_from_slice(&piece[..read]);
            }
        });
        Self { child: Mutex::new(child), keys: ours, seen }
    }

    /// Everything that it wrote until now.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    /// The lines of the last whole picture, without colours; none before the first.
    pub fn picture(&self) -> Vec<String> {
        let written = self.written();
        // Each begins at the corner, and ends by clearing what is below.
        let Some((before, _)) = written.rsplit_once("\x1b[K\x1b[J") else { return Vec::new() };
        let picture = before.rsplit("\x1b[H").next().unwrap();
        // The terminal makes two of each return.
        picture.split("\x1b[K\r\r\n").map(without_colours).collect()
    }

    /// The last picture that has this text.
    pub async fn shows(&self, text: &str) -> Vec<String> {
        let has = |picture: &Vec<String>| picture.iter().any(|line| line.contains(text));
        let look = super::within(PATIENCE, || async { Some(self.picture()).filter(has) }).await;
        look.unwrap_or_else(|| panic!("`{text}` is not to be seen in {:#?}", self.picture()))
    }

    /// Presses a key, as `\x03` for Ctrl-C.
    pub fn press(&self, key: u8) {
        (&self.keys).write_all(&[key]).unwrap();
    }

    /// Makes the terminal another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = winsize(columns, rows);
        // SAFETY: reads one struct that outlives the call.
        let done = unsafe { libc::ioctl(self.keys.as_raw_fd(), libc::TIOCSWINSZ, &size) };
        assert_eq!(done, 0);
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.lock().unwrap().id().try_into().unwrap()
    }

    /// Waits until it has ended; its exit code.
    pub async fn ended(&self) -> Option<i32> {
        eventually(PATIENCE, || async { self.child.lock().unwrap().try_wait().unwrap() }).await.code()
    }

    /// Whether it goes on.
    pub fn is_running(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_none()
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn winsize(columns: u16, rows: u16) -> libc::winsize {
    libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn without_colours(line: &str) -> String {
    let mut pieces = line.split("\x1b[");
    let first = pieces.next().unwrap().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once('m').map_or("", |(_, text)| text))
}
