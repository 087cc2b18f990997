//! One file on its way from text to sections: parsed, free of what we refuse,
//! and with `${…}` filled in.
//!
//! After this the tree has no equal keys, no tags and no references.

use std::collections::{BTreeSet, HashSet};

use super::{
    Problem, Problems, Severity, Source,
    document::{self, Node, Syntax},
    files::Text,
    positions::Positions,
    secrets::Filler,
};

/// The keys of a file and their values; `None` when it has no keys at all: `keys`
/// says which it could have. Without a filler nothing may be filled in, however it
/// is written: `\x24{` is a reference as well. Every reason is in `problems`.
pub(super) fn read(
    file: &Text,
    keys: &str,
    filler: Option<&mut Filler<'_>>,
    problems: &mut Problems,
) -> Option<Vec<(String, Node)>> {
    checked(file, document::parse(&file.text), keys, filler, problems)
}

/// As [`read`], of a file that was parsed.
pub(super) fn checked(
    file: &Text,
    parsed: Result<Node, Syntax>,
    keys: &str,
    filler: Option<&mut Filler<'_>>,
    problems: &mut Problems,
) -> Option<Vec<(String, Node)>> {
    let source = Source::file(&file.path);
    let mut root = match parsed {
        Ok(root) => root,
        Err(why) => {
            let severity = Severity::Error;
            problems.add(Problem { severity, source, line: why.line, text: why.text });
            return None;
        }
    };

    let mut walk = Walk { source: &source, path: String::new(), filler, problems, twice: Vec::new() };
    walk.node(&mut root);
    let twice = walk.twice;
    tell_twice(file, &twice, &source, problems);
    match root {
        Node::Map(entries) => Some(entries),
        Node::Told => None,
        _ => {
            problems.error(&source, format!("the file has no keys; write {keys}"));
            None
        }
    }
}

fn tell_twice(file: &Text, twice: &[String], source: &Source, problems: &mut Problems) {
    if twice.is_empty() {
        return;
    }
    let positions = Positions::find(&file.text, twice.iter().map(String::as_str));
    for path in twice {
        let (severity, lines) = (Severity::Error, positions.all(path));
        let text = format!("written more than once{}; keep one", on_lines(lines));
        problems.add(Problem { severity, source: source.key(path), line: lines.get(1).copied(), text });
    }
}

fn on_lines(lines: &[usize]) -> String {
    let mut lines = lines.to_vec();
    lines.dedup();
    match lines.iter().map(usize::to_string).collect::<Vec<_>>().as_slice() {
        [] => String::new(),
        [one] => format!(", on line {one}"),
        [first @ .., last] => format!(", on lines {} and {last}", first.join(", ")),
    }
}

struct Walk<'a, 'f> {
    source: &'a Source,
    /// Of the value at hand.
    path: String,
    filler: Option<&'a mut Filler<'f>>,
    problems: &'a mut Problems,
    /// The paths of keys that are written more than once.
    twice: Vec<String>,
}

impl Walk<'_, '_> {
    // No deeper than 128: the parser ends there.
    fn node(&mut self, node: &mut Node) {
        // Of most there is nothing to tell, and then their paths are nobody's concern.
        if is_clean(node) {
            return;
        }
        let told = match node {
            Node::Refused(why) => Some(std::mem::take(why)),
            Node::Text(text) if text.contains("${") => self.fill(text),
            _ => None,
        };
        if let Some(told) = told {
            *node = Node::Told;
            if !self.problems.is_full() {
                let here = self.here();
                self.problems.error(&here, told);
            }
        }
        match node {
            Node::List(items) => self.items(items),
            Node::Map(entries) => self.entries(entries),
            _ => {}
        }
    }

    /// Says why not.
    fn fill(&mut self, text: &mut String) -> Option<String> {
        let here = self.here();
        match &mut self.filler {
            Some(filler) => filler.fill(text, &here).err(),
            None => Some(NO_REFERENCES.to_owned()),
        }
    }

    fn items(&mut self, items: &mut [Node]) {
        let length = self.path.len();
        for (index, item) in items.iter_mut().enumerate() {
            self.path.push_str(&format!("[{index}]"));
            self.node(item);
            self.path.truncate(length);
        }
    }

    fn entries(&mut self, entries: &mut Vec<(String, Node)>) {
        let length = self.path.len();
        for key in take_doubles(entries) {
            self.enter(&key);
            self.note_twice();
            self.path.truncate(length);
        }
        for (key, value) in entries {
            self.enter(key);
            self.node(value);
            self.path.truncate(length);
        }
    }

    fn enter(&mut self, key: &str) {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(key);
    }

    fn note_twice(&mut self) {
        if self.twice.len() <= Problems::MOST {
            self.twice.push(self.path.clone());
        }
    }

    fn here(&self) -> Source {
        Source { file: self.source.file.clone(), key: self.path.clone() }
    }
}

/// Whether nothing of it is refused, filled in or written twice.
pub(super) fn is_clean(node: &Node) -> bool {
    match node {
        Node::Refused(_) => false,
        Node::Text(text) => !text.contains("${"),
        Node::List(items) => items.iter().all(is_clean),
        Node::Map(entries) => !has_doubles(entries) && entries.iter().all(|(_, value)| is_clean(value)),
        _ => true,
    }
}

fn has_doubles(entries: &[(String, Node)]) -> bool {
    let keys = || entries.iter().map(|(key, _)| key);
    // Of a few, comparing each with all before costs less than hashing.
    if entries.len() <= 16 {
        return keys().enumerate().any(|(nth, key)| keys().take(nth).any(|before| before == key));
    }
    let mut seen = HashSet::with_capacity(entries.len());
    !keys().all(|key| seen.insert(key))
}

/// The keys that are written more than once; the first of each counts from here on.
fn take_doubles(entries: &mut Vec<(String, Node)>) -> BTreeSet<String> {
    let mut again = BTreeSet::new();
    if has_doubles(entries) {
        let mut seen = HashSet::with_capacity(entries.len());
        entries.retain(|(key, _)| {
            let first = seen.insert(key.clone());
            if !first {
                again.insert(key.clone());
            }
            first
        });
    }
    again
}

const NO_REFERENCES: &str =
    "nothing is filled in here, so that `${` cannot stand in this file; write the value itself";
