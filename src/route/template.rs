//! The text that takes the place of what a pattern matched: `$1` and `${name}`
//! stand for captures, `$$` for a dollar sign.

use regex::Regex;

use super::path;
use crate::config::types::Invalid;

/// Checks a template against its pattern: that its captures exist and that its
/// own text can be part of a path.
///
/// # Errors
/// The sentence to tell.
pub(super) fn check(template: &str, pattern: &Regex) -> Result<(), Invalid> {
    let mut literal = String::with_capacity(template.len() + 1);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        literal.push_str(before);
        rest = match reference(after) {
            Some((name, after)) => {
                known(name, pattern)?;
                // Stands for any capture: a letter changes no segment.
                literal.push('x');
                after
            }
            None => {
                literal.push('$');
                after.strip_prefix('$').unwrap_or(after)
            }
        };
    }
    literal.push_str(rest);
    let absolute = format!("/{literal}");
    match path::canonical_without_dots(absolute.as_bytes()) {
        Ok(_) => Ok(()),
        Err(why) => Err(Invalid::new(format!("`{template}` does not make a path: {why}"))),
    }
}

/// The capture that the text after a `$` names, and what comes after it.
fn reference(text: &str) -> Option<(&str, &str)> {
    if let Some(braced) = text.strip_prefix('{') {
        return braced.split_once('}');
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at_checked(end).filter(|(name, _)| !name.is_empty())
}

fn known(name: &str, pattern: &Regex) -> Result<(), Invalid> {
    let numbered = name.parse::<usize>().is_ok_and(|number| number < pattern.captures_len());
    if numbered || pattern.capture_names().flatten().any(|known| known == name) {
        return Ok(());
    }
    let digits = name.bytes().take_while(u8::is_ascii_digit).count();
    let hint = match name.split_at_checked(digits) {
        Some((number, letters)) if !number.is_empty() && !letters.is_empty() => {
            format!("if you mean capture {number} and then `{letters}`, write `${{{number}}}{letters}`")
        }
        _ => format!("the pattern has {}", pattern.captures_len() - 1),
    };
    Err(Invalid::new(format!("there is no capture `{name}` in `{pattern}`; {hint}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_the_regex_crate_reads_them() {
        let cases =
            [("1a-", Some(("1a", "-"))), ("{1}a", Some(("1", "a"))), ("$", None), ("", None), ("{1", None)];

        for (text, wanted) in cases {
            assert_eq!(reference(text), wanted, "{text}");
        }
    }

    #[test]
    fn dollars_that_name_nothing_are_text() {
        let pattern = Regex::new("a").unwrap();

        assert_eq!(check("/a$$1/$", &pattern), Ok(()));
        assert_eq!(pattern.replace("a", "/a$$1/$"), "/a$1/$");
        assert!(check("/$1", &pattern).is_err());
    }
}
