//! `tollgate rollback`: the configuration before the last change is back.

use std::{io, process::ExitCode, time::Duration};

use serde_json::Value;

use super::{AdminSocket, FAILED, NOT_NOW, changes, client, print, tell};

/// Brings back the configuration that served before the last change.
#[derive(Debug, clap::Args)]
pub struct Rollback {
    #[command(flatten)]
    socket: AdminSocket,
    /// Print the gateway's JSON answer.
    #[arg(long)]
    json: bool,
}

impl Rollback {
    /// Exits 0, or 75 when there is none or a reload is under way.
    pub fn run(&self) -> io::Result<ExitCode> {
        let answer = match client::ask(&self.socket.socket, "POST", "/rollback", PATIENCE) {
            Ok(answer) => answer,
            Err(why) if client::is_absent(&why) => return Ok(super::status::nobody(&self.socket.socket)),
            Err(why) => return Err(why),
        };
        match answer.status {
            200 if self.json => print(&format!("{}\n", answer.body)),
            200 => print(&done(&serde_json::from_str(&answer.body).unwrap_or_default())),
            409 => Ok(tell(&answer.body, NOT_NOW)),
            _ => Ok(tell(&answer.body, FAILED)),
        }
    }
}

fn done(told: &Value) -> String {
    let number = |key: &str| told.get(key).and_then(Value::as_u64).unwrap_or_default();
    let (generation, of) = (number("generation"), number("of_generation"));
    let files = match told.get("differs_from_disk") {
        Some(Value::Bool(false)) => "the files on the disk are those that serve",
        Some(Value::Bool(true)) => "the files on the disk are others: the next reload takes them",
        _ => "the files on the disk cannot be used now: `tollgate check` says why",
    };
    changes::lines(told)
        + &format!("rolled back: generation {generation} serves what generation {of} did; {files}\n")
}

/// Names that are looked up again, and endpoints that are asked, take seconds at most.
const PATIENCE: Duration = Duration::from_secs(60);
