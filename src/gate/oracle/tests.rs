//! Runs the corpus of the fuzzer again, and holds the oracle's stand-in for
//! Pingora's parser against the parser itself.

use std::{fs, path::Path};

use pingora::protocols::{http::v1::server::HttpSession, l4::stream::Stream};
use tokio::{io::AsyncWriteExt, net::UnixStream};

use super::{chunks::read_strictly, requests::read_http1, *};
use crate::{config::server::RequestsSpec, gate::Gate};

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

fn run_again(target: &str, oracle: fn(&[u8])) {
    let files = corpus(target);
    assert!(files.len() > 10, "{target} has no corpus");
    for (name, bytes) in files {
        // Shown only when the oracle panics: the file to look at.
        eprintln!("{target}/{name}");
        oracle(&bytes);
    }
}

#[test]
fn the_corpus_of_request_lines_holds() {
    run_again("request_line", request_line);
}

#[test]
fn the_corpus_of_requests_holds() {
    run_again("gate", gate);
}

#[test]
fn the_corpus_of_paths_holds() {
    run_again("canonical_path", canonical_path);
}

#[test]
fn the_corpus_of_chunked_bodies_holds() {
    run_again("chunks", chunks);
}

/// What Pingora's own parser makes of the bytes; `None` when it refuses them.
async fn read_by_pingora(bytes: &[u8]) -> Option<HttpSession> {
    let (mut client, server) = UnixStream::pair().unwrap();
    let mut session = HttpSession::new(Box::new(Stream::from(server)));
    client.write_all(bytes).await.unwrap();
    drop(client);
    let read = session.read_request().await;
    matches!(read, Ok(Some(_))).then_some(session)
}

#[tokio::test]
async fn pingora_reads_what_the_oracle_reads() {
    let gate = Gate::new(&RequestsSpec::default());
    let mut compared = 0;
    for (name, bytes) in corpus("gate").into_iter().chain(corpus("request_line")) {
        let line_is_good = matches!(inspect_request_line(&bytes, 1 << 16), LineVerdict::Good { .. });
        if !line_is_good || bytes.starts_with(b"h2\n") {
            continue;
        }
        let expected = read_http1(&bytes);

        let Some(session) = read_by_pingora(&bytes).await else {
            let admitted = expected.is_some_and(|(request, raw)| gate.check(&request, Some(raw)).is_ok());
            assert!(!admitted, "{name}: the gate is looser than Pingora");
            continue;
        };

        let (expected, raw_head) = expected.expect(&name);
        assert_eq!(session.get_headers_raw_bytes(), raw_head, "{name}");
        let (ours, theirs) = (wire(&expected), wire(session.req_header()));
        assert_eq!(ours.escape_ascii().to_string(), theirs.escape_ascii().to_string(), "{name}");
        compared += 1;
    }
    assert!(compared > 10, "only {compared} requests of the corpus are read");
}

#[tokio::test]
async fn pingora_reads_out_of_good_chunks_what_the_oracle_reads() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut compared = 0;
    for (name, body) in corpus("chunks") {
        let Some((data, _)) = read_strictly(&body) else { continue };
        let mut session = read_by_pingora(&[head, &body[..]].concat()).await.expect(&name);

        let mut read = Vec::new();
        while let Some(piece) = session.read_body_bytes().await.expect(&name) {
            read.extend(piece);
        }

        assert_eq!(read, data, "{name}");
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} bodies of the corpus are good");
}

// The gate does not look for them again.
#[tokio::test]
async fn pingora_refuses_control_characters_in_a_value() {
    let head = |byte: u8| [b"GET / HTTP/1.1\r\nHost: a\r\nX: a", &[byte][..], b"b\r\n\r\n"].concat();
    for byte in (0..b' ').chain([0x7f]).filter(|byte| !b"\t\n".contains(byte)) {
        assert!(read_by_pingora(&head(byte)).await.is_none(), "{byte:#x}");
    }
    assert!(read_by_pingora(&head(b'\t')).await.is_some());
}

// So does h2, which makes its values so.
#[test]
fn a_header_value_holds_no_control_character() {
    for byte in (0..b' ').chain([0x7f]).filter(|byte| *byte != b'\t') {
        assert!(http::HeaderValue::from_bytes(&[b'a', byte, b'b']).is_err(), "{byte:#x}");
    }
}

fn wire(request: &pingora::http::RequestHeader) -> Vec<u8> {
    let mut wire = format!("{} {:?} ", request.method, request.version).into_bytes();
    wire.extend(request.raw_path());
    wire.push(b'\n');
    request.header_to_h1_wire(&mut wire);
    wire
}
