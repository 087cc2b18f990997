//! One test for each kind of refusal that the gate's head doc lists.

use super::*;
use crate::gate::oracle::requests::{read_http1, read_http2};

fn gate() -> Gate {
    Gate::new(&RequestsSpec::default())
}

/// What the gate makes of an HTTP/1 header block: `METHOD host target` as it is
/// forwarded.
fn http1(head: &str) -> Result<String, Refusal> {
    let (mut request, raw_head) = read_http1(head.as_bytes()).expect("Pingora reads it");
    gate().admit(&mut request, Some(raw_head))?;
    Ok(summary(&request))
}

/// The same for an HTTP/2 request as [`crate::gate::oracle::gate`] writes it.
fn http2(description: &str) -> Result<String, Refusal> {
    let mut request = read_http2(description.as_bytes()).expect("h2 reads it");
    gate().admit(&mut request, None)?;
    Ok(summary(&request))
}

fn summary(request: &RequestHeader) -> String {
    let host = request.headers.get(header::HOST).unwrap().to_str().unwrap();
    assert_eq!(request.uri.authority(), None);
    format!("{} {host} {}", request.method, str::from_utf8(request.raw_path()).unwrap())
}

/// A GET with a good line and host, and these fields.
fn with(fields: &str) -> Result<String, Refusal> {
    http1(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
}

fn with_host(host: &str) -> Result<String, Refusal> {
    http1(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

fn with_target(target: &str) -> Result<String, Refusal> {
    http1(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
}

#[test]
fn a_plain_request_is_let_in_and_nothing_is_changed() {
    let head =
        b"POST /a?b=1 HTTP/1.1\r\nHost: api.example.com:8443\r\nContent-Length: 5\r\nX: \xe9\t1\r\n\r\n";
    let (request, raw_head) = read_http1(head).unwrap();
    let gate = gate();

    let admitted = gate.check(&request, Some(raw_head)).unwrap();

    assert!(matches!(&admitted.host, Cow::Borrowed("api.example.com")));
    assert!(matches!(&admitted.path, Cow::Borrowed("/a")));
    assert_eq!((admitted.port, admitted.query), (Some(8443), Some("b=1")));
    assert_eq!(admitted.rewrite(), Rewrite::default());
}

#[test]
fn what_is_matched_is_what_is_forwarded() {
    let written = "GET /a/../%41//b?x=/../ HTTP/1.1\r\nHost: API.Example.com.:80\r\n\r\n";

    assert_eq!(http1(written).as_deref(), Ok("GET api.example.com:80 /A/b?x=/../"));
}

#[test]
fn the_host_of_an_admitted_request_is_found_again() {
    let (mut request, raw_head) = read_http1(b"GET / HTTP/1.1\r\nHost: [::0:1]:80\r\n\r\n").unwrap();
    gate().admit(&mut request, Some(raw_head)).unwrap();

    assert_eq!(host_of(&request), Some(("[::1]", Some(80))));
}

#[test]
fn an_absolute_form_is_forwarded_in_origin_form() {
    let absolute =
        |target: &str, host: &str| http1(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));

    assert_eq!(absolute("http://a.b/c?d", "a.b").as_deref(), Ok("GET a.b /c?d"));
    assert_eq!(absolute("HTTPS://a.b", "a.b").as_deref(), Ok("GET a.b /"));
    assert_eq!(absolute("http://a.b?d=//e", "a.b").as_deref(), Ok("GET a.b /?d=//e"));
    assert_eq!(absolute("http://a.b/", "a.c"), Err(Refusal::HostMismatch));
    assert_eq!(absolute("http://a.b/", "A.b"), Err(Refusal::HostMismatch));
    assert_eq!(absolute("http://a.b:80/", "a.b"), Err(Refusal::HostMismatch));
    assert_eq!(absolute("http://x@a.b/", "x@a.b"), Err(Refusal::Host));
}

#[test]
fn a_target_that_is_no_path_is_refused() {
    for target in [
        "*",
        "admin",
        "@evil/admin",
        "ftp://a/",
        "ws://a/",
        "http:/a",
        "http:a",
        "?q",
        "a:80",
        "%2f",
        "://a/",
    ] {
        assert_eq!(with_target(target), Err(Refusal::Target), "{target}");
    }
    assert_eq!(http1("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Refusal::Target));
}

#[test]
fn a_fragment_that_the_parser_cut_off_is_found_in_the_bytes() {
    for target in ["/a#b", "/#", "/?a#b", "http://a/#b"] {
        assert_eq!(with_target(target), Err(Refusal::Target), "{target}");
    }
}

// Found by the fuzzer: the URI read "" and the wire "/".
#[test]
fn a_path_that_was_nothing_but_a_fragment_is_the_root_for_all() {
    for description in ["GET https a #x\n", "GET https - #x\nhost:a\n"] {
        let mut request = read_http2(description.as_bytes()).unwrap();

        gate().admit(&mut request, None).unwrap();

        assert_eq!((request.uri.path(), request.raw_path()), ("/", &b"/"[..]), "{description}");
    }
}

#[test]
fn a_query_of_visible_ascii_stays_as_it_is_and_another_is_refused() {
    assert_eq!(with_target("/?a=[\\d]{2}|'&%zz?/").as_deref(), Ok("GET a /?a=[\\d]{2}|'&%zz?/"));
    assert_eq!(with_target("/?é"), Err(Refusal::Target));
}

#[test]
fn a_path_without_one_meaning_is_refused() {
    for target in ["/..", "/%2e%2e/a", "/a%2fb", "/a%5Cb", "/a\\b", "/%00", "/é", "/%", "/a/..;/b", "/%c0%af"]
    {
        assert_eq!(with_target(target), Err(Refusal::Path), "{target}");
    }
}

#[test]
fn a_request_without_a_host_is_refused_in_every_version() {
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: \t\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\n\r\n",
        "GET http://a/ HTTP/1.0\r\n\r\n",
    ] {
        assert_eq!(http1(head), Err(Refusal::HostMissing), "{head:?}");
    }
    assert_eq!(http2("GET https - /\n"), Err(Refusal::HostMissing));
}

#[test]
fn an_ambiguous_host_is_refused() {
    for host in
        ["a,b", "a b", "a@b", "a#b", "a/b", "a b/c?d#e", "a:", "a:x", "a:99999", "..", "a%41", "[::1", "*"]
    {
        assert_eq!(with_host(host), Err(Refusal::Host), "{host}");
    }
    assert_eq!(with("Host: a\r\n"), Err(Refusal::Host));
    assert_eq!(with("hOST: b\r\n"), Err(Refusal::Host));
}

#[test]
fn http_2_names_its_host_once_or_twice_alike() {
    assert_eq!(http2("GET https a.b /c?d\n").as_deref(), Ok("GET a.b /c?d"));
    assert_eq!(http2("GET https - /\nhost:A.b\n").as_deref(), Ok("GET a.b /"));
    assert_eq!(http2("GET https a.b /\nhost:a.b\n").as_deref(), Ok("GET a.b /"));
    assert_eq!(http2("GET https A.b. //c\nhost:A.b.\n").as_deref(), Ok("GET a.b /c"));
    assert_eq!(http2("GET https a.b /\nhost:a.c\n"), Err(Refusal::HostMismatch));
    assert_eq!(http2("GET https a@b /\n"), Err(Refusal::Host));
    assert_eq!(http2("GET https a.b *\n"), Err(Refusal::Target));
    assert_eq!(http2("GET gopher a.b /\n"), Err(Refusal::Target));
}

#[test]
fn a_method_outside_the_list_is_refused_in_any_spelling() {
    for method in ["TRACE", "CONNECT", "get", "Get", "PROPFIND", "G"] {
        let refused = http1(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));

        assert_eq!(refused, Err(Refusal::MethodNotAllowed), "{method}");
    }
    assert_eq!(gate().allow(), "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
}

#[test]
fn an_underscore_in_a_field_name_is_refused() {
    for name in ["J_WT", "Transfer_Encoding", "Content_Length", "X_Forwarded_For", "_", "a_"] {
        assert_eq!(with(&format!("{name}: 1\r\n")), Err(Refusal::Underscore), "{name}");
    }
}

#[test]
fn a_field_name_that_is_no_token_is_refused() {
    assert_eq!(http2("GET https a /\n\"x:1\n"), Err(Refusal::FieldName));
}

#[test]
fn a_transfer_encoding_other_than_one_chunked_is_refused() {
    for value in ["gzip, chunked", "chunked, chunked", "identity", "xchunked", "chunked;q=1", "", ",chunked"]
    {
        let fields = format!("Transfer-Encoding: {value}\r\n");

        assert_eq!(with(&fields), Err(Refusal::TransferEncoding), "{value}");
    }
    let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(with(twice), Err(Refusal::TransferEncoding));
    assert!(with("Transfer-Encoding: \tChunked \r\n").is_ok());
}

#[test]
fn a_transfer_encoding_outside_http_1_1_is_refused() {
    let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

    assert_eq!(http1(old), Err(Refusal::TransferEncoding));
    assert_eq!(http2("POST https a /\ntransfer-encoding:chunked\n"), Err(Refusal::TransferEncoding));
}

#[test]
fn a_length_beside_chunked_is_found_although_the_parser_took_it_away() {
    for fields in [
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "content-length:0\r\nTransfer-Encoding: chunked\r\n",
        "CONTENT-LENGTH: 5\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n",
    ] {
        assert_eq!(with(fields), Err(Refusal::TwoFramings), "{fields}");
    }
    assert!(with("Transfer-Encoding: chunked\r\nX: Content-Length: 5\r\n").is_ok());
}

#[test]
fn a_content_length_that_is_not_one_number_is_refused() {
    for value in ["+5", "-5", "5,5", "5, 5", "5 5", "", "0x5", "5.0", "1e3", "1000000000000000000", "5;"] {
        let fields = format!("Content-Length: {value}\r\n");

        assert_eq!(with(&fields), Err(Refusal::ContentLength), "{value}");
    }
    assert_eq!(with("Content-Length: 5\r\nContent-Length: 5\r\n"), Err(Refusal::ContentLength));
    assert_eq!(http2("POST https a /\ncontent-length:5,5\n"), Err(Refusal::ContentLength));
    assert!(with("Content-Length: 999999999999999999\r\n").is_ok());
}

#[test]
fn a_connection_field_cannot_take_away_what_we_decide_by() {
    assert_eq!(with("Connection: close, authorization\r\n"), Err(Refusal::Connection));
    assert_eq!(with("Connection: a,b,c,d,e\r\nConnection: f,g,h,i,j\r\n"), Err(Refusal::Connection));
    assert!(with("Connection: keep-alive, x-anything\r\n").is_ok());
    assert!(with("Connection: Upgrade\r\nUpgrade: h2c\r\n").is_ok());
}

#[test]
fn http_2_has_no_fields_that_speak_of_the_connection() {
    for field in ["connection:close", "keep-alive:1", "proxy-connection:close", "upgrade:h2c", "te:gzip"] {
        assert_eq!(http2(&format!("GET https a /\n{field}\n")), Err(Refusal::Connection), "{field}");
    }
    assert!(http2("GET https a /\nte:trailers\n").is_ok());
}

#[test]
fn space_at_the_end_of_an_http_2_value_is_refused() {
    for field in ["x: a", "x:a ", "x:\ta", "x:a\t", "content-length: 5"] {
        assert_eq!(http2(&format!("GET https a /\n{field}\n")), Err(Refusal::FieldValue), "{field:?}");
    }
    assert!(http2("GET https a /\nx:a \tb\ny:\n").is_ok());
}

#[test]
fn a_line_that_ends_with_lf_alone_is_refused() {
    assert_eq!(http1("GET / HTTP/1.1\nHost: a\n\n"), Err(Refusal::LineEnding));
    assert_eq!(with("X: a\nTransfer-Encoding: chunked\r\n"), Err(Refusal::LineEnding));
}

#[test]
fn more_header_than_the_limits_is_refused() {
    let fields = |count: usize| with(&"X: 1\r\n".repeat(count));
    let bytes = |count: usize| with(&format!("X: {}\r\n", "a".repeat(count)));
    // 16 of request line, 9 of Host, 3 and 2 around the value, 2 at the end.
    let around = 32;

    assert!(fields(99).is_ok());
    assert_eq!(fields(100), Err(Refusal::TooManyFields));
    assert!(bytes((32 << 10) - around).is_ok());
    assert_eq!(bytes((32 << 10) - around + 1), Err(Refusal::HeaderTooLarge));
}

#[test]
fn an_http_2_header_counts_with_its_32_bytes_a_field() {
    let bytes = |count: usize| http2(&format!("GET https a /\nx:{}\n", "a".repeat(count)));
    // Five fields of 32; names 7 + 7 + 10 + 5 + 1, values 3 + 5 + 1 + 1.
    let around = 5 * 32 + 30 + 10;

    assert!(bytes((32 << 10) - around).is_ok());
    assert_eq!(bytes((32 << 10) - around + 1), Err(Refusal::HeaderTooLarge));
}

#[test]
fn a_longer_target_than_the_limit_is_refused() {
    let target = |length: usize| with_target(&format!("/{}", "a".repeat(length - 1)));

    assert!(target(16 << 10).is_ok());
    assert_eq!(target((16 << 10) + 1), Err(Refusal::TargetTooLong));
}

#[test]
fn a_doubt_about_framing_comes_before_every_other_refusal() {
    let head = "TRACE * HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";

    assert_eq!(http1(head), Err(Refusal::TwoFramings));
}
