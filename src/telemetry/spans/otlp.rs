//! Spans as OTLP writes them in JSON (OpenTelemetry Protocol 1.x, "JSON Protobuf
//! Encoding": ids in hexadecimal, 64-bit numbers as text, enums as numbers).
//!
//! Owns names and attributes: OpenTelemetry's conventions for HTTP spans where they have a
//! name, `tollgate.…` where they have none. Always holds: no query, no cookie, no token,
//! no field of a request but its user agent; each span is one line of complete JSON.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{
    attributes::{Attributes, OTHER, text},
    recording::{Attempt, Kind, Part, Recording},
    settings::Origin,
};
use crate::telemetry::{
    json,
    line::{self, Line},
};

/// The spans of one request that is over.
pub struct RequestSpans<'a> {
    /// What is known of it.
    pub line: &'a Line<'a>,
    /// What was noted of it.
    pub recording: &'a Recording,
}

impl RequestSpans<'_> {
    /// How many there are.
    pub fn count(&self) -> usize {
        1 + self.recording.parts.len()
    }

    /// Appends each with its line feed.
    pub fn render(&self, out: &mut Vec<u8>) {
        out.reserve(USUAL_BYTES * self.count());
        self.render_request(out);
        for (nth, part) in self.recording.parts.iter().enumerate() {
            let before = self.recording.parts.get(..nth).unwrap_or_default();
            let resends = before.iter().filter(|part| matches!(part.kind, Kind::Attempt(_))).count();
            self.render_part(part, resends, out);
        }
    }

    fn render_request(&self, out: &mut Vec<u8>) {
        let (line, recording) = (self.line, self.recording);
        self.begin(&recording.span, recording.caller.span.as_ref(), out);
        let from_afar = if recording.caller.span.is_some() { PARENT_IS_REMOTE } else { 0 };
        number(out, r#""flags":"#, FLAGS | from_afar);
        self.name(line.route, out);
        let begun = self.wall(recording.begun);
        times(out, SERVER, begun, line.time);
        let mut attributes = Attributes::begin(out);
        attributes.text("http.request.method", method(line.method));
        attributes.text("url.scheme", if line.tls.is_some() { "https" } else { "http" });
        attributes.bytes("url.path", line.path.split(|b| *b == b'?').next().unwrap_or_default());
        attributes.some("http.route", line.route);
        attributes.status(line.status);
        attributes.bytes("server.address", line.host);
        attributes.ip("client.address", line.client.to_canonical());
        if let Some(peer) = line.peer {
            attributes.ip("network.peer.address", peer.to_canonical());
        }
        attributes.text("network.protocol.version", line.protocol.trim_start_matches("HTTP/"));
        if let Some(agent) = line.user_agent {
            attributes.bytes("user_agent.original", json::cut(agent, line::MAX_USER_AGENT));
        }
        let failed = line.status >= 500 || line.status == 0;
        attributes.error(line.flag, failed.then_some(line.status));
        attributes.bytes("tollgate.request_id", line.request_id.as_bytes());
        attributes.some("tollgate.upstream", line.upstream);
        attributes.some("tollgate.tenant", line.tenant);
        attributes.some("enduser.id", line.consumer);
        attributes.some("tollgate.authenticator", line.authenticator);
        attributes.some("tollgate.limit", line.limit);
        attributes.end();
        end(out, failed);
    }

    fn render_part(&self, part: &Part, resends: usize, out: &mut Vec<u8>) {
        self.begin(&part.span, Some(&self.recording.span), out);
        number(out, r#""flags":"#, FLAGS);
        let (begun, ended) = (self.wall(part.begun), part.ended.map_or(self.line.time, |at| self.wall(at)));
        match &part.kind {
            Kind::Authentication => {
                text(out, r#","name":""#, b"authenticate");
                out.push(b'"');
                times(out, INTERNAL, begun, ended);
                let mut attributes = Attributes::begin(out);
                attributes.some("tollgate.authenticator", self.line.authenticator);
                attributes.end();
                end(out, false);
            }
            Kind::Wait => {
                text(out, r#","name":""#, b"wait for room");
                out.push(b'"');
                times(out, INTERNAL, begun, ended);
                let mut attributes = Attributes::begin(out);
                attributes.some("tollgate.upstream", self.line.upstream);
                attributes.end();
                end(out, false);
            }
            Kind::Attempt(attempt) => {
                self.name(self.line.upstream, out);
                times(out, CLIENT, begun, ended);
                self.render_attempt(attempt, resends, out);
            }
        }
    }

    fn render_attempt(&self, attempt: &Attempt, resends: usize, out: &mut Vec<u8>) {
        let mut attributes = Attributes::begin(out);
        attributes.text("http.request.method", method(self.line.method));
        attributes.address("server", attempt.target.address);
        attributes.address("network.peer", attempt.target.address);
        attributes.status(attempt.status);
        if resends > 0 {
            attributes.number("http.request.resend_count", resends as u64);
        }
        // What ended the request ended an attempt of which nothing else is known.
        let error = attempt.error.or(self.line.flag.filter(|_| attempt.status == 0));
        let failed = attempt.status >= 400 || error.is_some();
        attributes.error(error, failed.then_some(attempt.status));
        attributes.some("tollgate.upstream", self.line.upstream);
        attributes.some("tollgate.zone", attempt.target.zone.as_deref());
        attributes.flag("tollgate.connection.reused", attempt.reused);
        attributes.end();
        end(out, failed);
    }

    fn begin(&self, span: &[u8; 16], parent: Option<&[u8; 16]>, out: &mut Vec<u8>) {
        text(out, r#"{"traceId":""#, self.line.trace.trace_id_bytes());
        text(out, r#"","spanId":""#, span);
        if let Some(parent) = parent {
            text(out, r#"","parentSpanId":""#, parent);
        }
        out.extend_from_slice(b"\",");
    }

    /// `GET orders`: of few kinds, whatever is asked.
    fn name(&self, of: Option<&str>, out: &mut Vec<u8>) {
        let method = method(self.line.method);
        text(out, r#","name":""#, if method == OTHER { b"HTTP" } else { method.as_bytes() });
        if let Some(of) = of {
            text(out, " ", of.as_bytes());
        }
        out.push(b'"');
    }

    /// An instant on the wall's clock, on which the request's end is known.
    fn wall(&self, at: Instant) -> SystemTime {
        self.line.time - self.line.duration + at.saturating_duration_since(self.recording.begun)
    }
}

/// The beginning of a message: whose spans they are. [`TAIL`] is its end; between are
/// spans, with commas.
pub(super) fn head(service: &str, origin: Origin<'_>) -> Vec<u8> {
    let mut out = br#"{"resourceSpans":[{"resource":{"#.to_vec();
    let mut attributes = Attributes::begin_first(&mut out);
    attributes.text("service.name", service);
    attributes.text("service.version", env!("CARGO_PKG_VERSION"));
    attributes.some("host.name", host_name().as_deref());
    attributes.number("process.pid", u64::from(std::process::id()));
    attributes.some("cloud.region", origin.region);
    attributes.some("cloud.availability_zone", origin.zone_name);
    attributes.some("tollgate.zone", origin.zone);
    attributes.text("telemetry.sdk.name", "tollgate");
    attributes.text("telemetry.sdk.language", "rust");
    attributes.text("telemetry.sdk.version", env!("CARGO_PKG_VERSION"));
    attributes.end();
    text(
        &mut out,
        r#"},"scopeSpans":[{"scope":{"name":"tollgate","version":""#,
        env!("CARGO_PKG_VERSION").as_bytes(),
    );
    out.extend_from_slice(br#""},"spans":["#);
    out
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned())
}

/// The end of a message.
pub(super) const TAIL: &[u8] = b"]}]}]}";

/// The method, if it is one that everyone knows: others are without end.
fn method(method: &str) -> &str {
    if METHODS.contains(&method) { method } else { OTHER }
}

fn times(out: &mut Vec<u8>, kind: u64, begun: SystemTime, ended: SystemTime) {
    number(out, r#","kind":"#, kind);
    number(out, r#","startTimeUnixNano":""#, nanos(begun));
    // Another thread may have looked at another instant.
    number(out, r#"","endTimeUnixNano":""#, nanos(ended.max(begun)));
    out.push(b'"');
}

fn end(out: &mut Vec<u8>, failed: bool) {
    out.extend_from_slice(if failed { b",\"status\":{\"code\":2}}\n" } else { b"}\n" });
}

fn nanos(at: SystemTime) -> u64 {
    let since: Duration = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    // Until 2554.
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn number(out: &mut Vec<u8>, key: &'static str, value: u64) {
    out.extend_from_slice(key.as_bytes());
    line::push_number(out, value);
}

/// `SpanKind`.
const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const CLIENT: u64 = 3;

/// Recorded, and it is known whether the parent is in another process.
const FLAGS: u64 = 0x101;
const PARENT_IS_REMOTE: u64 = 0x200;

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];

/// More than most spans have.
const USUAL_BYTES: usize = 1_536;

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::Value;

    use super::*;
    use crate::telemetry::{
        ConfigMark, RequestId, TraceContext,
        spans::{Target, caller::Caller},
    };

    /// The spans of a request that came 30 ms before `end`.
    fn rendered(
        path: &[u8],
        status: u16,
        flag: Option<&str>,
        note: impl FnOnce(&mut Recording),
    ) -> Vec<Value> {
        let begun = Instant::now();
        let mut recording = Recording::new(Caller::default(), begun);
        note(&mut recording);
        let id = HeaderValue::from_static("id");
        let line = Line {
            time: UNIX_EPOCH + Duration::from_millis(1_030),
            request_id: &RequestId::choose(Some(&id), true, [0; 16]),
            trace: &TraceContext::new(None, None, UNIX_EPOCH, [7; 12]),
            client: [203, 0, 113, 7].into(),
            peer: None,
            vpc_endpoint: None,
            tenant: None,
            listener: "public",
            protocol: "HTTP/2",
            tls: Some("TLSv1.3"),
            server_name: None,
            method: "GET",
            host: b"api.example.com",
            path,
            route: Some("orders"),
            upstream: Some("shop"),
            endpoint: None,
            zone: None,
            signer: None,
            attempts: 0,
            reused: None,
            status,
            flag,
            limit: None,
            consumer: None,
            authenticator: None,
            credential: None,
            rule: None,
            would_refuse: &[],
            error: None,
            bytes_in: 0,
            bytes_out: 0,
            duration: Duration::from_millis(30),
            upstream_connect: None,
            upstream_first_byte: None,
            user_agent: None,
            configuration: &ConfigMark::new(1, ""),
        };
        let mut out = Vec::new();
        let spans = RequestSpans { line: &line, recording: &recording };
        spans.render(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), spans.count());
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    fn attribute<'s>(span: &'s Value, key: &str) -> &'s Value {
        let all = span["attributes"].as_array().unwrap();
        all.iter().find(|own| own["key"] == key).map_or(&Value::Null, |own| &own["value"])
    }

    #[test]
    fn times_are_on_the_wall_s_clock_and_a_part_that_was_not_ended_ends_with_the_request() {
        let spans = rendered(b"/", 200, None, |recording| {
            let begun = recording.begun;
            recording.waited(begun, begun + Duration::from_millis(10));
            let target = Target { address: "10.0.1.10:80".parse().unwrap(), zone: None };
            recording.attempt(target, begun + Duration::from_millis(10));
        });

        let times = |span: &Value| {
            [&span["startTimeUnixNano"], &span["endTimeUnixNano"]].map(|at| at.as_str().unwrap().to_owned())
        };
        assert_eq!(times(&spans[0]), ["1000000000", "1030000000"]);
        assert_eq!(times(&spans[1]), ["1000000000", "1010000000"]);
        assert_eq!(times(&spans[2]), ["1010000000", "1030000000"]);
        assert_eq!(spans[1]["parentSpanId"], spans[0]["spanId"]);
    }

    #[test]
    fn a_hostile_path_breaks_no_span_and_its_query_is_left_out() {
        for path in [&b"/\"]},{\n?secret"[..], b"/\xff\xfe\x00", b"/%22?secret", &[b'a'; 9_999]] {
            let spans = rendered(path, 404, Some("no_route"), |_| {});

            let told = attribute(&spans[0], "url.path")["stringValue"].as_str().unwrap();
            assert!(!told.contains("secret") && told.len() <= 2_048, "{told}");
        }
    }

    #[test]
    fn an_error_is_told_by_its_flag_or_by_its_status() {
        let told = |status, flag| {
            let spans = rendered(b"/", status, flag, |_| {});
            let word = attribute(&spans[0], "error.type")["stringValue"].as_str().map(str::to_owned);
            (word, spans[0]["status"]["code"].as_u64())
        };

        assert_eq!(told(200, None), (None, None));
        assert_eq!(told(404, None), (None, None));
        assert_eq!(told(429, Some("rate_limited")), (Some("rate_limited".to_owned()), None));
        assert_eq!(told(500, None), (Some("500".to_owned()), Some(2)));
        assert_eq!(told(503, Some("overloaded")), (Some("overloaded".to_owned()), Some(2)));
        assert_eq!(told(0, Some("client_gone")), (Some("client_gone".to_owned()), Some(2)));
    }

    #[test]
    fn a_head_and_a_tail_are_a_whole_message() {
        let origin = Origin { zone: Some("use1-az1"), zone_name: Some("us-east-1a"), region: None };
        let message: Value = serde_json::from_slice(&[&head("edge", origin)[..], TAIL].concat()).unwrap();

        let resource = &message["resourceSpans"][0]["resource"];
        assert_eq!(attribute(resource, "service.name")["stringValue"], "edge");
        assert_eq!(attribute(resource, "cloud.availability_zone")["stringValue"], "us-east-1a");
        assert_eq!(attribute(resource, "cloud.region"), &Value::Null);
        assert_eq!(message["resourceSpans"][0]["scopeSpans"][0]["spans"], serde_json::json!([]));
    }
}
