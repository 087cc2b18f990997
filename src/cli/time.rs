//! Lengths of time as arguments: with a unit, `60s` or `2m`, or a bare number of seconds.

use std::{ops::RangeInclusive, time::Duration};

use crate::config::types::{Invalid, Span};

/// Any length of time, none too.
pub(super) fn duration(text: &str) -> Result<Duration, Invalid> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    text.parse().map(Span::duration).map_err(|_| {
        Invalid::new(format!(
            "`{text}` is not a length of time; write seconds, as `60`, or a count and a unit (ms, s, m, h), as `2m`"
        ))
    })
}

/// Whole seconds, from 1 to an hour.
pub(super) fn up_to_an_hour(text: &str) -> Result<u16, Invalid> {
    seconds(text, 1..=3600)
}

/// Whole seconds, none too.
pub(super) fn or_none(text: &str) -> Result<u16, Invalid> {
    seconds(text, 0..=u16::MAX)
}

fn seconds(text: &str, range: RangeInclusive<u16>) -> Result<u16, Invalid> {
    let time = duration(text)?;
    let whole = u16::try_from(time.as_secs()).ok().filter(|_| time.subsec_nanos() == 0);
    whole.filter(|seconds| range.contains(seconds)).ok_or_else(|| {
        let (least, most) = (range.start(), Span::secs((*range.end()).into()));
        Invalid::new(format!("`{text}` is out of range; write whole seconds, from `{least}s` to `{most}`"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_or_is_in_seconds() {
        for (text, read) in [("60", 60), ("60s", 60), ("2m", 120), ("1h", 3600), ("1000ms", 1)] {
            assert_eq!(up_to_an_hour(text), Ok(read), "{text}");
        }
        assert_eq!(or_none("0"), Ok(0));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn what_is_no_time_says_what_to_write() {
        for (text, wanted) in [
            ("x", "write seconds, as `60`, or a count and a unit"),
            ("", "write seconds, as `60`"),
            ("1.5s", "write seconds, as `60`"),
            ("0", "whole seconds, from `1s` to `1h`"),
            ("2h", "whole seconds, from `1s` to `1h`"),
            ("1500ms", "whole seconds, from `1s` to `1h`"),
        ] {
            let told = up_to_an_hour(text).unwrap_err().to_string();
            assert!(told.contains(wanted), "{text}: {told}");
        }
    }
}
