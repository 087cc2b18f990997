//! Who stands on what is looked up.

use std::{fmt, sync::Arc};

use crate::telemetry::metrics::NO_NAME;

/// Who stands on a source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum User {
    /// The upstream of this name, by its endpoints.
    Upstream(Arc<str>),
    /// The limits of the fleet, by how many gateways there are.
    Fleet,
}

impl User {
    /// Whether it is this upstream.
    pub(super) fn is_upstream(&self, name: &str) -> bool {
        matches!(self, Self::Upstream(own) if **own == *name)
    }

    /// What metrics call the upstream.
    pub(super) fn label(&self) -> &str {
        match self {
            Self::Upstream(name) => name,
            Self::Fleet => NO_NAME,
        }
    }
}

/// As log lines say it.
impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream(name) => write!(f, "upstream={name}"),
            Self::Fleet => f.write_str("fleet=gateways"),
        }
    }
}
