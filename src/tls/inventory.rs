//! The certificates of a listener: which there are, and for which hosts.
//!
//! Owns the two ways to list them and the rule that a host has at most one
//! certificate of a kind. Reading one is `pair`'s, finding one `names`'.

use std::{collections::HashSet, path::Path};

use super::{
    authorities::fingerprint,
    directory,
    files::Files,
    names::{Inserted, Names},
    pair::{Pair, PairFiles},
};
use crate::config::{Problems, Source, listener::TlsSpec};

/// Every pair of a section, listed ones first, that could be read; in the place of one
/// that could not, the `former` one of the same chain, if there is one.
pub(super) fn load(
    spec: &TlsSpec,
    source: &Source,
    files: Files<'_>,
    former: &[Pair],
    problems: &mut Problems,
) -> Vec<Pair> {
    if spec.certificates.is_empty() && spec.certificate_directory.is_none() {
        let text = "no certificate; list one under `certificates` or name a `certificate_directory`";
        problems.error(source, text);
    }
    let mut pairs = Vec::new();
    for (at, certificate) in spec.certificates.iter().enumerate() {
        let source = source.key("certificates").entry(at);
        let (chain_source, key_source) = (source.key("chain"), source.key("key"));
        let paths = PairFiles { chain: &certificate.chain, key: &certificate.key, chain_source, key_source };
        let chain = (files.resolve)(&certificate.chain);
        let had = || former.iter().find(|pair| pair.file == chain).cloned();
        pairs.extend(Pair::load(&paths, files, problems).or_else(had));
    }
    if let Some(folder) = &spec.certificate_directory {
        let source = source.key("certificate_directory");
        pairs.extend(of_folder(folder, &source, files, former, problems));
    }
    // The same certificate, listed and in the folder, is no mistake.
    let mut seen = HashSet::new();
    pairs.into_iter().filter(|pair| seen.insert(fingerprint(&pair.leaf))).collect()
}

/// The pairs of a folder. A former one whose files are both gone is gone.
fn of_folder(
    folder: &Path,
    source: &Source,
    files: Files<'_>,
    former: &[Pair],
    problems: &mut Problems,
) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (chain, key) in directory::pairs(folder, files, source, problems) {
        let (chain_source, key_source) = (source.clone(), source.clone());
        let paths = PairFiles { chain: &chain, key: &key, chain_source, key_source };
        pairs.extend(Pair::load(&paths, files, problems));
    }
    let folder = (files.resolve)(folder);
    let is_read = |pair: &Pair| pairs.iter().any(|read| read.file == pair.file);
    let is_there = |pair: &Pair| {
        let halves = [pair.file.clone(), pair.file.with_extension("key")];
        pair.file.parent() == Some(&folder) && halves.iter().any(|half| half.exists())
    };
    let kept: Vec<_> = former.iter().filter(|pair| is_there(pair) && !is_read(pair)).cloned().collect();
    pairs.extend(kept);
    // Which one is the default does not hang on which could be read.
    pairs.sort_by(|a, b| a.file.file_stem().cmp(&b.file.file_stem()));
    pairs
}

/// The pairs under their names.
pub(super) fn index(pairs: &[Pair], problems: &mut Problems) -> Names {
    let mut names = Names::default();
    for (at, pair) in pairs.iter().enumerate() {
        let listed = pair.dns_names();
        if listed.is_empty() {
            let file = pair.file.display();
            let text = format!("`{file}` has no DNS name (subjectAltName); it can only be the default");
            problems.warn(&pair.source, text);
        }
        let mut rivals = HashSet::new();
        for name in &listed {
            match names.insert(name, at, pair.kind.ecdsa_scheme().is_some()) {
                // Told once, not for each name that they share.
                Inserted::Taken(rival) if rivals.insert(rival) => {
                    let rival = pairs.get(rival).map_or(Path::new(""), |rival| &rival.file);
                    problems.error(&pair.source, ambiguous(pair, rival, name));
                }
                Inserted::NotAHost => problems.warn(&pair.source, unusable(pair, name)),
                Inserted::New | Inserted::Taken(_) => {}
            }
        }
    }
    names
}

fn ambiguous(pair: &Pair, rival: &Path, name: &str) -> String {
    let (file, rival, family) = (pair.file.display(), rival.display(), pair.kind.family());
    format!("`{file}` and `{rival}` are both {family} certificates for `{name}`; keep one of them")
}

fn unusable(pair: &Pair, name: &str) -> String {
    format!("`{}` names `{}`, which no client can ask for", pair.file.display(), name.escape_debug())
}
