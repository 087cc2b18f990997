//! Rules for `signers`.

use std::collections::HashSet;

use super::{At, Rules};
use crate::config::{
    signer::{Algorithm, BindSpec, BodySpec, ClaimSpec, MOST_INSTANCES, ProfileSpec, SignerSpec},
    types::{ByteSize, Span},
};

impl Rules for SignerSpec {
    fn check(&self, at: &mut At<'_>) {
        match self.profile {
            ProfileSpec::Native => check_native(self, at),
            ProfileSpec::KongUpstreamJwt => check_plugin(self, at),
        }
        for (key, text) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            if text.as_ref().is_some_and(String::is_empty) {
                at.error(
                    key,
                    "it is empty, and nobody would be meant; write a name or URL, or remove the key",
                );
            }
        }
        check_header(self, at);
        check_times(self, at);
        check_verifiers(self, at);
        check_body(&self.body, at);
    }
}

fn check_body(body: &BodySpec, at: &mut At<'_>) {
    at.range("body.max", body.max, ByteSize::new(1), ByteSize::new(64 << 20));
    let sizes =
        [("max", body.max), ("max_held_per_client", body.max_held_per_client), ("max_held", body.max_held)];
    for ((smaller, least), (larger, size)) in sizes.into_iter().zip(sizes.into_iter().skip(1)) {
        if size < least && at.is_whole("body") {
            let text = format!(
                "`{size}` is less than `{smaller}`, which is `{least}`, and would hold no such body; write more"
            );
            at.error(format!("body.{larger}"), text);
        }
    }
}

fn check_native(signer: &SignerSpec, at: &mut At<'_>) {
    if signer.issuer.is_none() && at.is_whole("issuer") {
        at.error(
            "issuer",
            "upstreams look at who signed; write a URL of the gateway, as `https://gateway.example.com`",
        );
    }
    if at.is_whole("claims") {
        check_claims(signer, at);
    }
    if at.is_whole("bind") {
        check_bind(signer, at);
    }
}

/// The plugin's verifiers know what the plugin does and nothing else.
fn check_plugin(signer: &SignerSpec, at: &mut At<'_>) {
    if signer.algorithm() != Algorithm::Rs256 && at.is_whole("algorithm") {
        at.error("algorithm", "the plugin signs with RS256 alone; write `RS256`, or remove the key");
    }
    for (key, is_empty) in [("claims", signer.claims.is_empty()), ("bind", signer.bind.is_empty())] {
        if !is_empty {
            at.error(key, "the plugin's claims are fixed; remove the key, or write `profile: native`");
        }
    }
}

fn check_claims(signer: &SignerSpec, at: &mut At<'_>) {
    let mut seen = HashSet::new();
    for (index, claim) in signer.claims.iter().enumerate() {
        let key = format!("claims[{index}]");
        if !seen.insert(claim) {
            at.error(&key, "this claim stands here already; write it once");
        }
        match claim {
            ClaimSpec::Token(name) if name.is_empty() => {
                at.error(key, "a claim has a name; write it, as `{ token: groups }`");
            }
            ClaimSpec::Token(name) if OWNED.contains(&name.as_str()) => {
                at.error(key, format!("`{name}` is a claim of the gateway's own; remove it here"));
            }
            _ => {}
        }
    }
}

fn check_bind(signer: &SignerSpec, at: &mut At<'_>) {
    let mut seen = HashSet::new();
    for (index, bind) in signer.bind.iter().enumerate() {
        if !seen.insert(bind) {
            at.error(format!("bind[{index}]"), "this part stands here already; write it once");
        }
    }
    if signer.bind.contains(&BindSpec::Host) && !signer.bind.contains(&BindSpec::Path) {
        at.error("bind", "the host is said in a URL, and that has a path; write `path` too");
    }
    if !signer.binds_body() && signer.body != BodySpec::default() {
        at.error("body", "no token carries a body's hash; write `body` in `bind`, or remove the key");
    }
}

fn check_header(signer: &SignerSpec, at: &mut At<'_>) {
    let name = signer.header.header().as_str();
    if TAKEN.contains(&name) {
        let text = format!("`{name}` has another meaning; write a field of its own, as `JWT`");
        at.error("header", text);
    }
}

fn check_times(signer: &SignerSpec, at: &mut At<'_>) {
    let ttl = signer.ttl();
    at.range("ttl", ttl, Span::secs(5), Span::secs(300));
    if ttl.duration().subsec_nanos() != 0 {
        at.error(
            "ttl",
            format!("`{ttl}` is no number of seconds, and tokens tell no less; write `5s` to `300s`"),
        );
    }
    if signer.publish_for < KEPT && at.is_whole("publish_for") {
        let text = format!(
            "`{}` is shorter than verifiers may keep the key set: for up to `{KEPT}` they refuse a new key; write more, as `10m`",
            signer.publish_for
        );
        at.warn("publish_for", text);
    }
}

fn check_verifiers(signer: &SignerSpec, at: &mut At<'_>) {
    let mut seen = HashSet::new();
    for (index, verifier) in signer.verifiers.iter().enumerate() {
        if !seen.insert(&verifier.name) {
            let text = format!("`{}` stands here already; write its networks together", verifier.name);
            at.error(format!("verifiers[{index}].name"), text);
        }
        if verifier.networks.is_empty() && at.is_whole("verifiers") {
            let text = "it can never fetch the key set; write the networks that it is in, as `[10.0.1.0/24]`";
            at.error(format!("verifiers[{index}].networks"), text);
        }
        at.range(&format!("verifiers[{index}].instances"), verifier.instances, 1, MOST_INSTANCES);
    }
}

/// For how long verifiers may keep the key set.
const KEPT: Span = Span::secs(300);

/// Claims that no client's token may fill.
const OWNED: [&str; 20] = [
    "iss",
    "aud",
    "sub",
    "iat",
    "nbf",
    "exp",
    "jti",
    "cnf",
    "htm",
    "htu",
    "qh",
    "bh",
    "tenant",
    "vpce",
    "consumer",
    "client_ip",
    "zone",
    "route",
    "scope",
    "act",
];

/// Fields of the connection, of the message and of the gateway.
const TAKEN: [&str; 21] = [
    "accept",
    "connection",
    "content-digest",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];
