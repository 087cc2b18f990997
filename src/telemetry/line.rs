//! The access log's line: what there is to know about one request, as JSON.
//!
//! Owns the names, the order and the bounds of the fields. What a client sent
//! is escaped and cut, a query is never told (secrets live there), and every
//! line is complete JSON that ends with a line feed. Rendering allocates
//! nothing beyond the buffer's growth.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

use super::{json, timestamp};

/// One request, when it is over.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// When the request was over.
    pub time: SystemTime,
    /// As it was sent to the endpoint and back to the client.
    pub request_id: &'a [u8],
    /// As in the `traceparent` and `X-Amzn-Trace-Id` that the endpoint got.
    pub trace_id: &'a str,
    /// Who asked, behind every trusted proxy.
    pub client: IpAddr,
    /// Where it came in.
    pub listener: &'a str,
    /// As `HTTP/1.1`.
    pub protocol: &'a str,
    /// As `TLSv1.3`; `None` is cleartext.
    pub tls: Option<&'a str>,
    /// What the client's TLS asked for.
    pub server_name: Option<&'a str>,
    /// The request's method.
    pub method: &'a str,
    /// The request's authority or `Host`; empty when it had none.
    pub host: &'a [u8],
    /// The request's path. What follows a `?` is left out here.
    pub path: &'a [u8],
    /// Which route matched.
    pub route: Option<&'a str>,
    /// Which upstream was chosen.
    pub upstream: Option<&'a str>,
    /// Where the last attempt went.
    pub endpoint: Option<SocketAddr>,
    /// That endpoint's zone.
    pub zone: Option<&'a str>,
    /// How many attempts there were; 0 when the gateway answered itself.
    pub attempts: u32,
    /// Whether the last attempt's connection had served before.
    pub reused: Option<bool>,
    /// What was answered; 0 when the client left before.
    pub status: u16,
    /// Why the gateway answered itself.
    pub flag: Option<&'a str>,
    /// What kind of error there was, in one short word.
    pub error: Option<&'a str>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// From the request's first byte until it was over.
    pub duration: Duration,
    /// What connecting took in the last attempt.
    pub upstream_connect: Option<Duration>,
    /// From the last attempt's start to the answer's first byte.
    pub upstream_first_byte: Option<Duration>,
    /// What the client calls itself.
    pub user_agent: Option<&'a [u8]>,
    /// The configuration that served the request.
    pub generation: u64,
}

