//! What the types alone cannot say about a section or entry: numbers in a range,
//! one of several keys, keys that need each other.
//!
//! One file for each file of specs. Nothing here looks at another entry, another
//! section or the disk.

mod listener;
mod route;
mod server;
mod upstream;

use std::fmt::Display;

use serde::de::DeserializeOwned;

use super::{Problems, Source, types::HostPattern};

/// A section or entry that is read from a file.
pub(super) trait Rules: DeserializeOwned {
    /// Tells everything that is wrong with it.
    fn check(&self, at: &mut At<'_>);
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
        !self.lost.iter().any(inside)
    }

    fn range<T: Display + PartialOrd>(&mut self, key: &str, value: T, from: T, to: T) {
        if value < from || value > to {
            self.error(key, format!("`{value}` is out of range; write something from `{from}` to `{to}`"));
        }
    }

    /// A host as it stands in a `Host` field: a name or an IP address, perhaps
    /// with a port.
    fn authority(&mut self, key: impl Display, value: &str) {
        let host = match value.rsplit_once(':') {
            Some((host, port)) if !port.is_empty() && port.parse::<u16>().is_ok() => host,
            _ => value,
        };
        if !matches!(host.parse(), Ok(HostPattern::Exact(_))) {
            let text = format!("`{value}` is not a host; write `api.example.com` or `api.example.com:8443`");
            self.error(key, text);
        }
    }

    fn path(&mut self, key: impl Display, value: &str) {
        if !value.starts_with('/') {
            self.error(key, format!("`{value}` is not a path; begin it with `/`"));
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
    }

    #[test]
    fn a_host_may_have_a_port_and_nothing_else() {
        let told = |text: &str| {
            let (source, mut problems) = (Source::file("f"), Problems::default());
            At { source: &source, lost: &[], problems: &mut problems }.authority("host", text);
            problems.has_errors()
        };

        assert!(["a.example", "a.example:80", "10.0.0.1", "[::1]:80"].iter().all(|text| !told(text)));
        assert!(["", "a b", "*.a", "a:x", "a:", "a/b", ":80", "::1"].iter().all(|text| told(text)));
    }
}
