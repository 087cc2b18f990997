//! A name that nothing has: which there are, and which was probably meant.

use std::fmt;

use super::fault::nearest;

/// A name that nothing has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unknown {
    /// What it should name, as `zone`.
    pub what: &'static str,
    /// As it was given.
    pub given: String,
    /// The names that there are.
    pub known: Vec<String>,
}

impl Unknown {
    /// The name, unless it is none of these.
    pub fn check<'k>(
        what: &'static str,
        given: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Result<(), Self> {
        let unknown = Self::new(what, given, known);
        if unknown.known.iter().any(|name| name == given) { Ok(()) } else { Err(unknown) }
    }

    /// A name that is none of these.
    pub fn new<'k>(what: &'static str, given: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        let mut known: Vec<String> = known.into_iter().map(str::to_owned).collect();
        known.sort_unstable();
        known.dedup();
        Self { what, given: given.to_owned(), known }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<_> = self.known.iter().map(String::as_str).collect();
        write!(f, "there is no {} `{}`; ", self.what, self.given)?;
        match (nearest(&self.given, &known), &known[..]) {
            (_, []) => write!(f, "no {} is known", self.what),
            (_, [only]) => write!(f, "write `{only}`"),
            (Some(word), _) => write!(f, "did you mean `{word}`? Known: {}", Shown(&known)),
            (None, _) => write!(f, "known: {}", Shown(&known)),
        }
    }
}

impl std::error::Error for Unknown {}

/// The first of many names.
struct Shown<'n>(&'n [&'n str]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<_> = self.0.iter().take(MOST).copied().collect();
        f.write_str(&shown.join(", "))?;
        let more = self.0.len().saturating_sub(MOST);
        if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
    }
}

const MOST: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_says_which_there_are_and_which_was_meant() {
        let told =
            |given| Unknown::check("zone", given, ["use1-az2", "use1-az1"]).map_err(|why| why.to_string());

        assert_eq!(told("use1-az1"), Ok(()));
        assert_eq!(
            told("us1-az1").unwrap_err(),
            "there is no zone `us1-az1`; did you mean `use1-az1`? Known: use1-az1, use1-az2"
        );
        assert_eq!(told("west").unwrap_err(), "there is no zone `west`; known: use1-az1, use1-az2");
        assert_eq!(
            Unknown::check("zone", "a", []).unwrap_err().to_string(),
            "there is no zone `a`; no zone is known"
        );
    }
}
