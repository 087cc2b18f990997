//! Why a value is not what its type needs, in the operator's words.
//!
//! The error type that serde fills while it reads a [`super::document::Node`]:
//! it keeps what serde would only print, and where. What a value has to be is
//! the types' business; how that is said is this file's.

use std::{
    borrow::Cow,
    fmt::{self, Display},
};

use serde::de::{Error, Expected, Unexpected};

/// A value that is not what it has to be.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// What is wrong with it.
    pub what: What,
    /// From the value up to the root: the last step comes first.
    steps: Vec<Step>,
}

/// One step from a value to one inside it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// To the value of a key.
    Key(String),
    /// To an entry of a list.
    Entry(usize),
}

/// What can be wrong with a value.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// A key that nothing reads.
    UnknownKey(String, &'static [&'static str]),
    /// A key that has to be there.
    MissingKey(&'static str),
    /// Text that is none of a closed list.
    UnknownChoice(String, &'static [&'static str]),
    /// A list, a mapping or a scalar where another is needed.
    Wrong(Given, String),
    /// A sentence of the type itself.
    Told(String),
}

/// What stands in the file instead.
#[derive(Clone, Debug)]
pub(super) enum Given {
    /// A key without a value.
    Nothing,
    /// Text.
    Text(String),
    /// A number or a boolean, as text.
    Scalar(String),
    /// A list.
    List,
    /// A mapping.
    Map,
}

impl Fault {
    /// A fault of the value at hand.
    pub(super) fn new(what: What) -> Self {
        Self { what, steps: Vec::new() }
    }

    /// The same, seen from one level further out.
    pub(super) fn under(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// What stands where text is needed, if it is text but for its quotes.
    pub(super) fn unquoted(&self) -> Option<&str> {
        match &self.what {
            What::Wrong(Given::Scalar(value), wanted) if wanted == TEXT => Some(value),
            _ => None,
        }
    }

    /// What stands alone where a list is needed.
    pub(super) fn alone(&self) -> Option<&str> {
        match &self.what {
            What::Wrong(Given::Text(text), wanted) if wanted == LIST => Some(text),
            _ => None,
        }
    }

    /// The first key of the mapping that is needed here.
    pub(super) fn first_key(&self) -> Option<&str> {
        match &self.what {
            What::Wrong(_, wanted) => wanted.strip_prefix(MAPPING)?.split(", ").next(),
            _ => None,
        }
    }

    /// The way from the root to the value.
    pub(super) fn path(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().rev()
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = match &self.what {
            What::UnknownKey(key, _) if key == MERGE => {
                "merge keys are not read; write the keys out".to_owned()
            }
            What::UnknownKey(key, known) => format!("`{key}` is not a key here; {}", instead(key, known)),
            What::MissingKey(key) => format!("`{key}` is missing"),
            What::UnknownChoice(given, known) => {
                format!("`{given}` is not known here; {}", instead(given, known))
            }
            What::Wrong(given, wanted) => wrong(given, wanted),
            What::Told(sentence) => sentence.clone(),
        };
        f.write_str(&without_logins(&sentence))
    }
}

/// A sentence without what stands before the host of a URL in it: many write a
/// store's password there, and what is wrong with a configuration is logged.
fn without_logins(sentence: &str) -> Cow<'_, str> {
    let Some((before, after)) = sentence.split_once("://") else { return sentence.into() };
    let end = after.find(['`', ' ', ',']).unwrap_or(after.len());
    let (url, rest) = after.split_at(end);
    let url = url.rsplit_once('@').map_or(url.to_owned(), |(_, host)| format!("…@{host}"));
    format!("{before}://{url}{}", without_logins(rest)).into()
}

impl std::error::Error for Fault {}

impl Error for Fault {
    fn custom<T: Display>(sentence: T) -> Self {
        Self::new(What::Told(sentence.to_string()))
    }

    fn invalid_type(given: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::new(What::Wrong(Given::from(given), wanted.to_string()))
    }

    fn invalid_value(given: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::invalid_type(given, wanted)
    }

    fn unknown_variant(given: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::UnknownChoice(given.to_owned(), known))
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::UnknownKey(key.to_owned(), known))
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(What::MissingKey(key))
    }
}

impl From<Unexpected<'_>> for Given {
    fn from(given: Unexpected<'_>) -> Self {
        match given {
            Unexpected::Unit | Unexpected::Option => Self::Nothing,
            Unexpected::Str(text) => Self::Text(text.to_owned()),
            Unexpected::Bool(value) => Self::Scalar(value.to_string()),
            Unexpected::Unsigned(value) => Self::Scalar(value.to_string()),
            Unexpected::Signed(value) => Self::Scalar(value.to_string()),
            Unexpected::Float(value) => Self::Scalar(value.to_string()),
            Unexpected::Seq => Self::List,
            Unexpected::Map => Self::Map,
            other => Self::Text(other.to_string()),
        }
    }
}

