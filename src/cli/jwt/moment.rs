//! A moment as an operator writes it.

use std::{
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use time::{Date, Month, PrimitiveDateTime, Time};

/// A moment since 1970.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moment(pub SystemTime);

impl FromStr for Moment {
    type Err = &'static str;

    /// Seconds since 1970, or RFC 3339 in UTC, whole seconds.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seconds = text.parse().ok().or_else(|| utc(text));
        let at = seconds.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
        at.map(Self).ok_or("write a time in UTC, as `2026-11-21T10:00:00Z`, or seconds since 1970")
    }
}

fn utc(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let small = |number: u16| u8::try_from(number).ok();
    let date =
        Date::from_calendar_date(year.into(), Month::try_from(small(month)?).ok()?, small(day)?).ok()?;
    let time = Time::from_hms(small(hour)?, small(minute)?, small(second)?).ok()?;
    PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp().try_into().ok()
}

fn numbers(text: &str, between: char) -> Option<[u16; 3]> {
    let parts: Option<Vec<u16>> = text.split(between).map(|part| part.parse().ok()).collect();
    parts?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_mean_the_same() {
        let at = |text: &str| text.parse::<Moment>();

        assert_eq!(at("2027-01-15T08:00:00Z"), at("1800000000"));
        assert!(at("1800000000").is_ok());
        for bad in [
            "",
            "yesterday",
            "2027-01-15",
            "2027-13-15T08:00:00Z",
            "2027-01-15T08:00:00",
            "1969-01-15T08:00:00Z",
        ] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }
}
