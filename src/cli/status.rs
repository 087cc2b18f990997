//! `tollgate status`: what the running gateway does, as a table or JSON.

use std::{io, path::Path, process::ExitCode, time::Duration};

use serde_json::Value;

use super::{AdminSocket, FAILED, NOT_NOW, client, print, tell};

/// Shows what the running gateway does.
#[derive(Debug, clap::Args)]
pub struct Status {
    #[command(flatten)]
    socket: AdminSocket,
    /// Print the gateway's JSON answer.
    #[arg(long)]
    json: bool,
    /// Print the configuration that serves now, with every default.
    #[arg(long)]
    config: bool,
}

impl Status {
    /// Exits 0 or 75.
    pub fn run(&self) -> io::Result<ExitCode> {
        let path = if self.config { "/config" } else { "/status" };
        let answer = match client::ask(&self.socket.socket, "GET", path, Duration::from_secs(10)) {
            Ok(answer) => answer,
            Err(why) if client::is_absent(&why) => return Ok(nobody(&self.socket.socket)),
            Err(why) => return Err(why),
        };
        if answer.status != 200 {
            return Ok(tell(&answer.body, FAILED));
        }
        if self.json || self.config {
            return print(&format!("{}\n", answer.body.trim_end()));
        }
        print(&table(&serde_json::from_str(&answer.body)?))
    }
}

/// Says that no gateway listens at the socket.
pub fn nobody(socket: &Path) -> ExitCode {
    let text = format!(
        "error: no gateway listens at {}; start one with `tollgate run`, or name its socket with --socket\n",
        socket.display()
    );
    tell(&text, NOT_NOW)
}

fn table(status: &Value) -> String {
    let text = |value: &Value, key: &str| match value.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    let list =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut out = format!(
        "tollgate {}  pid {}  up {} s  generation {}  config {}\nconnections {}  routes {}{}\n",
        text(status, "version"),
        text(status, "pid"),
        text(status, "uptime_seconds"),
        text(status, "generation"),
        text(status, "config_hash").get(..12).unwrap_or("-"),
        text(status, "connections"),
        text(status, "routes"),
        if status.get("draining") == Some(&Value::Bool(true)) { "  DRAINING" } else { "" }
    );
    out.push_str(&format!("\n{:<24} {:<24} TLS\n", "LISTENER", "ADDRESS"));
    for listener in list(status, "listeners") {
        let tls = if listener.get("tls") == Some(&Value::Bool(true)) { "yes" } else { "no" };
        out.push_str(&format!("{:<24} {:<24} {tls}\n", text(&listener, "name"), text(&listener, "address")));
    }
    out.push_str(&format!(
        "\n{:<24} {:<24} {:<12} {:<10} IN FLIGHT\n",
        "UPSTREAM", "ENDPOINT", "ZONE", "HEALTH"
    ));
    for upstream in list(status, "upstreams") {
        for endpoint in list(&upstream, "endpoints") {
            out.push_str(&format!(
                "{:<24} {:<24} {:<12} {:<10} {}\n",
                text(&upstream, "name"),
                text(&endpoint, "address"),
                text(&endpoint, "zone"),
                text(&endpoint, "health"),
                text(&endpoint, "in_flight")
            ));
        }
    }
    let certificates = list(status, "certificates");
    if !certificates.is_empty() {
        out.push_str(&format!("\n{:<24} {:<38} EXPIRES IN\n", "LISTENER", "CERTIFICATE"));
    }
    for certificate in certificates {
        out.push_str(&format!(
            "{:<24} {:<38} {} days\n",
            text(&certificate, "listener"),
            text(&certificate, "name"),
            text(&certificate, "expires_in_days")
        ));
    }
    out
}
