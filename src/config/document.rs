//! A YAML file as a tree of values, before anything is known of their meaning,
//! and such a tree as text again.
//!
//! Owns what of YAML is read: one document, text as keys, no tags, aliases up
//! to a ceiling. Does not own meaning or lines. The only module that knows
//! `serde_yaml`; a map here keeps its entries in order and equal keys too,
//! which `serde_yaml` by itself would silently drop.

use std::{cell::Cell, fmt, sync::Arc};

use serde::{
    Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor},
    ser::SerializeMap,
};

use super::{
    depth::is_too_deep,
    route::RouteSpec,
    sharing::{Entries, Sharing},
    usual,
};

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number, not negative.
    Unsigned(u64),
    /// A negative whole number.
    Signed(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order written.
    Map(Vec<(String, Node)>),
    /// A route that was read already: nothing is wrong with it.
    Route(Arc<RouteSpec>),
    /// What YAML allows and we do not, as a sentence for the operator.
    Refused(String),
    /// A value that was told to be wrong already; nobody looks at it again.
    Told,
}

/// Why a text is no tree.
#[derive(Debug, PartialEq)]
pub(super) struct Syntax {
    /// The line, counted from 1, where known.
    pub line: Option<usize>,
    /// What is wrong, for the operator.
    pub text: String,
}

/// Reads the one document of a text.
pub(super) fn parse(text: &str) -> Result<Node, Syntax> {
    usual::read(text, None).map_or_else(|| any(text), Ok)
}

/// As [`parse`]; entries of `routes` with which nothing is wrong are
/// [routes](Node::Route) already, where the text is usual.
pub(super) fn parse_sharing(text: &str, sharing: &mut Sharing<'_>) -> Result<Node, Syntax> {
    usual::read(text, Some(&mut *sharing)).map_or_else(
        || {
            sharing.entries = Entries::default();
            any(text)
        },
        Ok,
    )
}

/// As [`parse`], whatever is in the text.
pub(super) fn any(text: &str) -> Result<Node, Syntax> {
    if is_too_deep(text) {
        return Err(Syntax { line: None, text: TOO_DEEP.to_owned() });
    }
    let budget = Budget(Cell::new(Some(MOST_UNITS)));
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let first = documents.next().map(|document| Seed(&budget).deserialize(document));
    let root = match first {
        None | Some(Ok(Node::Null)) => return Err(Syntax { line: None, text: NOTHING.to_owned() }),
        Some(Err(_)) if budget.0.get().is_none() => {
            return Err(Syntax { line: None, text: TOO_LARGE.to_owned() });
        }
        Some(Err(why)) => return Err(Syntax::new(&why, text)),
        Some(Ok(root)) => root,
    };
    match documents.next() {
        None => Ok(root),
        Some(_) => Err(Syntax { line: None, text: SEVERAL.to_owned() }),
    }
}

/// What a plain scalar stands for that is the whole of a text.
pub(super) fn scalar(text: &str) -> Option<Node> {
    let budget = Budget(Cell::new(Some(MOST_UNITS)));
    Seed(&budget).deserialize(serde_yaml::Deserializer::from_str(text)).ok()
}

/// A value as a tree, in the order of its fields, without those that are none.
pub(super) fn tree(value: &impl Serialize) -> Node {
    use serde_yaml::{value::Serializer, with::singleton_map_recursive};
    let budget = Budget(Cell::new(Some(usize::MAX)));
    // Our own types have no keys that could fail; an empty tree would show in
    // every golden file.
    singleton_map_recursive::serialize(value, Serializer)
        .and_then(|value| Seed(&budget).deserialize(value))
        .unwrap_or(Node::Null)
}

/// A tree as YAML.
pub(super) fn print(node: &Node) -> String {
    serde_yaml::to_string(node).unwrap_or_default()
}

impl Node {
    /// The value at a key path such as `match.hosts[0]`.
    pub(super) fn at(&mut self, path: &str) -> Option<&mut Node> {
        let steps = path.split(['.', '[']).filter(|step| !step.is_empty());
        steps.into_iter().try_fold(self, |node, step| match node {
            Node::Map(entries) => entries.iter_mut().find(|(key, _)| key == step).map(|(_, value)| value),
            Node::List(items) => items.get_mut(step.strip_suffix(']')?.parse::<usize>().ok()?),
            _ => None,
        })
    }
}

impl Syntax {
    fn new(why: &serde_yaml::Error, text: &str) -> Self {
        let line = why.location().map(|l| l.line());
        let told = why.to_string();
        let text = match &told {
            _ if told.starts_with("repetition limit") => TOO_LARGE.to_owned(),
            _ if told.starts_with("recursion limit") => TOO_DEEP.to_owned(),
            _ if line.is_some_and(|line| is_tab_indented(text, line)) => TAB.to_owned(),
            _ => format!("this is not YAML: {told}"),
        };
        Self { line, text }
    }
}

