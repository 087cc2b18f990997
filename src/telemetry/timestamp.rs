//! A moment as text: RFC 3339, UTC, with milliseconds.

use std::{
    cell::Cell,
    time::{SystemTime, UNIX_EPOCH},
};

use time::OffsetDateTime;

/// `2026-11-20T18:24:59.123Z`. A moment before 1970 or after 9999 reads as 1970.
#[inline]
pub(super) fn rfc3339(at: SystemTime) -> [u8; 24] {
    thread_local! {
        // Requests come many to a second: the calendar is asked once for each.
        static SECOND: Cell<(u64, [u8; 24])> = const { Cell::new((u64::MAX, [0; 24])) };
    }
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (cached, mut text) = SECOND.get();
    if cached != since.as_secs() {
        text = whole_second(since.as_secs());
        SECOND.set((since.as_secs(), text));
    }
    let ms = since.subsec_millis();
    let [.., hundreds, tens, ones, _] = &mut text;
    (*hundreds, *tens, *ones) = (digit(ms / 100), digit(ms / 10), digit(ms));
    text
}

#[cold]
fn whole_second(unix: u64) -> [u8; 24] {
    let moment = i64::try_from(unix).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    let at = moment.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let year = at.year().unsigned_abs();
    let [c1, c2] = two(year / 100);
    let [y1, y2] = two(year);
    let [m1, m2] = two(u32::from(u8::from(at.month())));
    let [d1, d2] = two(u32::from(at.day()));
    let [h1, h2] = two(u32::from(at.hour()));
    let [i1, i2] = two(u32::from(at.minute()));
    let [s1, s2] = two(u32::from(at.second()));
    [
        c1, c2, y1, y2, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', i1, i2, b':', s1, s2, b'.', b'0',
        b'0', b'0', b'Z',
    ]
}

fn two(n: u32) -> [u8; 2] {
    [digit(n / 10), digit(n)]
}

/// The last decimal digit.
fn digit(n: u32) -> u8 {
    b'0' + (n % 10) as u8
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::format_description::well_known::Rfc3339;

    use super::*;

    fn at(ms: u64) -> String {
        String::from_utf8(rfc3339(UNIX_EPOCH + Duration::from_millis(ms)).to_vec()).unwrap()
    }

    #[test]
    fn moments_read_as_rfc_3339() {
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(at(951_782_400_007), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(253_402_300_799_999), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn the_cached_second_never_leaks_into_another() {
        let seen = [at(1_000_999), at(1_001_000), at(1_000_001)];

        assert_eq!(seen.map(|t| t[17..23].to_owned()), ["40.999", "41.000", "40.001"]);
    }

    #[test]
    fn a_moment_that_no_calendar_has_is_1970() {
        let before = UNIX_EPOCH - Duration::from_secs(1);

        assert_eq!(rfc3339(before), *b"1970-01-01T00:00:00.000Z");
        assert_eq!(at(253_402_300_800_000), "1970-01-01T00:00:00.000Z");
    }

    proptest::proptest! {
        #[test]
        fn every_moment_reads_as_the_time_crate_says(ms in 0_u64..253_402_300_800_000) {
            let nanos = i128::from(ms) * 1_000_000;
            let parsed = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap();

            let expected = parsed.truncate_to_second().format(&Rfc3339).unwrap();
            proptest::prop_assert_eq!(&at(ms)[..19], &expected[..19]);
            let ms_text = format!("{:03}Z", ms % 1000);
            proptest::prop_assert_eq!(&at(ms)[20..], ms_text.as_str());
        }
    }
}
