//! How long and how much: [`Span`], [`ByteSize`] and [`Percent`].

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Invalid, text_value};

/// A length of time, written with a unit: `500ms`, `30s`, `5m`, `1h`. Never zero.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

impl Span {
    /// So many milliseconds; for the defaults in code.
    pub const fn millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// So many seconds; for the defaults in code.
    pub const fn secs(s: u64) -> Self {
        Self(Duration::from_secs(s))
    }

    /// The time itself.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            _ if ms.is_multiple_of(3_600_000) => write!(f, "{}h", ms / 3_600_000),
            _ if ms.is_multiple_of(60_000) => write!(f, "{}m", ms / 60_000),
            _ if ms.is_multiple_of(1_000) => write!(f, "{}s", ms / 1_000),
            _ => write!(f, "{ms}ms"),
        }
    }
}

impl FromStr for Span {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = text.strip_prefix(digits).unwrap_or_default();
        let ms = match unit {
            "ms" => Some(1),
            "s" => Some(1_000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            _ => None,
        };
        let parsed = digits.parse::<u64>().ok().zip(ms).and_then(|(n, ms)| n.checked_mul(ms));
        match parsed {
            // A year: beyond it is a typing mistake, and timers overflow.
            Some(ms) if ms > 0 && ms <= 31_536_000_000 => Ok(Self::millis(ms)),
            _ => Err(Invalid::new(format!(
                "`{text}` is not a length of time; write a count and a unit (ms, s, m, h), as `500ms` or `30s`"
            ))),
        }
    }
}

text_value!(Span, "^[0-9]+(ms|s|m|h)$", "30s");

/// A number of bytes: `512`, `64KiB`, `10MiB`, `1GiB`. Powers of 1024 only.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(u64);

impl ByteSize {
    /// So many bytes; for the defaults in code.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 >= 1 << shift && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl FromStr for ByteSize {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let shift = match text.strip_prefix(digits).unwrap_or_default() {
            "" | "B" => Some(0),
            "KiB" => Some(10),
            "MiB" => Some(20),
            "GiB" => Some(30),
            _ => None,
        };
        let parsed = digits.parse::<u64>().ok().zip(shift);
        parsed.and_then(|(n, shift)| n.checked_mul(1 << shift)).map(Self).ok_or_else(|| {
            Invalid::new(format!(
                "`{text}` is not a size; write a count and a unit (B, KiB, MiB, GiB), as `10MiB`"
            ))
        })
    }
}

text_value!(ByteSize, "^[0-9]+(B|KiB|MiB|GiB)?$", "10MiB");

/// A share, written `72%`: whole, 0 to 1000.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(u16);

impl Percent {
    /// So many hundredths; for the defaults in code.
    pub const fn new(hundredths: u16) -> Self {
        Self(hundredths)
    }

    /// The share: 1.0 is all.
    pub fn share(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl FromStr for Percent {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let parsed = digits.and_then(|digits| digits.parse().ok()).filter(|hundredths| *hundredths <= 1000);
        parsed.map(Self).ok_or_else(|| {
            Invalid::new(format!("`{text}` is not a share; write a whole number and `%`, as `50%`"))
        })
    }
}

text_value!(Percent, "^[0-9]{1,4}%$", "50%");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_reads_and_prints_alike() {
        for text in ["500ms", "30s", "5m", "1h", "90s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_span_without_unit_or_of_zero_says_what_to_write() {
        for text in ["5", "0s", "s", "-1s", "1d", "99999999999h"] {
            let why = text.parse::<Span>().unwrap_err().to_string();

            assert!(why.contains("write a count and a unit"), "{why}");
        }
    }

    #[test]
    fn a_size_is_in_powers_of_1024() {
        assert_eq!("64KiB".parse::<ByteSize>().unwrap().bytes(), 65_536);
        assert_eq!(ByteSize::new(10 << 20).to_string(), "10MiB");
        assert!("64KB".parse::<ByteSize>().is_err());
    }

    #[test]
    fn a_share_has_its_sign() {
        assert_eq!("72%".parse::<Percent>().unwrap().to_string(), "72%");
        for text in ["72", "%", "-1%", "+1%", "0.5%", "1001%"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }
}
