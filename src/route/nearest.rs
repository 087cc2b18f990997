//! Which known name a wrong one was meant to be.

/// A clause for the end of a message: the name that was probably meant, else
/// some of the known ones.
pub(super) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<_> = known.map(|name| (distance(wrong, name), name)).collect();
    known.sort_unstable();
    let Some((distance, name)) = known.first() else {
        return "none is defined".to_owned();
    };
    if *distance <= wrong.len() / 3 {
        return format!("write `{name}` if you mean that");
    }
    let mut names: Vec<_> = known.iter().map(|(_, name)| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(MANY);
    names.truncate(MANY);
    match more {
        0 => format!("known are {}", names.join(", ")),
        _ => format!("known are {} and {more} more", names.join(", ")),
    }
}

/// How many letters have to be put in, taken out or changed.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().zip(std::iter::once(None).chain(b.bytes().map(Some))) {
            let above = *cell;
            *cell = match to {
                None => i + 1,
                Some(to) => (diagonal + usize::from(from != to)).min(above + 1).min(left + 1),
            };
            (diagonal, left) = (above, *cell);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// As many names as a line holds.
const MANY: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_letters() {
        let cases =
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("orders", "order", 1), ("kitten", "sitting", 3)];

        for (a, b, wanted) in cases {
            assert_eq!((distance(a, b), distance(b, a)), (wanted, wanted), "{a} {b}");
        }
    }

    #[test]
    fn a_slip_is_named_and_a_stranger_gets_the_list() {
        let known = ["orders", "billing"];

        assert_eq!(nearest("ordres", known.into_iter()), "write `orders` if you mean that");
        assert_eq!(nearest("search", known.into_iter()), "known are `orders`, `billing`");
        assert_eq!(nearest("search", [].into_iter()), "none is defined");
        assert!(nearest("zzzzzzzz", ["a", "b", "c", "d", "e", "f", "g"].into_iter()).ends_with("and 1 more"));
    }
}
