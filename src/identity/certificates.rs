//! Who is who among verified client certificates.
//!
//! Owns the choice by the names in a certificate. Does not own whether it is good:
//! whoever asks has it from a handshake that judged it.

use std::sync::Arc;

use super::{Consumer, Flaw, Tenancy};
use crate::config::{
    authentication::AuthenticatorIndex,
    client_certificate::{CertificateConsumerSpec, CertificateNameSpec, ClientCertificateSpec},
    tenant::TenantIndex,
    types::{CertificateNames, SanPattern},
};

/// Who is who among verified client certificates, in the order of the configuration.
pub struct CertificateConsumers(Box<[Entry]>);

struct Entry {
    names: Box<[SanPattern]>,
    /// As it is for everyone, but for the name where that is each one's own.
    consumer: Consumer,
    own: Option<CertificateNameSpec>,
}

impl CertificateConsumers {
    /// As configured. `tenant` finds tenants by their name.
    pub fn new(
        spec: &ClientCertificateSpec,
        index: AuthenticatorIndex,
        tenant: impl Fn(&str) -> Option<TenantIndex>,
    ) -> Self {
        let entry = |spec: &CertificateConsumerSpec| {
            let name = spec.consumer.as_ref().map_or("", |name| name.as_str());
            let mut consumer = Consumer::new(index, name.into());
            consumer.scopes = spec.scopes.join(" ").into();
            consumer.tenant = spec.tenant.as_ref().and_then(|name| tenant(name.as_str()));
            Entry { names: spec.names.as_slice().into(), consumer, own: spec.consumer_from }
        };
        Self(spec.consumers.iter().map(entry).collect())
    }

    /// Who shows a certificate with these names, through an endpoint of `through`.
    ///
    /// # Errors
    /// When it is nobody, or somebody of another tenant.
    pub fn find(&self, names: &CertificateNames<'_>, through: Tenancy) -> Result<Consumer, Flaw> {
        let is_theirs = |entry: &&Entry| entry.names.iter().any(|name| name.fits(names));
        let entry = self.0.iter().find(is_theirs).ok_or(Flaw::Name)?;
        match (entry.consumer.tenant, through.tenant()) {
            // Somebody carried it out of its tenant.
            (Some(own), Some(through)) if own != through => return Err(Flaw::Tenant),
            _ => {}
        }
        let Some(own) = entry.own else { return Ok(entry.consumer.clone()) };
        let name = entry.own_name(own, names).filter(|name| !name.is_empty()).ok_or(Flaw::Name)?;
        Ok(Consumer { name: Arc::from(name), ..entry.consumer.clone() })
    }
}

impl Entry {
    /// Of several names of a kind the first that is itself one of the entry's: beside a name
    /// that lets it in, a certificate may have others that are somebody else's here.
    fn own_name<'a>(&self, which: CertificateNameSpec, names: &CertificateNames<'a>) -> Option<&'a str> {
        let first = |kind: &'a [Box<str>], alone: fn(&[Box<str>]) -> CertificateNames<'_>| {
            let fits = |name: &&[Box<str>]| self.names.iter().any(|pattern| pattern.fits(&alone(name)));
            kind.chunks(1).find(fits)?.first().map(|name| &**name)
        };
        match which {
            CertificateNameSpec::SpiffeId => names.spiffe_id,
            CertificateNameSpec::Dns => first(names.dns, |dns| CertificateNames { dns, ..NO_NAMES }),
            CertificateNameSpec::Email => {
                first(names.emails, |emails| CertificateNames { emails, ..NO_NAMES })
            }
            CertificateNameSpec::Subject => Some(names.subject),
        }
    }
}

const NO_NAMES: CertificateNames<'_> =
    CertificateNames { subject: "", spiffe_id: None, dns: &[], uris: &[], emails: &[] };

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "
consumers:
  - { names: [\"spiffe://example.org/ns/shop/sa/orders\"], consumer: orders, scopes: [read, write] }
  - { names: [\"spiffe://example.org/**\"], consumer_from: spiffe_id, tenant: billing }
  - { names: [\"subject:CN=old\"], consumer_from: dns }
";

    fn find(subject: &str, spiffe_id: Option<&str>, through: Tenancy) -> Result<Consumer, Flaw> {
        let tenant = |name: &str| (name == "billing").then_some(TenantIndex(1));
        let index = AuthenticatorIndex(3);
        let consumers = CertificateConsumers::new(&serde_yaml::from_str(SPEC).unwrap(), index, tenant);
        let names = CertificateNames { subject, spiffe_id, dns: &[], uris: &[], emails: &[] };
        consumers.find(&names, through)
    }

    #[test]
    fn the_first_that_fits_says_who_it_is() {
        let orders = find("", Some("spiffe://example.org/ns/shop/sa/orders"), Tenancy::Direct).unwrap();
        let other = find("", Some("spiffe://example.org/x"), Tenancy::Direct).unwrap();

        assert_eq!((&*orders.name, &*orders.scopes, orders.tenant), ("orders", "read write", None));
        assert_eq!(orders.vouched, AuthenticatorIndex(3));
        assert_eq!((&*other.name, other.tenant), ("spiffe://example.org/x", Some(TenantIndex(1))));
    }

    #[test]
    fn who_fits_nothing_or_has_no_name_of_its_own_is_nobody() {
        assert_eq!(find("", Some("spiffe://other.org/x"), Tenancy::Direct), Err(Flaw::Name));
        assert_eq!(find("CN=other", None, Tenancy::Direct), Err(Flaw::Name));
        assert_eq!(find("CN=old", None, Tenancy::Direct), Err(Flaw::Name));
    }

    #[test]
    fn a_name_that_let_nobody_in_is_nobodys_own() {
        let spec = "
consumers:
  - { names: [\"dns:*.partners.test\", \"subject:CN=b\"], consumer_from: dns }
  - { names: [\"email:a@partners.test\"], consumer_from: email }
";
        let spec = serde_yaml::from_str(spec).unwrap();
        let consumers = CertificateConsumers::new(&spec, AuthenticatorIndex(0), |_| None);
        let find = |subject, dns: &[&str], emails: &[&str]| {
            let boxed = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect::<Vec<_>>();
            let (dns, emails) = (boxed(dns), boxed(emails));
            let names = CertificateNames { subject, dns: &dns, emails: &emails, ..NO_NAMES };
            consumers.find(&names, Tenancy::Direct).map(|consumer| consumer.name.to_string())
        };

        assert_eq!(find("", &["admin.test", "a.partners.test"], &[]).unwrap(), "a.partners.test");
        assert_eq!(find("", &[], &["root@ours.test", "a@partners.test"]).unwrap(), "a@partners.test");
        assert_eq!(find("CN=b", &["admin.test"], &[]), Err(Flaw::Name));
    }

    #[test]
    fn a_certificate_is_of_no_use_through_another_tenants_endpoint() {
        let id = Some("spiffe://example.org/x");

        assert_eq!(find("", id, Tenancy::Of(TenantIndex(2))), Err(Flaw::Tenant));
        assert!(find("", id, Tenancy::Of(TenantIndex(1))).is_ok());
    }
}
