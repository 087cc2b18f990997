//! Who follows the snapshot that serves, each on a thread of its own.

use std::sync::Arc;

use super::Systemd;
use crate::{
    jwt::trust::KeyFetcher,
    limit::store::Store,
    telemetry::SpanExporter,
    upstream::{discovery::Discovery, health::HealthChecks},
};

/// Who follows the snapshot that serves.
#[derive(Clone)]
pub struct Followers {
    /// Asks their endpoints whether they can serve.
    pub health: Arc<HealthChecks>,
    /// Finds their endpoints.
    pub discovery: Arc<Discovery>,
    /// Fetches the keys that verify its clients' tokens.
    pub key_sets: Arc<KeyFetcher>,
    /// Settles its leases up.
    pub store: Arc<Store>,
    /// Sends what it records.
    pub spans: Arc<SpanExporter>,
    /// Is told what serves.
    pub systemd: Arc<Systemd>,
}
