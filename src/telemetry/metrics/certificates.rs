//! When certificates and lists of revoked ones end: of listeners, and of the gateway's own
//! towards upstreams.

use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use prometheus::proto::MetricType;

use super::{
    family::{Family, Sample, Scrape},
    unix_seconds,
};

/// When something in a file ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateExpiry {
    /// The listener's or the upstream's name.
    pub of: String,
    /// What operators call it: its file.
    pub file: String,
    /// A leaf's `notAfter`, a list's `nextUpdate`.
    pub at: SystemTime,
}

/// Those of the snapshot at work, as [`FAMILIES`](Certificates::FAMILIES) has them.
/// Replaced as a whole, so that no scrape sees half of a reload.
#[derive(Default)]
pub(super) struct Certificates(Mutex<[Vec<CertificateExpiry>; 3]>);

impl Certificates {
    pub(super) fn replace(&self, mut shown: [Vec<CertificateExpiry>; 3]) {
        for shown in &mut shown {
            // The same file twice is one series; the earliest end counts.
            shown.sort_by(|a, b| (&a.of, &a.file, a.at).cmp(&(&b.of, &b.file, b.at)));
            shown.dedup_by(|b, a| (&a.of, &a.file) == (&b.of, &b.file));
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }
}

impl Scrape for Certificates {
    const FAMILIES: &'static [Family] = &[EXPIRY, UPSTREAM_EXPIRY, LIST_EXPIRY];

    fn scrape(&self) -> Vec<Vec<Sample>> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |(family, shown): (&Family, &Vec<CertificateExpiry>)| {
            let each = shown.iter().map(|c| family.value(&[&c.of, &c.file], unix_seconds(c.at) as f64));
            each.collect()
        };
        Self::FAMILIES.iter().zip(shown.iter()).map(told).collect()
    }
}

const EXPIRY: Family = Family {
    name: "tollgate_certificate_expiry_timestamp_seconds",
    help: "When a certificate that a listener shows expires.",
    labels: &["listener", "certificate"],
    kind: MetricType::GAUGE,
};
const UPSTREAM_EXPIRY: Family = Family {
    name: "tollgate_upstream_certificate_expiry_timestamp_seconds",
    help: "When a certificate that the gateway shows to an upstream expires.",
    labels: &["upstream", "certificate"],
    kind: MetricType::GAUGE,
};
const LIST_EXPIRY: Family = Family {
    name: "tollgate_revocation_list_expiry_timestamp_seconds",
    help: "When a list of revoked client certificates has to be renewed.",
    labels: &["listener", "list"],
    kind: MetricType::GAUGE,
};
