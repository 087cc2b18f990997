//! Routes that are written in the same words as before are the same routes.
//!
//! Owns which piece of a text is one entry of its `routes`, and how such a piece is found
//! again in the next text of the file. Always holds: what an entry says follows from its
//! piece and the column that it stands at, and from nothing else. Where that is not so
//! (something is filled in, something is wrong, it is the last of the list), nothing is
//! kept and it is read anew.

use std::{collections::HashMap, sync::Arc};

use ahash::RandomState;

use super::{document::Node, draft, files::Text, route::RouteSpec, typed};

/// The entries of a text that the next one may share.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    /// Where the list stands.
    column: usize,
    list: Vec<Entry>,
}

/// From its dash to the dash of the next entry.
#[derive(Clone, Debug)]
struct Entry {
    begin: u32,
    end: u32,
    /// How many values it holds.
    values: u32,
    spec: Arc<RouteSpec>,
}

/// The entries of a text while it is read, and those of the text before.
#[derive(Default)]
pub(super) struct Sharing<'b> {
    before: Option<(&'b Text, &'b Entries)>,
    /// The one after the one that was found last.
    at: usize,
    /// Each by its piece, made once one does not stand where it did. By less of it, as its
    /// first line, many could be the same one: who sorts keys begins each with `match:`.
    by_piece: Option<HashMap<&'b str, usize, RandomState>>,
    /// For the next text.
    pub(super) entries: Entries,
}

/// An entry that was found again.
pub(super) struct Found {
    /// How long its piece is.
    pub(super) length: usize,
    /// How many values it holds.
    pub(super) values: usize,
    /// What it says.
    pub(super) node: Node,
}

impl<'b> Sharing<'b> {
    /// With what was read of the same file before.
    pub(super) fn with(before: Option<(&'b Text, &'b Entries)>) -> Self {
        Self { before: before.filter(|(text, _)| is_ended(&text.text)), ..Self::default() }
    }

    /// The entry that begins at a place of a text, in the words of before.
    pub(super) fn find(&mut self, text: &str, at: usize, column: usize) -> Option<Found> {
        let (before, known) = self.before.filter(|(_, known)| known.column == column && is_ended(text))?;
        let rest = text.get(at..)?;
        let nth = match known.list.get(self.at) {
            Some(entry) if entry.begins(before, rest) => self.at,
            _ => self.elsewhere(before, known, piece_of(rest, column)?)?,
        };
        self.at = nth + 1;
        let Entry { begin, end, values, spec } = known.list.get(nth)?;
        let length = (end - begin) as usize;
        self.keep(at..at + length, *values as usize, spec);
        Some(Found { length, values: *values as usize, node: Node::Route(spec.clone()) })
    }

    fn elsewhere(&mut self, before: &'b Text, known: &'b Entries, piece: &str) -> Option<usize> {
        let by_piece = self.by_piece.get_or_insert_with(|| {
            let entries = known.list.iter().enumerate();
            entries.map(|(nth, entry)| (entry.piece(before), nth)).collect()
        });
        by_piece.get(piece).copied()
    }

    /// What an entry says, which is a piece of the text if it `is_whole`: read, if nothing
    /// is wrong with it and nothing is to be filled in.
    pub(super) fn read(&mut self, node: Node, piece: std::ops::Range<usize>, values: Option<usize>) -> Node {
        if !draft::is_clean(&node) {
            return node;
        }
        let Ok(spec) = typed::read::<RouteSpec>(&node) else { return node };
        let spec = Arc::new(spec);
        if let Some(values) = values {
            self.keep(piece, values, &spec);
        }
        Node::Route(spec)
    }

    /// The list stands at this column.
    pub(super) fn begin(&mut self, column: usize) {
        self.entries = Entries { column, list: Vec::new() };
    }

    fn keep(&mut self, piece: std::ops::Range<usize>, values: usize, spec: &Arc<RouteSpec>) {
        // No text is as long as to need more.
        let [begin, end, values] = [piece.start, piece.end, values].map(|n| n as u32);
        self.entries.list.push(Entry { begin, end, values, spec: spec.clone() });
    }
}

impl Entry {
    fn piece<'b>(&self, text: &'b Text) -> &'b str {
        text.text.get(self.begin as usize..self.end as usize).unwrap_or_default()
    }

    /// Whether a text begins with it, and goes on with another entry.
    fn begins(&self, before: &Text, text: &str) -> bool {
        text.strip_prefix(self.piece(before)).is_some_and(is_item)
    }
}

/// Whether a text begins with an entry of a list.
pub(super) fn is_item(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next() == Some(b'-') && matches!(bytes.next(), None | Some(b' ' | b'\n'))
}

/// A last line that does not end is the one thing that may change what stands before it.
fn is_ended(text: &str) -> bool {
    text.ends_with('\n')
}

