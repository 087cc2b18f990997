//! A file of API keys, as `authentication[].api_keys.files` names it: `keys`, by their
//! hashes alone.
//!
//! Read as the configuration is, so that what is wrong with it has its line and says
//! what to write. Always holds: nothing is filled in here. Whoever may write this file
//! alone must not make the gateway read others, or its environment.

use std::path::Path;

use super::{
    Problem, Problems, Severity, Source, Sourced,
    api_keys::ApiKeySpec,
    draft,
    fault::{Fault, What},
    files::{self, Text},
    load,
    secrets::Secrets,
    sections::File,
};

/// The keys of a file, of which there may be none; `None` when it has an error, which
/// `problems` tells with its line.
pub fn read(path: &Path, problems: &mut Problems) -> Option<Vec<Sourced<ApiKeySpec>>> {
    let mut own = Problems::default();
    let text = match files::read(path, MOST_BYTES) {
        Ok(text) => Text { path: path.into(), text },
        Err(why) => {
            let (severity, source) = (Severity::Error, Source::file(path));
            problems.add(Problem { severity, source, line: why.line, text: why.text });
            return None;
        }
    };
    let keys = keys(&text, &mut own);
    load::finish(&mut own, &[text], &Secrets::default());
    own.cap(&Source::file(path));
    let is_good = !own.has_errors();
    problems.extend(own);
    is_good.then_some(keys)
}

fn keys(text: &Text, problems: &mut Problems) -> Vec<Sourced<ApiKeySpec>> {
    let source = Source::file(&text.path);
    if text.text.trim().is_empty() {
        problems.error(&source, "the file is empty; write `keys: []` where there is none yet");
        return Vec::new();
    }
    let Some(entries) = draft::read(text, "`keys:`", None, problems) else { return Vec::new() };
    if !entries.iter().any(|(key, _)| key == KEY) {
        problems.error(&source, "there are no `keys`; write them, as a list");
    }
    let mut file = File { source, entries, problems };
    let keys = file.list::<ApiKeySpec>(KEY);
    file.rest(|key| Fault::new(What::UnknownKey(key.to_owned(), &[KEY])).to_string());
    keys
}

const KEY: &str = "keys";

/// More than 200,000 keys; beyond it is a mistake.
const MOST_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> (Option<usize>, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("team.yaml");
        std::fs::write(&path, text).unwrap();
        let mut problems = Problems::default();
        let keys = read(&path, &mut problems);
        let root = format!("{}/", folder.path().display());
        (keys.map(|keys| keys.len()), problems.to_string().replace(&root, ""))
    }

    const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn keys_are_a_list_that_may_be_empty() {
        let one = format!(
            "keys:\n- {{ consumer: partner-a, sha256: {DIGEST}, scopes: [read], expires: 2027-01-31 }}\n"
        );

        assert_eq!(read_text(&one), (Some(1), String::new()));
        assert_eq!(read_text("keys: []"), (Some(0), String::new()));
    }

    #[test]
    fn everything_wrong_is_told_with_its_line_and_no_key_is() {
        let text = format!(
            "keys:\n- {{ consumer: a b, sha256: {DIGEST} }}\n- {{ consumer: a, sha256: tgk_topsecret }}\n- {{ consumer: b, sha256: {DIGEST}, scopes: ['a b'] }}\nextra: 1\n"
        );

        let (keys, told) = read_text(&text);

        assert_eq!(keys, None);
        let starts: Vec<_> = told.lines().map(|line| line.split(": ").nth(2).unwrap()).collect();
        assert_eq!(starts, ["keys[0].consumer", "keys[1].sha256", "keys[2].scopes[0]", "extra"], "{told}");
        assert!(!told.contains("topsecret"), "{told}");
    }

    #[test]
    fn what_is_no_file_of_keys_says_so_and_nothing_is_filled_in() {
        for (text, wanted) in [
            ("", "the file is empty; write `keys: []`"),
            ("{}", "there are no `keys`"),
            ("keys: [{ consumer: '${env:HOME}', sha256: x }]", "nothing is filled in here"),
        ] {
            let (keys, told) = read_text(text);
            assert!(keys.is_none() && told.contains(wanted), "{told}");
        }
        let mut problems = Problems::default();
        assert!(read(Path::new("/none"), &mut problems).is_none());
        assert!(problems.to_string().contains("no such file"), "{problems}");
    }
}
