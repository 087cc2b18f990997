//! The walk over a path that is not plain: what the rule says about escapes and
//! dot segments.

use std::{borrow::Cow, str};

use super::{
    PathError,
    bytes::{Class, class, hex_pair, is_unreserved},
    out::Out,
};
use crate::config::server::{EncodedSlash, PathParameters, PathsSpec};

/// What to do with dot segments.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Dots {
    Resolve,
    Refuse,
}

/// One walk over a path that is not plain. It allocates only when the result
/// is not a beginning of what came in.
pub(super) struct Walk<'a> {
    raw: &'a [u8],
    rules: PathsSpec,
    dots: Dots,
    out: Out<'a>,
    /// Where in `out` the current segment begins: after its slash.
    segment: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(raw: &'a [u8], rules: PathsSpec, dots: Dots) -> Self {
        Self { raw, rules, dots, out: Out::new(raw), segment: ROOT }
    }

    /// The path as the rule wants it, or why it is refused.
    pub(super) fn run(mut self) -> Result<Cow<'a, str>, PathError> {
        let mut rest = self.raw.strip_prefix(b"/").ok_or(PathError::NotAbsolute)?;
        self.out.push(b'/');
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match class(byte) {
                Class::Slash => self.end_segment(true)?,
                Class::Percent => rest = self.escape(after)?,
                Class::Parameter => {
                    self.check_parameter()?;
                    self.out.push(byte);
                }
                Class::Refused => return Err(PathError::Byte(byte)),
                Class::Escaped => self.out.push_escape(byte),
                Class::Name | Class::Dot => self.out.push(byte),
            }
        }
        self.end_segment(false)?;
        self.out.finish()
    }

    /// Takes the two digits after a `%` and says what is left.
    fn escape(&mut self, after: &'a [u8]) -> Result<&'a [u8], PathError> {
        let (byte, rest) = hex_pair(after)?;
        match byte {
            0..=0x1f | 0x7f => return Err(PathError::Control),
            b'/' | b'\\' if self.rules.encoded_slash == EncodedSlash::Reject => {
                return Err(PathError::EncodedSlash);
            }
            b';' => {
                self.check_parameter()?;
                self.out.push_escape(byte);
            }
            0x80.. => return self.character(byte, rest),
            _ if is_unreserved(byte) => self.out.push(byte),
            _ => self.out.push_escape(byte),
        }
        Ok(rest)
    }

    /// Whether a `;` may come now. After dots it is refused for those, whatever the rule.
    fn check_parameter(&self) -> Result<(), PathError> {
        let before = self.out.since(self.segment);
        match self.rules.path_parameters {
            PathParameters::Keep => Ok(()),
            PathParameters::Reject if !before.is_empty() && before.iter().all(|byte| *byte == b'.') => {
                Err(PathError::DotParameter)
            }
            PathParameters::Reject => Err(PathError::Parameter),
        }
    }

    /// Takes the rest of a character of which `first` is the first of two to
    /// four bytes.
    fn character(&mut self, first: u8, mut rest: &'a [u8]) -> Result<&'a [u8], PathError> {
        let length = match first {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return Err(PathError::NotUtf8),
        };
        let mut bytes = [first; 4];
        for byte in bytes.iter_mut().take(length).skip(1) {
            let digits = rest.strip_prefix(b"%").ok_or(PathError::NotUtf8)?;
            (*byte, rest) = hex_pair(digits)?;
        }
        let character = bytes.get(..length).unwrap_or_default();
        str::from_utf8(character).map_err(|_| PathError::NotUtf8)?;
        for byte in character {
            self.out.push_escape(*byte);
        }
        Ok(rest)
    }

    /// Decides what the segment that is complete now was.
    fn end_segment(&mut self, slash_follows: bool) -> Result<(), PathError> {
        let segment = self.out.since(self.segment);
        refuse_hidden_dots(segment)?;
        match segment {
            b"." | b".." if self.dots == Dots::Refuse => return Err(PathError::DotSegment),
            b"" | b"." => self.out.truncate(self.segment),
            b".." => {
                self.segment = self.out.parent(self.segment).ok_or(PathError::AboveRoot)?;
                self.out.truncate(self.segment);
            }
            _ if slash_follows => {
                self.out.push(b'/');
                self.segment = self.out.len();
            }
            _ => {}
        }
        Ok(())
    }
}

/// Refuses what is a dot segment only to some: dots and `;`, and dots between
/// encoded slashes. `segment` has its escapes in upper case.
fn refuse_hidden_dots(segment: &[u8]) -> Result<(), PathError> {
    if !segment.contains(&b'.') {
        return Ok(());
    }
    let segment = str::from_utf8(segment).unwrap_or_default();
    for piece in segment.split("%2F").flat_map(|piece| piece.split("%5C")) {
        let after_dots = piece.trim_start_matches('.');
        let dots = piece.len() - after_dots.len();
        if dots > 0 && (after_dots.starts_with(';') || after_dots.starts_with("%3B")) {
            return Err(PathError::DotParameter);
        }
        if matches!(piece, "." | "..") && piece.len() < segment.len() {
            return Err(PathError::DotSegment);
        }
    }
    Ok(())
}

/// Where the first segment begins.
const ROOT: usize = 1;
