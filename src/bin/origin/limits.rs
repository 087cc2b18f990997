//! The process's own limits.
//!
//! Owns the number of open files. Thousands of connections are the normal case
//! here, and the soft limit of most shells is 1024.

/// Raises the soft limit of open files to the hard limit. Does nothing when the
/// system refuses: the process then serves as many connections as it may.
pub fn raise_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read or write the one struct that they are given.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}
