//! `tollgate keys status`: what each key of the running gateway does.

use std::{io, process::ExitCode, time::Duration};

use serde_json::Value;

use crate::cli::{
    AdminSocket,
    status::{list, show, text},
};

/// Shows what keys do.
#[derive(Debug, clap::Args)]
pub struct Status {
    #[command(flatten)]
    socket: AdminSocket,
    /// Print the gateway's JSON answer.
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Exits 0 or 75.
    pub fn run(&self) -> io::Result<ExitCode> {
        show(&self.socket.socket, "/keys", PATIENCE, (!self.json).then_some(table))
    }
}

fn table(keys: &Value) -> String {
    let all = keys.as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        return "there are no signers\n".to_owned();
    }
    let mut out = format!("{:<16} {:<20} {:<9} {:<43} STATE\n", "SIGNER", "FILE", "ALGORITHM", "KID");
    for key in all {
        out.push_str(&format!(
            "{:<16} {:<20} {:<9} {:<43} {}\n",
            text(key, "signer"),
            text(key, "file"),
            text(key, "algorithm"),
            text(key, "kid"),
            text(key, "state")
        ));
        out.push_str(&what_it_waits_for(key));
        list(key, "verifiers").iter().for_each(|verifier| out.push_str(&fetched(verifier)));
    }
    out
}

/// As `  orders fetched it 4 times, from 2 of 3 addresses`.
fn fetched(verifier: &Value) -> String {
    let number = |name: &str| verifier.get(name).and_then(Value::as_u64).unwrap_or_default();
    let (fetches, addresses, instances) = (number("fetches"), number("addresses"), number("instances"));
    let name = text(verifier, "name");
    format!("  {name} fetched it {fetches} times, from {addresses} of {instances} addresses\n")
}

/// As `  signs in 540 s, or once these fetched the key set: orders, stock`.
fn what_it_waits_for(key: &Value) -> String {
    let seconds = |name: &str| key.get(name).and_then(Value::as_u64);
    if let Some(left) = seconds("gone_in_seconds") {
        return format!("  published for {left} s more: tokens of it may be about\n");
    }
    let Some(waits) = seconds("ready_in_seconds") else { return String::new() };
    let laggards: Vec<_> =
        list(key, "laggards").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    match laggards.is_empty() {
        true => format!("  may sign in {waits} s\n"),
        false => {
            let laggards = laggards.join(", ");
            format!("  may sign in {waits} s, or once these fetched the key set: {laggards}\n")
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_that_waits_names_its_laggards_and_a_retired_one_its_end() {
        let shown = table(&json!([
            { "signer": "default", "file": "b.pem", "algorithm": "ES256", "kid": "k2", "state": "published",
              "ready_in_seconds": 540, "laggards": ["orders", "stock"],
              "verifiers": [{ "name": "orders", "fetches": 4, "addresses": 2, "instances": 3 }] },
            { "signer": "default", "algorithm": "ES256", "kid": "k1", "state": "retired", "gone_in_seconds": 90 },
        ]));

        assert!(
            shown.contains("may sign in 540 s, or once these fetched the key set: orders, stock\n"),
            "{shown}"
        );
        assert!(shown.contains("  orders fetched it 4 times, from 2 of 3 addresses\n"), "{shown}");
        assert!(shown.contains("published for 90 s more"), "{shown}");
    }
}
