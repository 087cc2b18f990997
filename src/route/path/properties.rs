//! What holds for every canonical path, tried on paths that are put together
//! from the pieces that attacks are made of.

use proptest::prelude::*;

use super::canonical;
use crate::config::server::{EncodedSlash, PathParameters, PathsSpec};

const PIECES: [&str; 40] = [
    "/", "/", "/", "//", ".", "..", "/..", "/./", "...", "%2e", "%2E%2e", "%2f", "%5C", "%5c", ";", "%3b",
    "a", "b", "admin", "%41", "%61", "%c3%a9", "%C0%AF", "%00", "%0d%0a", "{", "%7B", "[", "%zz", "%", "\\",
    "%25", "%252e", "%252f", " ", "?", "%3f", "é", "~", "%20",
];

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::collection::vec(prop::sample::select(&PIECES[..]), 0..12).prop_map(|p| format!("/{}", p.concat())),
        // Mostly what is let in, so that the rules after the refusals are reached.
        8 => prop::collection::vec(prop::sample::select(&PIECES[..21]), 0..12).prop_map(|p| format!("/{}", p.concat())),
        1 => ".{0,24}",
    ]
}

/// With parameters: what they hide is what is looked for.
fn rules(keep_slash: bool) -> PathsSpec {
    let encoded_slash = if keep_slash { EncodedSlash::Keep } else { EncodedSlash::Reject };
    PathsSpec { encoded_slash, path_parameters: PathParameters::Keep }
}

/// What a server does that decodes once, whatever the byte.
fn decoded(path: &str) -> Vec<u8> {
    let mut bytes = path.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        let digits = |b: &mut std::str::Bytes| [b.next().unwrap(), b.next().unwrap()];
        let value = |d: [u8; 2]| u8::from_str_radix(str::from_utf8(&d).unwrap(), 16).unwrap();
        out.push(if byte == b'%' { value(digits(&mut bytes)) } else { byte });
    }
    out
}

fn is_dots(segment: &str) -> bool {
    segment == "." || segment == ".."
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn once_is_enough(raw in path(), keep in any::<bool>()) {
        let rules = rules(keep);
        if let Ok(once) = canonical(raw.as_bytes(), rules) {
            let twice = canonical(once.as_bytes(), rules);

            prop_assert_eq!(twice.as_deref(), Ok(&*once));
            prop_assert!(matches!(twice, Ok(std::borrow::Cow::Borrowed(_))));
        }
    }

    #[test]
    fn nothing_is_left_to_resolve(raw in path(), keep in any::<bool>()) {
        let rules = rules(keep);
        if let Ok(path) = canonical(raw.as_bytes(), rules) {
            prop_assert!(path.starts_with('/') && !path.contains("//"));
            prop_assert!(!path.split('/').any(is_dots));
            prop_assert!(path.bytes().all(|b| (b'!'..=b'~').contains(&b)));
        }
    }

    #[test]
    fn a_server_that_decodes_sees_the_same_segments(raw in path()) {
        if let Ok(path) = canonical(raw.as_bytes(), rules(false)) {
            let plain = decoded(&path);
            let slashes = |text: &[u8]| text.iter().filter(|b| **b == b'/').count();

            prop_assert_eq!(slashes(&plain), slashes(path.as_bytes()));
            prop_assert!(!plain.contains(&b'\\') && !plain.iter().any(u8::is_ascii_control));
            let plain = String::from_utf8(plain).unwrap();
            prop_assert!(!plain.split('/').any(is_dots));
            prop_assert!(!plain.split('/').any(|s| is_dots(s.split(';').next().unwrap())));
        }
    }

    #[test]
    fn nothing_panics_and_what_is_borrowed_is_the_same(raw in prop::collection::vec(any::<u8>(), 0..40)) {
        let raw = [b"/".as_slice(), &raw].concat();
        if let Ok(std::borrow::Cow::Borrowed(same)) = canonical(&raw, PathsSpec::KEEP) {
            prop_assert!(raw.starts_with(same.as_bytes()));
        }
    }
}
