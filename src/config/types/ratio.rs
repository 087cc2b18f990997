//! [`Ratio`]: a share of all, finer than a percent.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Invalid, text_value};

/// A share of all, written `5%` or `0.01%`: 0 to 100, with up to four decimals.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ratio(u32);

impl Ratio {
    /// So many hundredths, at most 100; for the defaults in code.
    pub const fn percent(hundredths: u32) -> Self {
        Self(hundredths * MILLIONTHS_A_PERCENT)
    }

    /// So many millionths; at most a million.
    pub const fn millionths(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / MILLIONTHS_A_PERCENT, self.0 % MILLIONTHS_A_PERCENT);
        let part = format!("{part:04}");
        let part = part.trim_end_matches('0');
        let point = if part.is_empty() { "" } else { "." };
        write!(f, "{whole}{point}{part}%")
    }
}

impl FromStr for Ratio {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        millionths(text).filter(|n| *n <= 100 * MILLIONTHS_A_PERCENT).map(Self).ok_or_else(|| {
            Invalid::new(format!(
                "`{text}` is not a share of all; write hundredths from `0%` to `100%` with at most four decimals, as `5%` or `0.01%`"
            ))
        })
    }
}

fn millionths(text: &str) -> Option<u32> {
    let digits = text.strip_suffix('%')?;
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |digits: &str, most: usize| {
        (1..=most).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
    };
    if !plain(whole, 3) || !plain(part, 4) {
        return None;
    }
    let part: u32 = format!("{part:0<4}").parse().ok()?;
    Some(whole.parse::<u32>().ok()? * MILLIONTHS_A_PERCENT + part)
}

text_value!(Ratio, r"^[0-9]{1,3}(\.[0-9]{1,4})?%$", "5%");

const MILLIONTHS_A_PERCENT: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_and_written_alike() {
        for (text, millionths) in
            [("0%", 0), ("5%", 50_000), ("0.01%", 100), ("12.5%", 125_000), ("100%", 1_000_000)]
        {
            let ratio: Ratio = text.parse().unwrap();

            assert_eq!((ratio.millionths(), ratio.to_string()), (millionths, text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_share_of_all_is_refused() {
        for bad in ["", "5", "%", "101%", "100.0001%", "0.00001%", ".5%", "5.%", "-1%", "+1%", "1e1%", "5 %"]
        {
            assert!(bad.parse::<Ratio>().is_err(), "{bad}");
        }
    }
}
