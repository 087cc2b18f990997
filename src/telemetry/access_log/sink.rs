//! Where the access log goes: a file or standard output.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::PathBuf,
};

/// An open place to append to.
pub(super) struct Sink {
    file: File,
    /// `None` is standard output.
    path: Option<PathBuf>,
    /// Whether what stands there ends in the middle of a line: the process
    /// before was killed, or its disk was full.
    is_torn: bool,
}

impl Sink {
    /// Opens what the operator wrote: `-`, `off` (which is `None`) or a file,
    /// which is made if missing, for owner and group to read.
    pub(super) fn open(path: &str) -> io::Result<Option<Self>> {
        match path {
            "off" => Ok(None),
            "-" => {
                // Not `io::stdout()`: its buffer would keep the end of a batch.
                let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                Ok(Some(Self { file, path: None, is_torn: false }))
            }
            file => Self::append(PathBuf::from(file)).map(Some),
        }
    }

    fn append(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(&path)?;
        // Only a regular file has an end; reading from a pipe would take from it.
        let is_torn = file.metadata()?.is_file() && last_byte(&path).is_ok_and(|byte| byte != b'\n');
        Ok(Self { file, path: Some(path), is_torn })
    }

    /// The same place anew; `None` if there is nothing to open again.
    pub(super) fn reopened(&self) -> Option<io::Result<Self>> {
        self.path.clone().map(Self::append)
    }

    /// Whether a line feed is missing at the end.
    pub(super) fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// What logs call it.
    pub(super) fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| "-".to_owned(), |path| path.display().to_string())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn last_byte(path: &PathBuf) -> io::Result<u8> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    let [byte] = byte;
    Ok(byte)
}