fn is_tab_indented(text: &str, line: usize) -> bool {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t')
}

/// What a document may still cost. An alias costs what it stands for, so that a
/// few lines cannot become gigabytes. `None` once it is used up.
struct Budget(Cell<Option<usize>>);

impl Budget {
    fn spend<E: Error>(&self, units: usize) -> Result<(), E> {
        self.0.set(self.0.get().and_then(|left| left.checked_sub(units)));
        self.0.get().map(|_| ()).ok_or_else(|| E::custom(TOO_LARGE))
    }

    fn text<E: Error>(&self, text: String) -> Result<Node, E> {
        self.spend(text.len() / UNIT_BYTES)?;
        Ok(Node::Text(text))
    }
}

#[derive(Clone, Copy)]
struct Seed<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.0.spend(1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(u64::try_from(value).map_or(Node::Signed(value), Node::Unsigned))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Refused(NO_NUMBER.to_owned()))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Refused(NO_NUMBER.to_owned()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        self.0.text(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Node, E> {
        self.0.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(self)? {
            let value = map.next_value_seed(self)?;
            entries.push(entry(key, value));
        }
        Ok(Node::Map(entries))
    }

    // serde_yaml tells of a tag as if it were an enum.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
        let (tag, content) = tagged.variant::<String>()?;
        content.newtype_variant_seed(self)?;
        Ok(Node::Refused(format!("tags are not read; write the value without `!{tag}`")))
    }
}

/// A key as it was written, and its value.
pub(super) fn entry(key: Node, value: Node) -> (String, Node) {
    let key = match key {
        Node::Text(key) => return (key, value),
        Node::Null => "~".to_owned(),
        Node::Bool(key) => key.to_string(),
        Node::Unsigned(key) => key.to_string(),
        Node::Signed(key) => key.to_string(),
        Node::Float(key) => key.to_string(),
        _ => "?".to_owned(),
    };
    let why = format!("`{key}` is not a key; keys are text, in quotes if they look like something else");
    (key, Node::Refused(why))
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Node::Null | Node::Refused(_) | Node::Told => out.serialize_unit(),
            Node::Route(spec) => spec.serialize(out),
            Node::Bool(value) => out.serialize_bool(*value),
            Node::Unsigned(value) => out.serialize_u64(*value),
            Node::Signed(value) => out.serialize_i64(*value),
            Node::Float(value) => out.serialize_f64(*value),
            Node::Text(text) => out.serialize_str(text),
            Node::List(items) => out.collect_seq(items),
            Node::Map(entries) => {
                let mut map = out.serialize_map(None)?;
                for (key, value) in entries.iter().filter(|(_, value)| *value != Node::Null) {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

/// A unit is one value or so much of its text. 10,000 routes take about
/// 300,000; a file of 16 MiB without aliases cannot reach it by text alone.
const MOST_UNITS: usize = 4_000_000;
const UNIT_BYTES: usize = 16;

/// Which is not told: it may be a password without quotes.
const NO_NUMBER: &str = "this is larger than any number can be; write text in quotes";
const NOTHING: &str = "the file is empty; write the configuration, or remove the file";
const SEVERAL: &str = "the file has more than one document; remove the second `---` and what follows it";
const TOO_LARGE: &str =
    "the file stands for more than 4 million values; write less, above all fewer aliases (`*name`)";
const TOO_DEEP: &str = "values are nested more than 128 deep; write them flatter";
const TAB: &str = "a tab indents this line; write spaces, YAML takes no tabs there";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_that_would_take_hours_are_refused_before_they_are_parsed() {
        let why = parse(&"{a: ".repeat(1 << 16)).unwrap_err();

        // With a line it was the parser that told, after half a minute.
        assert_eq!(why, Syntax { line: None, text: TOO_DEEP.to_owned() });
    }

    #[test]
    fn aliases_cost_what_they_stand_for() {
        let wide = format!("a: &a \"{}\"\nb: [{}]", "x".repeat(1 << 20), "*a, ".repeat(100));

        assert_eq!(parse(&wide).unwrap_err().text, TOO_LARGE);
        assert!(parse("a: &a [1, 2]\nb: *a").is_ok());
    }

    #[test]
    fn a_tree_prints_in_its_order_and_reads_back() {
        let text = "b: 1\na:\n- x: 'true'\n- 1.5\n";

        let node = parse(text).unwrap();

        assert_eq!(print(&node), text);
    }

    #[test]
    fn a_key_path_leads_to_its_value() {
        let mut node = parse("a: [{ b: [x, y] }]").unwrap();

        assert_eq!(node.at("a[0].b[1]"), Some(&mut Node::Text("y".to_owned())));
        assert_eq!(node.at("a[1].b"), None);
    }
}
