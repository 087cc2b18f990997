//! What a reload or a rollback changes, as lines for people.

use serde_json::Value;

use super::count;
use crate::lifecycle::{Change, Kept};

/// Each change of an answer in a line of its own.
pub fn lines(told: &Value) -> String {
    let changes: Vec<Change> = part(told, "changes").unwrap_or_default();
    changes.iter().map(|change| format!("{change}\n")).collect()
}

/// What keeps what it learned, of an answer; nothing where that is nothing.
pub fn kept(told: &Value) -> String {
    let Some(kept): Option<Kept> = part(told, "kept") else { return String::new() };
    let Kept { limits, endpoints, unhealthy, ejected, keys } = kept;
    let parts = [
        (limits, format!("{} with what was counted", count(limits, "limit"))),
        (
            endpoints,
            format!(
                "{} with health and ejections ({unhealthy} unhealthy, {ejected} ejected)",
                count(endpoints, "endpoint")
            ),
        ),
        (keys, format!("{} with the place in the rotation", count(keys, "signing key"))),
    ];
    parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| format!("kept: {text}\n")).collect()
}

fn part<T: serde::de::DeserializeOwned>(told: &Value, key: &str) -> Option<T> {
    serde_json::from_value(told.get(key)?.clone()).ok()
}
