//! `max_share<0.6`: what has to hold of a simulated split.
//!
//! A figure, a comparison, and a number or percentage; nothing else.

use std::{fmt, str::FromStr};

use crate::upstream::Split;

/// What has to hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Assertion {
    /// One of [`Split::FIGURES`].
    pub figure: &'static str,
    comparison: Comparison,
    bound: f64,
    written: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
    Equal,
}

/// What is wrong with an assertion, and what to write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unclear(String);

impl Assertion {
    /// Whether a figure keeps to it; a millionth does not count.
    pub fn holds(&self, value: f64) -> bool {
        let over = value - self.bound;
        match self.comparison {
            Comparison::Below => over < -NOTHING,
            Comparison::AtMost => over <= NOTHING,
            Comparison::Above => over > NOTHING,
            Comparison::AtLeast => over >= -NOTHING,
            Comparison::Equal => over.abs() <= NOTHING,
        }
    }
}

impl Assertion {
    /// What does not hold, and the figure as the bound is written.
    pub fn broken_by(&self, value: f64) -> String {
        match self.written.trim_end().ends_with('%') {
            true => format!("{self}, it is {:.1}%", value * 100.0),
            false => format!("{self}, it is {value}"),
        }
    }
}

impl FromStr for Assertion {
    type Err = Unclear;

    fn from_str(text: &str) -> Result<Self, Unclear> {
        let parts = COMPARISONS.iter().find_map(|(sign, comparison)| {
            text.split_once(sign).map(|(figure, bound)| (figure.trim(), *comparison, bound.trim()))
        });
        let Some((figure, comparison, bound)) = parts else {
            return Err(Unclear(
                "a comparison is missing; write <, <=, >, >= or ==, as `max_share<0.6`".to_owned(),
            ));
        };
        let Some(figure) = Split::FIGURES.into_iter().find(|name| *name == figure) else {
            return Err(Unclear(format!(
                "`{figure}` is no figure; write one of: {}",
                Split::FIGURES.join(", ")
            )));
        };
        let number = match bound.strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().map(|number| number / 100.0),
            None => bound.parse(),
        };
        match number.ok().filter(|number| number.is_finite()) {
            Some(bound) => Ok(Self { figure, comparison, bound, written: text.to_owned() }),
            None => Err(Unclear(format!("`{bound}` is not a number; write one as 0.6 or 60%"))),
        }
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Display for Unclear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unclear {}

/// Those of two characters before those that they begin with.
const COMPARISONS: [(&str, Comparison); 5] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Equal),
    ("<", Comparison::Below),
    (">", Comparison::Above),
];
const NOTHING: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_comparison_holds_where_it_should() {
        let holds = |text: &str, value| text.parse::<Assertion>().unwrap().holds(value);

        for (text, below, equal, above) in [
            ("max_share<0.6", true, false, false),
            ("max_share <= 60%", true, true, false),
            ("spill>0.6", false, false, true),
            ("max_load >= 0.6", false, true, true),
            ("unserved == 60 %", false, true, false),
        ] {
            assert_eq!(
                (holds(text, 0.5), holds(text, 0.6), holds(text, 0.7)),
                (below, equal, above),
                "{text}"
            );
        }
    }

    #[test]
    fn what_does_not_hold_is_told_as_its_bound_is_written() {
        let told = |text: &str| text.parse::<Assertion>().unwrap().broken_by(0.75);

        assert_eq!(told("spill<=50%"), "spill<=50%, it is 75.0%");
        assert_eq!(told("spill<=0.5"), "spill<=0.5, it is 0.75");
    }

    #[test]
    fn what_is_unclear_says_what_to_write() {
        for (text, wanted) in [
            ("max_share", "write <, <=, >, >= or =="),
            ("max_share=0.6", "write <, <=, >, >= or =="),
            ("share<0.6", "write one of: max_share, max_zone_share, spill"),
            ("max_share<", "write one as 0.6 or 60%"),
            ("max_share<1<2", "write one as 0.6 or 60%"),
            ("max_share<nan", "write one as 0.6 or 60%"),
        ] {
            let told = text.parse::<Assertion>().unwrap_err().to_string();
            assert!(told.contains(wanted), "{text}: {told}");
        }
    }

    #[test]
    fn every_figure_has_a_value() {
        assert!(Split::FIGURES.iter().all(|name| Split::default().figure(name).is_some()));
    }
}
