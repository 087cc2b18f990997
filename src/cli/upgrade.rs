//! `tollgate upgrade`: waits until the new process serves, or says why it does not.

use std::{io, process::ExitCode, time::Duration};

use serde_json::Value;

use super::{AdminSocket, FAILED, NOT_NOW, client, count, print, status::text, tell, time};

/// Replaces the running gateway by the program that is installed now.
#[derive(Debug, clap::Args)]
pub struct Upgrade {
    #[command(flatten)]
    socket: AdminSocket,
    /// How long the new process may take until it can serve.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time::up_to_an_hour)]
    timeout: u16,
    /// Print the gateway's JSON answer.
    #[arg(long)]
    json: bool,
}

impl Upgrade {
    /// Exits 0, 1 when the old process goes on, or 75.
    pub fn run(&self) -> io::Result<ExitCode> {
        let path = format!("/upgrade?timeout_seconds={}", self.timeout);
        let patience = Duration::from_secs(u64::from(self.timeout)) + MORE;
        let answer = match client::ask(&self.socket.socket, "POST", &path, patience) {
            Ok(answer) => answer,
            Err(why) if client::is_absent(&why) => return Ok(super::status::nobody(&self.socket.socket)),
            Err(why) => return Err(why),
        };
        match answer.status {
            200 if self.json => print(&format!("{}\n", answer.body.trim_end())),
            200 => print(&done(&serde_json::from_str(&answer.body)?)),
            409 => Ok(tell(&format!("error: {}", answer.body), NOT_NOW)),
            422 => Ok(tell(&format!("{}refused: the old process goes on\n", marked(&answer.body)), FAILED)),
            _ => Ok(tell(&format!("error: {}", answer.body), FAILED)),
        }
    }
}

/// What a new process says begins with `error: ` already.
fn marked(body: &str) -> String {
    if body.starts_with("error: ") { body.to_owned() } else { format!("error: {body}") }
}

fn done(told: &Value) -> String {
    let seconds = told.get("ready_after_ms").and_then(Value::as_f64).unwrap_or_default() / 1_000.0;
    format!(
        "upgraded: process {} serves, ready after {seconds:.1} s\n\
         process {} finishes its work: {}, of which {} and {}\n",
        text(told, "pid"),
        text(told, "old_pid"),
        count(text(told, "connections"), "connection"),
        count(text(told, "websockets"), "WebSocket"),
        count(text(told, "streams"), "other stream")
    )
}

/// For the hand-over itself, and a busy machine.
const MORE: Duration = Duration::from_secs(30);
