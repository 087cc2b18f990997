//! `tollgate reload`: waits, then says what changed or why nothing did.

use std::{io, process::ExitCode, time::Duration};

use serde_json::Value;

use super::{AdminSocket, BAD_CONFIG, FAILED, NOT_NOW, changes, client, print, tell, time};
use crate::config::types::Invalid;

/// Makes the running gateway take its files as they are now.
#[derive(Debug, clap::Args)]
pub struct Reload {
    #[command(flatten)]
    socket: AdminSocket,
    /// Say what would change, and change nothing. New names are not looked up.
    #[arg(long, conflicts_with = "confirm")]
    dry_run: bool,
    /// Go back to the configuration before unless `tollgate confirm` follows within
    /// this time, as `120s` or `5m`.
    #[arg(long, value_name = "TIME", value_parser = whole_seconds)]
    confirm: Option<Duration>,
    /// Print the gateway's JSON answer.
    #[arg(long)]
    json: bool,
}

impl Reload {
    /// Exits 0, 75 or 78.
    pub fn run(&self) -> io::Result<ExitCode> {
        let answer = match client::ask(&self.socket.socket, "POST", &self.path(), PATIENCE) {
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
            200 if self.dry_run => print(&foreseen(&told)),
            200 => print(&done(&told)),
            409 => Ok(say(&answer.body, NOT_NOW)),
            422 => Ok(say(&refused(&told), BAD_CONFIG)),
            _ => Ok(say(&answer.body, FAILED)),
        }
    }

    fn path(&self) -> String {
        match self.confirm {
            _ if self.dry_run => "/reload?dry_run".to_owned(),
            Some(window) => format!("/reload?confirm_seconds={}", window.as_secs()),
            None => "/reload".to_owned(),
        }
    }
}

fn whole_seconds(text: &str) -> Result<Duration, Invalid> {
    let span = time::duration(text)?;
    match u32::try_from(span.as_secs()) {
        Ok(1..) if span.subsec_nanos() == 0 => Ok(span),
        _ => Err(Invalid::new("write whole seconds, one or more, as `120s`")),
    }
}

fn done(told: &Value) -> String {
    let mut text = warnings(told);
    let changes = changes::lines(told);
    if changes.is_empty() {
        text.push_str("nothing changed in the configuration; certificates and keys were read again\n");
    }
    let generation = told.get("generation").and_then(Value::as_u64).unwrap_or_default();
    text = text + &changes + &format!("reloaded: generation {generation} serves\n");
    if let Some(seconds) = told.get("confirm_within_seconds").and_then(Value::as_u64) {
        text.push_str(&format!("unconfirmed: goes back in {seconds} s unless `tollgate confirm` follows\n"));
    }
    text
}

fn foreseen(told: &Value) -> String {
    let changes = changes::lines(told);
    let nothing = if changes.is_empty() { "nothing would change\n" } else { "" };
    warnings(told) + &changes + nothing + &changes::kept(told) + "dry run: nothing was done\n"
}

fn warnings(told: &Value) -> String {
    let list = told.get("warnings").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(|line| format!("{line}\n")).collect()
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
