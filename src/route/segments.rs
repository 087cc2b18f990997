//! Where the segments of a request's path end, so that its prefixes can be
//! looked up from long to short.
//!
//! Knows paths of requests only to the depth of the deepest prefix of a table,
//! which is at most [`DEEPEST`].

use std::iter;

/// The ends of the first segments of one path.
pub(super) struct Segments {
    /// `ends[n]`: where a prefix of n segments ends.
    ends: [u32; DEEPEST + 1],
    /// The last of `ends` that is meant.
    deepest: u32,
}

impl Segments {
    /// Of a canonical path, to at most this depth.
    pub(super) fn of(path: &str, depth: u8) -> Self {
        let mut ends = [0; DEEPEST + 1];
        let slashes = path.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'/').map(|(at, _)| at);
        let found = slashes.chain(iter::once(path.len()));
        let slots = ends.iter_mut().skip(1).take(depth.into());
        let filled = slots.zip(found).map(|(slot, end)| *slot = end as u32).count();
        Self { ends, deepest: filled as u32 }
    }

    /// The prefixes of the path at these depths (bit n: n segments), longest
    /// first. Each is without a slash at its end.
    pub(super) fn prefixes<'p>(&self, path: &'p str, depths: u32) -> impl Iterator<Item = &'p str> {
        let mut left = depths & (u32::MAX >> (u32::BITS - 1).saturating_sub(self.deepest));
        iter::from_fn(move || {
            let depth = left.checked_ilog2()?;
            left &= !(1 << depth);
            let end = self.ends.get(depth as usize)?;
            path.get(..*end as usize)
        })
    }
}

/// How many segments a prefix of the configuration has; `None` when more than
/// [`DEEPEST`]. It is without a slash at its end.
pub(super) fn depth(prefix: &str) -> Option<u8> {
    let slashes = prefix.bytes().filter(|byte| *byte == b'/').count();
    u8::try_from(slashes).ok().filter(|depth| usize::from(*depth) <= DEEPEST)
}

/// The segments that a prefix may have: as many as a word has bits, less one.
pub(super) const DEEPEST: usize = 31;

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(path: &str, depth: u8, depths: u32) -> Vec<&str> {
        Segments::of(path, depth).prefixes(path, depths).collect()
    }

    #[test]
    fn prefixes_are_whole_segments_from_long_to_short() {
        assert_eq!(prefixes("/a/bc/d", 31, u32::MAX), ["/a/bc/d", "/a/bc", "/a", ""]);
        assert_eq!(prefixes("/a/", 31, u32::MAX), ["/a/", "/a", ""]);
        assert_eq!(prefixes("/", 31, u32::MAX), ["/", ""]);
    }

    #[test]
    fn depths_without_prefix_are_skipped() {
        assert_eq!(prefixes("/a/b/c/d", 31, 0b1010), ["/a/b/c", "/a"]);
        assert_eq!(prefixes("/a/b/c/d", 2, 0b0100), ["/a/b"]);
        assert_eq!(prefixes("/a/b/c/d", 0, 0b0001), [""]);
    }

    #[test]
    fn a_path_deeper_than_any_prefix_is_cut() {
        let path = "/x".repeat(100);

        let found = prefixes(&path, 31, 1 << 31 | 1);

        assert_eq!(found, [&path[..62], ""]);
        assert_eq!((depth(&path), depth(&path[..62]), depth("")), (None, Some(31), Some(0)));
    }
}
