//! A cluster's nodes, as `redis` connects to them: by itself, and with TLS only if
//! that is its own. So it is told here how.
//!
//! The crate asks a type for a connection, not a value: what a connection needs has
//! to lie where the type finds it. That is one slot for each thread; the store has
//! one thread of its own, so that this is one slot for one store. Nobody else sees it.

use std::cell::{Cell, RefCell};

use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, Pipeline, RedisError,
    RedisFuture, Value,
    aio::ConnectionLike,
    cluster::ClusterClientBuilder,
    cluster_async::{ClusterConnection, Connect},
};

use super::{
    StoreSettings, failure,
    link::{Dialer, Link},
};
use crate::telemetry::metrics::ExchangeResult;

/// A connection to all nodes of a cluster.
pub(super) type Cluster = ClusterConnection<Node>;

/// Connects to a cluster by the nodes of it that are written. To be called on the
/// thread that is going to use it; a second cluster there takes the first one's place.
pub(super) async fn connect(settings: &StoreSettings) -> Result<Cluster, ExchangeResult> {
    HERE.set(Some(Dialer::new(settings)));
    LAST.set(None);
    let nodes = settings.spec.addresses.iter();
    let nodes = nodes.map(|one| ConnectionAddr::Tcp(one.host().to_owned(), one.port()));
    let client = ClusterClientBuilder::new(nodes)
        // What was sent may have been counted: sent again, it would count twice.
        .retries(0)
        .connection_timeout(settings.timeout())
        .response_timeout(settings.timeout())
        .build()
        .map_err(|why| failure::of(&why))?;
    let connection = client.get_async_generic_connection().await;
    // It says that it found no node; why not, the last node knows.
    connection.map_err(|why| LAST.take().unwrap_or_else(|| failure::of(&why)))
}

/// A connection to one node of a cluster.
#[derive(Clone)]
pub(super) struct Node(Link);

impl Connect for Node {
    fn connect_with_config<'a, T>(info: T, _: AsyncConnectionConfig) -> RedisFuture<'a, Self>
    where
        T: IntoConnectionInfo + Send + 'a,
    {
        Box::pin(async move {
            let dialed = dial(info).await.map_err(|why| {
                LAST.set(Some(why));
                RedisError::from((ErrorKind::Io, "a node cannot be connected to"))
            });
            dialed.map(Self)
        })
    }
}

async fn dial(info: impl IntoConnectionInfo) -> Result<Link, ExchangeResult> {
    let info = info.into_connection_info().map_err(|why| failure::of(&why))?;
    let ConnectionAddr::Tcp(host, port) = info.addr() else { return Err(ExchangeResult::Broken) };
    // Empty on every other thread.
    let dialer = HERE.with_borrow(Clone::clone).ok_or(ExchangeResult::Broken)?;
    dialer.dial(host, *port).await
}

impl ConnectionLike for Node {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        self.0.req_packed_command(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.0.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.0.get_db()
    }
}

thread_local! {
    static HERE: RefCell<Option<Dialer>> = const { RefCell::new(None) };
    /// How the last node that could not be connected to failed.
    static LAST: Cell<Option<ExchangeResult>> = const { Cell::new(None) };
}
