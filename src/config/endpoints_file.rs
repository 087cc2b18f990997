//! The file that an upstream's `endpoints_file` names: `endpoints`, written as in
//! an upstream, IP addresses alone.
//!
//! Read as the configuration is, so that what is wrong with it has its line and
//! says what to write. Whoever reads it decides what an empty list means.
//!
//! Always holds: nothing is filled in here. Whoever may write this file alone must
//! not make the gateway read others, or its environment.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Config, Problem, Problems, Severity, Source, Sourced, draft,
    fault::{Fault, What},
    files::{self, Text},
    load,
    secrets::Secrets,
    sections::File,
    types::EndpointAddress,
    upstream::{EndpointSpec, UpstreamSpec},
    zones,
};

/// Why a file has no endpoints.
#[derive(Debug)]
pub struct Unusable {
    /// Everything that is wrong with it.
    pub problems: Problems,
    /// Another look may succeed although the file stays as it is: it was the machine
    /// that could not read it.
    pub passes: bool,
}

/// The endpoints of a file, of which there may be none.
pub fn read(path: &Path) -> Result<Vec<EndpointSpec>, Unusable> {
    let mut problems = Problems::default();
    let text = match files::read(path, MOST_BYTES) {
        Ok(text) => Text { path: path.into(), text },
        Err(why) => {
            let (severity, source) = (Severity::Error, Source::file(path));
            problems.add(Problem { severity, source, line: why.line, text: why.text });
            return Err(Unusable { problems, passes: why.passes });
        }
    };
    let endpoints = endpoints(&text, &mut problems);
    load::finish(&mut problems, &[text], &Secrets::default());
    problems.cap(&Source::file(path));
    match problems.has_errors() {
        true => Err(Unusable { problems, passes: false }),
        false => Ok(endpoints),
    }
}

/// Reads every `endpoints_file`, each once, and hands on those that have endpoints.
///
/// A gateway serves without them: it takes none of a bad one, and waits for one
/// that is not there. A bad one is an error, for who asks before; one that is absent
/// or empty a warning.
pub fn read_all(config: &Config, problems: &mut Problems, mut take: impl FnMut(PathBuf, &[EndpointSpec])) {
    let of_upstream =
        |u: &'_ Sourced<UpstreamSpec>| Some((u.spec.endpoints_file.clone()?, u.source.key("endpoints_file")));
    let fleet = config.main.key("fleet").key("gateways_file");
    let gateways = config.fleet.gateways_file.clone().map(|file| (file, fleet));
    let files = config.upstreams.iter().filter_map(of_upstream).chain(gateways);
    let mut seen = HashSet::new();
    for (file, source) in files {
        let path = config.resolve(&file);
        if matches!(path.try_exists(), Ok(false)) {
            let text =
                format!("there is no `{}` yet; its endpoints are taken once it is there", path.display());
            problems.warn(&source, text);
        } else if seen.insert(path.clone()) {
            match read(&path) {
                Ok(endpoints) if endpoints.is_empty() => {
                    let text =
                        "there is no endpoint in it, which changes nothing; write weight 0 to take one out";
                    problems.warn(&Source::file(&path), text);
                }
                Ok(endpoints) => {
                    let mut own = Problems::default();
                    zones::warn_of_file(config, &path, &endpoints, &mut own);
                    load::locate_in_files(&mut own);
                    problems.extend(own);
                    take(path, &endpoints);
                }
                Err(bad) => problems.extend(bad.problems),
            }
        }
    }
}

fn endpoints(text: &Text, problems: &mut Problems) -> Vec<EndpointSpec> {
    let source = Source::file(&text.path);
    if text.text.trim().is_empty() {
        problems.error(&source, "the file is empty; write `endpoints:`");
        return Vec::new();
    }
    let Some(entries) = draft::read(text, "`endpoints:`", None, problems) else { return Vec::new() };
    if !entries.iter().any(|(key, _)| key == KEY) {
        problems.error(&source, "there are no `endpoints`; write them, as a list");
    }
    let mut file = File { source, entries, problems };
    let endpoints = file.list::<EndpointSpec>(KEY);
    tell_twice(&endpoints, file.problems);
    file.rest(|key| Fault::new(What::UnknownKey(key.to_owned(), &[KEY])).to_string());
    endpoints.into_iter().map(|endpoint| Arc::unwrap_or_clone(endpoint.spec)).collect()
}

