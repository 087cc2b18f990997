//! Text that is kept end to end in one string: names of hosts and paths.

/// A piece of a table's text.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Text {
    /// Where it begins, in bytes.
    pub(super) at: u32,
    /// Its length, in bytes.
    pub(super) len: u32,
}

/// The piece itself; empty if it is not there.
pub(super) fn slice(all: &str, piece: Text) -> &str {
    let from = piece.at as usize;
    all.get(from..from + piece.len as usize).unwrap_or_default()
}
