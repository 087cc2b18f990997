//! Asks who shows the certificate of a request's connection.

use super::Presented;
use crate::identity::{CertificateConsumers, Flaw, Said};

/// What the names in a verified certificate say. A connection may outlive its certificate.
pub(super) fn ask(consumers: &CertificateConsumers, presented: &Presented<'_>) -> Said {
    let Some(certificate) = presented.certificate else { return Said::Nothing };
    if certificate.not_after <= presented.now {
        return Said::Refused(Flaw::Expired);
    }
    let found = consumers.find(&certificate.names(), presented.tenancy);
    found.map_or_else(Said::Refused, Said::Vouched)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::HeaderMap;
    use smallvec::SmallVec;

    use super::*;
    use crate::{config::authentication::AuthenticatorIndex, identity::Tenancy, tls::ClientCertificate};

    #[test]
    fn a_certificate_that_expired_on_an_open_connection_is_nobodys() {
        let spec = "consumers: [{ names: ['subject:CN=a'], consumer: a }]";
        let spec = serde_yaml::from_str(spec).unwrap();
        let consumers = CertificateConsumers::new(&spec, AuthenticatorIndex(0), |_| None);
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let certificate = ClientCertificate {
            subject: "CN=a".into(),
            fingerprint: [0; 32],
            serial: "1".into(),
            dns_names: Box::default(),
            uris: Box::default(),
            emails: Box::default(),
            not_after: end,
        };
        let (headers, certificate) = (HeaderMap::new(), Some(&certificate));
        let said = |now| {
            let (headers, settled) = (&headers, SmallVec::new());
            ask(&consumers, &Presented { headers, certificate, tenancy: Tenancy::Direct, now, settled })
        };

        assert!(matches!(said(end - Duration::from_secs(1)), Said::Vouched(_)));
        assert_eq!(said(end), Said::Refused(Flaw::Expired));
    }
}
