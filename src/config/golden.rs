//! The golden corpus, `tests/golden/`: configurations, and beside each
//! (`.expected`) what is said of it.
//!
//! `UPDATE_GOLDEN=1 cargo test --lib config::golden` writes the expectations
//! anew; read the difference before it is committed.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use super::{
    Loaded, Problems,
    document::{self, Node},
    files::{self, Text},
    health_check::HealthCheckSpec,
    load::{build, load_in},
    print,
};

#[test]
fn every_bad_configuration_is_refused_with_everything_that_is_wrong() {
    for path in cases("bad") {
        let problems = load_in(&path, &environment).map(|_| ()).expect_err(&path.display().to_string());

        assert!(problems.has_errors(), "{}", path.display());
        expect(&path, &problems.to_string().replace("tests/golden/bad/", ""));
    }
}

#[test]
fn every_good_configuration_prints_with_its_defaults_and_loads_again() {
    for path in cases("good") {
        let loaded = load_in(&path, &environment).unwrap_or_else(|why| panic!("{why}"));

        let printed = print(&loaded);
        let warnings = loaded.warnings.to_string().replace("tests/golden/good/", "");
        expect(&path, &format!("{warnings}{printed}"));
        let again = load_text(&path, &printed).unwrap_or_else(|why| panic!("{why}{printed}"));
        assert_eq!(print(&again), printed, "{}", path.display());
    }
}

#[test]
fn every_expectation_has_its_configuration() {
    for kind in ["bad", "good"] {
        let known = cases(kind).iter().map(|path| expectation(path)).collect::<Vec<_>>();

        for path in entries(&Path::new("tests/golden").join(kind), "expected") {
            assert!(known.contains(&path), "nothing is expected of {}", path.display());
        }
    }
}

#[test]
fn one_bogus_key_in_any_mapping_of_any_example_is_refused_by_its_name() {
    for path in cases("good").into_iter().chain(entries(Path::new("conf"), "yaml")) {
        let text = files::read(&path, 1 << 20).unwrap();
        let tree = document::parse(&text).unwrap();
        for at in mappings(&tree, String::new()) {
            let mut tree = tree.clone();
            let bogus = ("bogus".to_owned(), Node::Text("x".to_owned()));
            let Some(Node::Map(entries)) = tree.at(&at) else { panic!("{at} in {}", path.display()) };
            entries.push(bogus);

            let problems = load_text(&path, &document::print(&tree)).map(|_| ()).expect_err(&at);

            let key = if at.is_empty() { "bogus".to_owned() } else { format!("{at}.bogus") };
            assert!(problems.iter().any(|p| p.source.key == key), "{}: {key}: {problems}", path.display());
        }
    }
}

#[test]
fn every_file_under_conf_loads_as_it_is_and_with_its_commented_keys() {
    let paths = ["conf", "conf/examples/identity"].map(|folder| entries(Path::new(folder), "yaml")).concat();
    assert!(paths.len() >= 5);
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();

        for text in [text.clone(), uncommented(&text)] {
            let loaded = load_text(&path, &text).unwrap_or_else(|why| panic!("{why}"));

            assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        }
    }
}

#[test]
fn the_reference_names_every_key_and_writes_the_defaults() {
    let path = Path::new("conf/tollgate.yaml");
    let text = uncommented(&fs::read_to_string(path).unwrap());

    let config = load_in(path, &environment).unwrap().config;
    assert_eq!(config.connections, Default::default());
    assert_eq!(config.requests, Default::default());
    assert_eq!(config.access_log, Default::default());
    assert_eq!(config.discovery, Default::default());
    assert_eq!(config.admin.socket, super::server::AdminSpec::default().socket);
    assert_eq!(config.upstreams[0].spec.timeouts, Default::default());
    assert_eq!(config.upstreams[0].spec.locality, Default::default());
    assert_eq!(config.upstreams[0].spec.outlier_detection, Some(Default::default()));
    assert_eq!(config.upstreams[0].spec.retries, Default::default());
    let asked = HealthCheckSpec { path: Some("/healthz".to_owned()), ..Default::default() };
    assert_eq!(config.upstreams[0].spec.health_check, Some(asked));
    for key in schema_keys(&super::schema()) {
        assert!(text.contains(&format!("{key}:")), "conf/tollgate.yaml does not tell of `{key}`");
    }
}

/// Variables that the corpus uses; all others are not set.
fn environment(name: &str) -> Option<OsString> {
    let value = match name {
        "GOLDEN_PASSWORD" => "hunter2 hunter2",
        "GOLDEN_ADDRESS" => "10.0.0.1:80",
        "GOLDEN_PATH" => "/secret-path",
        "GOLDEN_HOST" => "secret-host",
        _ => return None,
    };
    Some(value.into())
}

fn load_text(path: &Path, text: &str) -> Result<Loaded, Problems> {
    let mut problems = Problems::default();
    let mut texts = files::read_all(path, &mut problems);
    texts[0] = Text { path: path.into(), text: text.to_owned() };
    if texts.len() > 1 && !text.contains("bogus") {
        // Printed: the fragments are in it.
        texts.truncate(1);
    }
    build(path, texts, None, &environment, problems).map_err(|broken| broken.problems)
}

/// Files, and folders with a `tollgate.yaml`.
fn cases(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new("tests/golden").join(kind);
    let folders = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path().join("tollgate.yaml"));
    let mut cases = entries(&folder, "yaml");
    cases.extend(folders.filter(|path| path.exists()));
    cases.sort_by_key(|path| expectation(path));
    cases
}

fn entries(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == extension));
    paths.sort();
    paths
}

fn expectation(case: &Path) -> PathBuf {
    let whole_folder = case.ends_with("tollgate.yaml");
    let base = if whole_folder { case.parent().unwrap() } else { case };
    base.with_extension("expected")
}

fn expect(case: &Path, actual: &str) {
    let path = expectation(case);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(actual == expected, "{}: expected\n{expected}\nbut was\n{actual}", path.display());
}

fn mappings(node: &Node, at: String) -> Vec<String> {
    match node {
        Node::Map(entries) => {
            let dot = if at.is_empty() { "" } else { "." };
            let inside = entries.iter().flat_map(|(key, value)| mappings(value, format!("{at}{dot}{key}")));
            inside.chain([at.clone()]).collect()
        }
        Node::List(items) => {
            let inside = items.iter().enumerate();
            inside.flat_map(|(index, item)| mappings(item, format!("{at}[{index}]"))).collect()
        }
        _ => Vec::new(),
    }
}

/// A comment is `# text`; a key that is commented out is `#key`.
fn uncommented(text: &str) -> String {
    let line = |line: &str| match line.trim_start().strip_prefix('#') {
        Some(key) if !key.starts_with([' ', '#']) && !key.is_empty() => line.replacen('#', "", 1),
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn schema_keys(schema: &serde_json::Value) -> Vec<String> {
    let defs = schema["$defs"].as_object().unwrap().values();
    let all = defs.chain([schema]).filter_map(|def| def["properties"].as_object());
    all.flat_map(|properties| properties.keys().cloned()).collect()
}
