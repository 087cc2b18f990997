//! The hash of an API key, and until when one counts.

use std::{
    borrow::Cow,
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use time::{Date, Month, PrimitiveDateTime, Time};

use super::{Invalid, text_value};

/// The SHA-256 of an API key: 64 hex digits in lower case.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// As the hash function gives it.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for KeyDigest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for KeyDigest {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // What it is is not told: somebody may have written the key itself here.
        const NONE: &str = "this is not the SHA-256 of a key; write its 64 hex digits in lower case, as \
                            `tollgate apikey new` and `tollgate apikey hash` print them, never the key itself";
        let digits = text.as_bytes();
        let is_hex = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 64 || !digits.iter().all(is_hex) {
            return Err(Invalid::new(NONE));
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
            *byte = pair.ok_or_else(|| Invalid::new(NONE))?;
        }
        Ok(Self(bytes))
    }
}

text_value!(KeyDigest, "^[0-9a-f]{64}$", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08");

/// A moment: `2027-01-31T12:00:00Z`, or `2027-01-31`, where that day begins. UTC.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct MomentOfDay(PrimitiveDateTime);

impl MomentOfDay {
    /// As the clock has it; what lies before 1970 is then.
    pub fn time(self) -> SystemTime {
        let seconds = self.0.assume_utc().unix_timestamp();
        UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
    }
}

impl fmt::Display for MomentOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, time) = (self.0.date(), self.0.time());
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second()
        )
    }
}

impl FromStr for MomentOfDay {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        read(text).map(Self).ok_or_else(|| {
            Invalid::new(format!(
                "`{text}` is no moment; write a day or a time in UTC, as `2027-01-31` or `2027-01-31T12:00:00Z`"
            ))
        })
    }
}

text_value!(
    MomentOfDay,
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$",
    "2027-01-31T12:00:00Z"
);

fn read(text: &str) -> Option<PrimitiveDateTime> {
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::from(year), month, u8::try_from(day).ok()?).ok()?;
    let time = match time {
        None => Time::MIDNIGHT,
        Some(time) => {
            let [hour, minute, second] = numbers(time.strip_suffix('Z')?, ':', [2, 2, 2])?;
            let part = |number: u16| u8::try_from(number).ok();
            Time::from_hms(part(hour)?, part(minute)?, part(second)?).ok()?
        }
    };
    Some(PrimitiveDateTime::new(date, time))
}

/// Three numbers with exactly so many digits each.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u16; 3]> {
    let mut parts = text.split(between);
    let mut read = [0; 3];
    for (number, digits) in read.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits)?;
        *number = part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok()).flatten()?;
    }
    parts.next().is_none().then_some(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_64_lower_case_digits_and_nothing_else_is_repeated() {
        let good = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

        assert_eq!(good.parse::<KeyDigest>().unwrap().to_string(), good);
        assert_eq!(good.parse::<KeyDigest>().unwrap().bytes()[..2], [0x9f, 0x86]);
        for bad in ["", &good[1..], &good.to_uppercase(), "tgk_secret", &good.replace('9', "+")] {
            let told = bad.parse::<KeyDigest>().unwrap_err().to_string();
            assert!(told.starts_with("this is not the SHA-256"), "{told}");
            assert!(!told.contains("tgk_secret"));
        }
    }

    #[test]
    fn a_moment_is_a_day_or_a_time_in_utc() {
        let unix = |text: &str| {
            let moment: MomentOfDay = text.parse().unwrap();
            moment.time().duration_since(UNIX_EPOCH).unwrap().as_secs()
        };

        assert_eq!(unix("1970-01-02"), 86_400);
        assert_eq!(unix("2026-11-30T03:04:18Z"), 1_796_007_858);
        assert_eq!("2027-01-31".parse::<MomentOfDay>().unwrap().to_string(), "2027-01-31T00:00:00Z");
        for bad in [
            "",
            "2027-13-01",
            "2027-02-30",
            "2027-1-1",
            "2027-01-31 12:00",
            "2027-01-31T12:00:00+01:00",
            "+027-01-01",
        ] {
            assert!(bad.parse::<MomentOfDay>().is_err(), "{bad}");
        }
    }
}
