//! `authentication[].client_certificate`: who is who among verified client certificates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Certificates that a listener's `client_auth` asked for and verified. Who shows none
/// presents nothing.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientCertificateSpec {}
