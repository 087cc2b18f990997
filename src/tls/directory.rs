//! The pairs of a `certificate_directory`: `NAME.pem` beside `NAME.key`.
//!
//! Owns which files make pairs, in the order of their names. Reading them is
//! `pair`'s. Other files in the folder are nobody's business.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use super::files::Files;
use crate::config::{Problems, Source};

/// A chain's path and its key's.
pub(super) type PairPaths = (PathBuf, PathBuf);

/// Every pair of a folder. A chain without its key, a key without its chain and
/// a folder without any pair are problems.
pub(super) fn pairs(
    folder: &Path,
    files: Files<'_>,
    source: &Source,
    problems: &mut Problems,
) -> Vec<PairPaths> {
    let folder = (files.resolve)(folder);
    let found = match stems(&folder) {
        Ok(found) => found,
        Err(error) => {
            let folder = folder.display();
            problems
                .error(source, format!("`{folder}` cannot be listed ({error}); write the path of a folder"));
            return Vec::new();
        }
    };
    if found.is_empty() {
        let text = format!("`{}` holds no pair; put NAME.pem and NAME.key there", folder.display());
        problems.error(source, text);
    }
    let pair = |(stem, halves)| paired(&folder.join(stem), halves, source, problems);
    found.into_iter().filter_map(pair).collect()
}

/// Every file of a folder that is half of a pair, in the order of their names; none
/// where it cannot be listed.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let found = stems(folder).unwrap_or_default();
    let halves = found.into_iter().flat_map(|(stem, halves)| {
        let path = |ending: &str| with_ending(&folder.join(&stem), ending);
        [halves.chain.then(|| path(".pem")), halves.key.then(|| path(".key"))]
    });
    halves.flatten().collect()
}

/// Which halves of a pair are there.
#[derive(Clone, Copy, Default)]
struct Halves {
    chain: bool,
    key: bool,
}

/// The file names without their endings, sorted, so that which certificate is
/// the default does not hang on the file system.
fn stems(folder: &Path) -> std::io::Result<BTreeMap<OsString, Halves>> {
    let mut found = BTreeMap::<OsString, Halves>::new();
    for entry in fs::read_dir(folder)? {
        let name = PathBuf::from(entry?.file_name());
        let (Some(stem), Some(ending)) = (name.file_stem(), name.extension()) else { continue };
        match ending.to_str() {
            Some("pem") => found.entry(stem.to_owned()).or_default().chain = true,
            Some("key") => found.entry(stem.to_owned()).or_default().key = true,
            _ => {}
        }
    }
    Ok(found)
}

fn paired(stem: &Path, halves: Halves, source: &Source, problems: &mut Problems) -> Option<PairPaths> {
    let (chain, key) = (with_ending(stem, ".pem"), with_ending(stem, ".key"));
    match (halves.chain, halves.key) {
        (true, true) => return Some((chain, key)),
        (true, false) => problems.error(source, lone(&chain, &key, "its key")),
        _ => problems.error(source, lone(&key, &chain, "its certificate chain")),
    }
    None
}

fn with_ending(stem: &Path, ending: &str) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    path.push(ending);
    PathBuf::from(path)
}

fn lone(there: &Path, missing: &Path, what: &str) -> String {
    format!("`{}` has no `{}` beside it; put {what} there", there.display(), missing.display())
}
