//! HTTP/1 requests that are refused, as bytes: which status, which word, whether
//! the connection goes on, what the operator sees. None reaches an origin.
//!
//! Three parts of the gateway refuse. The gate answers with problem+json, a flag
//! and an access-log line. The edge (before the parser) and Pingora's parser
//! answer without a body, close, and count a connection that ended early.

use std::collections::BTreeMap;

use crate::support::{Gateway, Origin, PATIENCE, Request, Response, eventually};

use By::{Edge, Gate, Parser};

/// One thing that is sent and what must come of it.
struct Case {
    sent: Vec<u8>,
    status: u16,
    by: By,
    goes_on: bool,
}

/// Who refuses.
#[derive(Clone, Copy)]
enum By {
    /// With this flag.
    Gate(&'static str),
    /// With this reason.
    Edge(&'static str),
    /// Pingora's parser.
    Parser,
}

const KEPT: bool = true;
const CLOSED: bool = false;

fn case(sent: impl AsRef<[u8]>, status: u16, by: By, goes_on: bool) -> Case {
    Case { sent: sent.as_ref().to_vec(), status, by, goes_on }
}

/// A GET for `/` with these header lines.
fn with(lines: &str, by: By, goes_on: bool) -> Case {
    case(format!("GET / HTTP/1.1\r\n{lines}\r\n"), 400, by, goes_on)
}

/// A GET for `/` with a good host and these lines more.
fn and(lines: &str, by: By, goes_on: bool) -> Case {
    with(&format!("Host: api.example.com\r\n{lines}"), by, goes_on)
}

/// A good header but for its request line.
fn line(line: impl AsRef<[u8]>, status: u16, by: By, goes_on: bool) -> Case {
    case([line.as_ref(), b"\r\nHost: api.example.com\r\n\r\n"].concat(), status, by, goes_on)
}

#[tokio::test]
async fn a_host_that_is_not_one_host_is_refused() {
    let host = |host: &str, by, goes_on| with(&format!("Host: {host}\r\n"), by, goes_on);
    assert_refused(vec![
        with("", Gate("no_host"), KEPT),
        host("", Gate("no_host"), KEPT),
        host(" \t", Gate("no_host"), KEPT),
        case("GET / HTTP/1.0\r\n\r\n", 400, Gate("no_host"), CLOSED),
        case("GET / HTTP/1.0\r\nHost: a,b\r\n\r\n", 400, Gate("bad_host"), CLOSED),
        host("a,b", Gate("bad_host"), KEPT),
        host("a b", Gate("bad_host"), KEPT),
        host("a/b", Gate("bad_host"), KEPT),
        host("a b/c?d#e", Gate("bad_host"), KEPT),
        host("a\\b", Gate("bad_host"), KEPT),
        host("%61pi.example.com", Gate("bad_host"), KEPT),
        host("api..example.com", Gate("bad_host"), KEPT),
        host("*", Gate("bad_host"), KEPT),
        host("[::1", Gate("bad_host"), KEPT),
        host("api.example.com:", Gate("bad_host"), KEPT),
        host("api.example.com:http", Gate("bad_host"), KEPT),
        host("api.example.com:0", Gate("bad_host"), KEPT),
        host("api.example.com:65536", Gate("bad_host"), KEPT),
        host("api.example.com:80:80", Gate("bad_host"), KEPT),
        host("a@b", Parser, CLOSED),
        host("@", Parser, CLOSED),
        with("Host: a\r\nHost: b\r\n", Parser, CLOSED),
        with("Host: a\r\nhOST: a\r\n", Parser, CLOSED),
        line("GET http://other.example.com/ HTTP/1.1", 400, Parser, CLOSED),
        line("GET http://API.example.com/ HTTP/1.1", 400, Parser, CLOSED),
        line("GET http://api.example.com:80/ HTTP/1.1", 400, Parser, CLOSED),
        line("GET http://user@api.example.com/ HTTP/1.1", 400, Parser, CLOSED),
        case("GET http://api.example.com/ HTTP/1.1\r\n\r\n", 400, Gate("no_host"), KEPT),
    ])
    .await;
}

#[tokio::test]
async fn a_target_that_is_no_path_is_refused() {
    let get = |target: &str| format!("GET {target} HTTP/1.1");
    let mut cases = vec![
        line(get("admin"), 400, Gate("bad_target"), CLOSED),
        line(get("@evil/admin"), 400, Gate("bad_target"), CLOSED),
        line(get("*"), 400, Gate("bad_target"), CLOSED),
        line("OPTIONS * HTTP/1.1", 400, Gate("bad_target"), CLOSED),
        line(get("ftp://api.example.com/"), 400, Gate("bad_target"), CLOSED),
        line(get("/a\\b"), 400, Gate("bad_path"), KEPT),
        line(get("/a%2fb"), 400, Gate("bad_path"), KEPT),
        line(get("/a%5Cb"), 400, Gate("bad_path"), KEPT),
        line(get("/a%00"), 400, Gate("bad_path"), KEPT),
        line(get("/a%0d%0aX:%201"), 400, Gate("bad_path"), KEPT),
        line(get("/%c0%af"), 400, Gate("bad_path"), KEPT),
        line(get("/a/..;/b"), 400, Gate("bad_path"), KEPT),
        line(get("/a/.%3b/b"), 400, Gate("bad_path"), KEPT),
        line(get("/a;b"), 400, Gate("path_parameter"), KEPT),
        line(get("/a%3bb"), 400, Gate("path_parameter"), KEPT),
        line(get("/.."), 400, Gate("bad_path"), KEPT),
        line(get("/a/%2e%2e/../b"), 400, Gate("bad_path"), KEPT),
        line(get("/%"), 400, Gate("bad_path"), KEPT),
        line(get("/%zz"), 400, Gate("bad_path"), KEPT),
        line(format!("GET /{} HTTP/1.1", "a".repeat(16 << 10)), 414, Edge("header_too_large"), CLOSED),
        // Its end is never seen: the answer does not wait for it.
        case(format!("GET /{}", "a".repeat(20 << 10)), 414, Edge("header_too_large"), CLOSED),
    ];
    for byte in [0, 1, b'\t', 0x1b, b'#', 0x7f, 0x80, 0xff] {
        let target = [b"GET /a", &[byte][..], b"b HTTP/1.1"].concat();
        cases.push(line(target, 400, Edge("bad_request_line"), CLOSED));
    }
    assert_refused(cases).await;
}

#[tokio::test]
async fn what_is_no_request_line_is_refused() {
    let bad = |text: &str| line(text, 400, Edge("bad_request_line"), CLOSED);
    let long = "A".repeat(33);
    assert_refused(vec![
        bad("Extra lineGET / HTTP/1.1"),
        bad("GET /a b HTTP/1.1"),
        bad("GET  / HTTP/1.1"),
        bad("GET / HTTP/1.1 "),
        bad(" GET / HTTP/1.1"),
        bad("GET / HTTP/2.0"),
        bad("GET / HTTP/1.2"),
        bad("GET / http/1.1"),
        bad("GET /"),
        bad("G(T / HTTP/1.1"),
        bad(&format!("{long} / HTTP/1.1")),
        bad("\r\n\r\n\r\nGET / HTTP/1.1"),
        case("GET / HTTP/1.1\nHost: api.example.com\n\n", 400, Edge("bad_request_line"), CLOSED),
        case("GET / HTTP/1.1\rHost: api.example.com\r\r", 400, Edge("bad_request_line"), CLOSED),
        case(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, Edge("bad_request_line"), CLOSED),
        case("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, Edge("bad_request_line"), CLOSED),
        case(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", 400, Edge("bad_request_line"), CLOSED),
    ])
    .await;
}

#[tokio::test]
async fn a_method_outside_the_list_is_a_405_that_says_which_are_in_it() {
    let methods = ["get", "Get", "TRACE", "CONNECT", "PROPFIND", "G", "GETT"];
    let refuse = |method| line(format!("{method} / HTTP/1.1"), 405, Gate("method_not_allowed"), KEPT);
    let mut cases: Vec<_> = methods.into_iter().map(refuse).collect();
    cases.push(line("CONNECT api.example.com:443 HTTP/1.1", 405, Gate("method_not_allowed"), KEPT));

    for answer in assert_refused(cases).await {
        assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
}

#[tokio::test]
async fn a_body_whose_end_is_in_doubt_is_refused_and_the_connection_closed() {
    let post = |version: &str, lines: &str, by| {
        let head = format!("POST / HTTP/{version}\r\nHost: api.example.com\r\n{lines}\r\n");
        case(format!("{head}0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"), 400, by, CLOSED)
    };
    let coding = |value: &str, by| post("1.1", &format!("Transfer-Encoding: {value}\r\n"), by);
    let length = |value: &str, by| post("1.1", &format!("Content-Length: {value}\r\n"), by);
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_refused(vec![
        coding("gzip, chunked", Gate("bad_transfer_encoding")),
        coding("chunked, chunked", Gate("bad_transfer_encoding")),
        coding(",chunked", Gate("bad_transfer_encoding")),
        coding("identity", Parser),
        coding("chunked, identity", Parser),
        coding("chunked;q=1", Parser),
        coding("xchunked", Parser),
        coding("\"chunked\"", Parser),
        coding("", Parser),
        post("1.1", &chunked.repeat(2), Gate("bad_transfer_encoding")),
        post("1.0", chunked, Parser),
        post("1.1", &format!("{chunked}Content-Length: 5\r\n"), Gate("two_framings")),
        post("1.1", &format!("Content-Length: 0\r\n{chunked}"), Gate("two_framings")),
        post("1.1", &format!("content-length: 5\r\nContent-Length: 6\r\n{chunked}"), Gate("two_framings")),
        post("1.1", "Content-Length: 5\r\nContent-Length: 6\r\n", Parser),
        post("1.1", "Content-Length: 5\r\nContent-Length: 5\r\n", Gate("bad_content_length")),
        length("5,5", Gate("bad_content_length")),
        length("5, 6", Parser),
        length("+5", Parser),
        length("-5", Parser),
        length("", Parser),
        length("0x5", Parser),
        length("5 5", Parser),
        length("1e3", Parser),
        length("1000000000000000000", Gate("bad_content_length")),
        length("99999999999999999999999", Parser),
    ])
    .await;
}

#[tokio::test]
async fn a_field_that_two_servers_could_read_differently_is_refused() {
    let mut cases = vec![
        and("X: a\rb\r\n", Parser, CLOSED),
        and("X: a\nY: b\r\n", Gate("bad_line_ending"), CLOSED),
        and("X: a\n Y: b\r\n", Parser, CLOSED),
        and("X: a\0b\r\n", Parser, CLOSED),
        and("X: a\x1bb\r\n", Parser, CLOSED),
        and("X: a\x7fb\r\n", Parser, CLOSED),
        and("X: a\r\n b\r\n", Parser, CLOSED),
        and(" X: a\r\n", Parser, CLOSED),
        and("X : a\r\n", Parser, CLOSED),
        and("X\t: a\r\n", Parser, CLOSED),
        and("X Y: a\r\n", Parser, CLOSED),
        and("X\r\n", Parser, CLOSED),
        and(": a\r\n", Parser, CLOSED),
        and("X\0: a\r\n", Parser, CLOSED),
        and("X(: a\r\n", Parser, CLOSED),
    ];
    for name in ["J_WT", "j_wt", "Transfer_Encoding", "Content_Length", "X_Forwarded_For", "_"] {
        cases.push(and(&format!("{name}: 1\r\n"), Gate("underscore_header"), CLOSED));
    }
    for nominated in ["Host", "Content-Length", "authorization", "x-forwarded-for", "via", "a b", "\"x\""] {
        cases.push(and(&format!("Connection: keep-alive, {nominated}\r\n"), Gate("bad_connection"), CLOSED));
    }
    cases.push(and("Connection: a,b,c,d,e,f,g,h,i,j\r\n", Gate("bad_connection"), CLOSED));
    assert_refused(cases).await;
}

#[tokio::test]
async fn more_header_than_allowed_is_a_431() {
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(count));
    let bytes = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(count));
    assert_refused(vec![
        case(fields(100), 431, Gate("too_many_fields"), KEPT),
        case(fields(255), 431, Gate("too_many_fields"), KEPT),
        case(fields(1000), 431, Edge("header_too_large"), CLOSED),
        case(bytes(32 << 10), 431, Gate("header_too_large"), KEPT),
        case(bytes(64 << 10), 431, Edge("header_too_large"), CLOSED),
        case(bytes(4 << 20), 431, Edge("header_too_large"), CLOSED),
    ])
    .await;
}

#[tokio::test]
async fn what_looks_odd_and_has_one_meaning_is_served_in_one_spelling() {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    for (sent, host, target) in [
        ("GET http://a.example/b?c HTTP/1.1\r\nHost: a.example\r\n\r\n", "a.example", "/b?c"),
        ("GET HTTPS://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n", "a.example", "/"),
        ("GET http://a.example?c HTTP/1.1\r\nHost: a.example\r\n\r\n", "a.example", "/?c"),
        ("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n", "a.example", "/"),
        ("\r\n\r\nGET / HTTP/1.1\r\nhost:a.example\r\n\r\n", "a.example", "/"),
        ("GET / HTTP/1.1\r\nHOST: A.Example.:8080 \r\n\r\n", "a.example:8080", "/"),
        ("GET / HTTP/1.1\r\nHost: [0::1]:80\r\n\r\n", "[::1]:80", "/"),
        ("GET /a/../b//c/./d,e?x=/../%2F HTTP/1.1\r\nHost: a\r\n\r\n", "a", "/b/c/d,e?x=/../%2F"),
        ("GET /%41%7e/%c3%a9%20 HTTP/1.1\r\nHost: a\r\n\r\n", "a", "/A~/%C3%A9%20"),
        ("GET /[a]?b[]={c} HTTP/1.1\r\nHost: a\r\n\r\n", "a", "/%5Ba%5D?b[]={c}"),
    ] {
        let answer = gateway.connect().await.send_raw(sent).await;

        assert_eq!(answer.status, 200, "{sent:?} got {answer:?}");
        assert_eq!((answer.echo().host(), answer.echo().target()), (Some(host), target), "{sent:?}");
        assert!(answer.echo().lines("host").len() == 1, "{sent:?}");
    }
}

/// Sends each on a connection of its own; the answers.
async fn assert_refused(cases: Vec<Case>) -> Vec<Response> {
    let origin = Origin::start().await;
    let gateway = Gateway::in_front_of(&origin).await;
    let (mut answers, mut counted, mut served) = (Vec::new(), BTreeMap::new(), 0);
    for case in &cases {
        let mut client = gateway.connect().await;
        let answer = client.send_raw(&case.sent).await;
        let sent = String::from_utf8_lossy(&case.sent[..case.sent.len().min(200)]).into_owned();
        assert_eq!(answer.status, case.status, "{sent:?} got {answer:?}");
        assert_told(&gateway, &answer, case, &sent).await;
        assert_eq!(!answer.closed, case.goes_on, "whether the connection goes on after {sent:?}");
        if case.goes_on {
            let next = client.send(&Request::get("/after")).await;
            assert_eq!(next.echo().target(), "/after", "after {sent:?}");
            served += 1;
        }
        *counted.entry(series(case.by)).or_insert(0.0) += 1.0;
        answers.push(answer);
    }

    assert!(origin.log().await.iter().all(|seen| seen["target"] == "/after"), "{:?}", origin.log().await);
    assert_eq!(origin.requests().await, served);
    eventually(PATIENCE, || async { gateway.metrics().await.refused() == counted }).await;
    let logged = cases.iter().filter(|case| matches!(case.by, Gate(_))).count() as u64 + served;
    eventually(PATIENCE, || async { gateway.access_log().len() as u64 >= logged }).await;
    assert_eq!(gateway.access_log().len() as u64, logged, "one line for each request");
    assert!(!gateway.stderr().contains("level=error") && !gateway.stderr().contains("level=warn"));
    answers
}

async fn assert_told(gateway: &Gateway, answer: &Response, case: &Case, sent: &str) {
    assert_eq!(answer.header("server"), None, "{sent:?} got {answer:?}");
    let Gate(flag) = case.by else {
        assert!(answer.body.is_empty() && answer.header("x-request-id").is_none(), "{sent:?} got {answer:?}");
        return;
    };
    assert_eq!(answer.flag(), flag, "to {sent:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let line = gateway.line_of(answer).await;
    assert_eq!((&line["status"], &line["flag"]), (&case.status.into(), &flag.into()), "to {sent:?}");
}

/// Where it is counted.
fn series(by: By) -> String {
    match by {
        Gate(flag) => format!("flag {flag}"),
        Edge(reason) => format!("reason {reason}"),
        Parser => "reason bad_request".to_owned(),
    }
}
