//! The operator's socket: a file that the next process takes over by renaming its own
//! in its place, so that a command always finds somebody.

use std::{
    fs,
    io::{self, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use super::sockets::BindError;

/// Where operators reach this process.
#[derive(Debug)]
pub struct AdminSocket {
    path: PathBuf,
    bound: PathBuf,
    /// Device and number of the file: another process may take the name.
    file: (u64, u64),
}

impl AdminSocket {
    /// Binds it with mode 0600, in the place of a dead one. A live one is another
    /// gateway's and stays.
    pub fn bind(path: &Path) -> Result<(Self, OwnedFd), BindError> {
        let failed = |cause| BindError::new(path.display(), cause);
        if is_answered(path) {
            return Err(failed(io::ErrorKind::AddrInUse.into()));
        }
        if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            fs::remove_file(path).map_err(failed)?;
        }
        Self::bind_at(path, path.to_owned()).map_err(failed)
    }

    /// Binds it beside a live one, whose place it takes [later](Self::take_place).
    pub fn bind_beside(path: &Path) -> Result<(Self, OwnedFd), BindError> {
        let failed = |cause| BindError::new(path.display(), cause);
        remove_dead_beside(path);
        Self::bind_at(path, beside(path, std::process::id())).map_err(failed)
    }

    fn bind_at(path: &Path, bound: PathBuf) -> io::Result<(Self, OwnedFd)> {
        let listener = UnixListener::bind(&bound)?;
        fs::set_permissions(&bound, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let file = identity(&bound)?;
        Ok((Self { path: path.to_owned(), bound, file }, listener.into()))
    }

    /// Whether any process answers commands.
    pub fn is_answered(&self) -> bool {
        is_answered(&self.path)
    }

    /// Whether this process answers commands. Before it does, the file has to stay where
    /// it was bound: Pingora looks at it once more.
    pub fn answers(&self, patience: Duration) -> bool {
        let asked = UnixStream::connect(&self.bound).and_then(|mut stream| {
            stream.set_read_timeout(Some(patience))?;
            stream.write_all(b"HEAD / HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")?;
            stream.read(&mut [0])
        });
        matches!(asked, Ok(1))
    }

    /// The file that it was bound to.
    pub fn bound(&self) -> &Path {
        &self.bound
    }

    /// From now on commands come here. Who is with the old one is served there.
    pub fn take_place(&self) -> io::Result<()> {
        if self.bound == self.path { Ok(()) } else { fs::rename(&self.bound, &self.path) }
    }

    /// Takes away what a process that was ended has left beside it.
    pub(super) fn remove_beside(&self, pid: u32) {
        let _ = fs::remove_file(beside(&self.path, pid));
    }

    /// Takes the file away if it is this process's, so that a command says "nothing
    /// listens" at once.
    pub fn remove(&self) {
        for path in [&self.path, &self.bound] {
            if identity(path).is_ok_and(|file| file == self.file) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn beside(path: &Path, pid: u32) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{pid}"));
    beside.into()
}

/// Takes away what processes have left that never served: whoever ended them may not have
/// known their numbers.
fn remove_dead_beside(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (found, name) = (file.file_name(), name.as_encoded_bytes());
        let rest = found.as_encoded_bytes().strip_prefix(name).and_then(|rest| rest.strip_prefix(b"."));
        let is_beside = rest.is_some_and(|pid| !pid.is_empty() && pid.iter().all(u8::is_ascii_digit));
        let is_socket = file.file_type().is_ok_and(|kind| kind.is_socket());
        if is_beside && is_socket && !is_answered(&file.path()) {
            let _ = fs::remove_file(file.path());
        }
    }
}

fn is_answered(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_socket_file_gives_way_and_a_live_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let first = UnixListener::bind(&path).unwrap();
        assert!(AdminSocket::bind(&path).is_err());

        drop(first);

        assert!(AdminSocket::bind(&path).is_ok());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_processes_left_that_never_served_is_taken_away_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let (path, mine) = (file("admin.sock"), format!("admin.sock.{}", std::process::id()));
        let dead = ["admin.sock.7", "admin.sock.71", &mine];
        dead.iter().for_each(|name| drop(UnixListener::bind(file(name)).unwrap()));
        let others = ["admin.sock.old", "other.sock.7"];
        others.iter().for_each(|name| drop(UnixListener::bind(file(name)).unwrap()));
        fs::write(file("admin.sock.72"), "").unwrap();
        let _alive = UnixListener::bind(file("admin.sock.73")).unwrap();

        let (new, _listening) = AdminSocket::bind_beside(&path).unwrap();

        let left = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name());
        let mut left: Vec<_> = left.map(|name| name.into_string().unwrap()).collect();
        left.sort();
        let mut expected = [&others[..], &["admin.sock.72", "admin.sock.73", &mine]].concat();
        expected.sort();
        assert_eq!(left, expected);
        assert!(new.answers(Duration::ZERO) || is_answered(&file(&mine)));
    }

    #[test]
    fn the_next_process_takes_the_place_and_the_old_one_leaves_it_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let (old, _listening) = AdminSocket::bind(&path).unwrap();
        let (new, _) = AdminSocket::bind_beside(&path).unwrap();
        assert_eq!(identity(&path).unwrap(), old.file);

        new.take_place().unwrap();
        old.remove();

        assert_eq!(identity(&path).unwrap(), new.file);
        new.remove();
        assert!(!path.exists() && !new.bound.exists());
    }
}
