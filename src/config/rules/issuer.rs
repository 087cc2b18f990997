//! Rules for `authentication[].jwt`.

use super::At;
use crate::config::{
    issuer::JwtSpec,
    types::{HttpUrl, Span},
};

pub(super) fn check(jwt: &JwtSpec, at: &mut At<'_>) {
    if jwt.issuer.is_empty() {
        at.error("jwt.issuer", "it is empty, and no token says so; write what stands in `iss`");
    }
    check_parties(jwt, at);
    check_source(jwt, at);
    check_place(jwt, at);
    if jwt.algorithms.is_empty() && at.is_whole("jwt.algorithms") {
        at.error("jwt.algorithms", "no token could be verified; write at least one, or remove the key");
    }
    if jwt.consumer.is_empty() {
        at.error("jwt.consumer", "a claim has a name; write it, as `sub`");
    }
    for (index, required) in jwt.require.iter().enumerate() {
        if required.claim.is_empty() {
            at.error(format!("jwt.require[{index}].claim"), "a claim has a name; write it, as `token_use`");
        }
    }
    check_scopes(jwt, at);
    check_times(jwt, at);
}

fn check_parties(jwt: &JwtSpec, at: &mut At<'_>) {
    let says_for_whom = jwt.require.iter().any(|required| !required.one_of.is_empty());
    let is_whole = at.is_whole("jwt.audience") && at.is_whole("jwt.require");
    if jwt.audience.is_empty() && !says_for_whom && is_whole {
        at.error(
            "jwt.audience",
            "tokens that the issuer made for any other service would do here; write for whom they have to \
             be, as `[api]`, or what says so in `require`, as `[{ claim: client_id, one_of: [7hq…] }]`",
        );
    }
    for (index, audience) in jwt.audience.iter().enumerate() {
        if audience.is_empty() {
            at.error(format!("jwt.audience[{index}]"), "it is empty, and nobody is meant; remove it");
        }
    }
}

fn check_source(jwt: &JwtSpec, at: &mut At<'_>) {
    if jwt.jwks.is_some() && jwt.jwks_file.is_some() {
        at.error("jwt.jwks_file", "keys come from one place, and `jwks` names it; remove one of the two");
    }
    let is_found = jwt.jwks.is_none() && jwt.jwks_file.is_none();
    if is_found && at.is_whole("jwt.jwks") && at.is_whole("jwt.jwks_file") {
        match jwt.issuer.parse::<HttpUrl>() {
            Ok(url) => check_url(&url, "jwt.issuer", jwt, at),
            Err(_) => at.error(
                "jwt.jwks",
                "the issuer is no URL at which its keys could be found; write the URL of the key set, or \
                 a `jwks_file`",
            ),
        }
    }
    if let Some(url) = &jwt.jwks {
        check_url(url, "jwt.jwks", jwt, at);
    }
    if jwt.ca.is_some() && jwt.jwks_file.is_some() {
        at.error("jwt.ca", "a file has no certificate; remove the key");
    }
}

fn check_url(url: &HttpUrl, key: &str, jwt: &JwtSpec, at: &mut At<'_>) {
    if !url.is_https() && !url.address().is_loopback() && !jwt.insecure_http {
        at.error(
            key,
            "whoever sits between here and there could give the gateway keys of their own; write `https://`, \
             or `insecure_http: true` where nobody does",
        );
    }
}

fn check_place(jwt: &JwtSpec, at: &mut At<'_>) {
    let name = jwt.header.header().as_str();
    if TAKEN.contains(&name) {
        at.error("jwt.header", format!("`{name}` has another meaning; write the field that has the token"));
    }
    let is_token = |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
    if let Some(cookie) = &jwt.cookie
        && (cookie.is_empty() || !cookie.bytes().all(is_token))
    {
        at.error("jwt.cookie", "this is not the name of a cookie; write its name alone, as `session`");
    }
}

fn check_scopes(jwt: &JwtSpec, at: &mut At<'_>) {
    let is_scope = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
    for (index, scope) in jwt.scopes.iter().enumerate() {
        if scope.is_empty() || !scope.bytes().all(is_scope) {
            let text = "this is no scope: one has no space and no quote; write each by itself, as `[orders.read, orders.write]`";
            at.error(format!("jwt.scopes[{index}]"), text);
        }
    }
}

fn check_times(jwt: &JwtSpec, at: &mut At<'_>) {
    at.range("jwt.leeway", jwt.leeway, Span::secs(1), Span::secs(300));
    at.range("jwt.refresh_every", jwt.refresh_every, Span::secs(1), Span::secs(86_400));
    at.range("jwt.refetch_after", jwt.refetch_after, Span::secs(1), Span::secs(3600));
    at.range("jwt.timeout", jwt.timeout, Span::millis(100), Span::secs(30));
    at.range("jwt.cache_for", jwt.cache_for, Span::secs(1), Span::secs(3600));
    at.range("jwt.cache_tokens", jwt.cache_tokens, 0, 1 << 20);
    if jwt.serve_stale_for < jwt.refresh_every && at.is_whole("jwt.serve_stale_for") {
        let text = format!(
            "`{}` is shorter than `refresh_every`, `{}`: keys would be too old before they are fetched again; write more",
            jwt.serve_stale_for, jwt.refresh_every
        );
        at.error("jwt.serve_stale_for", text);
    }
}

/// Fields of the connection, of the message and of the gateway.
const TAKEN: [&str; 12] = [
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
