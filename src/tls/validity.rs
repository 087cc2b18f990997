//! Since when and until when a certificate is valid.
//!
//! Owns the warnings about it. Never an error: an expired certificate still
//! serves clients that do not mind, and refusing it would also refuse every
//! other change.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use boring::{
    asn1::{Asn1Time, Asn1TimeRef},
    x509::X509Ref,
};
use time::OffsetDateTime;

use crate::config::{Problems, Source};

/// The instant until which a certificate is valid, whole seconds; the epoch when
/// it cannot be told.
pub(super) fn not_after(certificate: &X509Ref) -> SystemTime {
    instant(certificate.not_after())
}

/// Warns of a certificate that clients refuse now or soon.
pub(super) fn warn(
    path: &Path,
    certificate: &X509Ref,
    now: SystemTime,
    source: &Source,
    problems: &mut Problems,
) {
    let (begin, end) = (instant(certificate.not_before()), not_after(certificate));
    let path = path.display();
    if now < begin {
        let day = day(begin);
        problems.warn(source, format!("`{path}` is not valid before {day}; until then it is refused"));
    }
    let Ok(left) = end.duration_since(now) else {
        problems.warn(source, format!("`{path}` expired on {}; it is refused: renew it", day(end)));
        return;
    };
    // Of a mesh's certificates, which live for hours, it is always soon.
    let lives = end.duration_since(begin).unwrap_or_default();
    if left < SOON.min(lives / 3) {
        let days = left.as_secs() / SECONDS_A_DAY;
        problems.warn(source, format!("`{path}` expires on {} (days left: {days}); renew it", day(end)));
    }
}

pub(super) fn instant(time: &Asn1TimeRef) -> SystemTime {
    let difference = Asn1Time::from_unix(0).and_then(|epoch| epoch.diff(time));
    let seconds = difference.map_or(0, |d| i64::from(d.days) * SECONDS_A_DAY as i64 + i64::from(d.secs));
    UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0))
}

pub(super) fn day(at: SystemTime) -> String {
    OffsetDateTime::from(at).date().to_string()
}

const SECONDS_A_DAY: u64 = 86_400;

/// Two weeks, or the last third of its life: a renewal that failed every night of one week is seen in the next.
const SOON: Duration = Duration::from_secs(14 * SECONDS_A_DAY);
