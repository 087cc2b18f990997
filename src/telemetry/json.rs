//! Text from anywhere as the inside of a JSON string.
//!
//! What comes out is always valid JSON, valid UTF-8 and on one line, and a
//! terminal does nothing when it is shown: control characters, line and
//! paragraph separators and writing-direction overrides are escaped, bytes that
//! are no UTF-8 become U+FFFD.

/// Appends the text, without quotes around it.
#[inline]
pub(crate) fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    if is_plain(text) {
        out.extend_from_slice(text);
    } else {
        push_escaped(out, text);
    }
}

/// The first `max` bytes, or up to 3 less so that no character is torn.
#[inline]
pub(super) fn cut(text: &[u8], max: usize) -> &[u8] {
    if text.len() <= max {
        return text;
    }
    let continues = |at: &usize| text.get(*at).is_some_and(|b| b & 0xc0 == 0x80);
    let end = (max.saturating_sub(3)..=max).rev().find(|at| !continues(at)).unwrap_or(max);
    text.get(..end).unwrap_or_default()
}

/// Whether every byte stands for itself. Eight at a time, and rather some of
/// them twice than one by one: texts of a log line are short and nearly all
/// plain.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    let (words, _) = text.as_chunks::<8>();
    let special = words.iter().fold(0, |seen, word| seen | special_bits(u64::from_le_bytes(*word)));
    let last = if let Some(last) = text.last_chunk() {
        u64::from_le_bytes(*last)
    } else if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
    } else if let (Some(first), Some(middle), Some(last)) =
        (text.first(), text.get(text.len() / 2), text.last())
    {
        u64::from(*first) | u64::from(*middle) << 8 | u64::from(*last) << 16 | each(b' ') << 24
    } else {
        return true;
    };
    (special | special_bits(last)) & each(0x80) == 0
}

/// Has a top bit set if any of eight bytes does not stand for itself: a control
/// character, a quote, a backslash, no ASCII. A borrow or carry between bytes
/// only begins at one that does not.
#[inline]
fn special_bits(word: u64) -> u64 {
    let is = |byte: u8| (word ^ each(byte)).wrapping_sub(each(1));
    word | word.wrapping_sub(each(b' ')) | word.wrapping_add(each(1)) | is(b'"') | is(b'\\')
}

const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The same for text with anything in it.
#[cold]
fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
                '\0'..'\u{20}' | '\u{7f}'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    push_escape(out, u32::from(c));
                }
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            push_escape(out, 0xfffd);
        }
    }
}

/// Appends one UTF-16 unit: short where JSON has a short form.
fn push_escape(out: &mut Vec<u8>, unit: u32) {
    match u8::try_from(unit) {
        Ok(b'\n') => out.extend_from_slice(b"\\n"),
        Ok(b'\r') => out.extend_from_slice(b"\\r"),
        Ok(b'\t') => out.extend_from_slice(b"\\t"),
        _ => {
            let [.., high, low] = unit.to_be_bytes();
            let mut escape = *b"\\u0000";
            let [_, _, digits @ ..] = &mut escape;
            super::hex::write(digits, &[high, low]);
            out.extend_from_slice(&escape);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &[u8]) -> String {
        let mut out = Vec::new();
        push_text(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    fn parsed(text: &[u8]) -> String {
        serde_json::from_str(&format!("\"{}\"", escaped(text))).unwrap()
    }

    #[test]
    fn what_a_terminal_or_a_line_reader_acts_on_is_escaped() {
        assert_eq!(escaped(b"a\"b\\c"), r#"a\"b\\c"#);
        assert_eq!(escaped(b"\n\r\t\x00\x1b\x7f"), r"\n\r\t\u0000\u001b\u007f");
        assert_eq!(escaped("\u{2028}\u{2029}\u{202e}\u{9b}".as_bytes()), r"\u2028\u2029\u202e\u009b");
        assert_eq!(escaped(b"a\xffb\xe2\x82"), r"a\ufffdb\ufffd");
        assert_eq!(escaped("Zürich 🦀".as_bytes()), "Zürich 🦀");
    }

    #[test]
    fn every_byte_at_every_place_of_a_word_is_seen() {
        for byte in 0..=u8::MAX {
            for place in 0..20 {
                let mut text = [b'x'; 20];
                text[place] = byte;

                assert_eq!(parsed(&text), String::from_utf8_lossy(&text), "{byte} at {place}");
                assert!(escaped(&text).chars().all(|c| !c.is_control()), "{byte} at {place}");
            }
        }
    }

    #[test]
    fn a_cut_tears_no_character() {
        assert_eq!(cut(b"abcdef", 6), b"abcdef");
        assert_eq!(cut(b"abcdef", 4), b"abcd");
        assert_eq!(cut("aé🦀".as_bytes(), 6), "aé".as_bytes());
        assert_eq!(cut("aé🦀".as_bytes(), 2), b"a");
        assert_eq!(cut(b"\x80\x80\x80\x80\x80\x80", 5), b"\x80\x80\x80\x80\x80");
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_as_their_lossy_text(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(parsed(&text), String::from_utf8_lossy(&text));
        }

        #[test]
        fn any_text_comes_back_whole_and_on_one_line(text in "\\PC*[\\x00-\\x7f]*") {
            prop_assert_eq!(&parsed(text.as_bytes()), &text);
            prop_assert_eq!(escaped(text.as_bytes()).lines().count().max(1), 1);
        }

        #[test]
        fn a_cut_of_text_is_text_and_loses_at_most_three_bytes(text in "\\PC{0,60}", max in 0_usize..80) {
            let kept = cut(text.as_bytes(), max);

            prop_assert!(std::str::from_utf8(kept).is_ok());
            prop_assert!(kept.len() <= max && kept.len() + 3 >= max.min(text.len()));
        }
    }
}
