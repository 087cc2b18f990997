//! The one canonical form of a path. It is made once for each request; what is
//! logged and forwarded is that text, and what is matched is [`matched()`] of it: the
//! same, but for escapes of characters that need none in a path. Those go on as they
//! came, since an escaped reserved character is another one to some servers, and match
//! as the character, since it is the same one to others.
//!
//! Owns the rule. Does not own the query (the caller cuts at the first `?`) nor
//! the status of a refusal. A canonical path is ASCII, begins with `/`, and
//! making it canonical again changes nothing.
//!
//! # The rule
//!
//! A path is refused, not repaired, when
//! - it does not begin with `/`;
//! - it holds a space, a control, a byte above `~`, or one of `" # < > ? \` and
//!   the backtick (write them as escapes);
//! - a `%` is not followed by two hex digits;
//! - an escape is a control (`%00`-`%1F`, `%7F`);
//! - its escapes above `%7F` are not UTF-8: servers disagree on what they mean,
//!   and `%C0%AF` is a slash to some;
//! - `%2F` or `%5C` is in it and `requests.encoded_slash` is `reject`; with
//!   `keep` they stay and separate nothing, but `.` and `..` beside one are refused;
//! - a segment is dots and then `;` (`..;x`, `.%3B`): some servers cut at the `;`
//!   and then see `..`;
//! - `;` or `%3B` is in it and `requests.path_parameters` is `reject`: some servers cut
//!   at it and see a shorter path. With `keep` a `;` is an ordinary character;
//! - `..` would go above the root.
//!
//! Otherwise, in this order:
//! - escapes of letters, digits, `-`, `.`, `_` and `~` are decoded; all other
//!   escapes stay, in upper case;
//! - `[ ] ^ { | }`, which clients send although RFC 3986 does not allow them,
//!   become escapes, so that there is one spelling;
//! - `//` becomes `/`, then `.` and `..` are resolved;
//! - a slash at the end stays.

mod bytes;
mod matched;
mod out;
#[cfg(test)]
mod properties;
mod walk;

use std::{borrow::Cow, error::Error, fmt};

use crate::config::{
    server::{PathParameters, PathsSpec},
    types::Invalid,
};
use bytes::{Class, class, hex_pair, is_reserved_name, is_unreserved};
pub use matched::matched;
pub(super) use matched::strip_prefix;
use out::text;
use walk::{Dots, Walk};

/// The canonical form of `raw`, which is the target's path without its query.
/// Borrowed when `raw` is canonical already.
///
/// # Errors
/// Why the path is refused; the client's fault.
pub fn canonical(raw: &[u8], rules: PathsSpec) -> Result<Cow<'_, str>, PathError> {
    if is_plain(raw) {
        return text(raw);
    }
    Walk::new(raw, rules, Dots::Resolve).run()
}

/// As [`canonical`], but a dot segment is refused: for paths that were put
/// together here, where one can only come from a capture that was cut in the
/// middle of a segment (`/a/x..` and `^/a/x(.*)`).
///
/// # Errors
/// Why the path is refused.
pub(super) fn canonical_without_dots(raw: &[u8]) -> Result<Cow<'_, str>, PathError> {
    // What came in was let in: an encoded slash is here only if it may be.
    Walk::new(raw, PathsSpec::KEEP, Dots::Refuse).run()
}

/// A path that an operator wrote and requests are compared with: canonical, and as
/// routes see it.
///
/// # Errors
/// The sentence to tell: why it is refused and what to write.
pub(super) fn written(text: &str, rules: PathsSpec) -> Result<Cow<'_, str>, Invalid> {
    match told(text, rules)? {
        Cow::Borrowed(path) => Ok(matched(path)),
        Cow::Owned(path) => Ok(Cow::Owned(matched(&path).into_owned())),
    }
}

/// Whether paths can have the escapes that a pattern holds. It reads the pattern's text
/// and not what it means: it doubts `[^%40]`, which matches without the escape too, and
/// does not find `%(3A|40)`. So this is for a warning.
///
/// # Errors
/// The sentence to tell: a pattern that waits for the escape of a character that needs
/// none takes no path, and would guard none.
pub(super) fn check_pattern(pattern: &str) -> Result<(), Invalid> {
    let escapes = pattern.match_indices('%').filter_map(|(at, _)| {
        let digits = pattern.as_bytes().get(at + 1..)?;
        let (byte, _) = hex_pair(digits).ok()?;
        Some((pattern.get(at..at + 3)?, byte))
    });
    let mut never_seen = escapes.filter(|(_, byte)| is_unreserved(*byte) || is_reserved_name(*byte));
    never_seen.next().map_or(Ok(()), |(escape, byte)| {
        let character = char::from(byte);
        let told = format!(
            "`{pattern}`: routes see `{escape}` as `{character}`; write that where it means the escape"
        );
        Err(Invalid::new(told))
    })
}

