//! From a path to a configuration, or to everything that is wrong with it.
//!
//! Owns the order of the steps and the lines of what they find. Changes
//! nothing, touches no socket, and answers any bytes without a panic.

use std::path::{Path, PathBuf};

use super::{
    Config, Problems, Source, clashes, draft,
    files::{self, Text},
    positions::Lines,
    secrets::{Environment, Filler, Secrets},
    sections::{self, File},
};

/// A configuration that can be built from, and how it came to be.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What was written, with every default.
    pub config: Config,
    /// What should be looked at; may be empty.
    pub warnings: Problems,
    /// Every file that was read: the main file, fragments, `${file:…}`.
    pub files: Vec<PathBuf>,
    /// SHA-256 in hex over everything that was read, `${env:…}` included: equal
    /// hashes mean equal configurations.
    pub hash: String,
    pub(super) texts: Vec<Text>,
    pub(super) secrets: Secrets,
}

/// Reads a main file and the fragments in `conf.d/` beside it.
///
/// Fails with every problem that can be found without looking at other files;
/// warnings come along.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    load_in(path, &|name| std::env::var_os(name))
}

pub(super) fn load_in(path: &Path, environment: Environment<'_>) -> Result<Loaded, Problems> {
    let mut problems = Problems::default();
    let texts = files::read_all(path, &mut problems);
    build(path, texts, environment, problems)
}

/// Everything after the files were read.
pub(super) fn build(
    path: &Path,
    texts: Vec<Text>,
    environment: Environment<'_>,
    mut problems: Problems,
) -> Result<Loaded, Problems> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut filler = Filler { folder, environment, secrets: Secrets::default() };
    let config = read(path, &texts, &mut filler, &mut problems);
    if let Some(config) = &config {
        clashes::addresses(config, &mut problems);
        clashes::names(config, &texts, &mut problems);
        warn(config, &mut problems);
    }

    let secrets = filler.secrets;
    finish(&mut problems, &texts, &secrets);
    problems.cap(&Source::file(path));
    match config {
        Some(config) if !problems.has_errors() => {
            let files = texts.iter().map(|text| text.path.to_path_buf()).chain(secrets.files.clone());
            let (files, hash) = (files.collect(), hash(&texts, &secrets));
            Ok(Loaded { config, warnings: problems, files, hash, texts, secrets })
        }
        _ => Err(problems),
    }
}

impl Loaded {
    /// Fills in the lines of problems that were found later, takes secrets out
    /// of their texts and sorts them.
    pub fn locate(&self, problems: &mut Problems) {
        finish(problems, &self.texts, &self.secrets);
    }
}

fn read(path: &Path, texts: &[Text], filler: &mut Filler<'_>, problems: &mut Problems) -> Option<Config> {
    let mut config = None;
    let mut shared = sections::Shared::default();
    for text in texts {
        let Some(entries) = draft::read(text, filler, problems) else { continue };
        let file = File { source: Source::file(&text.path), entries, problems };
        match &*text.path == path {
            true => config = Some(sections::main(file)),
            // Read even if the main file cannot be: what is wrong is wrong.
            false => shared.add(file),
        }
    }
    let mut config: Config = config?;
    config.upstreams.extend(shared.upstreams);
    config.routes.extend(shared.routes);
    Some(config)
}

fn warn(config: &Config, problems: &mut Problems) {
    // Among errors it may be one of them that it is missing.
    if config.readiness.is_none() && !problems.has_errors() {
        let text = "there is no `readiness`; without it a load balancer has nothing to ask";
        problems.warn(&config.main, text);
    }
}

fn finish(problems: &mut Problems, texts: &[Text], secrets: &Secrets) {
    let lines = Lines::find(texts, problems.iter().filter(|p| p.line.is_none()).map(|p| &p.source));
    for problem in problems.iter_mut() {
        problem.line = problem.line.or_else(|| lines.line(&problem.source));
        secrets.mask(problem);
        shorten(&mut problem.text);
    }
    problems.sort();
}

fn shorten(text: &mut String) {
    if let Some((at, _)) = text.char_indices().nth(MOST_CHARACTERS) {
        text.truncate(at);
        text.push('…');
    }
}

fn hash(texts: &[Text], secrets: &Secrets) -> String {
    let mut digest = boring::sha::Sha256::new();
    for part in texts.iter().map(|text| &text.text).chain(&secrets.values) {
        // With its length: else text could move from one file to the next.
        digest.update(&(part.len() as u64).to_le_bytes());
        digest.update(part.as_bytes());
    }
    digest.finish().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A sentence with a value in it; beyond it the value is no help.
const MOST_CHARACTERS: usize = 500;
