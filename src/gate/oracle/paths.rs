//! What holds for every canonical path, whatever server reads it.

use crate::{
    config::server::{EncodedSlash, PathParameters, PathsSpec},
    route::path,
};

/// A canonical path stays as it is, means what the slow reading of the raw one
/// means, and shows no dot segment to a server that decodes it.
pub fn canonical_path(bytes: &[u8]) {
    for paths in every_rule() {
        let Ok(canonical) = path::canonical(bytes, paths) else { continue };
        let again = path::canonical(canonical.as_bytes(), paths);

        assert_eq!(again.as_deref(), Ok(&*canonical), "not stable");
        assert!(canonical.starts_with('/') && canonical.bytes().all(|b| b.is_ascii_graphic()));
        assert!(!canonical.contains(['?', '#', '\\', '"', '<', '>', '`']) && !canonical.contains("//"));
        assert!(http::uri::PathAndQuery::try_from(&*canonical).is_ok(), "cannot be forwarded");
        assert_no_hidden_dots(&canonical);
        if paths.encoded_slash == EncodedSlash::Reject {
            assert_eq!(decode(canonical.as_bytes()), resolve(&decode(bytes)), "another path");
        }
        if paths.path_parameters == PathParameters::Reject {
            assert!(!decode(canonical.as_bytes()).contains(&b';'), "a parameter is left in {canonical}");
        }
        assert_matched_means_the_same(&canonical);
    }
}

/// Everything that `requests` can say of paths.
pub(super) fn every_rule() -> impl Iterator<Item = PathsSpec> {
    let slashes = [EncodedSlash::Reject, EncodedSlash::Keep].into_iter();
    slashes.flat_map(|encoded_slash| {
        let parameters = [PathParameters::Reject, PathParameters::Keep].into_iter();
        parameters.map(move |path_parameters| PathsSpec { encoded_slash, path_parameters })
    })
}

/// What routes see is the same path, with the same separators, and is stable.
fn assert_matched_means_the_same(canonical: &str) {
    let matched = path::matched(canonical);
    let count = |text: &str, byte: u8| text.bytes().filter(|b| *b == byte).count();

    assert_eq!(path::matched(&matched), matched, "not stable");
    assert_eq!(decode(matched.as_bytes()), decode(canonical.as_bytes()), "another path");
    assert_eq!(count(&matched, b'/'), count(canonical, b'/'));
    assert_eq!(count(&matched, b';'), count(canonical, b';'));
    // What is still an escape needs to be one.
    for (at, _) in matched.match_indices('%') {
        let byte = decode(matched.get(at..at + 3).unwrap().as_bytes());
        assert!(!byte.iter().all(|b| b":@!$&'()*+,=-._~".contains(b) || b.is_ascii_alphanumeric()));
    }
}

/// Decodes, cuts at all that any server takes for a separator, drops parameters:
/// what is left must not climb.
fn assert_no_hidden_dots(canonical: &str) {
    let decoded = decode(canonical.as_bytes());
    for segment in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        assert!(name != b"." && name != b"..", "a dot segment is left in {canonical}");
    }
    assert!(!decoded.iter().any(|byte| byte.is_ascii_control()), "a control is left in {canonical}");
}

fn decode(raw: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        let escaped = digits.and_then(|pair| u8::from_str_radix(pair, 16).ok()).filter(|_| *byte == b'%');
        decoded.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    decoded
}

/// Collapses slashes, then resolves dots (RFC 3986 §5.2.4), segment by segment.
fn resolve(decoded: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut is_folder = true;
    for segment in decoded.split(|byte| *byte == b'/') {
        is_folder = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => assert!(kept.pop().is_some(), "climbs above the root"),
            name => kept.push(name),
        }
    }
    let mut path = vec![b'/'];
    path.extend(kept.join(&b'/'));
    if is_folder && path.len() > 1 {
        path.push(b'/');
    }
    path
}
