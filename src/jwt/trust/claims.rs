//! What a token has to say, beside being signed.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};

use super::Refused;
use crate::config::issuer::{JwtSpec, RequiredClaim};

/// Whether the issuer is the one; looked at before the signature too, for what others
/// made is not this issuer's to know the key of.
pub(super) fn check_issuer(claims: &Map<String, Value>, spec: &JwtSpec) -> Result<(), Refused> {
    let issuer = claims.get("iss").and_then(Value::as_str);
    if issuer == Some(&spec.issuer) { Ok(()) } else { Err(Refused::Issuer) }
}

/// Until when it counts, in milliseconds since 1970; now is that, too.
pub(super) fn check_times(claims: &Map<String, Value>, leeway: Duration, now: u64) -> Result<u64, Refused> {
    let millis = |name: &str| claims.get(name).map(|value| value.as_f64().map(|seconds| seconds * 1000.0));
    let (leeway, now) = (leeway.as_millis() as f64, now as f64);
    let expires = millis("exp").flatten().ok_or(Refused::Expired)? + leeway;
    if now >= expires {
        return Err(Refused::Expired);
    }
    match millis("nbf") {
        None => {}
        Some(Some(from)) if now >= from - leeway => {}
        Some(_) => return Err(Refused::NotYet),
    }
    // Positive, for now is; what is beyond the largest number is that one.
    Ok(expires as u64)
}

/// Whether it is for here, and says what it has to.
pub(super) fn check_content(claims: &Map<String, Value>, spec: &JwtSpec) -> Result<(), Refused> {
    if !spec.audience.is_empty() {
        let is_ours = |one: &str| spec.audience.iter().any(|ours| ours == one);
        let is_for_us = match claims.get("aud") {
            Some(Value::String(one)) => is_ours(one),
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).any(is_ours),
            _ => false,
        };
        if !is_for_us {
            return Err(Refused::Audience);
        }
    }
    if spec.require.iter().all(|required| is_met(required, claims)) { Ok(()) } else { Err(Refused::Claim) }
}

fn is_met(required: &RequiredClaim, claims: &Map<String, Value>) -> bool {
    let Some(value) = claim(claims, &required.claim).filter(|value| !value.is_null()) else { return false };
    let is_one =
        |value: &Value| in_text(value, |text| required.one_of.iter().any(|one| one == text)).unwrap_or(false);
    match value {
        _ if required.one_of.is_empty() => true,
        Value::Array(several) => several.iter().any(is_one),
        one => is_one(one),
    }
}

/// The claim of this name; where there is none, `a.b` is `b` inside of `a`.
pub fn claim<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    claims.get(name).or_else(|| {
        let mut at = name.match_indices('.').map(|(at, _)| at);
        at.find_map(|at| {
            let (outer, inner) = name.split_at_checked(at)?;
            claim(claims.get(outer)?.as_object()?, inner.get(1..)?)
        })
    })
}

/// Who asks, by the claim that says so. A number has to be one that every reader reads as
/// the same: of those beyond 64 bits, and of fractions, several become one name.
pub(super) fn consumer(claims: &Map<String, Value>, name: &str) -> Result<Arc<str>, Refused> {
    let is_name = |text: &str| {
        let is_good = !text.is_empty() && text.len() <= MOST_NAME && !text.chars().any(char::is_control);
        is_good.then(|| Arc::from(text))
    };
    let claim = claim(claims, name).filter(|value| !value.is_f64());
    claim.and_then(|value| in_text(value, is_name)).flatten().ok_or(Refused::Claim)
}

/// The scopes of `scope` (RFC 8693), or of `scp`, as others call it; with one space
/// between. Both may be a list.
pub(super) fn scopes(claims: &Map<String, Value>) -> Arc<str> {
    let scopes = match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(text)) => text.split(' ').filter(|one| !one.is_empty()).collect::<Vec<_>>(),
        Some(Value::Array(several)) => several
            .iter()
            .filter_map(Value::as_str)
            .filter(|one| !one.is_empty() && !one.contains(' '))
            .collect(),
        _ => Vec::new(),
    };
    scopes.join(" ").into()
}

/// Whether all of these are among them.
pub(super) fn check_scopes(scopes: &str, needed: &[String]) -> Result<(), Refused> {
    let has = |needed: &String| scopes.split(' ').any(|one| one == needed);
    if needed.iter().all(has) { Ok(()) } else { Err(Refused::Scope) }
}

fn in_text<T>(value: &Value, told: impl FnOnce(&str) -> T) -> Option<T> {
    match value {
        Value::String(text) => Some(told(text)),
        Value::Number(number) => Some(told(&number.to_string())),
        Value::Bool(truth) => Some(told(if *truth { "true" } else { "false" })),
        _ => None,
    }
}

/// OpenID Connect's own bound for `sub`.
const MOST_NAME: usize = 255;
