//! `tollgate limits`: what the running gateway's limits hold now, as a table or
//! JSON.

use std::{io, process::ExitCode, time::Duration};

use serde_json::Value;

use super::{
    AdminSocket,
    status::{list, show, text},
};
use crate::config::types::Name;

/// Shows the limits of the running gateway and their busiest keys.
#[derive(Debug, clap::Args)]
pub struct Limits {
    /// This limit alone.
    #[arg(long)]
    limit: Option<Name>,
    /// How many keys of each: those that have used most. One that used less than half
    /// of what it may may be told by its hash alone.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=1000))]
    top: u16,
    /// Show whom a key names: addresses, headers, parameters. Else those are hashes.
    /// Cookies, and fields that let somebody in, stay hashes.
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    socket: AdminSocket,
    /// Print the gateway's JSON answer.
    #[arg(long)]
    json: bool,
}

impl Limits {
    /// Exits 0, 2 when there is no such limit, or 75.
    pub fn run(&self) -> io::Result<ExitCode> {
        let limit = self.limit.as_ref().map(|name| format!("&limit={name}")).unwrap_or_default();
        let reveal = if self.reveal { "&reveal=yes" } else { "" };
        let path = format!("/limits?top={}{limit}{reveal}", self.top);
        show(&self.socket.socket, &path, PATIENCE, (!self.json).then_some(table))
    }
}

fn table(limits: &Value) -> String {
    let all = limits.as_array().cloned().unwrap_or_default();
    if all.is_empty() {
        return "there are no limits\n".to_owned();
    }
    let mut out =
        format!("{:<24} {:>12} {:>9} {:>9} {:>10} OVERFLOWED\n", "LIMIT", "RATE", "MOST", "KEYS", "CAPACITY");
    for limit in &all {
        let trial = if limit.get("enforced") == Some(&Value::Bool(false)) { "  NOT ENFORCED" } else { "" };
        let rate = limit.get("rate").and_then(Value::as_str).unwrap_or("at once");
        out.push_str(&format!(
            "{:<24} {rate:>12} {:>9} {:>9} {:>10} {}{}{trial}\n",
            text(limit, "name"),
            text(limit, "most"),
            text(limit, "keys"),
            text(limit, "capacity"),
            text(limit, "overflowed"),
            share(limit),
        ));
        list(limit, "top").iter().for_each(|key| out.push_str(&key_line(key)));
    }
    out
}

/// As `  LEASED` and `  LEASED, STORE DOWN: local`.
fn share(limit: &Value) -> String {
    match (limit.get("share").and_then(Value::as_str), limit.get("store_up").and_then(Value::as_bool)) {
        (Some("leased"), Some(false)) => format!("  LEASED, STORE DOWN: {}", text(limit, "on_store_error")),
        (Some("leased"), _) => "  LEASED".to_owned(),
        (Some("divided"), _) => "  DIVIDED".to_owned(),
        _ => String::new(),
    }
}

/// As `  key 00c0ffee00c0ffee  3 left  whole in 2 s  tenant=acme`.
fn key_line(key: &Value) -> String {
    let whole = key.get("whole_in_seconds").and_then(Value::as_u64);
    let whole = whole.map(|seconds| format!("  whole in {seconds} s")).unwrap_or_default();
    let name = key.get("name").and_then(Value::as_str).map(|name| format!("  {name}")).unwrap_or_default();
    format!("  key {}  {} left{whole}{name}\n", text(key, "key"), text(key, "remaining"))
}

/// A table of 4 GiB is read in a few seconds.
const PATIENCE: Duration = Duration::from_secs(60);
