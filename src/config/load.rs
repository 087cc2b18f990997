//! From a path to a configuration, or to everything that is wrong with it.
//!
//! Owns the order of the steps and the lines of what they find. Changes
//! nothing, touches no socket, and answers any bytes without a panic.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Config, Problems, Source, Sourced, clashes, document, draft,
    files::{self, Text},
    listener::{ListenerSpec, ProxyMode},
    positions::Lines,
    refers,
    secrets::{Environment, Filler, Secrets},
    sections::{self, File},
    shares,
    sharing::{Entries, Sharing},
    zones,
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
    /// Of each text.
    entries: Vec<Entries>,
    pub(super) secrets: Secrets,
}

/// What cannot be used, and what could be read of it all the same.
#[derive(Debug)]
pub struct Broken {
    /// Everything that was found.
    pub problems: Problems,
    /// What is left without the bad parts: for looking further, not for use.
    pub rest: Option<Box<Loaded>>,
}

/// [`load`], with what is left when it fails: so that what depends on other
/// files can be looked at in the same go.
pub fn load_for_check(path: &Path) -> Result<Loaded, Broken> {
    load_after(path, None)
}

/// As [`load_for_check`]; routes that are written as they were before are the very same
/// ones.
pub fn load_after(path: &Path, before: Option<&Loaded>) -> Result<Loaded, Broken> {
    let mut problems = Problems::default();
    let texts = files::read_all(path, &mut problems);
    build(path, texts, before, &|name| std::env::var_os(name), problems)
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
    build(path, texts, None, environment, problems).map_err(|broken| broken.problems)
}

/// Everything after the files were read.
pub(super) fn build(
    path: &Path,
    texts: Vec<Text>,
    before: Option<&Loaded>,
    environment: Environment<'_>,
    mut problems: Problems,
) -> Result<Loaded, Broken> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut filler = Filler { folder, environment, secrets: Secrets::default() };
    let mut sharing: Vec<_> = texts.iter().map(|text| sharing_with(before, text)).collect();
    let config = read(path, texts.iter().zip(&mut sharing), &mut filler, &mut problems);
    let entries = sharing.into_iter().map(|sharing| sharing.entries).collect();
    if let Some(config) = &config {
        clashes::addresses(config, &mut problems);
        clashes::names(config, &texts, &mut problems);
        clashes::vpc_endpoints(config, &texts, &mut problems);
        refers::limits(config, &mut problems);
        shares::check(config, &mut problems);
        refers::signers(config, &mut problems);
        refers::authentication(config, &mut problems);
        warn(config, &mut problems);
    }

    let secrets = filler.secrets;
    finish(&mut problems, &texts, &secrets);
    problems.cap(&Source::file(path));
    let Some(config) = config else { return Err(Broken { problems, rest: None }) };
    let files = texts.iter().map(|text| text.path.to_path_buf()).chain(secrets.files.clone());
    let (files, hash) = (files.collect(), hash(&texts, &secrets));
    let failed = problems.has_errors();
    let loaded = Loaded { config, warnings: problems, files, hash, texts, entries, secrets };
    match failed {
        true => Err(Broken { problems: loaded.warnings.clone(), rest: Some(Box::new(loaded)) }),
        false => Ok(loaded),
    }
}

impl Loaded {
    /// Fills in the lines of problems that were found later, takes secrets out
    /// of their texts and sorts them.
    pub fn locate(&self, problems: &mut Problems) {
        finish(problems, &self.texts, &self.secrets);
    }
}

fn sharing_with<'b>(before: Option<&'b Loaded>, text: &Text) -> Sharing<'b> {
    let mut each = before.into_iter().flat_map(|before| before.texts.iter().zip(&before.entries));
    Sharing::with(each.find(|(before, _)| before.path == text.path))
}

fn read<'t, 'b: 't>(
    path: &Path,
    texts: impl Iterator<Item = (&'t Text, &'t mut Sharing<'b>)>,
    filler: &mut Filler<'_>,
    problems: &mut Problems,
) -> Option<Config> {
    let mut config = None;
    let mut shared = sections::Shared::default();
    for (text, sharing) in texts {
        let parsed = document::parse_sharing(&text.text, sharing);
        let Some(entries) = draft::checked(text, parsed, KEYS, Some(&mut *filler), problems) else {
            continue;
        };
        let file = File { source: Source::file(&text.path), entries, problems };
        match &*text.path == path {
            true => config = Some(sections::main(file)),
            // Read even if the main file cannot be: what is wrong is wrong.
            false => shared.add(file),
        }
    }
    let mut config: Config = config?;
    config.authentication.extend(shared.authentication);
    config.limits.extend(shared.limits);
    config.upstreams.extend(shared.upstreams);
    config.routes.extend(shared.routes);
    Some(config)
}

fn warn(config: &Config, problems: &mut Problems) {
    // Among errors it may be one of them that it is missing.
    if problems.has_errors() {
        return;
    }
    if config.readiness.is_none() {
        let text = "there is no `readiness`; without it a load balancer has nothing to ask";
        problems.warn(&config.main, text);
    }
    zones::warn(config, problems);
    let knows = |l: &Sourced<ListenerSpec>| {
        l.spec.proxy_protocol.as_ref().is_some_and(|proxy| proxy.mode != ProxyMode::Off)
    };
    if !config.tenants.is_empty() && !config.listeners.iter().any(knows) {
        let text = "nobody will be a tenant: PROXY headers name VPC endpoints, and no listener reads them; write `proxy_protocol` at one";
        problems.warn(&config.main.key("tenants"), text);
    }
}