/// What an entry that begins here has for its piece if it is a known one: all up to the
/// next dash in its column. Looks at no more of the text than that.
fn piece_of(text: &str, column: usize) -> Option<&str> {
    let ends = memchr::memchr_iter(b'\n', text.as_bytes()).map(|end| end + 1 + column);
    ends.filter_map(|dash| text.split_at_checked(dash)).find_map(|(piece, next)| {
        let indent = piece.get(piece.len() - column..)?;
        (is_item(next) && indent.bytes().all(|byte| byte == b' ')).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, path::Path};

    use proptest::prelude::*;

    use super::*;
    use crate::config::{Loaded, Problems, load::build};

    fn load(text: &str, before: Option<&Loaded>) -> Result<Loaded, Problems> {
        let texts = vec![Text { path: Path::new("main.yaml").into(), text: text.to_owned() }];
        let environment = |name: &str| (name == "HOST").then(|| OsString::from("a.example"));
        let loaded = build(Path::new("main.yaml"), texts, before, &environment, Problems::default());
        loaded.map_err(|broken| broken.problems)
    }

    fn file(entries: &[&str]) -> String {
        let entries: String = entries.iter().map(|entry| format!("  - {entry}\n")).collect();
        format!("listeners: [{{ name: web, address: '127.0.0.1:0' }}]\nroutes:\n{entries}limits: []\n")
    }

    const A: &str = "{ name: a, match: { path: /a }, respond: { status: 200 } }";
    const B: &str = "name: b\n    # of b\n    match:\n      path: /b\n    respond: { status: 200 }\n";
    const C: &str = "name: c\n    respond:\n      status: 200\n      body: |\n        one\n\n        two\n";
    const D: &str = "{ name: d, match: { hosts: ['${env:HOST}'] }, respond: { status: 200 } }";
    const E: &str = "{ name: e,\n match: { path: /e },\n respond: { status: 200 } }";
    const Z: &str = "{ name: z, match: { path: /z }, respond: { status: 200 } }";

    /// The names of the routes that are those of before.
    fn shared(before: &str, after: &str) -> Vec<String> {
        let before = load(before, None).unwrap();
        let after = load(after, Some(&before)).unwrap();
        let is_shared =
            |spec: &Arc<RouteSpec>| before.config.routes.iter().any(|b| Arc::ptr_eq(&b.spec, spec));
        let shared = after.config.routes.iter().map(|route| &route.spec).filter(|spec| is_shared(spec));
        shared.map(|spec| spec.name.to_string()).collect()
    }

    #[test]
    fn what_is_written_as_before_is_the_same_wherever_it_stands_now() {
        let all = file(&[A, B, C, E, Z]);

        assert_eq!(shared(&all, &all), ["a", "b", "c", "e"], "the last ends by what comes behind the list");
        assert_eq!(shared(&all, &file(&[E, A, C, B, Z])), ["e", "a", "c", "b"]);
        assert_eq!(shared(&all, &file(&["{ name: n, respond: { status: 404 } }", A, C, Z])), ["a", "c"]);
    }

    #[test]
    fn entries_that_begin_with_the_same_line_are_found_behind_one_that_is_another() {
        let names: Vec<String> = ('a'..='p').map(String::from).collect();
        let entry = |name: &String| {
            format!("match:\n      path: /{name}\n    name: {name}\n    respond: {{ status: 200 }}")
        };
        let list = |names: &[String]| {
            file(&names.iter().map(entry).collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>())
        };
        let all = list(&names);
        let but = |gone: &[&str]| -> Vec<String> {
            names.iter().filter(|name| !gone.contains(&name.as_str())).cloned().collect()
        };

        // Of each the last one, `p`, ends by what comes behind the list.
        assert_eq!(shared(&all, &all.replace("path: /c", "path: /cc")), but(&["c", "p"]));
        assert_eq!(shared(&all, &list(&but(&["e"]))), but(&["e", "p"]));
        let [changed, gone] = [["b", "c", "d", "e"], ["h", "i", "j", "k"]];
        let text = changed.iter().fold(list(&but(&gone)), |text, name| {
            text.replace(&format!("path: /{name}\n"), &format!("path: /other/{name}\n"))
        });
        assert_eq!(shared(&all, &text), but(&[&changed[..], &gone, &["p"]].concat()));
    }

    #[test]
    fn what_is_written_otherwise_or_filled_in_is_read_anew() {
        let all = file(&[A, B, C, D, E, Z]);

        assert_eq!(shared(&all, &all), ["a", "b", "c", "e"]);
        assert_eq!(shared(&all, &all.replace("path: /b", "path: /bb")), ["a", "c", "e"]);
        assert_eq!(shared(&all, &all.replace("\n  - ", "\n   - ").replace("\n    ", "\n     ")), [""; 0]);
        // Read by who knows aliases.
        assert_eq!(shared(&all, &all.replace("limits: []", "limits: &none []")), [""; 0]);
    }

    #[test]
    fn it_is_shared_over_many_loads() {
        let text = file(&[A, B, Z]);
        let first = load(&text, None).unwrap();
        let second = load(&text.replace("/b", "/c"), Some(&first)).unwrap();

        let third = load(&text, Some(&second)).unwrap();

        let same = |nth: usize| Arc::ptr_eq(&first.config.routes[nth].spec, &third.config.routes[nth].spec);
        assert!(same(0) && !same(1));
    }

    #[test]
    fn a_usual_route_is_small() {
        assert!(size_of::<RouteSpec>() <= 320, "{}", size_of::<RouteSpec>());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn after_any_change_what_is_read_is_what_would_be_read_without_a_before(
            order in proptest::collection::vec(0_usize..6, 1..8),
            at in 0.0..1.0, gone in 0_usize..30, new in "[\\[\\]{}:,&*!#'\"|\n a-]{0,6}"
        ) {
            let before = load(&file(&[A, B, C, D, E, Z]), None).unwrap();
            let entries: Vec<_> = order.iter().map(|nth| [A, B, C, D, E, Z][*nth]).collect();
            let mut text = file(&entries).into_bytes();
            let at = (text.len() as f64 * at) as usize;
            let end = (at + gone).min(text.len());
            text.splice(at..end, new.bytes());
            let text = String::from_utf8(text).unwrap();

            let told = |loaded: Result<Loaded, Problems>| loaded.map(|loaded| (loaded.config, loaded.warnings));

            prop_assert_eq!(told(load(&text, Some(&before))), told(load(&text, None)));
        }
    }
}
