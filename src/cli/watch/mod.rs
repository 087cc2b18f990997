//! `tollgate status --watch`: looks again and again, and draws what it saw.
//!
//! Owns the loop and the signals. `seen` makes rates of what two looks told, `view` makes
//! lines of it, `fit` cuts them to a screen, `screen` has the terminal.
//!
//! Always holds: however it ends, short of a kill, the terminal is as it was.

mod fit;
mod screen;
mod seen;
mod view;

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep_until,
};

use super::client;
use screen::{Screen, plain};
use seen::Seen;

/// Watches until somebody ends it; exits 0.
pub fn run(socket: &Path, every: Duration, json: bool) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(watch(socket, every, json));
    // A question may be under way that nobody waits for any more.
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn watch(socket: &Path, every: Duration, json: bool) -> io::Result<()> {
    // Before the screen is: a signal that came between would leave it behind.
    let mut signals = Signals::new()?;
    let mut way = Way::new(json)?;
    let mut seen = Seen::new(socket);
    loop {
        let next = tokio::time::Instant::now() + every;
        let asked = tokio::select! {
            asked = ask(socket.to_owned()) => asked,
            () = signals.end() => return Ok(()),
        };
        seen.take(asked, Instant::now());
        way.tell(&seen)?;
        loop {
            let happened = tokio::select! {
                () = sleep_until(next) => break,
                happened = signals.next() => happened,
            };
            match (happened, &mut way) {
                (Happened::End, _) => return Ok(()),
                (Happened::Resized, Way::Screen(_)) => way.tell(&seen)?,
                (Happened::Suspended, Way::Screen(screen)) => {
                    screen.suspended()?;
                    way.tell(&seen)?;
                }
                (Happened::Resized, _) => {}
                (Happened::Suspended, _) => screen::suspend(),
            }
        }
    }
}

async fn ask(socket: PathBuf) -> io::Result<Value> {
    let asking = move || {
        let answer = client::ask(&socket, "GET", "/overview", PATIENCE)?;
        match answer.status {
            200 => Ok(serde_json::from_str(&answer.body)?),
            _ => Err(io::Error::other(OLDER)),
        }
    };
    tokio::task::spawn_blocking(asking).await.map_err(io::Error::other)?
}

/// How what was seen is told.
enum Way {
    Screen(Screen),
    Blocks,
    Json,
}

impl Way {
    fn new(json: bool) -> io::Result<Self> {
        Ok(match Screen::wanted() {
            _ if json => Self::Json,
            true => Self::Screen(Screen::open()?),
            false => Self::Blocks,
        })
    }

    fn tell(&mut self, seen: &Seen) -> io::Result<()> {
        let now = Instant::now();
        match self {
            Self::Screen(screen) => screen.draw(|size| fit::fit(view::page(seen, now), size)),
            Self::Blocks => {
                let time = humantime(SystemTime::now());
                let lines: String = fit::all(view::page(seen, now)).iter().map(plain).collect();
                crate::cli::print(&format!("{time}\n{lines}\n")).map(drop)
            }
            Self::Json => crate::cli::print(&format!("{}\n", seen.json())).map(drop),
        }
    }
}

/// As 2026-11-30T01:02:03Z.
fn humantime(now: SystemTime) -> String {
    let whole = time::OffsetDateTime::from(now).replace_nanosecond(0);
    let told = whole.ok().map(|now| now.format(&time::format_description::well_known::Rfc3339));
    told.and_then(Result::ok).unwrap_or_default()
}

/// What may come between two looks.
enum Happened {
    End,
    Resized,
    Suspended,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    resize: Signal,
    suspend: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            resize: signal(SignalKind::window_change())?,
            suspend: signal(SignalKind::from_raw(libc::SIGTSTP))?,
        })
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }

    async fn next(&mut self) -> Happened {
        tokio::select! {
            _ = self.interrupt.recv() => Happened::End,
            _ = self.terminate.recv() => Happened::End,
            _ = self.hang_up.recv() => Happened::End,
            _ = self.resize.recv() => Happened::Resized,
            _ = self.suspend.recv() => Happened::Suspended,
        }
    }
}

/// A gateway that takes longer is in trouble, which is what is to be seen.
const PATIENCE: Duration = Duration::from_secs(3);
const OLDER: &str = "it is older than this program and cannot tell; `tollgate upgrade`";
