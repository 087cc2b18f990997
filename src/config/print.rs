//! The effective configuration as YAML: what was written, of every file, and
//! every default.
//!
//! Holds no secret: what came from `${env:…}` or `${file:…}` prints as it was
//! written. Without secrets, what is printed loads as the same configuration.

use std::collections::HashMap;

use super::{
    Loaded, Source,
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

/// Where each entry of a file stands among those of all files.
fn printed_places(loaded: &Loaded) -> HashMap<&Source, String> {
    let upstreams = loaded.config.upstreams.iter().map(|u| &u.source).enumerate();
    let routes = loaded.config.routes.iter().map(|r| &r.source).enumerate();
    let limits = loaded.config.limits.iter().map(|l| &l.source).enumerate();
    let upstreams = upstreams.map(|(index, source)| (source, format!("upstreams[{index}]")));
    let routes = routes.map(|(index, source)| (source, format!("routes[{index}]")));
    let limits = limits.map(|(index, source)| (source, format!("limits[{index}]")));
    upstreams.chain(routes).chain(limits).collect()
}

fn printed_path(place: &Source, printed: &HashMap<&Source, String>) -> String {
    let Some((entry, rest)) = place.key.split_once(']') else { return place.key.clone() };
    let entry = Source { file: place.file.clone(), key: format!("{entry}]") };
    printed.get(&entry).map_or_else(|| place.key.clone(), |path| format!("{path}{rest}"))
}
