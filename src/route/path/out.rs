//! What comes out of the walk over a path: copied only from the first byte on
//! that is not as it came in.

use std::{borrow::Cow, str};

use super::{PathError, bytes::hex_digit};

/// What comes out. As long as it is a beginning of what came in, nothing is
/// copied.
pub(super) struct Out<'a> {
    raw: &'a [u8],
    /// How much of `raw` is the result, while `own` is not needed.
    same: usize,
    own: Option<Vec<u8>>,
}

impl<'a> Out<'a> {
    pub(super) fn new(raw: &'a [u8]) -> Self {
        Self { raw, same: 0, own: None }
    }

    fn so_far(&self) -> &[u8] {
        self.own.as_deref().or_else(|| self.raw.get(..self.same)).unwrap_or_default()
    }

    pub(super) fn since(&self, from: usize) -> &[u8] {
        self.so_far().get(from..).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.so_far().len()
    }

    /// Where the segment before the one at `segment` begins; none at the root.
    pub(super) fn parent(&self, segment: usize) -> Option<usize> {
        let above = self.so_far().get(..segment.checked_sub(1)?)?;
        above.iter().rposition(|b| *b == b'/').map(|slash| slash + 1)
    }

    pub(super) fn push(&mut self, byte: u8) {
        match &mut self.own {
            Some(own) => own.push(byte),
            None if self.raw.get(self.same) == Some(&byte) => self.same += 1,
            None => {
                let mut own = Vec::with_capacity(self.raw.len() + 8);
                own.extend_from_slice(self.so_far());
                own.push(byte);
                self.own = Some(own);
            }
        }
    }

    pub(super) fn push_escape(&mut self, byte: u8) {
        self.push(b'%');
        self.push(hex_digit(byte >> 4));
        self.push(hex_digit(byte & 15));
    }

    pub(super) fn truncate(&mut self, len: usize) {
        match &mut self.own {
            Some(own) => own.truncate(len),
            None => self.same = self.same.min(len),
        }
    }

    pub(super) fn finish(self) -> Result<Cow<'a, str>, PathError> {
        match self.own {
            Some(own) => String::from_utf8(own).map(Cow::Owned).map_err(|_| PathError::NotUtf8),
            None => text(self.raw.get(..self.same).unwrap_or_default()),
        }
    }
}

/// Borrowed text of bytes that are known to be ASCII.
pub(super) fn text(ascii: &[u8]) -> Result<Cow<'_, str>, PathError> {
    str::from_utf8(ascii).map(Cow::Borrowed).map_err(|_| PathError::NotUtf8)
}