/// A path that an operator wrote to be sent to others, who may want parameters: canonical.
///
/// # Errors
/// As of [`written`].
pub(super) fn sent(text: &str, rules: PathsSpec) -> Result<Cow<'_, str>, Invalid> {
    told(text, PathsSpec { path_parameters: PathParameters::Keep, ..rules })
}

fn told(text: &str, rules: PathsSpec) -> Result<Cow<'_, str>, Invalid> {
    canonical(text.as_bytes(), rules)
        .map_err(|why| Invalid::new(format!("`{text}` is not a path: {why}; write one as `/orders/v1`")))
}

/// Why a path is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PathError {
    /// It does not begin with `/`.
    NotAbsolute,
    /// This byte has to be an escape.
    Byte(u8),
    /// A `%` without two hex digits.
    Escape,
    /// The escape of a control.
    Control,
    /// `%2F` or `%5C`.
    EncodedSlash,
    /// Escapes that are not UTF-8.
    NotUtf8,
    /// `..` above the root.
    AboveRoot,
    /// A segment of dots and `;`.
    DotParameter,
    /// `;` or `%3B`.
    Parameter,
    /// `.` or `..` beside an encoded slash, or made by a rewrite.
    DotSegment,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAbsolute => f.write_str("it does not begin with `/`"),
            Self::Byte(b'?') => f.write_str("`?` begins the query, which is not part of a path"),
            Self::Byte(byte) => write!(f, "`{}` has to be written `%{byte:02X}`", byte.escape_ascii()),
            Self::Escape => f.write_str("a `%` is not followed by two hex digits; the sign itself is `%25`"),
            Self::Control => f.write_str("it holds the escape of a control character"),
            Self::EncodedSlash => {
                f.write_str("it holds `%2F` or `%5C` and requests.encoded_slash is `reject`")
            }
            Self::NotUtf8 => f.write_str("its escapes are not UTF-8"),
            Self::AboveRoot => f.write_str("`..` goes above the root"),
            Self::DotParameter => f.write_str("a segment is dots followed by `;`"),
            Self::Parameter => f.write_str("it holds `;` or `%3B` and requests.path_parameters is `reject`"),
            Self::DotSegment => f.write_str("it holds `.` or `..` where they are not resolved"),
        }
    }
}

impl Error for PathError {}

