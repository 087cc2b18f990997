//! The files behind a TLS section, and by what a change of them is seen.
//!
//! Owns which files those are. Does not own when someone looks, nor what is made of
//! a change.

use std::path::{Path, PathBuf};

use super::directory;
use crate::config::{Stamp, listener::TlsSpec, upstream::UpstreamTlsSpec};

/// What the files of a section were when they were looked at; equal when none of them
/// was touched in between.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Watched(Vec<(PathBuf, Stamp)>);

impl Watched {
    /// Chains, keys, the folder of more of them, authorities of clients and what those
    /// revoked.
    pub fn of_listener(spec: &TlsSpec, resolve: &dyn Fn(&Path) -> PathBuf) -> Self {
        let pairs = spec.certificates.iter().flat_map(|pair| [&pair.chain, &pair.key]);
        let authorities = spec.client_auth.iter().flat_map(|auth| auth.ca.iter().chain(&auth.crl));
        let mut paths: Vec<_> = pairs.chain(authorities).map(|path| resolve(path)).collect();
        if let Some(folder) = spec.certificate_directory.as_ref().map(|folder| resolve(folder)) {
            paths.extend(directory::files(&folder));
            // It changes as files come and go.
            paths.push(folder);
        }
        Self::at(paths)
    }

    /// Authorities of the endpoints, and the gateway's own pair.
    pub fn of_upstream(spec: &UpstreamTlsSpec, resolve: &dyn Fn(&Path) -> PathBuf) -> Self {
        let pair = spec.client.iter().flat_map(|client| [&client.chain, &client.key]);
        Self::at(spec.ca.iter().chain(pair).map(|path| resolve(path)).collect())
    }

    /// These files.
    pub fn at(paths: Vec<PathBuf>) -> Self {
        let look = |path: PathBuf| (Stamp::of(&path), path);
        Self(paths.into_iter().map(look).map(|(stamp, path)| (path, stamp)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn each_way_to_put_a_file_there_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str| fs::write(at(name), name).unwrap();
        ["a.pem", "a.key", "ca.pem", "more-x.pem"].iter().for_each(|name| write(name));
        ["v1", "v2"].iter().for_each(|name| fs::create_dir(at(name)).unwrap());
        ["v1/b.pem", "v1/b.key", "v2/b.pem", "v2/b.key"].iter().for_each(|name| write(name));
        symlink("v1", at("pairs")).unwrap();
        let text = "{ certificates: [{ chain: a.pem, key: a.key }], certificate_directory: pairs, \
                    client_auth: [{ mode: required, ca: ca.pem }] }";
        let spec: TlsSpec = serde_yaml::from_str(text).unwrap();
        let look = || Watched::of_listener(&spec, &|path| folder.path().join(path));
        let mut before = look();
        assert_eq!(before.0.len(), 6);
        let mut is_seen = |what: &str, change: &dyn Fn()| {
            assert_eq!(look(), before, "before {what}");
            change();
            let now = look();
            assert_ne!(now, before, "{what}");
            before = now;
        };

        is_seen("written where it is", &|| fs::write(at("a.key"), "longer than before").unwrap());
        is_seen("renamed over it", &|| fs::rename(at("more-x.pem"), at("ca.pem")).unwrap());
        is_seen("a link is swapped", &|| {
            symlink("v2", at("new")).unwrap();
            fs::rename(at("new"), at("pairs")).unwrap();
        });
        is_seen("in the folder", &|| fs::write(at("v2/b.key"), "another").unwrap());
        is_seen("new in the folder", &|| write("v2/c.pem"));
        is_seen("gone", &|| fs::remove_file(at("a.pem")).unwrap());
    }
}
