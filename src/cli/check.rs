//! `tollgate check`: everything that is wrong, without touching a socket.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::{
    config::{self, Config, Problem, Problems, Severity},
    live::LiveState,
    snapshot::Snapshot,
    telemetry::Metrics,
};

use super::{BAD_CONFIG, ConfigFile, count, print, tell};

/// Looks for everything that is wrong with a configuration.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// The same as --config FILE.
    #[arg(conflicts_with = "config")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
    /// Print the effective configuration: every default, secrets as written.
    #[arg(long, conflicts_with = "json")]
    print: bool,
    /// One JSON object: severity, file, line, key and text of each problem.
    #[arg(long)]
    json: bool,
    /// Warnings count as errors.
    #[arg(long)]
    strict: bool,
}

impl Check {
    /// Exits 0 or 78.
    pub fn run(&self) -> io::Result<ExitCode> {
        let looked = build(self.file());
        let (snapshot, problems) = match looked {
            Ok((snapshot, warnings)) => (Some(snapshot), warnings),
            Err(problems) => (None, problems),
        };
        let bad = problems.has_errors() || (self.strict && !problems.is_empty());
        let notes = snapshot.as_ref().map(|snapshot| notes(snapshot.config())).unwrap_or_default();
        if self.json {
            let list: Vec<_> = problems.iter().collect();
            let told = serde_json::json!({ "ok": !bad, "problems": list, "notes": notes });
            print(&format!("{told:#}\n"))?;
        } else {
            tell(&told(&problems), 0);
            self.say_what_is(snapshot.as_ref(), &notes, bad)?;
        }
        Ok(if bad { ExitCode::from(BAD_CONFIG) } else { ExitCode::SUCCESS })
    }

    fn file(&self) -> &Path {
        self.file.as_ref().unwrap_or(&self.config.file)
    }

    fn say_what_is(&self, snapshot: Option<&Snapshot>, notes: &[String], bad: bool) -> io::Result<()> {
        let Some(snapshot) = snapshot else { return Ok(()) };
        if self.print {
            print(&config::print(&snapshot.loaded))?;
        } else if !bad {
            let config = snapshot.config();
            print(&format!(
                "ok: {} ({}, {}, {}, {})\n",
                self.file().display(),
                count(config.listeners.len(), "listener"),
                count(config.upstreams.len(), "upstream"),
                count(config.routes.len(), "route"),
                count(snapshot.certificates().count(), "certificate")
            ))?;
            print(&notes.iter().map(|note| format!("note: {note}\n")).collect::<String>())?;
        }
        Ok(())
    }
}

/// What nothing is wrong with, and somebody should know all the same: warnings would
/// count where `--strict` asks of a machine that is not the gateway's.
fn notes(config: &Config) -> Vec<String> {
    let slow = config.signers.iter().filter(|signer| signer.spec.algorithm().is_slow());
    let slow = slow.map(|signer| {
        let (name, algorithm) = (&signer.spec.name, signer.spec.algorithm());
        format!("signer {name} pays about 630 us of a core for each {algorithm} token; ES256 takes 23")
    });
    let log = &config.access_log.path;
    let log = (!["-", "off"].contains(&log.as_str())).then(|| ("access_log.path", Path::new(log)));
    let paths = [("admin.socket", &*config.admin.socket)].into_iter().chain(log);
    let missing = paths.filter_map(|(key, path)| {
        let path = config.resolve(path);
        let folder = path.parent().filter(|folder| matches!(folder.try_exists(), Ok(false)))?;
        let text = "is not there: a start here fails until somebody makes it, as the package's unit does";
        Some(format!("{key}: the folder `{}` {text}; or write another path", folder.display()))
    });
    slow.chain(missing).collect()
}

fn build(file: &Path) -> Result<(Snapshot, Problems), Problems> {
    let Ok(metrics) = Metrics::new() else { return Err(Problems::default()) };
    let (snapshot, mut problems) = Snapshot::load(file, 0, &LiveState::default(), &metrics, |_| {})?;
    config::read_endpoints_files(snapshot.config(), &mut problems, |_, _| {});
    snapshot.loaded.locate(&mut problems);
    if problems.has_errors() {
        return Err(problems);
    }
    Ok((snapshot, problems))
}

/// The problems as lines, coloured on a terminal, with their count at the end.
fn told(problems: &Problems) -> String {
    let colour = io::stderr().is_terminal();
    let line = |problem: &Problem| {
        let text = problem.to_string();
        match (colour, problem.severity) {
            (false, _) => text + "\n",
            (true, Severity::Error) => text.replacen("error", "\x1b[1;31merror\x1b[0m", 1) + "\n",
            (true, Severity::Warning) => text.replacen("warning", "\x1b[1;33mwarning\x1b[0m", 1) + "\n",
        }
    };
    let mut all: String = problems.iter().map(line).collect();
    let errors = problems.iter().filter(|p| p.severity == Severity::Error).count();
    if errors > 1 {
        all.push_str(&format!("{errors} errors\n"));
    }
    all
}