/// The known word that `given` was probably meant to be.
pub(super) fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let far = |word: &&str| strsim::osa_distance(&given.to_lowercase(), word);
    let best = known.iter().copied().min_by_key(far)?;
    // One slip for a short word, one in three letters for a long one.
    (far(&best) <= (best.len() / 3).max(1)).then_some(best)
}

fn instead(given: &str, known: &[&str]) -> String {
    let list = known.join(", ");
    match (nearest(given, known), known) {
        (_, []) => "nothing can be written here".to_owned(),
        (_, [only]) => format!("write `{only}`"),
        (Some(word), _) => format!("did you mean `{word}`? One of: {list}"),
        (None, _) => format!("write one of: {list}"),
    }
}

fn wrong(given: &Given, wanted: &str) -> String {
    let needed = needed(wanted);
    match given {
        // Of a secret nothing is told.
        Given::Scalar(_) if wanted == SECRET => {
            "what stands here is not text to YAML; write it in quotes".to_owned()
        }
        Given::Text(_) if wanted == SECRET => format!("this cannot stand here; write {needed}"),
        Given::Nothing => format!("nothing is written here; write {needed}, or remove the key"),
        Given::Text(text) if is_number(wanted) && text.parse::<u64>().is_ok() => {
            format!("`{text}` is text here; write {needed}, without quotes")
        }
        Given::Text(text) if wanted == LIST => format!("`{text}` stands alone; write a list, as `[{text}]`"),
        // Of what there is in between, the rules of its section know the range.
        Given::Text(text) | Given::Scalar(text) if is_number(wanted) => match most(wanted) {
            Some(most) if text.parse::<u64>().is_ok() => {
                format!("`{text}` is too large; write at most {most}")
            }
            _ => format!("`{text}` cannot stand here; write {needed}, as `10`"),
        },
        Given::Scalar(value) if wanted == TEXT || wanted == PATH => {
            format!("`{value}` is not text to YAML; write it in quotes, as `\"{value}\"`")
        }
        Given::Text(value) | Given::Scalar(value) => format!("`{value}` cannot stand here; write {needed}"),
        Given::List => format!("a list cannot stand here; write {needed}"),
        Given::Map => format!("a mapping cannot stand here; write {needed}"),
    }
}

fn needed(wanted: &str) -> String {
    match wanted {
        _ if is_number(wanted) => "a whole number".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        TEXT | PATH => "text".to_owned(),
        LIST => "a list".to_owned(),
        other => other.to_owned(),
    }
}

/// What a number of this type can be at most.
fn most(wanted: &str) -> Option<u64> {
    match wanted {
        "u8" => Some(u8::MAX.into()),
        "u16" => Some(u16::MAX.into()),
        "u32" => Some(u32::MAX.into()),
        _ => None,
    }
}

fn is_number(wanted: &str) -> bool {
    matches!(wanted, "u8" | "u16" | "u32" | "u64" | "usize")
}

/// How YAML 1.1 wrote "and the keys of that mapping too".
pub(super) const MERGE: &str = "<<";

/// What is said to be wanted where nothing of what is given may be told.
pub(in crate::config) const SECRET: &str = "a secret, as text";

/// How a mapping that is needed begins to be told; its keys follow.
pub(super) const MAPPING: &str = "a mapping with the keys ";

// How serde calls them.
const TEXT: &str = "a string";
const PATH: &str = "path string";
const LIST: &str = "a sequence";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_a_host_in_a_url_is_not_told() {
        for (given, told) in [
            ("`redis://u:pass@h:1` is no address", "`redis://…@h:1` is no address"),
            ("`rediss://u:p@ss@h:1` or `https://x@y`", "`rediss://…@h:1` or `https://…@y`"),
            ("see https://example.com, a@b", "see https://example.com, a@b"),
        ] {
            assert_eq!(without_logins(given), told);
        }
    }

    #[test]
    fn a_slip_is_answered_with_the_word_that_was_meant() {
        let known = ["name", "address", "tls"];

        assert_eq!(nearest("adress", &known), Some("address"));
        assert_eq!(nearest("nmae", &known), Some("name"));
        assert_eq!(nearest("TLS", &known), Some("tls"));
        assert_eq!(nearest("certificates", &known), None);
    }

    #[test]
    fn a_number_in_quotes_and_text_without_are_told_how_to_be_written() {
        let told = |given, wanted| wrong(&given, wanted);

        assert_eq!(
            told(Given::Text("7".into()), "u8"),
            "`7` is text here; write a whole number, without quotes"
        );
        assert_eq!(
            told(Given::Text("many".into()), "u32"),
            "`many` cannot stand here; write a whole number, as `10`"
        );
        assert_eq!(told(Given::Scalar("300".into()), "u8"), "`300` is too large; write at most 255");
        assert_eq!(
            told(Given::Scalar("1.2".into()), TEXT),
            "`1.2` is not text to YAML; write it in quotes, as `\"1.2\"`"
        );
        assert_eq!(told(Given::Text("a".into()), LIST), "`a` stands alone; write a list, as `[a]`");
    }
}
