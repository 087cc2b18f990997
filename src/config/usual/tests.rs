//! Both readers side by side: on what people write, on damage to it, and on chance.

use std::fs;

use proptest::prelude::*;

use crate::config::document::{Node, any};

fn read(text: &str) -> Option<Node> {
    super::read(text, None)
}

/// Read here, and as everyone else reads it.
fn assert_usual(text: &str) {
    let read = read(text).unwrap_or_else(|| panic!("left to others:\n{text}"));

    assert_eq!(Ok(read), any(text), "{text}");
}

fn assert_alike(text: &str) {
    if let Some(read) = read(text) {
        // As text: what is no number is not even equal to itself.
        assert_eq!(format!("{:?}", Ok::<_, ()>(read)), format!("{:?}", any(text)), "{text}");
    }
}

#[test]
fn what_people_write_is_read_as_everyone_reads_it() {
    for text in [
        "a: 1\n",
        "---\na: 1",
        "# c\n\na: b # c\n\n  # c\nb:\n  c: d\n  e:\nf: ~\n",
        "a:\n- b\n- c: d\n  e: f\n-\n  g: h\n- - i\n  - j\nk: l\n",
        "a:\n  - b\n  # c\n  - { c: d, \"e\": [f, 'g'], h: {} }\n",
        "a: [b,\n    c, # d\n\n  d]\nb: { c: d,\n e: f }\n",
        "a: 'b # c'\nb: \"c: \\\"d\\\" \\\\ \\n\\t\" # e\n'c d': \"\"\n",
        "a: |\n  b\n   c\n\n  d: e\nb: |-\n  c\n\n",
        "a: [1, -1, 0, 00, 01, 1.5, .5, 1e3, 0x1f, 0o7, +1, .inf, -.inf, 127.0.0.1, 5s, 100/s, 10.0.0.0/8]\n",
        "a: [true, True, no, yes, null, NULL, nan, inf, 1_000, 18446744073709551616, -9223372036854775809]\n",
        "a: http://b:1/c#d\nb: c, d [e] {f}\n1: 2\ntrue: 3\n",
        "a: é ü 日本 \u{1f600}\n",
    ] {
        assert_usual(text);
    }
}

#[test]
fn what_few_write_is_left_to_who_knows_it() {
    for text in [
        "a: &b c\n",
        "a: *b\n",
        "a: !b c\n",
        "a: >\n  b\n",
        "a: b\n  c\n",
        "a: 'it''s'\n",
        "a: \"\\u0041\"\n",
        "a:\tb\n",
        "a: b\r\n",
        "a: b\n---\na: c\n",
        "? a\n: b\n",
        "a: [b: c]\n",
        "a: { b, c }\n",
        "a: b: c\n",
        "a: [b\n",
        "a: @b\n",
        "a: |\n b\n  ",
        "a:\n    b: c\n  d: e\n",
        "",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn every_configuration_of_ours_is_usual() {
    let folders = ["conf", "tests/golden/good", "loadtest/scenarios"];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let texts: Vec<_> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();

    let usual = texts.iter().filter(|text| read(text).is_some()).count();

    texts.iter().for_each(|text| assert_alike(text));
    // The others show aliases, and how other editors end lines.
    assert!(usual * 4 >= texts.len() * 3, "{usual} of {}", texts.len());
    assert_usual(&fs::read_to_string("conf/tollgate.yaml").unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_alike_or_left(
        text in "(- |-|a|b: |c:|\n {0,5}|\n|\\[|\\]|\\{|\\}|, |,|'|\"|#| #| |[&*!|>%@?:]|\\||\\|-\n|1|-|0x|\\.|e|~|é|\\\\|---|true){0,30}"
    ) {
        assert_alike(&text);
    }

    #[test]
    fn any_numbers_spelling_is_read_alike(text in "[0-9a-fA-FxXoOinIN_.+-]{1,6}") {
        assert_alike(&format!("a: {text}\n"));
        assert_alike(&format!("a: [{text}]\n"));
    }
}

proptest! {
    // The reference is long, and the slow reader slow.
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_damage_to_the_reference_is_read_alike_or_left(
        at in 0.0..1.0, gone in 0_usize..40, new in "[\\[\\]{}:,&*!#'\"|>\n\t a-]{0,6}"
    ) {
        let mut text = fs::read_to_string("conf/tollgate.yaml").unwrap().into_bytes();
        let at = (text.len() as f64 * at) as usize;
        let end = (at + gone).min(text.len());
        text.splice(at..end, new.bytes());
        if let Ok(text) = String::from_utf8(text) {
            assert_alike(&text);
        }
    }
}
