//! What is wrong with a configuration: every problem at once, each with its
//! file, its key and what to write instead.
//!
//! The one error type of everything that builds from configuration. Finding
//! lines is `positions`' work; telling is this file's.

use std::{
    fmt::{self, Write},
    path::Path,
    sync::Arc,
};

use serde::Serialize;

/// Where a value was written: a file and a key path such as
/// `routes[2].match.hosts[0]`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Source {
    /// The file, as the operator named it.
    pub file: Arc<Path>,
    /// The key path inside the file; empty is the whole file.
    pub key: String,
}

impl Source {
    /// The whole of a file.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self { file: Arc::from(path.as_ref()), key: String::new() }
    }

    /// A key below this one.
    pub fn key(&self, name: &str) -> Self {
        let dot = if self.key.is_empty() { "" } else { "." };
        Self { file: self.file.clone(), key: format!("{}{dot}{name}", self.key) }
    }

    /// An entry of the list at this key.
    pub fn entry(&self, index: usize) -> Self {
        Self { file: self.file.clone(), key: format!("{}[{index}]", self.key) }
    }
}

/// Whether a problem stops the configuration from being used.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot be used.
    Error,
    /// It can be used; someone should look.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Where.
    pub source: Source,
    /// The line, counted from 1, once it is known.
    pub line: Option<usize>,
    /// What is wrong and what to write instead.
    pub text: String,
}

/// Everything that is wrong; errors and warnings, in the order found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// So many are told; who has more to mend begins with these.
    pub const MOST: usize = 200;

    /// Adds a problem as it is.
    pub fn add(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Adds an error.
    pub fn error(&mut self, source: &Source, text: impl Into<String>) {
        self.push(Severity::Error, source, text.into());
    }

    /// Adds a warning.
    pub fn warn(&mut self, source: &Source, text: impl Into<String>) {
        self.push(Severity::Warning, source, text.into());
    }

    fn push(&mut self, severity: Severity, source: &Source, text: String) {
        self.add(Problem { severity, source: source.clone(), line: None, text });
    }

    /// Takes over another list.
    pub fn extend(&mut self, other: Problems) {
        self.0.extend(other.0);
    }

    /// Whether anything stops the configuration from being used.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|p| p.severity == Severity::Error)
    }

    /// Whether anything in a section of any file stops it.
    pub fn has_errors_in(&self, section: &str) -> bool {
        self.0.iter().any(|p| p.severity == Severity::Error && p.source.key.starts_with(section))
    }

    /// Whether anything at a key, or inside its value, stops it.
    pub fn has_errors_at(&self, place: &Source) -> bool {
        let inside = |key: &str| {
            key.strip_prefix(&*place.key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let mut errors = self.0.iter().filter(|p| p.severity == Severity::Error);
        errors.any(|p| p.source.file == place.file && inside(&p.source.key))
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are more than will be told.
    pub fn is_full(&self) -> bool {
        self.0.len() > Self::MOST
    }

    /// Keeps the first [`Self::MOST`]; one more then says that there are others.
    pub fn cap(&mut self, main: &Source) {
        if self.0.len() > Self::MOST {
            self.0.truncate(Self::MOST);
            self.error(main, "there are more problems; mend these first");
        }
    }

    /// Each problem.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// Each problem, to fill in its line.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Problem> {
        self.0.iter_mut()
    }

    /// Puts errors first, then by file and line.
    pub fn sort(&mut self) {
        self.0.sort_by(|a, b| {
            let rank = |p: &Problem| (p.severity, p.source.file.clone(), p.line.unwrap_or(0));
            rank(a).cmp(&rank(b))
        });
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{kind}: {}", self.source.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.source.key.is_empty() {
            write!(f, ": {}", OneLine(&self.source.key))?;
        }
        write!(f, ": {}", OneLine(&self.text))
    }
}

/// Text that cannot forge another line or colour a terminal.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c.is_control() {
            true => write!(f, "{}", c.escape_default()),
            false => f.write_char(c),
        })
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl Serialize for Problem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("Problem", 5)?;
        out.serialize_field("severity", &self.severity)?;
        out.serialize_field("file", &*self.source.file)?;
        out.serialize_field("line", &self.line)?;
        out.serialize_field("key", &self.source.key)?;
        out.serialize_field("text", &self.text)?;
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_file_line_key_and_sentence() {
        let mut problems = Problems::default();
        let source = Source::file("/etc/tollgate/tollgate.yaml").key("routes").entry(2).key("name");

        problems.error(&source, "`a b` is not a name");
        problems.iter_mut().for_each(|p| p.line = Some(7));

        let told = "error: /etc/tollgate/tollgate.yaml:7: routes[2].name: `a b` is not a name\n";
        assert_eq!(problems.to_string(), told);
    }

    #[test]
    fn warnings_alone_do_not_stop() {
        let mut problems = Problems::default();

        problems.warn(&Source::file("x"), "expires soon");

        assert!(!problems.has_errors());
    }
}
