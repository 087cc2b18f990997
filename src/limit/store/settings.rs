//! How the store is reached: what the operator wrote, with the authorities that its
//! certificate must come from.

use std::{fmt, sync::Arc, time::Duration};

use boring::{error::ErrorStack, x509::X509};

use super::tls::Tls;
use crate::{config::fleet::StoreSpec, limit::lease::lenience};

/// How the store is reached. Equal ones reach the same store in the same way.
pub struct StoreSettings {
    pub(super) spec: StoreSpec,
    pub(super) tls: Option<Arc<Tls>>,
    /// The authorities' DER: a file can change while its name does not.
    authorities: Vec<Vec<u8>>,
}

impl StoreSettings {
    /// As written; `authorities` are those that TLS names, `None` the system's.
    pub fn new(spec: &StoreSpec, authorities: Option<&[X509]>) -> Result<Self, ErrorStack> {
        let tls = spec.tls.as_ref().map(|tls| Tls::new(tls.server_name.as_deref(), authorities));
        let tls = tls.transpose()?.map(Arc::new);
        let der = authorities.unwrap_or_default().iter().map(|one| one.to_der());
        Ok(Self { spec: spec.clone(), tls, authorities: der.collect::<Result<_, _>>()? })
    }

    /// How often gateways settle up.
    pub fn exchange_every(&self) -> Duration {
        self.spec.exchange_every.duration()
    }

    /// How long an exchange may take.
    pub fn timeout(&self) -> Duration {
        self.spec.timeout.duration()
    }

    /// How long it takes at the most until what was spent is reckoned.
    pub fn lenience(&self) -> Duration {
        lenience(self.exchange_every(), self.timeout())
    }

    /// The addresses as written, with a comma between them.
    pub fn addresses(&self) -> String {
        self.spec.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

impl PartialEq for StoreSettings {
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec && self.authorities == other.authorities
    }
}

impl fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSettings").field("spec", &self.spec).finish_non_exhaustive()
    }
}
