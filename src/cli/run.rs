//! `tollgate run`: serve until a signal ends it.

use std::{io, path::Path, process::ExitCode};

use super::{BAD_CONFIG, FAILED, tell};
use crate::{
    server::{self, StartError},
    telemetry::process_log,
};

/// Serves; the code says why it ended or did not begin.
pub fn run(path: &Path) -> io::Result<ExitCode> {
    process_log::init(None);
    Ok(match server::run(path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why @ StartError::Config(_)) => tell(&format!("{why}"), BAD_CONFIG),
        Err(why) => tell(&format!("{why}"), FAILED),
    })
}
