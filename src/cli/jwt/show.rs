//! A token's header and claims as a table.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::jwt::decode;

/// A part of a token by its place, read without belief; `None` if it is no object.
pub fn part(token: &str, place: usize) -> Option<Map<String, Value>> {
    let bytes = decode(token.split('.').nth(place)?.as_bytes())?;
    match serde_json::from_slice(&bytes).ok()? {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// Header and claims, with times as people tell them.
pub fn table(
    header: Option<&Map<String, Value>>,
    claims: Option<&Map<String, Value>>,
    is_good: bool,
    now: SystemTime,
) -> String {
    let verdict = if is_good { "good" } else { "BAD: nobody vouches for what follows" };
    let mut out = format!("{verdict}\n");
    for (name, members) in [("HEADER", header), ("CLAIMS", claims)] {
        out.push_str(&format!("{name}\n"));
        for (key, value) in members.into_iter().flatten() {
            let remark = if TIMES.contains(&key.as_str()) { remark(value, now) } else { String::new() };
            // As JSON: whatever stands in a token does nothing to a terminal.
            out.push_str(&format!("  {:<12} {}{remark}\n", printable(key), printable(&value.to_string())));
        }
    }
    out
}

/// As `  (in 25 s)`.
fn remark(value: &Value, now: SystemTime) -> String {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    match value.as_f64().map(|at| at - now) {
        Some(apart) if apart > 0.0 => format!("  (in {apart:.0} s)"),
        Some(apart) => format!("  ({:.0} s ago)", -apart),
        None => String::new(),
    }
}

/// JSON leaves some control characters as they are.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

const TIMES: [&str; 3] = ["iat", "nbf", "exp"];
