//! Which line a key path stands on.
//!
//! Read only when there is a problem to place, by a parser of its own:
//! `serde_yaml` keeps no lines. Where the two parsers disagree, or the value
//! came in by an alias, the nearest enclosing key that is found counts; no line
//! is better than a wrong one.

use std::{collections::HashMap, path::Path, sync::Arc};

use saphyr_parser::{Event, Parser};

use super::{Source, files::Text};

/// The lines of the key paths that were asked for, counted from 1.
#[derive(Debug, Default)]
pub(super) struct Positions(HashMap<String, Vec<usize>>);

impl Positions {
    /// Looks for `wanted` key paths in a text, and for what encloses them.
    pub(super) fn find<'a>(text: &str, wanted: impl Iterator<Item = &'a str>) -> Self {
        let mut positions = Self::default();
        for path in wanted {
            for path in enclosing(path) {
                positions.0.entry(path.to_owned()).or_default();
            }
        }
        let mut walk = Walk { positions, path: String::new(), open: Vec::new() };
        let mut parser = Parser::new_from_str(text);
        while let Some(Ok((event, span))) = parser.next_event() {
            walk.step(event, span.start.line());
        }
        walk.positions
    }

    /// The line of a key path or of what encloses it.
    pub(super) fn line(&self, path: &str) -> Option<usize> {
        enclosing(path).find_map(|path| self.0.get(path)?.first().copied())
    }

    /// Every line on which this key path is written.
    pub(super) fn all(&self, path: &str) -> &[usize] {
        self.0.get(path).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The lines of key paths, over several files.
pub(super) struct Lines(HashMap<Arc<Path>, Positions>);

impl Lines {
    /// Looks for the places that were asked for; a file that none is in is not
    /// read.
    pub(super) fn find<'a>(texts: &[Text], places: impl Iterator<Item = &'a Source>) -> Self {
        let mut wanted: HashMap<&Path, Vec<&str>> = HashMap::new();
        for place in places.filter(|place| !place.key.is_empty()) {
            wanted.entry(&place.file).or_default().push(&place.key);
        }
        let found = texts.iter().filter_map(|text| {
            let keys = wanted.remove(&*text.path)?;
            Some((text.path.clone(), Positions::find(&text.text, keys.into_iter())))
        });
        Self(found.collect())
    }

    /// The line of a place, counted from 1.
    pub(super) fn line(&self, place: &Source) -> Option<usize> {
        self.0.get(&place.file)?.line(&place.key)
    }
}

/// A key path, then the path of what encloses it, up to a key of the root.
pub(super) fn enclosing(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rfind(['.', '[']).map(|at| path.split_at(at).0))
        .filter(|path| !path.is_empty())
}

struct Walk {
    positions: Positions,
    /// Of the value at hand.
    path: String,
    open: Vec<Level>,
}

/// A list or mapping that is being read.
struct Level {
    /// How much of `Walk::path` is its own.
    length: usize,
    kind: Kind,
}

enum Kind {
    /// So many entries were read.
    List(usize),
    /// A key comes next.
    Key,
    /// The value of a key comes next.
    Value,
    /// Inside a key that is no scalar.
    Inside,
}

impl Walk {
    fn step(&mut self, event: Event<'_>, line: usize) {
        match event {
            Event::Scalar(text, ..) => match self.key() {
                true => self.enter_key(&text, line),
                false => self.value(line),
            },
            Event::Alias(_) => match self.key() {
                true => self.enter_key("?", line),
                false => self.value(line),
            },
            Event::SequenceStart(..) => self.open(Kind::List(0), line),
            Event::MappingStart(..) => self.open(Kind::Key, line),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            _ => {}
        }
    }

    fn key(&self) -> bool {
        matches!(self.open.last(), Some(Level { kind: Kind::Key, .. }))
    }

    fn enter_key(&mut self, key: &str, line: usize) {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(key);
        self.note(line);
        self.become_kind(Kind::Value);
    }

    fn value(&mut self, line: usize) {
        self.enter_entry(line);
        self.leave();
    }

    fn open(&mut self, kind: Kind, line: usize) {
        let kind = match self.open.last().map(|level| &level.kind) {
            Some(Kind::Key) => {
                self.enter_key("?", line);
                Kind::Inside
            }
            Some(Kind::Inside) => Kind::Inside,
            _ => kind,
        };
        self.enter_entry(line);
        self.open.push(Level { length: self.path.len(), kind });
    }

    fn close(&mut self) {
        let was_key = matches!(self.open.pop(), Some(Level { kind: Kind::Inside, .. }));
        // The value of a key that is no scalar is still to come.
        if !was_key {
            self.leave();
        }
    }

    /// Begins an entry, if a list is being read.
    fn enter_entry(&mut self, line: usize) {
        let Some(Level { kind: Kind::List(count), .. }) = self.open.last_mut() else { return };
        let step = format!("[{count}]");
        *count += 1;
        self.path.push_str(&step);
        self.note(line);
    }

    /// Ends a value: back to the path of what encloses it.
    fn leave(&mut self) {
        let Some(level) = self.open.last() else { return };
        self.path.truncate(level.length);
        if matches!(level.kind, Kind::Value) {
            self.become_kind(Kind::Key);
        }
    }

    fn become_kind(&mut self, kind: Kind) {
        if let Some(level) = self.open.last_mut() {
            level.kind = kind;
        }
    }

    fn note(&mut self, line: usize) {
        if let Some(lines) = self.positions.0.get_mut(&self.path) {
            lines.push(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
routes:
  - name: a
    match:
      hosts: [x,
              y]
  -
    name: b
    name: c
? [1, {k: v}]
: { z: 1 }
last: *anchor
";

    #[test]
    fn keys_and_entries_are_found_on_their_lines() {
        let paths = ["routes[0].match.hosts[1]", "routes[1].name", "routes[1]", "last", "routes[0].match"];

        let positions = Positions::find(TEXT, paths.into_iter());

        let lines = paths.map(|path| positions.line(path).unwrap());
        assert_eq!(lines, [5, 7, 7, 11, 3]);
    }

    #[test]
    fn a_key_that_is_written_twice_has_both_lines() {
        let positions = Positions::find(TEXT, ["routes[1].name"].into_iter());

        assert_eq!(positions.all("routes[1].name"), [7, 8]);
    }

    #[test]
    fn what_is_not_there_is_where_its_parent_is() {
        let positions = Positions::find(TEXT, ["routes[0].match.path", "nothing"].into_iter());

        assert_eq!(positions.line("routes[0].match.path"), Some(3));
        assert_eq!(positions.line("nothing"), None);
    }
}
