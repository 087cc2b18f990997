//! What is a chunked body and what is not, in one piece and in many.

use proptest::prelude::*;

use super::*;

fn inspect(body: &[u8]) -> ChunkVerdict {
    ChunkInspector::default().push(body)
}

#[test]
fn what_the_rfc_calls_a_chunked_body_is_done_at_its_end() {
    for body in GOOD {
        let pipelined = [body.as_bytes(), b"GET / HTTP/1.1\r\n"].concat();

        assert_eq!(inspect(body.as_bytes()), ChunkVerdict::Done { used: body.len() }, "{body:?}");
        assert_eq!(inspect(&pipelined), ChunkVerdict::Done { used: body.len() }, "{body:?}");
    }
}

#[test]
fn anything_else_is_bad() {
    for body in BAD {
        assert_eq!(inspect(body.as_bytes()), ChunkVerdict::Bad, "{body:?}");
    }
}

#[test]
fn pieces_do_not_change_the_verdict() {
    for body in GOOD.iter().chain(BAD).map(|body| body.as_bytes()) {
        let whole = inspect(body);
        for at in 0..=body.len() {
            let (first, second) = body.split_at(at);
            let mut inspector = ChunkInspector::default();

            let verdict = match (inspector.push(first), inspector.push(second)) {
                (ChunkVerdict::Good, ChunkVerdict::Done { used }) => ChunkVerdict::Done { used: at + used },
                (ChunkVerdict::Good, verdict) | (verdict, _) => verdict,
            };

            assert_eq!(verdict, whole, "{} cut at {at}", body.escape_ascii());
        }
    }
}

#[test]
fn a_body_without_its_end_is_good_so_far() {
    for body in GOOD.iter().map(|body| body.as_bytes()) {
        for end in 0..body.len() {
            assert_eq!(inspect(&body[..end]), ChunkVerdict::Good, "{}", body[..end].escape_ascii());
        }
    }
}

#[test]
fn extensions_may_not_outweigh_the_data() {
    let long = |data: usize, extension: usize| {
        let chunk = format!("{data:x}\r\n{}\r\n", "x".repeat(data));
        format!("{chunk}1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(extension))
    };

    assert_ne!(inspect(long(1, 16_000).as_bytes()), ChunkVerdict::Bad);
    assert_eq!(inspect(long(1, 17_000).as_bytes()), ChunkVerdict::Bad);
    assert_ne!(inspect(long(1_000, 17_000).as_bytes()), ChunkVerdict::Bad);
    let signed = format!("2000;chunk-signature={}\r\n{}\r\n", "a".repeat(64), "x".repeat(0x2000));
    assert_eq!(inspect(signed.repeat(10_000).as_bytes()), ChunkVerdict::Good);
}

#[test]
fn trailers_are_capped_in_number_and_in_bytes() {
    let many = |count: usize| format!("0\r\n{}\r\n", "X: a\r\n".repeat(count));
    let long = |length: usize| format!("0\r\nX: {}\r\n\r\n", "a".repeat(length));

    assert_ne!(inspect(many(100).as_bytes()), ChunkVerdict::Bad);
    assert_eq!(inspect(many(101).as_bytes()), ChunkVerdict::Bad);
    assert_ne!(inspect(long(16_000).as_bytes()), ChunkVerdict::Bad);
    assert_eq!(inspect(long(17_000).as_bytes()), ChunkVerdict::Bad);
}

#[test]
fn after_the_end_nothing_changes() {
    let mut done = ChunkInspector::default();
    done.push(b"0\r\n\r\n");
    let mut bad = ChunkInspector::default();
    bad.push(b"\r\n");

    assert_eq!(done.push(b"garbage"), ChunkVerdict::Done { used: 0 });
    assert_eq!(bad.push(b"0\r\n\r\n"), ChunkVerdict::Bad);
}

proptest! {
    #[test]
    fn bodies_cut_anywhere_are_good(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut body: Vec<u8> = chunks.iter().flat_map(|chunk| coded(chunk)).collect();
        body.extend(b"0\r\n\r\n");
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(body.len())).collect();
        cuts.sort_unstable();
        let mut inspector = ChunkInspector::default();

        let mut from = 0;
        for cut in cuts {
            prop_assert_eq!(inspector.push(&body[from..cut]), ChunkVerdict::Good);
            from = cut;
        }

        prop_assert_eq!(inspector.push(&body[from..]), ChunkVerdict::Done { used: body.len() - from });
    }

    #[test]
    fn what_is_not_framing_is_not_guessed_at(noise in "[0-9a-f;= \"\\\\\r\n:x_\t]{0,40}") {
        crate::gate::oracle::chunks(noise.as_bytes());
    }
}

fn coded(chunk: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat()
}

const GOOD: &[&str] = &[
    "0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    "2\r\nhe\r\n3\r\nllo\r\n00\r\n\r\n",
    "0000000000000005\r\nhello\r\n0\r\n\r\n",
    "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
    "2\r\n\r\n\r\n0\r\n\r\n",
    "5;a\r\nhello\r\n0;b\r\n\r\n",
    "5;a=b;c=\"d e\\\"\\\\\t\";f\r\nhello\r\n0\r\n\r\n",
    "5;a=\"\"\r\nhello\r\n0\r\n\r\n",
    "0\r\nX: a\r\nY:\r\nZ: \"b\"\t\r\n\r\n",
];

const BAD: &[&str] = &[
    "\r\n5\r\nhello\r\n0\r\n\r\n",
    ";a\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5 ;a\r\nhello\r\n0\r\n\r\n",
    "5; a\r\nhello\r\n0\r\n\r\n",
    "5;a =b\r\nhello\r\n0\r\n\r\n",
    "5;a= b\r\nhello\r\n0\r\n\r\n",
    "5;\r\nhello\r\n0\r\n\r\n",
    "5;=a\r\nhello\r\n0\r\n\r\n",
    "5;a=\r\nhello\r\n0\r\n\r\n",
    "5;a=b=c\r\nhello\r\n0\r\n\r\n",
    "5;a=\"b\"c\r\nhello\r\n0\r\n\r\n",
    "5;a=\"b\r\nhello\r\n0\r\n\r\n",
    "5;a=\"\\\0\"\r\nhello\r\n0\r\n\r\n",
    "5;a=b\nc\r\nhello\r\n0\r\n\r\n",
    "5;a\rb\r\nhello\r\n0\r\n\r\n",
    "5;\0\r\nhello\r\n0\r\n\r\n",
    "zz\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5_0\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\rhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello\r0\r\n\r\n",
    "5\r\nhello!\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "8000000000000000\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "00000000000000005\r\nhello\r\n0\r\n\r\n",
    "0\r\n\n",
    "0\r\n\rx",
    "0\r\nno trailer\r\n\r\n",
    "0\r\nX : a\r\n\r\n",
    "0\r\n X: a\r\n\r\n",
    "0\r\n: a\r\n\r\n",
    "0\r\nX_Y: a\r\n\r\n",
    "0\r\nX: \0\r\n\r\n",
    "0\r\nX: a\x7f\r\n\r\n",
    "0\r\nX: a\n\r\n",
    "0\r\nX: a\rb\r\n\r\n",
    "0\r\nX: a\r\n folded\r\n\r\n",
];
