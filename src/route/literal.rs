//! What is certain about the paths that a pattern matches, read off its text.
//!
//! For warnings only: what is not certain is left out, never guessed.

/// The literal beginning of a pattern.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Literal {
    /// Every path that matches begins with this.
    pub(super) head: String,
    /// Whether it is all that matches.
    pub(super) whole: bool,
}

/// The literal beginning of an anchored pattern; empty when nothing is certain.
pub(super) fn literal(pattern: &str) -> Literal {
    let nothing = Literal { head: String::new(), whole: false };
    let Some(anchored) = pattern.strip_prefix('^') else { return nothing };
    // Alternatives and flags change what the rest means.
    if anchored.contains('|') || anchored.contains("(?") {
        return nothing;
    }
    let mut head = String::new();
    let mut rest = anchored.chars();
    while let Some(next) = rest.next() {
        match next {
            '\\' => match rest.next().filter(char::is_ascii_punctuation) {
                Some(escaped) => head.push(escaped),
                None => return Literal { head, whole: false },
            },
            '$' => return Literal { whole: rest.as_str().is_empty(), head },
            '*' | '?' | '{' | '+' => {
                // It may be there or not, or again.
                head.pop();
                return Literal { head, whole: false };
            }
            '.' | '[' | '(' => return Literal { head, whole: false },
            _ => head.push(next),
        }
    }
    Literal { head, whole: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_literal_beginning_ends_where_certainty_does() {
        let cases = [
            ("^/x$", "/x", true),
            (r"^/a\.b$", "/a.b", true),
            ("^/orders/[0-9]+$", "/orders/", false),
            ("^/orders/", "/orders/", false),
            ("^/ordersx?/", "/orders", false),
            ("^/a/b{2}", "/a/", false),
            (r"^/a/\d", "/a/", false),
            ("^/a$b", "/a", false),
            ("/x", "", false),
            ("^/a|b", "", false),
            ("^(?i)/a", "", false),
            ("^", "", false),
        ];

        for (pattern, head, whole) in cases {
            assert_eq!(literal(pattern), Literal { head: head.to_owned(), whole }, "{pattern}");
        }
    }
}
