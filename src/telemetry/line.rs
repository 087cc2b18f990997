//! The access log's line: what there is to know about one request, as JSON.
//!
//! Owns the names, the order and the bounds of the fields. What a client sent
//! is escaped and cut, a query is never told (secrets live there), and every
//! line is complete JSON that ends with a line feed. Rendering allocates
//! nothing beyond the buffer's growth.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{RequestId, TraceContext, json, timestamp};

/// One request, when it is over.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// When the request was over.
    pub time: SystemTime,
    /// As it was sent to the endpoint and back to the client.
    pub request_id: &'a RequestId,
    /// The trace that the endpoint was told of.
    pub trace: &'a TraceContext,
    /// Who asked, behind every trusted proxy.
    pub client: IpAddr,
    /// Who connected, where that is not the client: a load balancer.
    pub peer: Option<IpAddr>,
    /// The id of the VPC endpoint that it came through.
    pub vpc_endpoint: Option<&'a str>,
    /// Whose endpoint that is.
    pub tenant: Option<&'a str>,
    /// Who was authenticated.
    pub consumer: Option<&'a str>,
    /// Who vouched, or was presented something that is not good.
    pub authenticator: Option<&'a str>,
    /// What is wrong with that, in one word of a closed list.
    pub credential: Option<&'a str>,
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
    /// Who signed for it towards the upstream.
    pub signer: Option<&'a str>,
    /// How many attempts there were; 0 when the gateway answered itself.
    pub attempts: u32,
    /// Whether the last attempt's connection had served before.
    pub reused: Option<bool>,
    /// What was answered; 0 when the client left before.
    pub status: u16,
    /// Why the gateway answered itself.
    pub flag: Option<&'a str>,
    /// Which rule of the route refused it.
    pub rule: Option<&'a str>,
    /// Which limit refused it.
    pub limit: Option<&'a str>,
    /// Which limits would have, if they were enforced.
    pub would_refuse: &'a [&'a str],
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
    pub configuration: &'a ConfigMark,
}

