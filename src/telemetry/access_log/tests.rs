//! The access log through its front door: files that work, fail, move away.

use std::{
    fs,
    os::fd::AsRawFd,
    path::Path,
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::HeaderValue;
use serde_json::Value;

use super::*;
use crate::telemetry::{ConfigMark, RequestId, TraceContext, queue::Batch};

const SOON: Duration = Duration::from_secs(20);

fn open(path: &Path, queue: u32) -> (AccessLog, Arc<Metrics>) {
    let metrics = Metrics::new().unwrap();
    let spec = AccessLogSpec { path: path.to_str().unwrap().to_owned(), queue };
    (AccessLog::open(&spec, &metrics).unwrap(), metrics)
}

fn write(log: &AccessLog, id: &str) {
    write_path(log, id, "/");
}

fn write_path(log: &AccessLog, id: &str, path: &str) {
    with_line(id, path, |line| log.write(line));
}

fn with_line<T>(id: &str, path: &str, take: impl FnOnce(&Line) -> T) -> T {
    let id = HeaderValue::from_str(id).unwrap();
    take(&Line {
        time: SystemTime::UNIX_EPOCH,
        request_id: &RequestId::choose(Some(&id), true, [0; 16]),
        trace: &TraceContext::new(None, None, SystemTime::UNIX_EPOCH, [0; 12]),
        client: [203, 0, 113, 7].into(),
        peer: None,
        vpc_endpoint: None,
        tenant: None,
        listener: "public",
        protocol: "HTTP/1.1",
        tls: None,
        server_name: None,
        method: "GET",
        host: b"api.example.com",
        path: path.as_bytes(),
        route: None,
        upstream: None,
        endpoint: None,
        zone: None,
        signer: None,
        attempts: 0,
        reused: None,
        status: 404,
        flag: Some("no_route"),
        limit: None,
        consumer: None,
        authenticator: None,
        credential: None,
        rule: None,
        would_refuse: &[],
        error: None,
        bytes_in: 0,
        bytes_out: 0,
        duration: Duration::ZERO,
        upstream_connect: None,
        upstream_first_byte: None,
        user_agent: None,
        configuration: &ConfigMark::new(1, ""),
    })
}

/// The ids in a file, each from a whole line.
/// Of the lines that are whole: the last one may be half written.
fn ids(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let parsed = whole.map(|line| serde_json::from_str::<Value>(line).expect(line));
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
fn one_thread_may_fill_the_whole_queue_and_wakes_the_writer_half_way() {
    let metrics = Metrics::new().unwrap();
    let queue = Queue::new(64, metrics.access_log_dropped());

    let pushed: Vec<_> =
        (0..100).map(|_| with_line("x", "/", |line| queue.push(1, |out| line.render(out)))).collect();

    let count = |what| pushed.iter().filter(|p| **p == what).count();
    assert_eq!(count(Push::Dropped), 36);
    // Once for each shard.
    assert!((1..=8).contains(&count(Push::TakenAndHalfFull)), "{pushed:?}");
    assert_eq!(metrics.access_log_dropped().get(), 36);
}

#[test]
fn the_writer_is_woken_each_time_the_queue_fills_again() {
    let metrics = Metrics::new().unwrap();
    let (queue, mut batch) = (Queue::new(8, metrics.access_log_dropped()), Batch::default());

    for _ in 0..5 {
        let pushed: Vec<_> =
            (0..8).map(|_| with_line("x", "/", |line| queue.push(1, |out| line.render(out)))).collect();
        queue.each(&mut batch, |batch| {
            batch.empty();
            true
        });

        assert!(pushed.contains(&Push::TakenAndHalfFull), "{pushed:?}");
    }
}

#[test]
fn long_lines_are_bounded_by_their_bytes() {
    let (log, metrics) = open(Path::new("/dev/full"), 1_000);
    let dropped = metrics.access_log_dropped();

    // Six bytes for each: 12 KiB of the queue's 1,000 KiB, and as much again
    // in the writer's hand at most.
    (0..1_000).for_each(|_| write_path(&log, "x", &"\u{1}".repeat(2_048)));

    assert!((830..=920).contains(&dropped.get()), "{}", dropped.get());
}

#[test]
fn a_reader_that_stops_reading_holds_up_nobody() {
    let (reader, writer) = io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let (log, metrics) = open(Path::new(&path), 1_000);

    (0..20_000).for_each(|_| write(&log, "x"));
    eventually("the pipe is full and so is the queue", || {
        write(&log, "x");
        metrics.access_log_dropped().get() > 1_000
    });

    assert!(!log.close(Duration::from_millis(1)));
    drop(reader);
    assert!(log.close(SOON));
}

#[test]
fn lines_that_a_file_refused_go_to_the_one_that_is_opened_instead() {
    let folder = tempfile::tempdir().unwrap();
    let (path, good) = (folder.path().join("access.log"), folder.path().join("good.log"));
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let (log, metrics) = open(&path, 1_000);
    (0..100).for_each(|nth| write(&log, &nth.to_string()));

    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&good, &path).unwrap();
    log.reopen();
    eventually("every line is in the new file", || ids(&good).len() == 100);

    assert_eq!(metrics.access_log_dropped().get(), 0);
}

#[test]
fn a_file_that_cannot_be_opened_again_stays_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("logs/access.log"), folder.path().join("old"));
    fs::create_dir(folder.path().join("logs")).unwrap();
    let (log, _) = open(&path, 100);

    fs::rename(folder.path().join("logs"), &moved).unwrap();
    log.reopen();
    write(&log, "still-here");
    assert!(log.close(SOON));

    assert_eq!(ids(&moved.join("access.log")), ["still-here"]);
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
