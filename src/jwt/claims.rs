//! What a token says: the payload, written as bytes.
//!
//! What is the same for every request is rendered once; a request adds what is its
//! own, escaped. Names are those that others verify already: `htm` and `htu` of DPoP
//! (RFC 9449), `cnf` with `x5t#S256` of RFC 8705, `scope` of RFC 8693. DPoP binds no
//! query and no body; `qh` and `bh` (as DKIM calls a body's hash, RFC 6376) are ours,
//! and written as DPoP writes its own hash, `ath`: base64url of SHA-256.

use std::{io::Write, net::IpAddr};

use boring::sha::sha256;
use serde_json::{Map, Value};

use super::{base64url, rotation::Now};
use crate::{
    config::signer::{BindSpec, ClaimSpec, ProfileSpec, SignerSpec},
    telemetry::{hex, json, random::random},
};

/// What is known of a request when its token is made; `None` is not said.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The upstream's name.
    pub upstream: &'a str,
    /// The route's name.
    pub route: &'a str,
    /// The client's address.
    pub client: IpAddr,
    /// The zone that this gateway runs in.
    pub zone: Option<&'a str>,
    /// The tenant's name.
    pub tenant: Option<&'a str>,
    /// The id of the VPC endpoint.
    pub vpc_endpoint: Option<&'a str>,
    /// Who was authenticated.
    pub consumer: Option<Consumer<'a>>,
    /// What the client's token allows.
    pub scope: Option<&'a str>,
    /// SHA-256 of the client's certificate, DER.
    pub certificate: Option<[u8; 32]>,
    /// The claims of the client's verified token.
    pub token: Option<&'a Map<String, Value>>,
    /// The request as the upstream gets it.
    pub request: Target<'a>,
    /// SHA-256 of the body as the upstream gets it, the empty one's if there is none.
    /// `None`: nobody knows; a token that should be bound to it then says `UNSIGNED`.
    pub body: Option<[u8; 32]>,
}

/// Who was authenticated.
#[derive(Clone, Copy, Debug)]
pub struct Consumer<'a> {
    /// What identifies it.
    pub id: &'a str,
    /// What people call it; may be the id.
    pub name: &'a str,
}

/// What a request asks for, as the upstream gets it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The method.
    pub method: &'a str,
    /// `http` or `https`, towards the upstream.
    pub scheme: &'a str,
    /// The host, with port where it was given.
    pub host: &'a str,
    /// The path, without the query.
    pub path: &'a [u8],
    /// The query, without its question mark.
    pub query: Option<&'a [u8]>,
}

/// What a signer says, ready to be filled in.
#[derive(Debug)]
pub(super) struct Claims {
    profile: ProfileSpec,
    /// `,"iss":…,"aud":…`, as far as they are always the same.
    fixed: Box<[u8]>,
    names_upstream: bool,
    list: Box<[ClaimSpec]>,
    bind: Box<[BindSpec]>,
    /// Seconds.
    ttl: u64,
}

impl Claims {
    pub fn new(spec: &SignerSpec) -> Self {
        let mut fixed = Vec::new();
        if let Some(issuer) = &spec.issuer {
            push_member(&mut fixed, "iss", issuer);
        }
        if let Some(audience) = &spec.audience {
            push_member(&mut fixed, "aud", audience);
        }
        Self {
            profile: spec.profile,
            fixed: fixed.into(),
            names_upstream: spec.audience.is_none(),
            list: spec.claims.clone().into(),
            bind: spec.bind.clone().into(),
            ttl: spec.ttl().duration().as_secs(),
        }
    }

    /// Seconds that a token counts.
    pub fn ttl(&self) -> u64 {
        self.ttl
    }

    /// Whether each request has a token of its own. With the plugin's claims always:
    /// who verifies them may take a `jti` once.
    pub fn are_bound(&self) -> bool {
        !self.bind.is_empty() || self.profile == ProfileSpec::KongUpstreamJwt
    }

