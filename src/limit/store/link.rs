//! A connection to one node of the store: name, TCP, TLS, login.
//!
//! Always holds: when the last handle of a link is dropped, its socket is closed,
//! whatever it was waiting for.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    task::AbortHandle,
    time::timeout,
};

use super::{StoreSettings, failure, tls::Tls};
use crate::telemetry::metrics::ExchangeResult;

/// Connects to nodes of a store. Cheap to clone.
#[derive(Clone)]
pub(super) struct Dialer {
    login: RedisConnectionInfo,
    tls: Option<Arc<Tls>>,
    /// What all addresses of a name may take together.
    patience: Duration,
}

impl Dialer {
    pub(super) fn new(settings: &StoreSettings) -> Self {
        let spec = &settings.spec;
        // It would be one more command to be allowed, for nothing.
        let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(username) = &spec.username {
            login = login.set_username(username);
        }
        if let Some(password) = &spec.password {
            login = login.set_password(password.tell());
        }
        Self { login, tls: settings.tls.clone(), patience: settings.timeout() }
    }

    /// Connects and logs in. The name is looked up each time: a managed store moves it
    /// to another node when one fails.
    pub(super) async fn dial(&self, host: &str, port: u16) -> Result<Link, ExchangeResult> {
        let addresses = lookup_host((host, port)).await.map_err(|_| ExchangeResult::Unreachable)?;
        let stream = first_of(&addresses.collect::<Vec<_>>(), self.patience).await;
        self.log_in(host, stream.ok_or(ExchangeResult::Unreachable)?).await
    }

    async fn log_in(&self, host: &str, stream: TcpStream) -> Result<Link, ExchangeResult> {
        // Without it an exchange is slower, and works.
        stream.set_nodelay(true).ok();
        let linked = match &self.tls {
            None => self.speak(stream).await,
            Some(tls) => self.speak(tls.connect(host, stream).await?).await,
        };
        linked.map_err(|why| failure::of(&why))
    }

    async fn speak<S>(&self, stream: S) -> RedisResult<Link>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        // Deadlines are the caller's, who drops the link.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&self.login, stream, config).await?;
        let driver = tokio::spawn(driver).abort_handle();
        Ok(Link { connection, _driver: Arc::new(Driver(driver)) })
    }
}

/// Connects to the first that answers. One that is silent takes no more than its share
/// of the time from those after it.
async fn first_of(addresses: &[SocketAddr], patience: Duration) -> Option<TcpStream> {
    let share = patience / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    for address in addresses {
        if let Ok(Ok(stream)) = timeout(share.max(SHORTEST), TcpStream::connect(address)).await {
            return Some(stream);
        }
    }
    None
}

/// A connection to one node, logged in. Clones are the same connection.
#[derive(Clone)]
pub(super) struct Link {
    connection: MultiplexedConnection,
    _driver: Arc<Driver>,
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        self.connection.req_packed_command(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a redis::Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.connection.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}

/// The task that reads and writes. It would wait for a node that hangs longer than
/// anybody waits for it.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What an address has at least: far more than a connection takes in a region.
const SHORTEST: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[tokio::test]
    async fn an_address_that_is_silent_leaves_time_for_the_next() {
        let hole = TcpSocket::new_v4().unwrap();
        hole.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let hole = hole.listen(1).unwrap();
        let silent = hole.local_addr().unwrap();
        // Once its queue is full, nobody hears from it any more.
        let mut queue = Vec::new();
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(500), TcpStream::connect(silent)).await {
            queue.push(stream);
        }
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [silent, other.local_addr().unwrap()];

        let patience = Duration::from_secs(2);
        let first = timeout(patience, first_of(&addresses, patience)).await;

        assert_eq!(first.unwrap().unwrap().peer_addr().unwrap(), addresses[1]);
    }
}