/// Whether `raw` is canonical for certain: one table look-up for each byte.
/// Escapes and segments that begin with a dot are for [`Walk`].
fn is_plain(raw: &[u8]) -> bool {
    let mut before = Class::Name;
    for byte in raw {
        let class = class(*byte);
        let name = class == Class::Name || (class == Class::Dot && before != Class::Slash);
        if !name && (class != Class::Slash || before == Class::Slash) {
            return false;
        }
        before = class;
    }
    raw.first() == Some(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::server::EncodedSlash;

    fn reject(raw: &str) -> Result<Cow<'_, str>, PathError> {
        canonical(raw.as_bytes(), PathsSpec { path_parameters: PathParameters::Keep, ..Default::default() })
    }

    #[track_caller]
    fn becomes(cases: &[(&str, &str)]) {
        for (raw, wanted) in cases {
            assert_eq!(reject(raw).as_deref(), Ok(*wanted), "{raw}");
        }
    }

    #[track_caller]
    fn refused(cases: &[&str], why: PathError) {
        for raw in cases {
            assert_eq!(reject(raw), Err(why), "{raw}");
        }
    }

    #[test]
    fn what_is_canonical_is_borrowed() {
        let kept = [
            "/",
            "/a",
            "/a/",
            "/a.b/c;d=1,2",
            "/.well-known/x",
            "/..a/a..",
            "/...",
            "/%20%C3%A9%25",
            "/a:@!$&'()*+,=",
        ];

        for raw in kept {
            assert!(matches!(reject(raw), Ok(Cow::Borrowed(same)) if same == raw), "{raw}");
        }
    }

    #[test]
    fn escapes_of_unreserved_characters_are_decoded() {
        becomes(&[("/%41%7e%2d%5F", "/A~-_"), ("/%2ewell", "/.well"), ("/a%2e/b", "/a./b")]);
    }

    #[test]
    fn other_escapes_stay_in_upper_case() {
        becomes(&[
            ("/%c3%a9", "/%C3%A9"),
            ("/a%3bb%3Fc%23", "/a%3Bb%3Fc%23"),
            ("/%252e%252E", "/%252e%252E"),
        ]);
    }

    #[test]
    fn slashes_collapse_before_dots_are_resolved() {
        becomes(&[("//", "/"), ("///a//b//", "/a/b/"), ("/a//../b", "/b")]);
        refused(&["//..", "/a//../.."], PathError::AboveRoot);
    }

    #[test]
    fn dot_segments_are_resolved() {
        becomes(&[
            ("/.", "/"),
            ("/./a", "/a"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/../", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/../../c", "/c"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e", "/"),
        ]);
        refused(&["/..", "/../a", "/a/../..", "/%2e%2e/a", "/./.."], PathError::AboveRoot);
    }

    #[test]
    fn one_spelling_of_what_clients_send_unescaped() {
        becomes(&[("/a[0]", "/a%5B0%5D"), ("/{id}|^", "/%7Bid%7D%7C%5E"), ("/%7bid%7d", "/%7Bid%7D")]);
    }

    #[test]
    fn bytes_that_need_an_escape_are_refused() {
        for byte in (0..=b' ').chain(*b"\"#<>?\\`").chain(0x7f..=0xff) {
            let raw = [b'/', b'a', byte];

            assert_eq!(canonical(&raw, PathsSpec::KEEP), Err(PathError::Byte(byte)));
        }
    }

    #[test]
    fn what_is_not_absolute_is_refused() {
        refused(&["", "*", "a/b", "@evil/x", "http://h/x", "%2f", "./a"], PathError::NotAbsolute);
    }

    #[test]
    fn broken_escapes_and_controls_are_refused() {
        refused(&["/%", "/%4", "/%zz", "/%4g", "/a%/b", "/%%41", "/%+1"], PathError::Escape);
        refused(&["/%00", "/a%0d%0Ab", "/%1f", "/%7F", "/%09"], PathError::Control);
    }

    #[test]
    fn escapes_have_to_be_utf8() {
        let bad = [
            "/%c0%af",
            "/%80",
            "/%e2%82",
            "/%e2%82/",
            "/%ed%a0%80",
            "/%f5%80%80%80",
            "/%c3a",
            "/%c3%41",
            "/%ff",
        ];

        refused(&bad, PathError::NotUtf8);
        becomes(&[("/%e2%82%ac/%f0%9f%98%80", "/%E2%82%AC/%F0%9F%98%80")]);
    }

    #[test]
    fn an_encoded_slash_is_refused_or_stays() {
        refused(&["/a%2fb", "/a%5Cb", "/x%2f..%2fadmin"], PathError::EncodedSlash);

        let rules = PathsSpec { encoded_slash: EncodedSlash::Keep, ..Default::default() };
        let keep = |raw: &'static str| canonical(raw.as_bytes(), rules);

        assert_eq!(keep("/a%2fb%5c/c").as_deref(), Ok("/a%2Fb%5C/c"));
        for raw in ["/x%2f..%2fadmin", "/..%2f", "/a%5c..", "/%2F./b"] {
            assert_eq!(keep(raw), Err(PathError::DotSegment), "{raw}");
        }
    }

    #[test]
    fn dots_before_a_semicolon_are_refused() {
        refused(&["/a/..;/b", "/..;x", "/.;", "/%2e%2e;x=1/", "/a/.%3bx", "/...;"], PathError::DotParameter);
        becomes(&[("/a;..", "/a;.."), ("/a.;b", "/a.;b"), ("/;/b", "/;/b")]);
    }

    #[test]
    fn parameters_are_refused_unless_they_are_kept() {
        let strict = |raw: &'static str| canonical(raw.as_bytes(), PathsSpec::default());

        for raw in ["/a;x", "/;", "/a%3Bx", "/a/%3b/b", "/a;..", "/a;/../b", "/%41;", "/a.;b", "/;%zz"] {
            assert_eq!(strict(raw), Err(PathError::Parameter), "{raw}");
        }
        for raw in ["/a/..;/b", "/.;", "/%2e.%3bx", "/...;"] {
            assert_eq!(strict(raw), Err(PathError::DotParameter), "{raw}");
        }
        assert_eq!(strict("/a%253Bx").as_deref(), Ok("/a%253Bx"));
        let kept = canonical(b"/a;x/b%3bc", PathsSpec::KEEP);
        assert_eq!(kept.as_deref(), Ok("/a;x/b%3Bc"));
    }

    #[test]
    fn without_dots_a_capture_cannot_climb() {
        assert_eq!(canonical_without_dots(b"/v1/../admin"), Err(PathError::DotSegment));
        assert_eq!(canonical_without_dots(b"/v1//x").as_deref(), Ok("/v1/x"));
        assert_eq!(canonical_without_dots(b"/v1/a%2Fb").as_deref(), Ok("/v1/a%2Fb"));
    }
}