pub(super) fn finish(problems: &mut Problems, texts: &[Text], secrets: &Secrets) {
    let lines = Lines::find(texts, problems.iter().filter(|p| p.line.is_none()).map(|p| &p.source));
    for problem in problems.iter_mut() {
        problem.line = problem.line.or_else(|| lines.line(&problem.source));
        secrets.mask(problem);
        shorten(&mut problem.text);
    }
    problems.sort();
}

/// Fills in the lines of what was found later in files that are no part of the
/// configuration.
pub fn locate_in_files(problems: &mut Problems) {
    let files: BTreeSet<_> = problems.iter().map(|problem| problem.source.file.clone()).collect();
    let text = |path: Arc<Path>| files::read(&path, MOST_BYTES).ok().map(|text| Text { path, text });
    let texts: Vec<_> = files.into_iter().filter_map(text).collect();
    finish(problems, &texts, &Secrets::default());
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

const KEYS: &str = "`listeners:`, `upstreams:`, `routes:`";

/// A sentence with a value in it; beyond it the value is no help.
const MOST_CHARACTERS: usize = 500;
/// No file that has problems of its own is larger.
const MOST_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    const LISTENER: &str = "listeners: [{ name: web, address: '127.0.0.1:0' }]\n";

    fn load_texts(texts: &[(&str, &str)]) -> Result<Loaded, Problems> {
        let text =
            |(path, text): &(&str, &str)| Text { path: Path::new(path).into(), text: (*text).to_owned() };
        let texts = texts.iter().map(text).collect();
        build(Path::new("main.yaml"), texts, None, &|_| None, Problems::default())
            .map_err(|broken| broken.problems)
    }

    fn routes(count: usize, line: impl Fn(usize) -> String) -> String {
        let lines = (0..count).map(line).collect::<String>();
        format!("{LISTENER}routes:\n{lines}")
    }

    #[test]
    fn problems_found_later_get_their_lines() {
        let text = format!("{LISTENER}routes:\n  - name: a\n    to:\n      - upstream: none\n");
        let loaded = load_texts(&[("main.yaml", &text)]).unwrap();
        let mut problems = Problems::default();
        let route = &loaded.config.routes[0].source;
        problems.error(&route.key("to").entry(0).key("upstream"), "no such upstream");
        problems.error(&loaded.config.main.key("listeners"), "cannot be bound");

        loaded.locate(&mut problems);

        let lines = problems.iter().map(|p| p.line).collect::<Vec<_>>();
        assert_eq!(lines, [Some(1), Some(5)]);
    }

    #[test]
    fn the_hash_is_that_of_everything_read_in_its_place() {
        let hash = |main: &str, part: &str| {
            let texts = [("main.yaml", main), ("conf.d/a.yaml", part)];
            load_texts(&texts).unwrap().hash
        };

        let one = hash(LISTENER, "#\nroutes: []\n");

        assert_eq!(one.len(), 64);
        assert_eq!(one, hash(LISTENER, "#\nroutes: []\n"));
        assert_ne!(one, hash(LISTENER, "#\nroutes: []\n\n"));
        assert_ne!(one, hash(&format!("{LISTENER}#\n"), "routes: []\n"));
    }

    #[test]
    fn ten_thousand_routes_take_a_moment_not_a_coffee() {
        let text = routes(10_000, |i| {
            format!(
                "  - {{ name: r{i}, match: {{ path: /p{i}, methods: [GET] }}, respond: {{ status: 200 }} }}\n"
            )
        });

        let started = Instant::now();
        let loaded = load_texts(&[("main.yaml", &text)]).unwrap();

        assert_eq!(loaded.config.routes.len(), 10_000);
        // 0.2 s in this profile; anything quadratic takes minutes.
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }

    #[test]
    fn beyond_two_hundred_problems_it_says_that_there_are_more() {
        let text = routes(10_000, |_| "  - { name: a b, respond: { status: 200 } }\n".to_owned());

        let problems = load_texts(&[("main.yaml", &text)]).unwrap_err();

        assert_eq!(problems.iter().count(), Problems::MOST + 1);
        assert!(problems.iter().last().unwrap().text.contains("there are more problems"));
    }

    fn any_bytes(path: &Path, bytes: &[u8]) {
        std::fs::write(path, bytes).unwrap();
        if let Err(problems) = load(path) {
            assert!(problems.has_errors());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_a_configuration_or_problems(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let folder = tempfile::tempdir().unwrap();
            any_bytes(&folder.path().join("main.yaml"), &bytes);
        }

        #[test]
        fn any_yaml_is_a_configuration_or_problems(
            text in "([a-z]{1,3}: |- |\n {0,4}|\\[|\\]|\\{|\\}|,|listeners: |routes: |name: |to: |match: |[&*!]a |\"|'|#|\\$\\{env:|[0-9]|~|\\?|:|<<: |%|---\n|\t|é){0,40}"
        ) {
            let folder = tempfile::tempdir().unwrap();
            any_bytes(&folder.path().join("main.yaml"), text.as_bytes());
        }

        #[test]
        fn any_damage_to_the_reference_is_a_configuration_or_problems(
            at in 0.0..1.0, gone in 0_usize..40, new in "[\\[\\]{}:,&*!#'\"\n\t a-]{0,6}"
        ) {
            let mut text = std::fs::read("conf/demo.yaml").unwrap();
            let at = (text.len() as f64 * at) as usize;
            let end = (at + gone).min(text.len());
            text.splice(at..end, new.bytes());
            let folder = tempfile::tempdir().unwrap();
            any_bytes(&folder.path().join("main.yaml"), &text);
        }
    }
}