impl Line<'_> {
    /// Appends the line with its line feed. Fields that are `None` are left
    /// out, but for `flag`, which is `null`.
    pub fn render(&self, out: &mut Vec<u8>) {
        out.reserve(USUAL_BYTES);
        out.extend_from_slice(br#"{"time":""#);
        out.extend_from_slice(&timestamp::rfc3339(self.time));
        text(out, r#"","request_id":""#, self.request_id);
        text(out, r#"","trace_id":""#, self.trace_id.as_bytes());
        out.extend_from_slice(br#"","client":""#);
        push_ip(out, self.client.to_canonical());
        out.push(b'"');
        self.render_request(out);
        self.render_way(out);
        self.render_result(out);
        out.extend_from_slice(b"}\n");
    }

    /// What the client asked.
    fn render_request(&self, out: &mut Vec<u8>) {
        let path = self.path.split(|b| *b == b'?').next().unwrap_or_default();
        member(out, r#","listener":""#, self.listener.as_bytes());
        member(out, r#","protocol":""#, self.protocol.as_bytes());
        option(out, r#","tls":""#, self.tls.map(str::as_bytes));
        option(out, r#","server_name":""#, self.server_name.map(str::as_bytes));
        member(out, r#","method":""#, self.method.as_bytes());
        member(out, r#","host":""#, self.host);
        member(out, r#","path":""#, path);
    }

    /// Where it went.
    fn render_way(&self, out: &mut Vec<u8>) {
        option(out, r#","route":""#, self.route.map(str::as_bytes));
        option(out, r#","upstream":""#, self.upstream.map(str::as_bytes));
        if let Some(endpoint) = self.endpoint {
            out.extend_from_slice(br#","endpoint":""#);
            push_endpoint(out, endpoint);
            out.push(b'"');
        }
        option(out, r#","zone":""#, self.zone.map(str::as_bytes));
        number(out, r#","attempts":"#, u64::from(self.attempts));
        match self.reused {
            Some(true) => out.extend_from_slice(br#","reused":true"#),
            Some(false) => out.extend_from_slice(br#","reused":false"#),
            None => {}
        }
    }

    /// What came of it.
    fn render_result(&self, out: &mut Vec<u8>) {
        number(out, r#","status":"#, u64::from(self.status));
        match self.flag {
            Some(flag) => member(out, r#","flag":""#, flag.as_bytes()),
            None => out.extend_from_slice(br#","flag":null"#),
        }
        option(out, r#","error":""#, self.error.map(str::as_bytes));
        number(out, r#","bytes_in":"#, self.bytes_in);
        number(out, r#","bytes_out":"#, self.bytes_out);
        number(out, r#","duration_us":"#, micros(self.duration));
        if let Some(took) = self.upstream_connect {
            number(out, r#","upstream_connect_us":"#, micros(took));
        }
        if let Some(took) = self.upstream_first_byte {
            number(out, r#","upstream_first_byte_us":"#, micros(took));
        }
        option(out, r#","user_agent":""#, self.user_agent.map(|name| json::cut(name, MAX_USER_AGENT)));
        number(out, r#","generation":"#, self.generation);
    }
}

/// A key that opens a string, and the string without its closing quote.
#[inline]
fn text(out: &mut Vec<u8>, key: &'static str, value: &[u8]) {
    out.extend_from_slice(key.as_bytes());
    json::push_text(out, json::cut(value, MAX_TEXT));
}

#[inline]
fn member(out: &mut Vec<u8>, key: &'static str, value: &[u8]) {
    text(out, key, value);
    out.push(b'"');
}

#[inline]
fn option(out: &mut Vec<u8>, key: &'static str, value: Option<&[u8]>) {
    if let Some(value) = value {
        member(out, key, value);
    }
}

#[inline]
fn number(out: &mut Vec<u8>, key: &'static str, value: u64) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        // By hand: the standard library's formatting costs as much as a third
        // of the whole line.
        IpAddr::V4(v4) => {
            for (nth, octet) in v4.octets().into_iter().enumerate() {
                if nth > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        // Writing into a `Vec` cannot fail.
        IpAddr::V6(v6) => write!(out, "{v6}").unwrap_or_default(),
    }
}

fn push_endpoint(out: &mut Vec<u8>, endpoint: SocketAddr) {
    let (open, close): (&[u8], &[u8]) = if endpoint.is_ipv6() { (b"[", b"]:") } else { (b"", b":") };
    out.extend_from_slice(open);
    push_ip(out, endpoint.ip());
    out.extend_from_slice(close);
    out.extend_from_slice(itoa::Buffer::new().format(endpoint.port()).as_bytes());
}

/// Whole microseconds; longer than half a million years is all the same.
fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// No text of a line is longer, in bytes before escaping.
const MAX_TEXT: usize = 2_048;

/// User agents are told for the family and version at their beginning.
const MAX_USER_AGENT: usize = 256;

/// More than most lines have.
const USUAL_BYTES: usize = 1_024;

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::UNIX_EPOCH};

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn full() -> Line<'static> {
        Line {
            time: UNIX_EPOCH + Duration::from_millis(1_795_199_099_123),
            request_id: b"0123456789abcdef0123456789abcdef",
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
            client: "::ffff:203.0.113.7".parse().unwrap(),
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
            attempts: 2,
            reused: Some(true),
            status: 201,
            flag: Some("rate_limited"),
            error: Some("connect_refused"),
            bytes_in: 18_446_744_073_709_551_615,
            bytes_out: 5_120,
            duration: Duration::from_nanos(12_345_678),
            upstream_connect: Some(Duration::from_micros(412)),
            upstream_first_byte: Some(Duration::from_micros(9_001)),
            user_agent: Some(b"curl/8.5.0"),
            generation: 3,
        }
    }

    fn bare() -> Line<'static> {
        Line {
            tls: None,
            server_name: None,
            route: None,
            upstream: None,
            endpoint: None,
            zone: None,
            attempts: 0,
            reused: None,
            status: 0,
            flag: None,
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
            "attempts": 2,
            "reused": true,
            "status": 201,
            "flag": "rate_limited",
            "error": "connect_refused",
            "bytes_in": u64::MAX,
            "bytes_out": 5120,
            "duration_us": 12345,
            "upstream_connect_us": 412,
            "upstream_first_byte_us": 9001,
            "user_agent": "curl/8.5.0",
            "generation": 3,
        });

        assert_eq!(parsed(&full()), expected);
        assert!(rendered(&full()).starts_with(r#"{"time":"2026"#));
        assert!(rendered(&full()).ends_with(",\"generation\":3}\n"));
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
        for text in ["0.0.0.0:1", "255.255.255.255:65535", "10.20.30.4:80", "[::1]:8443", "[2001:db8::7]:443"]
        {
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
            request_id: long.as_bytes(),
            user_agent: Some(long.as_bytes()),
            method: &long,
            server_name: Some(&long),
            ..bare()
        });

        for key in ["host", "path", "request_id", "method", "server_name"] {
            assert_eq!(line[key], "é".repeat(1_024), "{key}");
        }
        assert_eq!(line["user_agent"], "é".repeat(128));
    }

    proptest! {
        #[test]
        fn hostile_text_comes_back_as_it_was_and_stays_in_its_line(
            texts in proptest::array::uniform4(proptest::collection::vec(any::<u8>(), 0..200)),
            word in "\\PC*[\\x00-\\x7f]{0,9}",
        ) {
            let [id, host, path, agent] = &texts;
            let line = Line {
                request_id: id, host, path, user_agent: Some(agent), method: &word, route: Some(&word),
                server_name: Some(&word), error: Some(&word), flag: Some(&word), ..full()
            };

            let (text, seen) = (rendered(&line), parsed(&line));

            prop_assert_eq!(text.find('\n'), Some(text.len() - 1));
            let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            prop_assert_eq!(&seen["request_id"], &lossy(id));
            prop_assert_eq!(&seen["host"], &lossy(host));
            prop_assert_eq!(&seen["path"], &lossy(path.split(|b| *b == b'?').next().unwrap()));
            prop_assert_eq!(&seen["user_agent"], &lossy(agent));
            for key in ["method", "route", "server_name", "error", "flag"] {
                prop_assert_eq!(&seen[key], &word);
            }
        }
    }
}
