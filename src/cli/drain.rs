//! `tollgate drain`: asks for the end, then tells how it goes.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{AdminSocket, FAILED, NOT_NOW, client, count, print, tell};

/// Makes the running gateway finish its work and end.
#[derive(Debug, clap::Args)]
pub struct Drain {
    #[command(flatten)]
    socket: AdminSocket,
    /// Let /readyz say 503 from now on, for target groups that do not reset the
    /// connections of unhealthy targets.
    #[arg(long)]
    fail_readiness: bool,
    /// How long to go on accepting, as `30s`, each new connection but briefly: until the load
    /// balancer sends nobody any more. Default: 0, with --fail-readiness 30.
    #[arg(long, value_name = "TIME", value_parser = super::time::or_none)]
    accept_for: Option<u16>,
    /// Do not wait for the end.
    #[arg(long)]
    no_wait: bool,
    /// Print the gateway's JSON answer, and do not tell how it goes.
    #[arg(long)]
    json: bool,
}

impl Drain {
    /// Exits 0 when the gateway has ended, or when told not to wait; 75 when none
    /// listens or it drains already.
    pub fn run(&self) -> io::Result<ExitCode> {
        let answer = match client::ask(&self.socket.socket, "POST", &self.path(), PATIENCE) {
            Ok(answer) => answer,
            Err(why) if client::is_absent(&why) => return Ok(super::status::nobody(&self.socket.socket)),
            Err(why) => return Err(why),
        };
        match answer.status {
            200 if self.json => print(&format!("{}\n", answer.body))?,
            200 => print(&begun(&serde_json::from_str(&answer.body)?))?,
            409 => return Ok(tell(&answer.body, NOT_NOW)),
            _ => return Ok(tell(&answer.body, FAILED)),
        };
        if !self.no_wait {
            self.wait()?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn path(&self) -> String {
        let seconds = self.accept_for.unwrap_or(if self.fail_readiness { 30 } else { 0 });
        let fail = if self.fail_readiness { "&fail_readiness" } else { "" };
        format!("/drain?accept_seconds={seconds}{fail}")
    }

    /// Until nothing listens at the socket any more. Who listens and does not answer is
    /// busy, and has not ended.
    fn wait(&self) -> io::Result<()> {
        let shows = !self.json && io::stderr().is_terminal();
        let mut told = Instant::now();
        loop {
            match client::ask(&self.socket.socket, "GET", "/status", PATIENCE) {
                Ok(status) if shows && told.elapsed() >= TELL_EACH => {
                    told = Instant::now();
                    let status: Value = serde_json::from_str(&status.body).unwrap_or_default();
                    write!(io::stderr(), "\r{:<78}", left(&status))?;
                }
                Err(why) if client::is_absent(&why) => break,
                Ok(_) | Err(_) => {}
            }
            sleep(LOOK_EACH);
        }
        if shows {
            writeln!(io::stderr())?;
        }
        if self.json { Ok(()) } else { print("ended\n").map(drop) }
    }
}

fn begun(told: &Value) -> String {
    let (requests, streams) = (number(told, "max_drain_seconds"), number(told, "max_drain_streams_seconds"));
    format!("draining: {}; requests at most {requests} s, streams at most {streams} s\n", those(told))
}

fn left(status: &Value) -> String {
    let cut = match number(status, "websockets") + number(status, "streams") {
        0 => number(status, "requests_cut_in_seconds"),
        _ => number(status, "streams_cut_in_seconds"),
    };
    format!("left: {}, for at most {cut} s", those(status))
}

fn those(told: &Value) -> String {
    let (connections, websockets) = (number(told, "connections"), number(told, "websockets"));
    let (connections, websockets) = (count(connections, "connection"), count(websockets, "WebSocket"));
    format!("{connections}, {websockets} and {} among them", count(number(told, "streams"), "stream"))
}

fn number(told: &Value, key: &str) -> u64 {
    told.get(key).and_then(Value::as_u64).unwrap_or_default()
}

const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EACH: Duration = Duration::from_millis(100);
const TELL_EACH: Duration = Duration::from_secs(1);
