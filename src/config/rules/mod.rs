//! What the types alone cannot say about a section or entry: numbers in a range,
//! one of several keys, keys that need each other.
//!
//! One file for each file of specs; routes have none, for what fits together in
//! them the router finds when it is built. Nothing here looks at another entry,
//! another section or the disk.

mod api_key;
mod authentication;
mod client_certificate;
mod discovery;
mod fleet;
mod health_check;
mod issuer;
mod limit;
mod listener;
mod location;
mod server;
mod signer;
mod tenant;
mod tracing;
mod upstream;

use std::{fmt::Display, sync::Arc};

use serde::de::DeserializeOwned;

use super::{Problems, Source, document::Node, fault::MERGE, route::RouteSpec};

/// A section or entry that is read from a file.
pub(super) trait Rules: DeserializeOwned {
    /// Tells everything that is wrong with it.
    fn check(&self, at: &mut At<'_>);

    /// What was read already, and has nothing wrong with it.
    fn taken(_: &Node) -> Option<Arc<Self>> {
        None
    }
}

impl Rules for RouteSpec {
    fn check(&self, _: &mut At<'_>) {}

    fn taken(node: &Node) -> Option<Arc<Self>> {
        match node {
            Node::Route(spec) => Some(spec.clone()),
            _ => None,
        }
    }
}

/// Where a section or entry is, and where what is wrong with it goes.
pub(super) struct At<'a> {
    /// Its place.
    pub source: &'a Source,
    /// The key paths inside it that were told to be wrong, and replaced by
    /// their defaults.
    pub lost: &'a [String],
    /// Everything that is wrong.
    pub problems: &'a mut Problems,
}

impl At<'_> {
    fn error(&mut self, key: impl Display, text: impl Into<String>) {
        self.problems.error(&self.source.key(&key.to_string()), text);
    }

    fn warn(&mut self, key: impl Display, text: impl Into<String>) {
        self.problems.warn(&self.source.key(&key.to_string()), text);
    }

    /// Whether the value of a key is the operator's own, all of it.
    fn is_whole(&self, key: &str) -> bool {
        let inside = |lost: &String| {
            lost.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        // A merge key would have brought anything.
        !self.lost.iter().any(|lost| lost == MERGE || inside(lost))
    }

    fn range<T: Display + PartialOrd>(&mut self, key: &str, value: T, from: T, to: T) {
        if value < from || value > to {
            self.error(key, format!("`{value}` is out of range; write something from `{from}` to `{to}`"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_whole_unless_something_inside_it_was_lost() {
        let (source, lost) = (Source::file("f"), ["tls.client.key".to_owned(), "endpoints[0]".to_owned()]);
        let at = At { source: &source, lost: &lost, problems: &mut Problems::default() };

        assert!(!at.is_whole("tls"));
        assert!(!at.is_whole("endpoints"));
        assert!(at.is_whole("tl"));
        assert!(at.is_whole("tls.ca"));
        assert!(!At { lost: &["<<".to_owned()], ..at }.is_whole("tls.ca"));
    }
}
