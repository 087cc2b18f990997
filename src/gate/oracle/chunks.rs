//! What holds for every chunked body that is let through: the grammar says so,
//! and a reader that forgives finds the same data and the same end.

use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder};

use crate::gate::chunks::{ChunkInspector, ChunkVerdict};

/// A body is done if and only if the slow reading of the grammar says so, in
/// pieces as in one, and httparse, which Pingora decodes with, reads the same
/// out of it.
pub fn chunks(bytes: &[u8]) {
    let verdict = ChunkInspector::default().push(bytes);
    assert_eq!(verdict, in_single_bytes(bytes), "pieces change the verdict");

    let expected = read_strictly(bytes);
    match (verdict, &expected) {
        (ChunkVerdict::Done { used }, Some((data, length))) => {
            assert_eq!(used, *length, "another end");
            let forgiving = read_forgivingly(bytes).expect("let through what no forgiving reader takes");
            assert_eq!(forgiving, (data.clone(), *length), "read otherwise");
        }
        (ChunkVerdict::Done { .. }, None) => panic!("let through what is no chunked body"),
        (ChunkVerdict::Good | ChunkVerdict::Bad, Some(_)) => panic!("refused a chunked body: {verdict:?}"),
        (ChunkVerdict::Good | ChunkVerdict::Bad, None) => {}
    }
}

fn in_single_bytes(bytes: &[u8]) -> ChunkVerdict {
    let mut inspector = ChunkInspector::default();
    for (nth, byte) in bytes.iter().enumerate() {
        match inspector.push(&[*byte]) {
            ChunkVerdict::Good => {}
            ChunkVerdict::Done { .. } => return ChunkVerdict::Done { used: nth + 1 },
            ChunkVerdict::Bad => return ChunkVerdict::Bad,
        }
    }
    ChunkVerdict::Good
}

/// The data and where the body ends; by regular expressions, line by line.
pub(super) fn read_strictly(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut data, mut extensions, mut rest) = (Vec::new(), 0, bytes);
    loop {
        let (line, after) = take_line(rest)?;
        let (size, extension) = line.split_at(line.iter().position(|b| *b == b';').unwrap_or(line.len()));
        extensions += extension.len() + usize::from(!extension.is_empty());
        if !SIZE.is_match(size) || !EXTENSIONS.is_match(extension) || extensions > data.len() + (16 << 10) {
            return None;
        }
        let size = i64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        let size = usize::try_from(size).ok()?;
        rest = after;
        if size == 0 {
            break;
        }
        data.extend(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
    let trailers = rest.len();
    for nth in 0.. {
        let (line, after) = take_line(rest)?;
        rest = after;
        if line.is_empty() {
            break;
        }
        if nth == 100 || !TRAILER.is_match(line) {
            return None;
        }
    }
    // The last LF is not counted.
    (trailers - rest.len() - 1 <= 16 << 10).then(|| (data, bytes.len() - rest.len()))
}

fn take_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((bytes.get(..end)?, bytes.get(end + 2..)?))
}

/// As `BodyReader` of `pingora-core` does it: sizes by httparse, any trailers.
fn read_forgivingly(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut data, mut at) = (Vec::new(), 0);
    loop {
        let Ok(httparse::Status::Complete((begin, size))) = httparse::parse_chunk_size(bytes.get(at..)?)
        else {
            return None;
        };
        at += begin;
        if size == 0 {
            break;
        }
        let end = at.checked_add(usize::try_from(size).ok()?)?;
        data.extend(bytes.get(at..end)?);
        bytes.get(end..)?.strip_prefix(b"\r\n")?;
        at = end + 2;
    }
    let end = bytes.get(at - 2..)?.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((data, at + end + 2))
}

static SIZE: LazyLock<Regex> = LazyLock::new(|| regex("^[0-9A-Fa-f]{1,16}$"));
static TRAILER: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^[!#$%&'*+.^`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*$"));
static EXTENSIONS: LazyLock<Regex> = LazyLock::new(|| {
    let token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
    let quoted = r#""([\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*""#;
    regex(&format!("^(;{token}(=({token}|{quoted}))?)*$"))
});

fn regex(pattern: &str) -> Regex {
    RegexBuilder::new(pattern).unicode(false).build().unwrap()
}
