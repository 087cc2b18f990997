//! The effective configuration as YAML: what was written, of every file, and
//! every default.
//!
//! Holds no secret: what came from `${env:…}` or `${file:…}` prints as it was
//! written. Without secrets, what is printed loads as the same configuration.

use std::collections::HashMap;

use super::{
    Loaded, Source, Sourced,
    document::{self, Node},
    positions::enclosing,
};

/// The effective configuration as one YAML document.
pub fn print(loaded: &Loaded) -> String {
    let mut tree = document::tree(&loaded.config);
    let printed = printed_places(loaded);
    for (place, written) in loaded.secrets.written() {
        let path = printed_path(place, &printed);
        // Should it print elsewhere than it is written, then rather all around
        // it is lost than the secret told.
        let found = enclosing(&path).find(|path| tree.at(path).is_some());
        if let Some(node) = found.and_then(|path| tree.at(path)) {
            *node = Node::Text(written.to_owned());
        }
    }
    document::print(&tree)
}

/// Where each entry of a file stands among those of all files, of all that fragments
/// may hold.
fn printed_places(loaded: &Loaded) -> HashMap<&Source, String> {
    let config = &loaded.config;
    let authentication = places("authentication", &config.authentication);
    let (limits, upstreams) = (places("limits", &config.limits), places("upstreams", &config.upstreams));
    authentication.chain(limits).chain(upstreams).chain(places("routes", &config.routes)).collect()
}

fn places<'l, T>(key: &str, list: &'l [Sourced<T>]) -> impl Iterator<Item = (&'l Source, String)> {
    list.iter().enumerate().map(move |(index, entry)| (&entry.source, format!("{key}[{index}]")))
}

fn printed_path(place: &Source, printed: &HashMap<&Source, String>) -> String {
    let Some((entry, rest)) = place.key.split_once(']') else { return place.key.clone() };
    let entry = Source { file: place.file.clone(), key: format!("{entry}]") };
    printed.get(&entry).map_or_else(|| place.key.clone(), |path| format!("{path}{rest}"))
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, path::Path};

    use super::*;
    use crate::config::{Problems, files::Text, load::build, sections::FRAGMENT_KEYS};

    #[test]
    fn what_a_fragment_fills_in_is_not_told_whatever_entries_stand_before_it() {
        let entry = |key: &str, name: &str, value: &str| match key {
            "authentication" => format!(
                "{{ name: {name}, jwt: {{ issuer: '{value}', audience: [a], jwks: 'https://a.test/?{value}' }} }}"
            ),
            "limits" => format!("{{ name: {name}, rate: 1/s, burst: 1, key: [header: '{value}'] }}"),
            "upstreams" => format!("{{ name: {name}, endpoints: [{{ address: '{value}:1' }}] }}"),
            "routes" => format!(
                "{{ name: {name}, authenticate: anonymous, match: {{ path: /{name} }}, respond: {{ status: 200, body: '{value}' }} }}"
            ),
            other => panic!("write an entry of {other}"),
        };
        let entries = |name: &str, value: &str| {
            FRAGMENT_KEYS
                .iter()
                .map(|key| format!("{key}: [{}]\n", entry(key, name, value)))
                .collect::<String>()
        };
        let main =
            format!("listeners: [{{ name: web, address: '127.0.0.1:0' }}]\n{}", entries("first", "told"));
        let texts = [("main.yaml", main), ("conf.d/b.yaml", entries("second", "${env:HIDDEN}"))];
        let texts = texts.map(|(path, text)| Text { path: Path::new(path).into(), text });
        let environment = |_: &str| Some(OsString::from("s3cret"));
        let loaded = build(Path::new("main.yaml"), texts.into(), None, &environment, Problems::default());
        let loaded = loaded.map_err(|broken| broken.problems).unwrap_or_else(|why| panic!("{why}"));

        let printed = print(&loaded);

        assert!(!printed.contains("s3cret"), "{printed}");
        assert_eq!(printed.matches("${env:HIDDEN}").count(), FRAGMENT_KEYS.len() + 1, "{printed}");
        assert_eq!(printed.matches("told").count(), FRAGMENT_KEYS.len() + 1, "{printed}");
    }
}
