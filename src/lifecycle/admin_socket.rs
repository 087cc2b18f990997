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
        let beside = beside(path, std::process::id());
        // Left over from a process of the same number.
        let _ = fs::remove_file(&beside);
        Self::bind_at(path, beside).map_err(failed)
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
