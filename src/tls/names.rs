//! Which certificate answers for a host.
//!
//! Owns the order exact name, wildcard of one label, nobody. Does not own what
//! nobody means: `table` decides between the default certificate and an alert.

use std::borrow::Cow;

use ahash::AHashMap;

/// The certificates of a listener by the DNS names in them.
#[derive(Default)]
pub(super) struct Names {
    exact: AHashMap<Box<str>, Slot>,
    /// By what follows the asterisk, which begins with its dot.
    wildcard: AHashMap<Box<str>, Slot>,
}

impl Names {
    /// Puts a certificate under one of its DNS names, which is lower case.
    pub fn insert(&mut self, name: &str, index: usize, ecdsa: bool) -> Inserted {
        if !is_host(name.strip_prefix("*.").unwrap_or(name)) {
            return Inserted::NotAHost;
        }
        let slot = match name.strip_prefix('*') {
            Some(suffix) => self.wildcard.entry(suffix.into()).or_default(),
            None => self.exact.entry(name.into()).or_default(),
        };
        let place = if ecdsa { &mut slot.ecdsa } else { &mut slot.rsa };
        match place {
            Some(there) if *there != index => Inserted::Taken(*there),
            _ => {
                *place = Some(index);
                Inserted::New
            }
        }
    }

    /// The certificates under a name as it is written in them.
    pub fn slot(&self, name: &str) -> Option<Slot> {
        let slot = match name.strip_prefix('*') {
            Some(suffix) => self.wildcard.get(suffix),
            None => self.exact.get(name),
        };
        slot.copied()
    }

    /// The certificates for a host in the form of [`canonical`].
    pub fn find(&self, host: &str) -> Option<Slot> {
        let wildcard = || self.wildcard.get(host.get(host.find('.')?..)?);
        self.exact.get(host).or_else(wildcard).copied()
    }
}

/// The certificates under one name, by index; at least one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Slot {
    /// One with an ECDSA key.
    pub ecdsa: Option<usize>,
    /// One with an RSA key.
    pub rsa: Option<usize>,
}

/// What became of a name.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Inserted {
    /// It finds the certificate now.
    New,
    /// It finds this other certificate of the same kind already.
    Taken(usize),
    /// No client can ask for it.
    NotAHost,
}

/// A host as all tables have it: lower case, without the root's dot. Costs
/// nothing when it is written so already.
pub(super) fn canonical(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// Whether a text is a host name that a client may send as a server name:
/// letters, digits, hyphens and underscores between dots.
pub(super) fn is_host(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(good);
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Names {
        let mut names = Names::default();
        for (index, name) in list.iter().enumerate() {
            assert_eq!(names.insert(name, index, true), Inserted::New);
        }
        names
    }

    #[test]
    fn an_exact_name_comes_before_a_wildcard_which_covers_one_label() {
        let names = names(&["*.b.test", "a.b.test"]);

        let found = |host| names.find(host).and_then(|slot| slot.ecdsa);

        assert_eq!(found("a.b.test"), Some(1));
        assert_eq!(found("x.b.test"), Some(0));
        assert_eq!(found("x.y.b.test"), None);
        assert_eq!(found("b.test"), None);
    }

    #[test]
    fn what_no_client_can_ask_for_is_told() {
        let mut names = Names::default();

        for bad in ["*", "a*.test", "*a.test", "*..test", "a b.test", "", "*.*.test"] {
            assert_eq!(names.insert(bad, 0, true), Inserted::NotAHost, "{bad}");
        }
    }

    #[test]
    fn two_of_one_kind_meet_and_two_kinds_do_not() {
        let mut names = names(&["a.test"]);

        assert_eq!(names.insert("a.test", 1, true), Inserted::Taken(0));
        assert_eq!(names.insert("a.test", 2, false), Inserted::New);
        assert_eq!(names.find("a.test"), Some(Slot { ecdsa: Some(0), rsa: Some(2) }));
    }

    #[test]
    fn a_host_is_compared_in_lower_case_and_without_its_last_dot() {
        assert_eq!(canonical("API.Example.com."), "api.example.com");
        assert!(matches!(canonical("api.example.com"), Cow::Borrowed(_)));
    }
}
