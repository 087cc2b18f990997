//! Whether brackets are nested deeper than anyone writes.
//!
//! Asked before `serde_yaml` sees the text: libyaml looks at every open bracket
//! again for each token, so that 256 KiB of nothing but `{a: ` take it 18 s.

use saphyr_parser::{Event, Parser};

/// Whether values are nested deeper than [`MOST_LEVELS`]. Texts that cost
/// little whatever is in them are let through unread.
pub(super) fn is_too_deep(text: &str) -> bool {
    let brackets = text.bytes().filter(|b| matches!(b, b'[' | b'{')).count();
    if brackets.saturating_mul(text.len()) < HARMLESS {
        return false;
    }
    let mut levels = 0_usize;
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((Event::SequenceStart(..) | Event::MappingStart(..), _)) => levels += 1,
            Ok((Event::SequenceEnd | Event::MappingEnd, _)) => levels = levels.saturating_sub(1),
            Ok(_) => {}
            // Any other error is serde_yaml's to tell; this one ends at 255.
            Err(why) => return why.info().contains("recursion limit"),
        }
        if levels > MOST_LEVELS {
            return true;
        }
    }
    false
}

/// Where `serde_yaml` ends too.
const MOST_LEVELS: usize = 128;
/// Brackets times bytes; libyaml is through with so many in about a second.
const HARMLESS: usize = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn megabytes_of_brackets_are_refused_at_once() {
        assert!(is_too_deep(&"{a: ".repeat(1 << 20)));
        assert!(is_too_deep(&"[".repeat(1 << 20)));
    }

    #[test]
    fn many_brackets_beside_each_other_are_fine() {
        assert!(!is_too_deep(&"- { a: [b, c] }\n".repeat(20_000)));
    }
}
