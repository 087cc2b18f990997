//! The process log: what happened to the process, for people at a terminal and
//! for the journal.
//!
//! Owns where it goes, how a line looks and what is left out: Pingora's lines
//! about single clients, which the gateway counts by reason instead, and floods
//! from one place in the code. Does not own the access log, which is data.

mod flood;
mod format;
mod panic;

pub use panic::install_panic_hook;

use std::{
    env, fs,
    io::{self, IsTerminal},
    os::unix::fs::MetadataExt,
    time::{Instant, SystemTime},
};

use env_logger::{Builder, Target};
use log::{Level, LevelFilter};

use self::{
    flood::{Flood, Verdict},
    format::Style,
};

/// Sends `log`'s lines to standard error, from `info` up.
///
/// `TOLLGATE_LOG` says otherwise, in `env_logger`'s words
/// (`debug,pingora_core=info`); a level given here goes over its general level.
/// A second call changes nothing.
pub fn init(level: Option<LevelFilter>) {
    let filters = env::var("TOLLGATE_LOG").unwrap_or_default();
    let style = style();
    let flood = Flood::default();
    let begun = Instant::now();
    let mut builder = builder(&filters, level);
    builder.target(Target::Stderr).format(move |out, record| {
        let left_out = match record.level() {
            // Asked for, so wanted whole.
            Level::Debug | Level::Trace => 0,
            _ => match flood.admit(flood::place(record), begun.elapsed()) {
                Verdict::Write { left_out } => left_out,
                Verdict::LeaveOut => return Ok(()),
            },
        };
        let color = out.default_level_style(record.level());
        format::write(out, (style, color), record, SystemTime::now(), left_out)
    });
    // It fails if there is a logger already; that one stays.
    builder.try_init().ok();
}

fn builder(filters: &str, level: Option<LevelFilter>) -> Builder {
    let mut builder = Builder::new();
    builder.parse_filters(DEFAULT_FILTERS);
    if !filters.is_empty() {
        builder.parse_filters(filters);
    }
    if let Some(level) = level {
        builder.filter_level(level);
    }
    builder
}

fn style() -> Style {
    let stderr = fs::metadata("/proc/self/fd/2").ok().map(|file| (file.dev(), file.ino()));
    match env::var("JOURNAL_STREAM") {
        _ if io::stderr().is_terminal() => Style::Terminal,
        Ok(stream) if is_same_stream(&stream, stderr) => Style::Journal,
        _ => Style::Plain,
    }
}

/// Whether `JOURNAL_STREAM` (`device:inode`) is about this file. Children
/// inherit the variable even when their output goes elsewhere.
fn is_same_stream(journal: &str, file: Option<(u64, u64)>) -> bool {
    let parsed = journal.split_once(':').map(|(device, inode)| (device.parse().ok(), inode.parse().ok()));
    file.is_some_and(|(device, inode)| parsed == Some((Some(device), Some(inode))))
}

/// Pingora logs each client's faults as errors, one line each: whoever connects
/// could fill the disk. The gateway counts them by reason. It calls a pooled connection
/// that its own watcher still holds an error too; another one is made. And `redis` logs every try
/// to connect, of which the store's own lines tell the first and the last.
const DEFAULT_FILTERS: &str = "info,pingora=warn,pingora_proxy=off,pingora_core::protocols=off,\
    pingora_core::apps=off,pingora_core::connectors=off,pingora_core::services=warn,redis=off";

#[cfg(test)]
mod tests {
    use log::Record;

    use super::*;

    fn shows(filters: &str, level: Option<LevelFilter>, target: &str, at: Level) -> bool {
        let logger = builder(filters, level).build();
        logger.matches(&Record::builder().target(target).level(at).build())
    }

    #[test]
    fn by_default_our_own_information_shows_and_pingoras_talk_of_clients_does_not() {
        let shows = |target, at| shows("", None, target, at);

        assert!(shows("tollgate::edge", Level::Info));
        assert!(!shows("tollgate::edge", Level::Debug));
        assert!(!shows("pingora_proxy", Level::Error));
        assert!(!shows("pingora_core::protocols::http", Level::Error));
        assert!(!shows("pingora_core::apps", Level::Error));
        assert!(!shows("pingora_core::connectors", Level::Error));
        assert!(shows("pingora_core::services::listening", Level::Warn));
        assert!(shows("pingora_core::server", Level::Warn));
        assert!(!shows("pingora_core::server", Level::Info));
        assert!(!shows("pingora_pool", Level::Info));
    }

    #[test]
    fn the_variable_opens_what_it_names_and_nothing_else() {
        assert!(shows("debug", None, "tollgate::edge", Level::Debug));
        assert!(!shows("debug", None, "pingora_proxy", Level::Error));
        assert!(shows("pingora_proxy=debug", None, "pingora_proxy", Level::Debug));
        assert!(shows("pingora_proxy=debug", None, "tollgate::edge", Level::Info));
        assert!(!shows("warn", None, "tollgate::edge", Level::Info));
    }

    #[test]
    fn a_level_given_goes_over_the_variables() {
        assert!(shows("error", Some(LevelFilter::Debug), "tollgate", Level::Debug));
        assert!(shows("error,tollgate::tls=trace", Some(LevelFilter::Warn), "tollgate::tls", Level::Trace));
    }

    #[test]
    fn the_journal_is_known_by_its_own_file_only() {
        assert!(is_same_stream("9:4711", Some((9, 4711))));
        assert!(!is_same_stream("9:4711", Some((9, 4712))));
        assert!(!is_same_stream("9:4711", None));
        assert!(!is_same_stream("x:y", Some((9, 4711))));
        assert!(!is_same_stream("", Some((0, 0))));
    }
}