fn tell_twice(endpoints: &[Sourced<EndpointSpec>], problems: &mut Problems) {
    let mut seen: HashMap<&EndpointAddress, &Source> = HashMap::with_capacity(endpoints.len());
    for Sourced { spec, source } in endpoints {
        let first = *seen.entry(&spec.address).or_insert(source);
        if first != source && !problems.is_full() {
            let text = format!("`{}` is {} already; write it once, with its weight", spec.address, first.key);
            problems.error(&source.key("address"), text);
        }
    }
}

const KEY: &str = "endpoints";

/// More than 100,000 endpoints; beyond it is a mistake.
const MOST_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn read_text(text: impl AsRef<[u8]>) -> Result<Vec<EndpointSpec>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.yaml");
        std::fs::write(&path, text).unwrap();
        let root = format!("{}/", folder.path().display());
        read(&path).map_err(|bad| bad.problems.to_string().replace(&root, ""))
    }

    #[test]
    fn endpoints_are_written_as_in_an_upstream() {
        let read = read_text(
            "endpoints:\n- { address: 10.0.0.1:80, zone: z1, weight: 0 }\n- { address: 10.0.0.2:80, region: west }",
        );

        let told: Vec<_> = read.unwrap().iter().map(|e| (e.address.to_string(), e.weight)).collect();
        assert_eq!(told, [("10.0.0.1:80".to_owned(), 0), ("10.0.0.2:80".to_owned(), 1)]);
        assert_eq!(read_text("endpoints: []"), Ok(Vec::new()));
    }

    #[test]
    fn everything_wrong_is_told_with_its_line() {
        let text = "endpoints:\n- { address: orders.internal:80 }\n- { adress: 10.0.0.1:80 }\n- { address: 10.0.0.1:0 }\n- { address: 10.0.0.2:80 }\n- { address: 10.0.0.2:80 }\nextra: 1\n";

        let told = read_text(text).unwrap_err();

        let wanted = [
            "error: orders.yaml:2: endpoints[0].address: `orders.internal:80` is a name, and a file has addresses alone; write an IP address and a port, as `10.0.1.10:8080`, or the name in the upstream's `endpoints`",
            "error: orders.yaml:3: endpoints[1].adress: `adress` is not a key here; did you mean `address`? One of: address, zone, region, weight",
            "error: orders.yaml:4: endpoints[2].address: `10.0.0.1:0` has no port; write the port that it listens at",
            "error: orders.yaml:6: endpoints[4].address: `10.0.0.2:80` is endpoints[3] already; write it once, with its weight",
            "error: orders.yaml:7: extra: `extra` is not a key here; write `endpoints`",
        ];
        assert_eq!(told.lines().collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn what_is_no_list_of_endpoints_says_so() {
        for (text, wanted) in [
            (" \n", "the file is empty; write `endpoints:`"),
            ("- { address: 10.0.0.1:80 }", "the file has no keys; write `endpoints:`"),
            ("{}", "there are no `endpoints`"),
            ("endpoints: ~", "endpoints"),
            ("endpoints: [{ address: 10.0.0.1:80", "this is not YAML"),
        ] {
            let told = read_text(text).unwrap_err();
            assert!(told.contains(wanted), "{text}: {told}");
        }
        assert!(read_text(b"endpoints: [caf\xe9]").unwrap_err().contains("not UTF-8"));
        assert!(read(Path::new("/none")).unwrap_err().problems.to_string().contains("no such file"));
    }

    #[test]
    fn nothing_is_filled_in_however_it_is_written() {
        for written in ["${file:secret}", "${env:PATH}", "\\x24{file:secret}", "$${file:secret}"] {
            let folder = tempfile::tempdir().unwrap();
            // It would be a good address.
            std::fs::write(folder.path().join("secret"), "10.0.0.1:80").unwrap();
            let path = folder.path().join("orders.yaml");
            std::fs::write(&path, format!("endpoints:\n- {{ address: \"{written}\" }}\n")).unwrap();

            let told = read(&path).unwrap_err().problems.to_string();

            assert!(
                told.contains(":2: endpoints[0].address: nothing is filled in here"),
                "{written}: {told}"
            );
        }
    }

    #[test]
    fn ten_thousand_endpoints_take_a_moment() {
        let lines = (0..10_000).map(|n| format!("- {{ address: 10.0.{}.{}:80 }}\n", n / 250, n % 250));
        let text = format!("endpoints:\n{}", lines.collect::<String>());

        let started = Instant::now();
        let read = read_text(text).unwrap();

        println!("{:?}", started.elapsed());
        assert_eq!(read.len(), 10_000);
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }
}
