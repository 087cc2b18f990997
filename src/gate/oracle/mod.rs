//! What must hold for every input, as functions that panic when it does not.
//!
//! The fuzz targets in `fuzz/` call them with what the fuzzer makes up, the
//! tests below with every file of `fuzz/corpus/`. Each rule is stated a second
//! time here, slowly and by other means than in the code it watches.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how an oracle speaks")]

mod chunks;
mod forward;
mod paths;
pub(in crate::gate) mod requests;

use super::{
    alphabet,
    line::{LineInspector, LineVerdict, inspect_request_line},
};

pub use chunks::chunks;
pub use paths::canonical_path;
pub use requests::gate;

/// A request line is good if and only if the slow reading says so, in pieces as
/// in one, and httparse reads the same out of it.
pub fn request_line(bytes: &[u8]) {
    let verdict = inspect_request_line(bytes, MAX_TARGET);
    assert_eq!(verdict, in_single_bytes(bytes), "pieces change the verdict");

    let expected = read_slowly(bytes);
    match (verdict, expected) {
        (LineVerdict::Good { used }, Some(line)) => {
            assert_eq!(used, line.length);
            compare_with_httparse(bytes.get(..used).unwrap(), &line);
        }
        (LineVerdict::Good { .. }, None) => panic!("accepted what is not a request line"),
        (_, Some(_)) => panic!("refused a request line: {verdict:?}"),
        (LineVerdict::NeedMore, None) => {
            assert!(bytes.len() <= MAX_TARGET + 64, "waits without bound");
        }
        (LineVerdict::Bad(_), None) => {}
    }
}

struct Line<'b> {
    method: &'b [u8],
    target: &'b [u8],
    minor_version: u8,
    length: usize,
}

fn in_single_bytes(bytes: &[u8]) -> LineVerdict {
    let mut inspector = LineInspector::new(MAX_TARGET);
    let mut used = 0;
    for byte in bytes {
        match inspector.push(&[*byte]) {
            LineVerdict::NeedMore => used += 1,
            LineVerdict::Good { used: last } => return LineVerdict::Good { used: used + last },
            bad @ LineVerdict::Bad(_) => return bad,
        }
    }
    LineVerdict::NeedMore
}

fn read_slowly(bytes: &[u8]) -> Option<Line<'_>> {
    let mut rest = bytes;
    for _ in 0..2 {
        rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    }
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let words: Vec<&[u8]> = rest.get(..end)?.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words.try_into().ok()?;
    let minor_version = match version {
        b"HTTP/1.0" => 0,
        b"HTTP/1.1" => 1,
        _ => return None,
    };
    let method_is_good = (1..=32).contains(&method.len()) && method.iter().all(|b| alphabet::is_token(*b));
    let target_is_good = (1..=MAX_TARGET).contains(&target.len())
        && target.iter().all(|b| b.is_ascii_graphic())
        && !target.contains(&b'#');
    let length = bytes.len() - rest.len() + end + 2;
    (method_is_good && target_is_good).then_some(Line { method, target, minor_version, length })
}

fn compare_with_httparse(bytes: &[u8], line: &Line) {
    let head = [bytes, b"\r\n"].concat();
    let mut fields = [httparse::EMPTY_HEADER; 1];
    let mut parsed = httparse::Request::new(&mut fields);

    assert_eq!(parsed.parse(&head), Ok(httparse::Status::Complete(head.len())));
    assert_eq!(parsed.method.map(str::as_bytes), Some(line.method));
    assert_eq!(parsed.path.map(str::as_bytes), Some(line.target));
    assert_eq!(parsed.version, Some(line.minor_version));
}

/// Small, so that the fuzzer finds the cap.
const MAX_TARGET: usize = 64;

#[cfg(test)]
mod tests;
