//! `${env:NAME}` and `${file:PATH}`: values that are written elsewhere.
//!
//! Owns finding them in text and what they stand for. They are filled in after
//! YAML is read, so that no value can become structure. What came from there is
//! remembered by its key and never told: not in a problem, not when printed.

use std::{
    collections::HashMap,
    ffi::OsString,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use super::{Problem, Source, files};

/// Looks up an environment variable.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Fills values in and remembers where.
pub(super) struct Filler<'a> {
    /// Where relative paths start.
    pub folder: &'a Path,
    /// The process's environment.
    pub environment: Environment<'a>,
    /// What was filled in so far.
    pub secrets: Secrets,
}

/// What was filled in, by place.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets {
    places: HashMap<Source, Secret>,
    /// The files that were read.
    pub files: Vec<PathBuf>,
    /// What was read, in order; for the hash of the configuration.
    pub values: Vec<String>,
}

#[derive(Clone, Debug)]
struct Secret {
    written: String,
    value: String,
}

impl Filler<'_> {
    /// The text with everything filled in, or what is wrong with it.
    pub(super) fn fill(&mut self, text: &mut String, source: &Source) -> Result<(), String> {
        if !text.contains("${") {
            return Ok(());
        }
        let mut value = String::new();
        let mut rest = text.as_str();
        while let Some((before, reference, after)) = next_reference(rest)? {
            value.push_str(before);
            match reference {
                Reference::Escaped(literal) => value.push_str(literal),
                Reference::To(kind, name) => value.push_str(&self.look_up(kind, name)?),
            }
            rest = after;
        }
        value.push_str(rest);

        // An escape too prints as it was written: it would else be a reference.
        let written = std::mem::replace(text, value.clone());
        if written != value {
            self.secrets.places.insert(source.clone(), Secret { written, value });
        }
        Ok(())
    }

    fn look_up(&mut self, kind: &str, name: &str) -> Result<String, String> {
        let value = match kind {
            "env" => self.variable(name)?,
            "file" => self.file(name)?,
            other => {
                return Err(format!(
                    "`${{{other}:…}}` is not known; write `${{env:NAME}}` or `${{file:PATH}}`, or `$${{{other}:…}}` for the text itself"
                ));
            }
        };
        self.secrets.values.push(value.clone());
        Ok(value)
    }

    fn variable(&self, name: &str) -> Result<String, String> {
        let value = (self.environment)(name).ok_or_else(|| {
            format!("the environment variable `{name}` is not set; set it for the gateway's process")
        })?;
        value.into_string().map_err(|_| format!("the environment variable `{name}` is not UTF-8"))
    }

    fn file(&mut self, name: &str) -> Result<String, String> {
        let path = self.folder.join(name);
        let mut value = files::read(&path, MOST_BYTES).map_err(|why| {
            let remedy = match path.try_exists() {
                Ok(false) => "; write the value into it, for the gateway's user to read, or name another",
                _ => "",
            };
            format!("{}: {}{remedy}", path.display(), why.text)
        })?;
        let trimmed = value.trim_end_matches(['\n', '\r']).len();
        value.truncate(trimmed);
        if !self.secrets.files.contains(&path) {
            self.secrets.files.push(path);
        }
        Ok(value)
    }
}

impl Secrets {
    /// Each place and what was written there.
    pub(super) fn written(&self) -> impl Iterator<Item = (&Source, &str)> {
        self.places.iter().map(|(place, secret)| (place, secret.written.as_str()))
    }

    /// Takes a secret out of what is told about it.
    pub(super) fn mask(&self, problem: &mut Problem) {
        let Some(secret) = self.places.get(&problem.source) else { return };
        let text = problem.text.replace(&format!("`{}`", secret.value), &format!("`{}`", secret.written));
        let tells = !secret.value.is_empty() && text.contains(&secret.value);
        problem.text =
            if tells { format!("what `{}` stands for cannot stand here", secret.written) } else { text };
    }
}