    /// Appends who asks for whom: what tokens of different requests may share.
    pub fn push_identity(&self, facts: &Facts<'_>, out: &mut Vec<u8>) {
        if self.names_upstream {
            push_member(out, "aud", facts.upstream);
        }
        match (self.profile, facts.consumer) {
            (ProfileSpec::Native, _) => {
                push_subject(facts, out);
                self.list.iter().for_each(|claim| push_claim(claim, facts, out));
            }
            (ProfileSpec::KongUpstreamJwt, Some(consumer)) => {
                push_member(out, "consumerid", consumer.id);
                push_member(out, "consumername", consumer.name);
            }
            (ProfileSpec::KongUpstreamJwt, None) => {}
        }
    }

    /// Appends the whole payload; says when it expires, in seconds since 1970.
    pub fn push_payload(&self, identity: &[u8], facts: &Facts<'_>, now: Now, out: &mut Vec<u8>) -> u64 {
        let now = now.unix_millis() / 1000;
        let (issued, expires) = (now.saturating_sub(LEEWAY), now + self.ttl);
        push_number(out, b"{\"iat\":", issued);
        push_number(out, b",\"exp\":", expires);
        match self.profile {
            ProfileSpec::Native => {
                push_number(out, b",\"nbf\":", issued);
                out.extend_from_slice(b",\"jti\":\"");
                base64url::push(out, &random::<16>());
            }
            ProfileSpec::KongUpstreamJwt => {
                out.extend_from_slice(b",\"jti\":\"");
                push_uuid(out, random());
            }
        }
        out.push(b'"');
        out.extend_from_slice(&self.fixed);
        out.extend_from_slice(identity);
        match self.profile {
            ProfileSpec::Native => self.push_bound(facts, out),
            ProfileSpec::KongUpstreamJwt => push_payload_hash(facts.body, out),
        }
        out.push(b'}');
        expires
    }

    fn push_bound(&self, facts: &Facts<'_>, out: &mut Vec<u8>) {
        let request = &facts.request;
        for bind in &self.bind {
            match bind {
                BindSpec::Method => push_member(out, "htm", request.method),
                BindSpec::Path => self.push_target(request, out),
                BindSpec::Query => push_hash(out, "qh", &sha256(request.query.unwrap_or_default())),
                // It stands in `htu`.
                BindSpec::Host => {}
                BindSpec::Body => match &facts.body {
                    Some(hash) => push_hash(out, "bh", hash),
                    None => push_member(out, "bh", UNSIGNED),
                },
            }
        }
    }

    fn push_target(&self, request: &Target<'_>, out: &mut Vec<u8>) {
        push_name(out, "htu");
        if self.bind.contains(&BindSpec::Host) {
            json::push_text(out, request.scheme.as_bytes());
            out.extend_from_slice(b"://");
            json::push_text(out, request.host.as_bytes());
        }
        push_path(out, request.path);
        out.push(b'"');
    }
}

/// `sub`: the consumer, else the tenant, else the VPC endpoint, else `anonymous`.
/// What is no consumer says so in front; a consumer that would begin like that, or is
/// called `anonymous`, says `consumer:` in front, so that no two are written alike.
fn push_subject(facts: &Facts<'_>, out: &mut Vec<u8>) {
    let (kind, name) = match (facts.consumer, facts.tenant, facts.vpc_endpoint) {
        (Some(consumer), ..) if is_reserved(consumer.id) => ("consumer:", consumer.id),
        (Some(consumer), ..) => ("", consumer.id),
        (None, Some(tenant), _) => ("tenant:", tenant),
        (None, None, Some(endpoint)) => ("vpce:", endpoint),
        (None, None, None) => ("", ANONYMOUS),
    };
    push_name(out, "sub");
    out.extend_from_slice(kind.as_bytes());
    json::push_text(out, name.as_bytes());
    out.push(b'"');
}

fn is_reserved(consumer: &str) -> bool {
    let prefixes = ["consumer:", "tenant:", "vpce:"];
    consumer == ANONYMOUS || prefixes.iter().any(|prefix| consumer.starts_with(prefix))
}