impl Line<'_> {
    /// Appends the line with its line feed. Fields that are `None` are left
    /// out, but for `flag`, which is `null`.
    pub fn render(&self, out: &mut Vec<u8>) {
        out.reserve(USUAL_BYTES);
        out.extend_from_slice(br#"{"time":""#);
        out.extend_from_slice(&timestamp::rfc3339(self.time));
        // Both are well-formed by their types.
        out.extend_from_slice(br#"","request_id":""#);
        out.extend_from_slice(self.request_id.as_bytes());
        out.extend_from_slice(br#"","trace_id":""#);
        out.extend_from_slice(self.trace.trace_id_bytes());
        out.extend_from_slice(br#"","client":""#);
        push_ip(out, self.client.to_canonical());
        if let Some(peer) = self.peer {
            out.extend_from_slice(br#"","peer":""#);
            push_ip(out, peer.to_canonical());
        }
        option(out, r#"","vpc_endpoint":""#, self.vpc_endpoint.map(str::as_bytes));
        option(out, r#"","tenant":""#, self.tenant.map(str::as_bytes));
        option(out, r#"","consumer":""#, self.consumer.map(str::as_bytes));
        option(out, r#"","authenticator":""#, self.authenticator.map(str::as_bytes));
        option(out, r#"","credential":""#, self.credential.map(str::as_bytes));
        self.render_request(out);
        self.render_way(out);
        self.render_result(out);
        out.extend_from_slice(b"}\n");
    }

    // Each text leaves its quote open: closing it is the next key's.

    /// What the client asked.
    fn render_request(&self, out: &mut Vec<u8>) {
        let path = self.path.split(|b| *b == b'?').next().unwrap_or_default();
        text(out, r#"","listener":""#, self.listener.as_bytes());
        text(out, r#"","protocol":""#, self.protocol.as_bytes());
        option(out, r#"","tls":""#, self.tls.map(str::as_bytes));
        option(out, r#"","server_name":""#, self.server_name.map(str::as_bytes));
        text(out, r#"","method":""#, self.method.as_bytes());
        text(out, r#"","host":""#, self.host);
        text(out, r#"","path":""#, path);
    }

    /// Where it went.
    fn render_way(&self, out: &mut Vec<u8>) {
        option(out, r#"","route":""#, self.route.map(str::as_bytes));
        option(out, r#"","upstream":""#, self.upstream.map(str::as_bytes));
        if let Some(endpoint) = self.endpoint {
            out.extend_from_slice(br#"","endpoint":""#);
            push_endpoint(out, endpoint);
        }
        option(out, r#"","zone":""#, self.zone.map(str::as_bytes));
        option(out, r#"","signer":""#, self.signer.map(str::as_bytes));
        number(out, r#"","attempts":"#, u64::from(self.attempts));
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
            Some(flag) => closed_text(out, r#","flag":""#, flag.as_bytes()),
            None => out.extend_from_slice(br#","flag":null"#),
        }
        if let Some(rule) = self.rule {
            closed_text(out, r#","rule":""#, rule.as_bytes());
        }
        if let Some(limit) = self.limit {
            closed_text(out, r#","limit":""#, limit.as_bytes());
        }
        self.render_trials(out);
        if let Some(error) = self.error {
            closed_text(out, r#","error":""#, error.as_bytes());
        }
        number(out, r#","bytes_in":"#, self.bytes_in);
        number(out, r#","bytes_out":"#, self.bytes_out);
        number(out, r#","duration_us":"#, micros(self.duration));
        if let Some(took) = self.upstream_connect {
            number(out, r#","upstream_connect_us":"#, micros(took));
        }
        if let Some(took) = self.upstream_first_byte {
            number(out, r#","upstream_first_byte_us":"#, micros(took));
        }
        if let Some(agent) = self.user_agent {
            closed_text(out, r#","user_agent":""#, json::cut(agent, MAX_USER_AGENT));
        }
        out.extend_from_slice(self.configuration.0.as_bytes());
    }

    /// The limits that are tried out, as a list.
    fn render_trials(&self, out: &mut Vec<u8>) {
        for (nth, limit) in self.would_refuse.iter().enumerate() {
            closed_text(out, if nth == 0 { r#","would_refuse":[""# } else { ",\"" }, limit.as_bytes());
        }
        if !self.would_refuse.is_empty() {
            out.push(b']');
        }
    }
}

/// Which configuration, as each line of its requests says it: rendered once for all of
/// them.
#[derive(Clone, Debug)]
pub struct ConfigMark(Arc<str>);

impl ConfigMark {
    /// Of the snapshot of this generation, whose files' content has this hash.
    pub fn new(generation: u64, hash: &str) -> Self {
        let hash = short_hash(hash);
        Self(format!(r#","generation":{generation},"config":"{hash}""#).into())
    }
}

/// As much of a configuration's hash as logs and metrics tell.
pub fn short_hash(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// A key with the quote that opens its value, and the value.
#[inline(always)]
fn text(out: &mut Vec<u8>, key: &'static str, value: &[u8]) {
    out.extend_from_slice(key.as_bytes());
    push_value(out, value);
}

#[inline(always)]
fn closed_text(out: &mut Vec<u8>, key: &'static str, value: &[u8]) {
    text(out, key, value);
    out.push(b'"');
}

#[inline(always)]
fn option(out: &mut Vec<u8>, key: &'static str, value: Option<&[u8]>) {
    if let Some(value) = value {
        text(out, key, value);
    }
}

#[inline(always)]
fn number(out: &mut Vec<u8>, key: &'static str, value: u64) {
    out.extend_from_slice(key.as_bytes());
    push_number(out, value);
}

// The functions above are inlined so that keys, whose lengths are known, are
// copied without a call; these would only make the code large.
#[inline(never)]
fn push_value(out: &mut Vec<u8>, value: &[u8]) {
    json::push_text(out, json::cut(value, MAX_TEXT));
}

#[inline(never)]
pub(super) fn push_number(out: &mut Vec<u8>, value: u64) {
    match u8::try_from(value) {
        Ok(digit @ 0..=9) => out.push(b'0' + digit),
        _ => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
    }
}

pub(super) fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        // By hand: the standard library's formatting would cost as much as a
        // quarter of the line.
        IpAddr::V4(v4) => {
            v4.octets().into_iter().for_each(|octet| push_octet(out, octet));
            // The last dot.
            out.pop();
        }
        // Writing into a `Vec` cannot fail.
        IpAddr::V6(v6) => write!(out, "{v6}").unwrap_or_default(),
    }
}

/// The octet and a dot.
#[inline]
fn push_octet(out: &mut Vec<u8>, octet: u8) {
    let [hundreds, tens, ones] = [octet / 100, octet / 10 % 10, octet % 10].map(|digit| b'0' + digit);
    match octet {
        0..=9 => out.extend_from_slice(&[ones, b'.']),
        10..=99 => out.extend_from_slice(&[tens, ones, b'.']),
        100.. => out.extend_from_slice(&[hundreds, tens, ones, b'.']),
    }
}

fn push_endpoint(out: &mut Vec<u8>, endpoint: SocketAddr) {
    let (open, close): (&[u8], &[u8]) = if endpoint.is_ipv6() { (b"[", b"]:") } else { (b"", b":") };
    out.extend_from_slice(open);
    push_ip(out, endpoint.ip());
    out.extend_from_slice(close);
    push_number(out, u64::from(endpoint.port()));
}

/// Whole microseconds; longer than half a million years is all the same.
fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// No text of a line is longer, in bytes before escaping.
pub(super) const MAX_TEXT: usize = 2_048;

/// User agents are told for the family and version at their beginning.
pub(super) const MAX_USER_AGENT: usize = 256;

/// More than most lines have.
const USUAL_BYTES: usize = 1_024;

#[cfg(test)]
mod tests;
