//! Asks who shows the certificate of a request's connection.

use super::Presented;
use crate::identity::{CertificateConsumers, Said};

/// What the names in a verified certificate say.
pub(super) fn ask(consumers: &CertificateConsumers, presented: &Presented<'_>) -> Said {
    let Some(certificate) = presented.certificate else { return Said::Nothing };
    let found = consumers.find(&certificate.names(), presented.tenancy);
    found.map_or_else(Said::Refused, Said::Vouched)
}
