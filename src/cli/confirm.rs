//! `tollgate confirm`: what was reloaded with `--confirm` stays.

use std::{io, process::ExitCode, time::Duration};

use serde_json::Value;

use super::{AdminSocket, FAILED, NOT_NOW, client, print, tell};

/// Keeps a configuration that was reloaded with `--confirm`.
#[derive(Debug, clap::Args)]
pub struct Confirm {
    #[command(flatten)]
    socket: AdminSocket,
    /// Print the gateway's JSON answer.
    #[arg(long)]
    json: bool,
}

impl Confirm {
    /// Exits 0, or 75 when nothing waits to be confirmed.
    pub fn run(&self) -> io::Result<ExitCode> {
        let answer = match client::ask(&self.socket.socket, "POST", "/confirm", Duration::from_secs(10)) {
            Ok(answer) => answer,
            Err(why) if client::is_absent(&why) => return Ok(super::status::nobody(&self.socket.socket)),
            Err(why) => return Err(why),
        };
        match answer.status {
            200 if self.json => print(&format!("{}\n", answer.body)),
            200 => {
                let told: Value = serde_json::from_str(&answer.body).unwrap_or_default();
                let generation = told.get("generation").and_then(Value::as_u64).unwrap_or_default();
                print(&format!("confirmed: generation {generation} stays\n"))
            }
            409 => Ok(tell(&answer.body, NOT_NOW)),
            _ => Ok(tell(&answer.body, FAILED)),
        }
    }
}
