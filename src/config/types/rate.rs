//! How many in how long: [`Rate`].

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Invalid, text_value};

/// How many requests in how long: `100/s`, `6000/m`, `10/h`, `1/d`. Never 0, at
/// most 1,000,000 a second.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    events: u32,
    per: Unit,
}

impl Rate {
    /// How many.
    pub fn events(self) -> u32 {
        self.events
    }

    /// In how long.
    pub fn per(self) -> Duration {
        Duration::from_secs(self.per.seconds().into())
    }

    /// The most that one second of it allows, rounded up: at least 1.
    pub fn per_second(self) -> u32 {
        self.events.div_ceil(self.per.seconds())
    }
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

impl Unit {
    fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per {
            Unit::Second => 's',
            Unit::Minute => 'm',
            Unit::Hour => 'h',
            Unit::Day => 'd',
        };
        write!(f, "{}/{unit}", self.events)
    }
}

impl FromStr for Rate {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let no_rate = || {
            Invalid::new(format!(
                "`{text}` is not a rate; write a count and a unit (s, m, h, d), as `100/s` or `6000/m`"
            ))
        };
        let (count, unit) = text.split_once('/').ok_or_else(no_rate)?;
        let per = match unit {
            "s" => Unit::Second,
            "m" => Unit::Minute,
            "h" => Unit::Hour,
            "d" => Unit::Day,
            _ => return Err(no_rate()),
        };
        if count.is_empty() || !count.bytes().all(|b| b.is_ascii_digit()) {
            return Err(no_rate());
        }
        let events = count.parse().ok().filter(|n: &u32| u64::from(*n) <= FASTEST * u64::from(per.seconds()));
        match events {
            Some(0) => Err(Invalid::new(format!(
                "`{text}` lets nobody in; write at least `1/{unit}`, or `deny` at a route"
            ))),
            Some(events) => Ok(Self { events, per }),
            None => Err(Invalid::new(format!(
                "`{text}` is more than a gateway serves; write at most `1000000/s`, or remove the limit"
            ))),
        }
    }
}

text_value!(Rate, "^[0-9]+/[smhd]$", "100/s");

/// A second. Above it the time of a token would be too short to count exactly.
const FASTEST: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_reads_and_prints_alike() {
        for text in ["100/s", "6000/m", "10/h", "1/d", "1000000/s"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        assert_eq!("6000/m".parse::<Rate>().unwrap().per(), Duration::from_secs(60));
        assert_eq!("61/m".parse::<Rate>().unwrap().per_second(), 2);
    }

    #[test]
    fn what_is_no_rate_says_what_to_write() {
        let why = |text: &str| text.parse::<Rate>().unwrap_err().to_string();

        for text in ["", "100", "/s", "100/", "100/sec", "100 / s", "-1/s", "+1/s", "1.5/s", "100rps", "1/ms"]
        {
            assert!(why(text).contains("write a count and a unit"), "{text}");
        }
        assert!(why("0/s").contains("at least `1/s`"));
        for text in ["1000001/s", "4294967296/d", "99999999999999999999/h"] {
            assert!(why(text).contains("at most `1000000/s`"), "{text}");
        }
    }
}
