//! The program of this process: the one that is installed now, and the one that runs.

use std::{
    env,
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::heir;

/// How this process was started.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where a newer version is put.
    path: PathBuf,
    /// Process 1 is it, or looks after it by its number alone: when it ends, so does
    /// the container or the service.
    pub(super) is_followed: bool,
    arguments: Vec<OsString>,
}

impl Program {
    /// Of this process; to be asked at its start, before the file changes.
    ///
    /// The path is the one that it was called by, not the file behind it: who
    /// switches a symbolic link means the new file.
    pub fn of_process() -> io::Result<Self> {
        let mut arguments = env::args_os();
        let called = arguments.next().map(PathBuf::from);
        let path = match called.filter(|path| path.components().count() > 1) {
            Some(path) => std::path::absolute(path)?,
            None => env::current_exe()?,
        };
        let of_init = std::process::id() == 1 || std::os::unix::process::parent_id() == 1;
        let is_told = env::var_os("NOTIFY_SOCKET").is_some() || env::var_os(heir::VARIABLE).is_some();
        Ok(Self { path, is_followed: of_init && !is_told, arguments: arguments.collect() })
    }

    /// What is at its path now, with the same arguments.
    pub(super) fn installed(&self) -> Command {
        self.command(&self.path)
    }

    /// What runs here, also when its file was replaced.
    pub(super) fn running(&self) -> Command {
        self.command(Path::new("/proc/self/exe"))
    }

    fn command(&self, program: &Path) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(program);
        command.arg0(&self.path).args(&self.arguments);
        command
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}
