//! When the certificates that listeners show expire.

use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use prometheus::proto::{Metric, MetricType};

use super::{
    family::{Family, Scrape},
    unix_seconds,
};

/// The end of a certificate that a listener shows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateExpiry {
    /// The listener's name.
    pub listener: String,
    /// What operators call the certificate: its file.
    pub certificate: String,
    /// The leaf's `notAfter`.
    pub at: SystemTime,
}

/// Those of the snapshot at work. Replaced as a whole, so that no scrape sees
/// half of a reload.
#[derive(Default)]
pub(super) struct Certificates(Mutex<Vec<CertificateExpiry>>);

impl Certificates {
    pub(super) fn replace(&self, mut shown: Vec<CertificateExpiry>) {
        // The same file twice in a listener is one series.
        shown.sort_by(|a, b| (&a.listener, &a.certificate, a.at).cmp(&(&b.listener, &b.certificate, b.at)));
        shown.dedup_by(|b, a| (&a.listener, &a.certificate) == (&b.listener, &b.certificate));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }
}

impl Scrape for Certificates {
    const FAMILIES: &'static [Family] = &[EXPIRY];

    fn scrape(&self) -> Vec<Vec<Metric>> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told =
            shown.iter().map(|c| EXPIRY.value(&[&c.listener, &c.certificate], unix_seconds(c.at) as f64));
        vec![told.collect()]
    }
}

const EXPIRY: Family = Family {
    name: "tollgate_certificate_expiry_timestamp_seconds",
    help: "When a certificate that a listener shows expires.",
    labels: &["listener", "certificate"],
    kind: MetricType::GAUGE,
};
