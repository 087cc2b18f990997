//! The access log's line: complete, parseable, bounded, whatever a client sends.

use std::{net::Ipv4Addr, sync::LazyLock, time::UNIX_EPOCH};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

static IDS: LazyLock<(RequestId, TraceContext)> = LazyLock::new(|| {
    let parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let random = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes();
    let trace = TraceContext::new(Some(parent), None, UNIX_EPOCH, [0; 12]);
    (RequestId::choose(None, false, random), trace)
});

static MARK: LazyLock<ConfigMark> = LazyLock::new(|| ConfigMark::new(3, &"0123456789abcdef".repeat(4)));

fn full() -> Line<'static> {
    Line {
        time: UNIX_EPOCH + Duration::from_millis(1_795_199_099_123),
        request_id: &IDS.0,
        trace: &IDS.1,
        client: "::ffff:203.0.113.7".parse().unwrap(),
        peer: Some("10.0.0.5".parse().unwrap()),
        vpc_endpoint: Some("vpce-0123456789abcdef0"),
        tenant: Some("billing"),
        listener: "public",
        protocol: "HTTP/2",
        tls: Some("TLSv1.3"),
        server_name: Some("api.example.com"),
        method: "POST",
        host: b"api.example.com",
        path: b"/orders/17",
        route: Some("orders"),
        upstream: Some("orders-v1"),
        endpoint: Some("10.0.1.10:8080".parse().unwrap()),
        zone: Some("use1-az1"),
        signer: Some("default"),
        attempts: 2,
        reused: Some(true),
        status: 201,
        flag: Some("rate_limited"),
        limit: Some("per-consumer"),
        consumer: None,
        authenticator: None,
        credential: None,
        rule: None,
        would_refuse: &["a", "b"],
        error: Some("connect_refused"),
        bytes_in: 18_446_744_073_709_551_615,
        bytes_out: 5_120,
        duration: Duration::from_nanos(12_345_678),
        upstream_connect: Some(Duration::from_micros(412)),
        upstream_first_byte: Some(Duration::from_micros(9_001)),
        user_agent: Some(b"curl/8.5.0"),
        configuration: &MARK,
    }
}

fn bare() -> Line<'static> {
    Line {
        peer: None,
        vpc_endpoint: None,
        tenant: None,
        tls: None,
        server_name: None,
        route: None,
        upstream: None,
        endpoint: None,
        zone: None,
        signer: None,
        attempts: 0,
        reused: None,
        status: 0,
        flag: None,
        limit: None,
        consumer: None,
        authenticator: None,
        credential: None,
        rule: None,
        would_refuse: &[],
        error: None,
        upstream_connect: None,
        upstream_first_byte: None,
        user_agent: None,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        ..full()
    }
}

fn rendered(line: &Line) -> String {
    let mut out = Vec::new();
    line.render(&mut out);
    String::from_utf8(out).unwrap()
}

fn parsed(line: &Line) -> Value {
    serde_json::from_str(&rendered(line)).unwrap()
}

#[test]
fn a_full_line_tells_everything() {
    let expected = json!({
        "time": "2026-11-20T18:24:59.123Z",
        "request_id": "0123456789abcdef0123456789abcdef",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "client": "203.0.113.7",
        "peer": "10.0.0.5",
        "vpc_endpoint": "vpce-0123456789abcdef0",
        "tenant": "billing",
        "listener": "public",
        "protocol": "HTTP/2",
        "tls": "TLSv1.3",
        "server_name": "api.example.com",
        "method": "POST",
        "host": "api.example.com",
        "path": "/orders/17",
        "route": "orders",
        "upstream": "orders-v1",
        "endpoint": "10.0.1.10:8080",
        "zone": "use1-az1",
        "signer": "default",
        "attempts": 2,
        "reused": true,
        "status": 201,
        "flag": "rate_limited",
        "limit": "per-consumer",
        "would_refuse": ["a", "b"],
        "error": "connect_refused",
        "bytes_in": u64::MAX,
        "bytes_out": 5120,
        "duration_us": 12345,
        "upstream_connect_us": 412,
        "upstream_first_byte_us": 9001,
        "user_agent": "curl/8.5.0",
        "generation": 3,
        "config": "0123456789ab",
    });

    assert_eq!(parsed(&full()), expected);
    assert!(rendered(&full()).starts_with(r#"{"time":"2026"#));
    assert!(rendered(&full()).ends_with(",\"generation\":3,\"config\":\"0123456789ab\"}\n"));
}

#[test]
fn what_is_not_known_is_left_out_but_the_flag() {
    let line = parsed(&bare());

    let keys: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = vec![
        "time",
        "request_id",
        "trace_id",
        "client",
        "listener",
        "protocol",
        "method",
        "host",
        "path",
        "attempts",
        "status",
        "flag",
        "bytes_in",
        "bytes_out",
        "duration_us",
        "generation",
        "config",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(line["flag"], Value::Null);
}

#[test]
fn a_query_never_shows() {
    let line = Line { path: b"/login?token=hunter2&next=/a?b", ..bare() };

    assert_eq!(parsed(&line)["path"], "/login");
    assert!(!rendered(&line).contains("hunter2"));
}

#[test]
fn addresses_read_as_the_standard_library_writes_them() {
    for text in ["0.0.0.0:1", "255.255.255.255:65535", "10.20.30.4:80", "[::1]:8443", "[2001:db8::7]:443"] {
        let address: SocketAddr = text.parse().unwrap();

        let line = parsed(&Line { endpoint: Some(address), client: address.ip(), ..bare() });

        assert_eq!(line["endpoint"], text);
        assert_eq!(line["client"], address.ip().to_string());
    }
}

#[test]
fn what_a_client_sends_is_cut() {
    let long = "é".repeat(50_000);
    let line = parsed(&Line {
        host: long.as_bytes(),
        path: long.as_bytes(),
        user_agent: Some(long.as_bytes()),
        method: &long,
        server_name: Some(&long),
        ..bare()
    });

    for key in ["host", "path", "method", "server_name"] {
        assert_eq!(line[key], "é".repeat(1_024), "{key}");
    }
    assert_eq!(line["user_agent"], "é".repeat(128));
}

proptest! {
    #[test]
    fn hostile_text_comes_back_as_it_was_and_stays_in_its_line(
        texts in proptest::array::uniform3(proptest::collection::vec(any::<u8>(), 0..200)),
        word in "\\PC*[\\x00-\\x7f]{0,9}",
    ) {
        let [host, path, agent] = &texts;
        let line = Line {
            host, path, user_agent: Some(agent), method: &word, route: Some(&word),
            server_name: Some(&word), error: Some(&word), flag: Some(&word),
            vpc_endpoint: Some(&word), tenant: Some(&word), ..full()
        };

        let (text, seen) = (rendered(&line), parsed(&line));

        prop_assert_eq!(text.find('\n'), Some(text.len() - 1));
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        prop_assert_eq!(&seen["host"], &lossy(host));
        prop_assert_eq!(&seen["path"], &lossy(path.split(|b| *b == b'?').next().unwrap()));
        prop_assert_eq!(&seen["user_agent"], &lossy(agent));
        for key in ["method", "route", "server_name", "error", "flag", "vpc_endpoint", "tenant"] {
            prop_assert_eq!(&seen[key], &word);
        }
    }
}
