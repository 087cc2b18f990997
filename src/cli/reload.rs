//! `tollgate reload`: waits, then says what changed or why nothing did.

use std::{io, process::ExitCode, time::Duration};

use serde_json::Value;

use super::{AdminSocket, BAD_CONFIG, FAILED, NOT_NOW, client, print, tell};

/// Makes the running gateway take its files as they are now.
#[derive(Debug, clap::Args)]
pub struct Reload {
    #[command(flatten)]
    socket: AdminSocket,
    /// Print the gateway's JSON answer.
    #[arg(long)]
    json: bool,
}

impl Reload {
    /// Exits 0, 75 or 78.
    pub fn run(&self) -> io::Result<ExitCode> {
        let answer = match client::ask(&self.socket.socket, "POST", "/reload", PATIENCE) {
            Ok(answer) => answer,
            Err(why) if client::is_absent(&why) => return Ok(super::status::nobody(&self.socket.socket)),
            Err(why) => return Err(why),
        };
        if self.json {
            print(&format!("{}\n", answer.body))?;
        }
        let quiet = self.json;
        let say = |text: &str, code| if quiet { ExitCode::from(code) } else { tell(text, code) };
        let told: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        match answer.status {
            200 if quiet => Ok(ExitCode::SUCCESS),
            200 => print(&done(&told)),
            409 => Ok(say(&answer.body, NOT_NOW)),
            422 => Ok(say(&refused(&told), BAD_CONFIG)),
            _ => Ok(say(&answer.body, FAILED)),
        }
    }
}

fn done(told: &Value) -> String {
    let lines = |key: &str| -> Vec<String> {
        let list = told.get(key).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let generation = told.get("generation").and_then(Value::as_u64).unwrap_or_default();
    let mut text = String::new();
    for line in lines("warnings").iter().chain(&lines("changes")) {
        text.push_str(line);
        text.push('\n');
    }
    if lines("changes").is_empty() {
        text.push_str("nothing changed in the configuration; certificates and keys were read again\n");
    }
    text + &format!("reloaded: generation {generation} serves\n")
}

fn refused(told: &Value) -> String {
    let mut text = String::new();
    for problem in told.get("problems").and_then(Value::as_array).into_iter().flatten() {
        let field = |key: &str| problem.get(key).and_then(Value::as_str).unwrap_or_default();
        let line = problem.get("line").and_then(Value::as_u64).map_or(String::new(), |l| format!(":{l}"));
        let key = field("key");
        let key = if key.is_empty() { String::new() } else { format!(": {key}") };
        text.push_str(&format!("{}: {}{line}{key}: {}\n", field("severity"), field("file"), field("text")));
    }
    text + "refused: the gateway goes on with what it had\n"
}

/// 10,000 routes build in well under a second; a slow disk may take longer.
const PATIENCE: Duration = Duration::from_secs(60);
