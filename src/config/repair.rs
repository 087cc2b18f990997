//! Reads one entry or section and finds *all* that is wrong with it: a value
//! that does not fit is told, taken out, and the rest is read again.
//!
//! What was taken out is remembered, so that nobody complains that it is gone.

use serde::de::DeserializeOwned;

use super::{
    Problems, Source,
    document::Node,
    fault::{self, Fault, Step, What},
    typed,
};

/// What could be read of an entry or section.
#[derive(Debug)]
pub(super) struct Read<T> {
    /// With defaults in the place of what was taken out.
    pub spec: T,
    /// The key paths of what was taken out, seen from the entry.
    pub lost: Vec<String>,
}

/// Reads a value; `None` when nothing is left of it that could be read. Every
/// reason is in `problems` then, up to [`Problems::MOST`].
pub(super) fn read<T: DeserializeOwned>(
    node: &mut Node,
    source: &Source,
    problems: &mut Problems,
) -> Option<Read<T>> {
    let mut lost = Vec::new();
    note_told(node, "", &mut lost);
    while !problems.is_full() && *node != Node::Told {
        let fault = match typed::read::<T>(node) {
            Ok(spec) => return Some(Read { spec, lost }),
            Err(fault) => fault,
        };
        let path = fault.path().cloned().collect::<Vec<_>>();
        // A way that leads nowhere would be walked for ever.
        let bad = walk(node, &path)?;
        if !is_aftermath(&fault, bad) {
            let text = fault.unquoted().and_then(|text| as_text::<T>(text, node, &path));
            let text = text.or_else(|| fault.alone().and_then(|text| as_list::<T>(text, node, &path)));
            problems.error(&place(source, &path), text.unwrap_or_else(|| fault.to_string()));
        }
        *walk(node, &path)? = Node::Told;
        lost.push(place(&Source::file(""), &path).key);
    }
    None
}

/// What the type says to a number once it is text: for `5` in the place of a
/// time, "write a unit" helps and "write quotes" does not.
fn as_text<T: DeserializeOwned>(text: &str, node: &mut Node, path: &[Step]) -> Option<String> {
    *walk(node, path)? = Node::Text(text.to_owned());
    let fault = typed::read::<T>(node).err()?;
    fault.path().eq(path).then(|| fault.to_string())
}

/// How what stands alone is written as a list of mappings, if it has to be one.
fn as_list<T: DeserializeOwned>(text: &str, node: &mut Node, path: &[Step]) -> Option<String> {
    *walk(node, path)? = Node::List(vec![Node::Text(text.to_owned())]);
    let fault = typed::read::<T>(node).err()?;
    let is_inside = fault.path().eq(path.iter().chain([&Step::Entry(0)]));
    let key = fault.first_key().filter(|_| is_inside)?;
    Some(format!("`{text}` stands alone; write a list, as `[{{ {key}: {text} }}]`"))
}

/// What was told before is lost as well.
fn note_told(node: &Node, path: &str, lost: &mut Vec<String>) {
    match node {
        Node::Told => lost.push(path.to_owned()),
        Node::List(items) if items.iter().any(has_told) => {
            let each = items.iter().enumerate();
            each.for_each(|(at, item)| note_told(item, &format!("{path}[{at}]"), lost));
        }
        Node::Map(entries) if entries.iter().any(|(_, value)| has_told(value)) => {
            let dot = if path.is_empty() { "" } else { "." };
            entries.iter().for_each(|(key, value)| note_told(value, &format!("{path}{dot}{key}"), lost));
        }
        _ => {}
    }
}

fn has_told(node: &Node) -> bool {
    match node {
        Node::Told => true,
        Node::List(items) => items.iter().any(has_told),
        Node::Map(entries) => entries.iter().any(|(_, value)| has_told(value)),
        _ => false,
    }
}

fn walk<'n>(node: &'n mut Node, path: &[Step]) -> Option<&'n mut Node> {
    path.iter().try_fold(node, |node, step| match (node, step) {
        (Node::Map(entries), Step::Key(key)) => {
            entries.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
        }
        (Node::List(items), Step::Entry(index)) => items.get_mut(*index),
        _ => None,
    })
}

fn place(source: &Source, path: &[Step]) -> Source {
    path.iter().fold(source.clone(), |source, step| match step {
        Step::Key(key) => source.key(key),
        Step::Entry(index) => source.entry(*index),
    })
}

/// Whether the fault is only there because something was taken out before: the
/// key itself, or one that was probably meant to be it.
fn is_aftermath(fault: &Fault, node: &Node) -> bool {
    let Node::Map(entries) = node else { return false };
    let mut gone = entries.iter().filter(|(_, value)| *value == Node::Told).map(|(key, _)| key);
    match &fault.what {
        What::MissingKey(wanted) => {
            gone.any(|key| key == fault::MERGE || fault::nearest(key, &[wanted]).is_some())
        }
        // Enums: a mapping with one key, now with none.
        What::Told(_) => gone.next().is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{document, upstream::UpstreamSpec};

    fn told(text: &str) -> Vec<String> {
        let mut node = document::parse(text).unwrap();
        let mut problems = Problems::default();
        read::<UpstreamSpec>(&mut node, &Source::file("f"), &mut problems);
        problems.iter().map(|p| format!("{}: {}", p.source.key, p.text)).collect()
    }

    #[test]
    fn everything_wrong_with_an_entry_is_told_at_once() {
        let told =
            told("name: a b\nendpoints: [{ adress: x }, { address: y }]\ntimeouts: { connect: 5 }\nx: 1");

        let keys = told.iter().map(|t| t.split(": ").next().unwrap()).collect::<Vec<_>>();
        assert_eq!(keys, ["name", "endpoints[0].adress", "endpoints[1].address", "timeouts.connect", "x"]);
    }

    #[test]
    fn what_was_taken_out_is_not_missed_but_what_never_was_there_is() {
        assert_eq!(told("name: a b\nendpoints: []").len(), 1);
        assert_eq!(told("endpoints: []"), [": `name` is missing"]);
    }

    #[test]
    fn what_is_left_is_read_with_the_losses_named() {
        let mut node = document::parse("name: a\nendpoints: []\ntls: { server_name: 5 }").unwrap();

        let read = read::<UpstreamSpec>(&mut node, &Source::file("f"), &mut Problems::default()).unwrap();

        assert_eq!(read.spec.name.as_str(), "a");
        assert_eq!(read.lost, ["tls.server_name", "tls"]);
    }

    #[test]
    fn what_was_told_before_is_among_the_losses() {
        let mut node = document::parse("name: a\nendpoints: []\nx: 1").unwrap();
        *walk(&mut node, &[Step::Key("x".to_owned())]).unwrap() = Node::Told;

        let read = read::<UpstreamSpec>(&mut node, &Source::file("f"), &mut Problems::default()).unwrap();

        assert_eq!(read.lost, ["x"]);
    }

    #[test]
    fn what_stands_alone_is_shown_as_the_list_that_it_has_to_be() {
        let told = |text: &str| {
            let (mut node, mut problems) = (document::parse(text).unwrap(), Problems::default());
            read::<crate::config::route::RouteSpec>(&mut node, &Source::file("f"), &mut problems);
            problems.to_string()
        };

        assert!(told("name: a\nto: orders").contains("as `[{ upstream: orders }]`"));
        assert!(told("name: a\nlimits: one").contains("as `[one]`"));
    }
}
