//! The signers of a snapshot, the fields that are theirs, and what they are counted in.
//!
//! Always holds: a field in which any signer's token may travel is in the list of
//! fields. Other spellings do not come so far: of a header map's names none has case,
//! and the gate lets none with an underscore through, nor is one a signer's.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::{
    config::signer::SignerIndex,
    jwt::{JwtLive, Now, Signer, Signers},
    telemetry::{Metrics, metrics::SignerSeries},
};

/// Who signs for requests.
pub struct Signing {
    /// Every signer, and the set of their public keys.
    pub signers: Signers,
    fields: Box<[HeaderName]>,
    series: Box<[Arc<SignerSeries>]>,
}

impl Signing {
    pub(super) fn new(signers: Signers, metrics: &Metrics) -> Self {
        let mut fields: Vec<_> = signers.iter().map(|signer| signer.header.clone()).collect();
        fields.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        fields.dedup();
        let series = signers.iter().map(|signer| metrics.signer(&signer.name)).collect();
        Self { fields: fields.into(), series, signers }
    }

    /// The same signers with what they are counted in, from now on at work.
    pub(super) fn at_work(&self, live: &JwtLive, metrics: &Metrics) -> Self {
        Self::new(self.signers.at_work(live, Now::read()), metrics)
    }

    /// The signer at this place, and what it is counted in.
    pub fn get(&self, index: SignerIndex) -> Option<(&Signer, &Arc<SignerSeries>)> {
        Some((self.signers.get(index)?, self.series.get(index.0)?))
    }

    /// Takes off every field in which a token of the gateway may travel, whoever wrote
    /// it there.
    pub fn strip(&self, headers: &mut HeaderMap) {
        self.fields.iter().for_each(|name| drop(headers.remove(name)));
    }
}