fn push_claim(claim: &ClaimSpec, facts: &Facts<'_>, out: &mut Vec<u8>) {
    let (name, value) = match claim {
        ClaimSpec::Tenant => ("tenant", facts.tenant),
        ClaimSpec::Vpce => ("vpce", facts.vpc_endpoint),
        ClaimSpec::Consumer => ("consumer", facts.consumer.map(|consumer| consumer.name)),
        ClaimSpec::Zone => ("zone", facts.zone),
        ClaimSpec::Route => ("route", Some(facts.route)),
        ClaimSpec::Scope => ("scope", facts.scope),
        ClaimSpec::ClientIp => return push_address(out, facts.client),
        ClaimSpec::ClientCertificate => return push_certificate(out, facts.certificate),
        ClaimSpec::Token(name) => return push_token_claim(out, name, facts.token),
    };
    if let Some(value) = value {
        push_member(out, name, value);
    }
}

fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    push_name(out, "client_ip");
    // Into a Vec it cannot fail.
    write!(out, "{}\"", address.to_canonical()).ok();
}

fn push_certificate(out: &mut Vec<u8>, certificate: Option<[u8; 32]>) {
    let Some(hash) = certificate else { return };
    out.extend_from_slice(b",\"cnf\":{\"x5t#S256\":\"");
    base64url::push(out, &hash);
    out.extend_from_slice(b"\"}");
}

fn push_token_claim(out: &mut Vec<u8>, name: &str, token: Option<&Map<String, Value>>) {
    let Some(value) = token.and_then(|token| token.get(name)) else { return };
    push_name(out, name);
    // What stands behind the name is no text here.
    out.pop();
    // Into a Vec it cannot fail.
    serde_json::to_writer(out, value).ok();
}

/// As the plugin writes it: nothing for no body.
fn push_payload_hash(body: Option<[u8; 32]>, out: &mut Vec<u8>) {
    push_name(out, "payloadhash");
    match body {
        Some(hash) if hash == EMPTY => {}
        Some(hash) => push_hex(out, &hash),
        None => out.extend_from_slice(UNSIGNED.as_bytes()),
    }
    out.push(b'"');
}

fn push_hash(out: &mut Vec<u8>, name: &str, hash: &[u8; 32]) {
    push_name(out, name);
    base64url::push(out, hash);
    out.push(b'"');
}

/// The path as a URI has it: what may not stand in one is written `%XX`, so that
/// different bytes never become the same text.
fn push_path(out: &mut Vec<u8>, path: &[u8]) {
    for chunk in path.chunk_by(|a, b| b.is_ascii_graphic() && a.is_ascii_graphic()) {
        match chunk {
            [byte] if !byte.is_ascii_graphic() => {
                let digit =
                    |nibble: u8| b"0123456789ABCDEF".get(usize::from(nibble)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
            }
            plain => json::push_text(out, plain),
        }
    }
}

fn push_member(out: &mut Vec<u8>, name: &str, value: &str) {
    push_name(out, name);
    json::push_text(out, value.as_bytes());
    out.push(b'"');
}

/// Appends `,"name":"`.
fn push_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    json::push_text(out, name.as_bytes());
    out.extend_from_slice(b"\":\"");
}

fn push_number(out: &mut Vec<u8>, name: &[u8], number: u64) {
    out.extend_from_slice(name);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A random UUID, version 4.
fn push_uuid(out: &mut Vec<u8>, bytes: [u8; 16]) {
    let bits = u128::from_be_bytes(bytes) & !(0xf << 76 | 0b11 << 62) | 4 << 76 | 0b10 << 62;
    let mut rest = &bits.to_be_bytes()[..];
    for (index, length) in [4, 2, 2, 2, 6].into_iter().enumerate() {
        if index > 0 {
            out.push(b'-');
        }
        let (group, after) = rest.split_at_checked(length).unwrap_or_default();
        push_hex(out, group);
        rest = after;
    }
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + 2 * bytes.len(), 0);
    hex::write(out.get_mut(start..).unwrap_or_default(), bytes);
}

/// `iat` and `nbf` lie so many seconds back: clocks of verifiers may be behind by as
/// much. Beyond it a token is refused as not yet valid, and someone should look at
/// the clocks.
pub(super) const LEEWAY: u64 = 5;

/// What stands for the hash of a body that nobody knows.
const UNSIGNED: &str = "UNSIGNED";

const ANONYMOUS: &str = "anonymous";

/// SHA-256 of nothing.
const EMPTY: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

#[cfg(test)]
mod tests;
