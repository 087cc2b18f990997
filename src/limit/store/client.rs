//! The store as one thing that answers commands, be it one node or a cluster.

use redis::{Cmd, RedisResult, Value};

use super::{
    StoreSettings,
    cluster::{self, Cluster},
    link::{Dialer, Link},
};
use crate::telemetry::metrics::ExchangeResult;

/// A connection to the store, logged in. Clones are the same connection.
#[derive(Clone)]
pub(super) enum Client {
    Node(Link),
    Cluster(Cluster),
}

impl Client {
    /// Connects; the deadline is the caller's.
    pub(super) async fn connect(settings: &StoreSettings) -> Result<Self, ExchangeResult> {
        if settings.spec.cluster {
            return cluster::connect(settings).await.map(Self::Cluster);
        }
        let Some(address) = settings.spec.addresses.first() else {
            return Err(ExchangeResult::Unreachable);
        };
        Dialer::new(settings).dial(address.host(), address.port()).await.map(Self::Node)
    }

    /// What the store answers to a command.
    pub(super) async fn ask(&self, command: &Cmd) -> RedisResult<Value> {
        match self.clone() {
            Self::Node(mut link) => command.query_async(&mut link).await,
            Self::Cluster(mut cluster) => command.query_async(&mut cluster).await,
        }
    }

    /// Whether what is asked of one key says nothing of another.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}
