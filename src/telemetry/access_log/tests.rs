//! The access log through its front door: files that work, fail, move away.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Instant, SystemTime},
};

use serde_json::Value;

use super::*;

const SOON: Duration = Duration::from_secs(20);

fn open(path: &Path, queue: u32) -> (AccessLog, Arc<Metrics>) {
    let metrics = Metrics::new().unwrap();
    let spec = AccessLogSpec { path: path.to_str().unwrap().to_owned(), queue };
    (AccessLog::open(&spec, &metrics).unwrap(), metrics)
}

fn write(log: &AccessLog, id: &str) {
    log.write(&Line {
        time: SystemTime::UNIX_EPOCH,
        request_id: id.as_bytes(),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
        client: [203, 0, 113, 7].into(),
        listener: "public",
        protocol: "HTTP/1.1",
        tls: None,
        server_name: None,
        method: "GET",
        host: b"api.example.com",
        path: b"/",
        route: None,
        upstream: None,
        endpoint: None,
        zone: None,
        attempts: 0,
        reused: None,
        status: 404,
        flag: Some("no_route"),
        error: None,
        bytes_in: 0,
        bytes_out: 0,
        duration: Duration::ZERO,
        upstream_connect: None,
        upstream_first_byte: None,
        user_agent: None,
        generation: 1,
    });
}

/// The ids in a file, each from a whole line.
fn ids(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let parsed = text.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    parsed.map(|line| line["request_id"].as_str().unwrap().to_owned()).collect()
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < SOON, "never: {what}");
        thread::yield_now();
    }
}

#[test]
fn lines_of_many_threads_arrive_whole_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (log, metrics) = open(&path, 65_536);

    thread::scope(|scope| {
        for writer in 0..8 {
            let log = &log;
            scope.spawn(move || (0..500).for_each(|nth| write(log, &format!("{writer}-{nth}"))));
        }
    });
    assert!(log.close(SOON));

    let mut seen = ids(&path);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 4_000);
    assert_eq!(metrics.access_log_dropped().get(), 0);
}

#[test]
fn a_line_arrives_without_more_lines_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (log, _) = open(&path, 1_000);

    write(&log, "alone");

    eventually("the line is in the file", || ids(&path) == ["alone"]);
}

#[test]
fn a_full_queue_drops_and_counts_while_the_file_takes_nothing() {
    let (log, metrics) = open(Path::new("/dev/full"), 100);
    let dropped = metrics.access_log_dropped();

    let begun = Instant::now();
    (0..10_000).for_each(|nth| write(&log, &nth.to_string()));
    let took = begun.elapsed();

    // What is neither dropped nor in the queue is in the writer's hand: one batch.
    assert!((9_800..=9_900).contains(&dropped.get()), "{}", dropped.get());
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(log.close(SOON));
    assert_eq!(dropped.get(), 10_000);
}

#[test]
fn lines_after_the_close_are_counted_and_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (log, metrics) = open(&path, 100);

    write(&log, "before");
    assert!(log.close(SOON));
    write(&log, "after");

    assert_eq!(ids(&path), ["before"]);
    assert_eq!(metrics.access_log_dropped().get(), 1);
}

#[test]
fn every_line_is_written_or_counted_when_the_close_meets_busy_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (log, metrics) = open(&path, 100_000);

    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..5_000).for_each(|_| write(&log, "x")));
        }
        assert!(log.close(SOON));
    });

    assert_eq!(ids(&path).len() as u64 + metrics.access_log_dropped().get(), 20_000);
}

#[test]
fn a_moved_file_is_left_behind_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let (log, _) = open(&path, 100);
    write(&log, "old");
    eventually("the old file has its line", || ids(&path) == ["old"]);

    fs::rename(&path, &moved).unwrap();
    log.reopen();
    eventually("there is a new file", || path.exists());
    write(&log, "new");
    assert!(log.close(SOON));

    assert_eq!(ids(&moved), ["old"]);
    assert_eq!(ids(&path), ["new"]);
}

#[test]
fn a_line_torn_by_the_process_before_does_not_spoil_the_first_of_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    fs::write(&path, "{\"request_id\":\"to").unwrap();
    let (log, _) = open(&path, 100);

    write(&log, "whole");
    assert!(log.close(SOON));

    let text = fs::read_to_string(&path).unwrap();
    let (torn, rest) = text.split_once('\n').unwrap();
    assert_eq!(torn, "{\"request_id\":\"to");
    assert_eq!(serde_json::from_str::<Value>(rest).unwrap()["request_id"], "whole");
}

#[test]
fn a_log_that_is_off_takes_everything_and_keeps_nothing() {
    let (log, metrics) = open(Path::new("off"), 1);

    write(&log, "x");

    assert!(!log.is_on());
    assert!(log.close(Duration::ZERO));
    assert_eq!(metrics.access_log_dropped().get(), 0);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_once() {
    let metrics = Metrics::new().unwrap();
    let spec = AccessLogSpec { path: "/nowhere/access.log".into(), queue: 1 };

    assert_eq!(AccessLog::open(&spec, &metrics).err().map(|e| e.kind()), Some(io::ErrorKind::NotFound));
}

#[test]
fn a_queue_of_none_still_holds_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let (log, _) = open(&path, 0);

    write(&log, "one");

    eventually("the line is in the file", || ids(&path) == ["one"]);
}
