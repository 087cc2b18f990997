//! Asks a file what would be, and says what stands in for what no file knows.

use std::{fmt, path::Path, time::Instant};

use crate::{
    cli::{BAD_CONFIG, USAGE, offline::Offline},
    config::{Problems, Unknown},
    snapshot::{Question, Report},
};

/// Why there is no answer.
pub enum Refused {
    /// The file cannot be used.
    Problems(Problems),
    /// Nothing in it is called so.
    Unknown(Unknown),
}

impl Refused {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Problems(_) => BAD_CONFIG,
            Self::Unknown(_) => USAGE,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problems(problems) => problems.iter().try_for_each(|problem| writeln!(f, "{problem}")),
            Self::Unknown(why) => writeln!(f, "error: {why}"),
        }
    }
}

/// What would be with this file.
pub fn ask(file: &Path, question: &Question) -> Result<Report, Refused> {
    let offline = Offline::load(file).map_err(Refused::Problems)?;
    let address =
        |text: &String| offline.address(text).map_or_else(|| text.clone(), |address| address.to_string());
    let endpoints_down = question.endpoints_down.iter().map(address).collect();
    let question = Question { endpoints_down, ..question.clone() };
    let mut report = offline.snapshot.simulate(&question, Instant::now()).map_err(Refused::Unknown)?;
    name(&mut report, &offline);
    Ok(report)
}

/// Shows names instead of the addresses that stand for them, and says so.
fn name(report: &mut Report, offline: &Offline) {
    let is_nowhere = offline.snapshot.place().zone.is_none() && report.zone.is_none();
    for upstream in &mut report.upstreams {
        for endpoint in &mut upstream.endpoints {
            let name = offline.name(&endpoint.address);
            name.into_iter().for_each(|name| endpoint.address.clone_from(name));
        }
        upstream.notes.extend(offline.notes(&upstream.upstream));
        if is_nowhere {
            upstream.notes.push("the own zone is not known here: name one with --from-zone".to_owned());
        }
    }
}
