//! `authentication[].client_certificate`: who is who among verified client certificates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{Name, SanPattern};

/// Certificates that a listener's `client_auth` asked for and verified. Who shows none
/// presents nothing; whose certificate is nobody's here is refused.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientCertificateSpec {
    /// Whose certificate is whose; the first that fits counts.
    pub consumers: Vec<CertificateConsumerSpec>,
}

/// Whose certificates have one of some names. Exactly one of `consumer` and
/// `consumer_from` says who that is.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateConsumerSpec {
    /// Any of these; at least one.
    pub names: Vec<SanPattern>,
    /// The name that rules, limits, logs and claims know them by.
    #[serde(default)]
    pub consumer: Option<Name>,
    /// Each is known by a name in its own certificate.
    #[serde(default)]
    pub consumer_from: Option<CertificateNameSpec>,
    /// Whose tenant's. Through the VPC endpoint of another tenant the certificate is not
    /// good.
    #[serde(default)]
    pub tenant: Option<Name>,
    /// What they may do.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// Which name in a certificate.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateNameSpec {
    /// The SPIFFE id, whole.
    SpiffeId,
    /// The first DNS name that is itself one of `names`.
    Dns,
    /// The first e-mail address that is itself one of `names`.
    Email,
    /// The subject, as logs show it.
    Subject,
}
