//! Cuts a page to a screen: each part gets what it needs or its fair share of the lines,
//! and loses what is dull first.

/// How much there is to draw on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size {
    /// Characters of a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

/// How a piece of a line looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs)]
pub enum Look {
    Plain,
    Strong,
    Soft,
    Good,
    Warn,
    Bad,
}

/// A line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// Its pieces, side by side.
    pub spans: Vec<(Look, String)>,
    /// Nobody misses it much: an endpoint that does what it should.
    pub dull: bool,
}

impl Line {
    /// With one more piece. What would move the cursor is left out of it.
    pub fn and(mut self, look: Look, text: impl AsRef<str>) -> Self {
        let text = text.as_ref().chars().filter(|c| !c.is_control()).collect();
        self.spans.push((look, text));
        self
    }

    /// Of one piece.
    pub fn of(look: Look, text: impl AsRef<str>) -> Self {
        Self::default().and(look, text)
    }

    fn cut(mut self, columns: usize) -> Self {
        let length = |text: &str| text.chars().count();
        if self.spans.iter().map(|(_, text)| length(text)).sum::<usize>() <= columns {
            return self;
        }
        let mut left = columns.saturating_sub(1);
        for (_, text) in &mut self.spans {
            let here = length(text).min(left);
            *text = text.chars().take(here).collect();
            left -= here;
        }
        self.and(Look::Soft, "…")
    }
}

/// A head that is always there, and parts below it, each with a title.
#[derive(Debug, Default)]
pub struct Page {
    /// What stands above.
    pub head: Vec<Line>,
    /// What may be cut; those without lines are left out.
    pub parts: Vec<Part>,
}

/// A title and what stands below it.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Part {
    pub title: Line,
    pub lines: Vec<Line>,
}

/// As much of the page as the screen shows.
pub fn fit(page: Page, size: Size) -> Vec<Line> {
    let parts: Vec<_> = page.parts.into_iter().filter(|part| !part.lines.is_empty()).collect();
    let titles = page.head.len() + parts.len();
    let whole = titles + parts.iter().map(|part| part.lines.len()).sum::<usize>();
    let is_airy = whole + parts.len() <= size.rows;
    let given = shares(&parts, size.rows.saturating_sub(titles));
    let mut lines = page.head;
    for (part, given) in parts.into_iter().zip(given) {
        lines.extend(is_airy.then(Line::default));
        lines.push(part.title);
        lines.extend(shorten(part.lines, given));
    }
    lines.truncate(size.rows);
    lines.into_iter().map(|line| line.cut(size.columns)).collect()
}

/// All of it, as wide and long as it is.
pub fn all(page: Page) -> Vec<Line> {
    fit(page, Size { columns: usize::MAX, rows: usize::MAX })
}

/// How many lines each part gets: who needs less than its share leaves the rest to the
/// others.
fn shares(parts: &[Part], rows: usize) -> Vec<usize> {
    let mut given = vec![0; parts.len()];
    let mut left = rows;
    loop {
        let hungry: Vec<_> =
            parts.iter().zip(&mut given).filter(|(part, given)| **given < part.lines.len()).collect();
        if hungry.is_empty() || left == 0 {
            return given;
        }
        let share = (left / hungry.len()).max(1);
        for (part, given) in hungry {
            let more = share.min(part.lines.len() - *given).min(left);
            *given += more;
            left -= more;
        }
    }
}

/// At most so many of the lines, the last of which says how many are missing.
fn shorten(lines: Vec<Line>, most: usize) -> Vec<Line> {
    if lines.len() <= most {
        return lines;
    }
    // Of a single line that one is more worth than a word of what is missing.
    let tells = most > 1;
    let most = if tells { most - 1 } else { most };
    let missing = lines.len() - most;
    let interesting = lines.iter().filter(|line| !line.dull).count();
    let (mut interesting, mut dull) = (interesting.min(most), most.saturating_sub(interesting));
    let mut take = |line: &Line| {
        let left = if line.dull { &mut dull } else { &mut interesting };
        let taken = *left > 0;
        *left = left.saturating_sub(1);
        taken
    };
    let mut kept: Vec<_> = lines.into_iter().filter(|line| take(line)).collect();
    kept.extend(tells.then(|| Line::of(Look::Soft, format!("  … {missing} more"))));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, dull: bool) -> Line {
        Line { dull, ..Line::of(Look::Plain, text) }
    }

    fn part(title: &str, lines: usize) -> Part {
        let lines = (0..lines).map(|nth| line(&format!("{title}{nth}"), true)).collect();
        Part { title: line(title, false), lines }
    }

    fn texts(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| line.spans.iter().map(|(_, text)| text.as_str()).collect()).collect()
    }

    #[test]
    fn a_page_that_fits_has_air_and_parts_without_lines_are_left_out() {
        let page =
            Page { head: vec![line("head", false)], parts: vec![part("a", 1), part("b", 0), part("c", 1)] };

        let shown = fit(page, Size { columns: 80, rows: 7 });

        assert_eq!(texts(&shown), ["head", "", "a", "a0", "", "c", "c0"]);
    }

    #[test]
    fn a_long_part_leaves_the_others_theirs_and_says_what_is_missing() {
        let page = Page { head: vec![line("head", false)], parts: vec![part("a", 100), part("b", 2)] };

        let shown = fit(page, Size { columns: 80, rows: 9 });

        assert_eq!(texts(&shown), ["head", "a", "a0", "a1", "a2", "  … 97 more", "b", "b0", "b1"]);
    }

    #[test]
    fn no_screen_is_too_small() {
        for (rows, columns) in [(1, 1), (2, 1), (3, 2), (5, 3)] {
            let parts = vec![part("a", 9), part("b", 9), part("c", 9)];
            let shown = fit(Page { head: vec![line("head", false)], parts }, Size { columns, rows });
            assert!(shown.len() <= rows, "{shown:?}");
            assert!(texts(&shown).iter().all(|text| text.chars().count() <= columns), "{shown:?}");
        }
    }

    #[test]
    fn what_is_dull_goes_first() {
        let mut long = part("a", 6);
        long.lines[4] = line("ejected", false);
        long.lines[5] = line("unhealthy", false);

        let shown = fit(Page { head: Vec::new(), parts: vec![long] }, Size { columns: 80, rows: 5 });

        assert_eq!(texts(&shown), ["a", "a0", "ejected", "unhealthy", "  … 3 more"]);
    }

    #[test]
    fn a_line_is_cut_by_characters_and_moves_no_cursor() {
        let long = Line::of(Look::Bad, "ääää").and(Look::Plain, "bb\x1b[2Jbb");

        assert_eq!(texts(&[long.clone().cut(7)]), ["ääääbb…"]);
        assert_eq!(texts(&[long.cut(80)]), ["ääääbb[2Jbb"]);
    }
}
