//! By what a file is told from what it was, without reading it.
//!
//! A file that is renamed into place, one that is written where it is, and a link
//! whose target is swapped, all have another stamp than before.

use std::{io, os::unix::fs::MetadataExt, path::Path};

/// What `stat` says of a file; equal stamps mean that it was not touched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stamp {
    /// It is there.
    #[allow(missing_docs)]
    File { device: u64, inode: u64, size: u64, changed: (i64, i64), written: (i64, i64) },
    /// It cannot be looked at.
    None(io::ErrorKind),
}

impl Stamp {
    /// Of a file, or of the one that a link leads to, as it is now.
    pub fn of(path: &Path) -> Self {
        match std::fs::metadata(path) {
            Ok(about) => Self::File {
                device: about.dev(),
                inode: about.ino(),
                size: about.size(),
                changed: (about.ctime(), about.ctime_nsec()),
                written: (about.mtime(), about.mtime_nsec()),
            },
            Err(why) => Self::None(why.kind()),
        }
    }
}
