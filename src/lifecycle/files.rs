//! Open files: how many connections they are enough for.
//!
//! Without a descriptor left the process can neither accept nor connect: the
//! caps refuse before that, so that who was let in is served.

use std::fs;

use log::Level;

use crate::config::server::ConnectionsSpec;

/// How many connections this process may have, of those that the configuration
/// wants. It is told when they are fewer; to lower a cap that nobody wrote is no
/// fault of anybody's.
pub fn most_connections(wanted: u32) -> u32 {
    let Some(files) = open_files() else { return u32::MAX };
    let most = connections_for(files);
    if most < wanted {
        let level = if wanted == ConnectionsSpec::default().max { Level::Info } else { Level::Warn };
        log::log!(
            level,
            "open files are enough for fewer connections: connections={most} connections_max={wanted} \
             open_files={files}; write `LimitNOFILE={}` or `max: {most}`",
            files_for(wanted)
        );
    }
    most
}

/// How many files this process may have open; `None` when the system does not say.
fn open_files() -> Option<u64> {
    soft_limit(&fs::read_to_string("/proc/self/limits").ok()?)
}

/// How many clients' connections so many files are enough for: each may need one
/// more to an endpoint.
fn connections_for(files: u64) -> u32 {
    let connections = files.saturating_sub(RESERVE) / 2;
    u32::try_from(connections).unwrap_or(u32::MAX).max(1)
}

/// How many files so many clients' connections need.
fn files_for(connections: u32) -> u64 {
    u64::from(connections) * 2 + RESERVE
}

fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// How many connections each of the ports of load balancers and scrapers may have.
pub const PRIVATE_CONNECTIONS: usize = 64;

/// For the process itself: libraries, logs, event queues of each thread, listeners, the
/// admin socket and the connections by which it sees whether its workers work; and for
/// readiness and metrics.
const RESERVE: u64 = 128 + 2 * PRIVATE_CONNECTIONS as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max processes             63432                63432                processes \n\
            Max open files            1024                 524288               files     \n";

        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(soft_limit("Max open files unlimited unlimited files"), Some(u64::MAX));
        assert_eq!(soft_limit(""), None);
        assert!(open_files().is_some_and(|files| files > 0));
    }

    #[test]
    fn each_connection_has_a_second_file_and_the_process_its_own() {
        assert_eq!(connections_for(1024), 384);
        assert_eq!(connections_for(10), 1);
        assert_eq!(connections_for(u64::MAX), u32::MAX);
        assert_eq!(connections_for(files_for(50_000)), 50_000);
    }
}
