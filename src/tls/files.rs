//! Reads the PEM files that a TLS section names.
//!
//! Owns the problems that a file has before anything in it is looked at:
//! missing, unreadable, empty. What is in it is `pair`'s and `authorities`'.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::config::{Problems, Source};

/// Where files are and what time it is, while one configuration is built.
#[derive(Clone, Copy)]
pub(super) struct Files<'a> {
    /// A path of the configuration as a path of the file system.
    pub resolve: &'a dyn Fn(&Path) -> PathBuf,
    /// Against which validity is judged.
    pub now: SystemTime,
}

impl Files<'_> {
    /// The content of a file, and where it was; never empty. `what` says in a
    /// problem what belongs into it.
    pub fn read(&self, path: &Path, what: &str, source: &Source, problems: &mut Problems) -> Option<PemFile> {
        let path = (self.resolve)(path);
        match fs::read(&path) {
            Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => {
                problems.error(source, format!("`{}` is empty; write {what} into it", path.display()));
                None
            }
            Ok(bytes) => Some(PemFile { path, bytes }),
            Err(error) => {
                problems.error(source, unreadable(&path, what, &error));
                None
            }
        }
    }
}

/// A file that was read.
pub(super) struct PemFile {
    /// Where it is.
    pub path: PathBuf,
    /// All of it.
    pub bytes: Vec<u8>,
}

impl PemFile {
    /// Whether it holds a private key and no certificate.
    pub fn is_key(&self) -> bool {
        self.contains(PRIVATE_KEY) && !self.contains(CERTIFICATE)
    }

    /// Whether it holds certificates and no private key.
    pub fn is_chain(&self) -> bool {
        self.contains(CERTIFICATE) && !self.contains(PRIVATE_KEY)
    }

    /// Whether a text occurs in it.
    pub fn contains(&self, text: &str) -> bool {
        self.bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

fn unreadable(path: &Path, what: &str, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => format!("`{path}` does not exist; write the path of {what}"),
        io::ErrorKind::PermissionDenied => {
            format!("`{path}` may not be read by the gateway's user; give that user or its group the right")
        }
        io::ErrorKind::IsADirectory => format!("`{path}` is a folder; write the path of {what}"),
        _ => format!("`{path}` cannot be read ({error}); write the path of {what}"),
    }
}

/// Behind any of its kinds.
const PRIVATE_KEY: &str = "PRIVATE KEY-----";
const CERTIFICATE: &str = "BEGIN CERTIFICATE-----";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_not_be_read_is_told_as_that() {
        let told = |kind: io::ErrorKind| unreadable(Path::new("/a.key"), "a key", &kind.into());

        assert_eq!(
            told(io::ErrorKind::PermissionDenied),
            "`/a.key` may not be read by the gateway's user; give that user or its group the right"
        );
        assert_eq!(
            told(io::ErrorKind::TimedOut),
            "`/a.key` cannot be read (timed out); write the path of a key"
        );
    }
}
