//! What is kept of a request body: its length, its hash, and the text of a small one.
//!
//! Owns the bound on memory: a body of any size costs at most 64 KiB here.

use boring::sha::Sha256;

use crate::{request::Field, text::hex};

/// A body while it comes in.
pub struct Digest {
    bytes: u64,
    sha256: Sha256,
    /// `None` once the body is too long to keep.
    kept: Option<Vec<u8>>,
}

/// A body that has come in, up to its trailers.
#[derive(Debug)]
pub struct Received {
    /// Without framing.
    pub bytes: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// When it is UTF-8 and at most 64 KiB.
    pub text: Option<String>,
    /// In the order received.
    pub trailers: Vec<Field>,
}

impl Digest {
    /// Of an empty body.
    pub fn new() -> Self {
        Self { bytes: 0, sha256: Sha256::new(), kept: Some(Vec::new()) }
    }

    /// Takes the next part in.
    pub fn update(&mut self, part: &[u8]) {
        self.bytes += part.len() as u64;
        self.sha256.update(part);
        match &mut self.kept {
            Some(kept) if kept.len() + part.len() <= KEPT => kept.extend_from_slice(part),
            kept => *kept = None,
        }
    }

    /// The whole body.
    pub fn finish(self, trailers: Vec<Field>) -> Received {
        Received {
            bytes: self.bytes,
            sha256: hex(&self.sha256.finish()),
            text: self.kept.and_then(|kept| String::from_utf8(kept).ok()),
            trailers,
        }
    }
}

const KEPT: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_body_is_kept_and_a_large_one_only_hashed() {
        let mut small = Digest::new();
        let mut large = Digest::new();

        small.update(b"ab");
        small.update(b"c");
        for _ in 0..2 {
            large.update(&[b'a'; KEPT - 1]);
        }

        let small = small.finish(Vec::new());
        assert_eq!(small.text.as_deref(), Some("abc"));
        assert!(small.sha256.starts_with("ba7816bf"), "{}", small.sha256);
        let large = large.finish(Vec::new());
        assert_eq!((large.bytes, large.text), (131_070, None));
    }
}