enum Reference<'t> {
    Escaped(&'t str),
    To(&'t str, &'t str),
}

type Found<'t> = (&'t str, Reference<'t>, &'t str);

/// The next `${word:…}` and what is around it. `${word}` is text: patterns call
/// their captures so.
fn next_reference(text: &str) -> Result<Option<Found<'_>>, String> {
    let found = text.match_indices("${").try_for_each(|(at, _)| {
        let (before, here) = text.split_at(at);
        match reference(before, here) {
            Some(found) => ControlFlow::Break(found),
            None => ControlFlow::Continue(()),
        }
    });
    match found {
        ControlFlow::Continue(()) => Ok(None),
        ControlFlow::Break(found) => found.map(Some),
    }
}

fn reference<'t>(before: &'t str, here: &'t str) -> Option<Result<Found<'t>, String>> {
    let inside = here.strip_prefix("${")?;
    // The colon is looked for no further than the word goes: a text of nothing
    // but `${` would else be read over and over.
    let (kind, rest) = inside.split_at_checked(inside.find(|c: char| !c.is_ascii_lowercase())?)?;
    let rest = rest.strip_prefix(':').filter(|_| !kind.is_empty())?;
    if let Some(before) = before.strip_suffix('$') {
        let (literal, after) = here.split_at(2);
        return Some(Ok((before, Reference::Escaped(literal), after)));
    }
    Some(match rest.split_once('}') {
        Some((name, after)) => Ok((before, Reference::To(kind, name), after)),
        None => Err(format!("`${{{kind}:` has no end; write `}}` after it")),
    })
}

/// A token or a PEM file; beyond it is a mistake.
const MOST_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Problems;

    fn fill(text: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "s3cret\n").unwrap();
        let environment = |name: &str| (name == "TIER").then(|| OsString::from("gold"));
        let mut filler =
            Filler { folder: folder.path(), environment: &environment, secrets: Secrets::default() };
        let mut text = text.to_owned();
        filler.fill(&mut text, &Source::file("f").key("a"))?;
        Ok(text)
    }

    #[test]
    fn variables_and_files_are_filled_in_anywhere_in_a_text() {
        assert_eq!(fill("a ${env:TIER} b ${file:token}${env:TIER}"), Ok("a gold b s3cretgold".into()));
    }

    #[test]
    fn captures_dollars_and_escapes_stay_text() {
        for text in ["$1", "${name}", "$", "${", "$${name}", "${}", "${A:b}"] {
            assert_eq!(fill(text), Ok(text.into()));
        }
        assert_eq!(fill("$${env:TIER} ${env:TIER}"), Ok("${env:TIER} gold".into()));
    }

    #[test]
    fn what_cannot_be_filled_in_says_why() {
        assert!(fill("${env:NONE}").unwrap_err().contains("`NONE` is not set"));
        assert!(fill("${file:none}").unwrap_err().contains("there is no such file"));
        assert!(fill("${evn:TIER}").unwrap_err().contains("`${evn:…}` is not known"));
        assert!(fill("${env:TIER").unwrap_err().contains("has no end"));
    }

    #[test]
    fn a_problem_never_tells_a_secret() {
        let place = Source::file("f").key("a");
        let secret = Secret { written: "${env:X}".into(), value: "hunter2".into() };
        let secrets = Secrets { places: [(place.clone(), secret)].into(), ..Secrets::default() };
        let mut problems = Problems::default();
        problems.error(&place, "`hunter2` is not a name");
        problems.error(&place, "not a name: hunter2");

        problems.iter_mut().for_each(|p| secrets.mask(p));

        let texts = problems.iter().map(|p| p.text.as_str()).collect::<Vec<_>>();
        assert_eq!(texts, ["`${env:X}` is not a name", "what `${env:X}` stands for cannot stand here"]);
    }
}
