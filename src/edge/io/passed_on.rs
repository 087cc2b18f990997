//! What Pingora wants to know of a connection: the socket below says it.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
    raw_connect::ProxyDigest,
    tls::{SslDigest, TlsRef},
};

use super::EdgeIo;

#[async_trait]
impl<S: IO + 'static> Shutdown for EdgeIo<S> {
    async fn shutdown(&mut self) {
        if let Some(inner) = self.inner.as_mut() {
            Shutdown::shutdown(inner).await;
        }
    }
}

impl<S: IO + 'static> UniqueID for EdgeIo<S> {
    fn id(&self) -> UniqueIDType {
        self.inner.as_ref().map_or(0, UniqueID::id)
    }
}

impl<S: IO + 'static> Ssl for EdgeIo<S> {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.as_ref()?.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.as_ref()?.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.as_ref()?.selected_alpn_proto()
    }
}

impl<S: IO + 'static> GetTimingDigest for EdgeIo<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        // Nobody asks for it, and each request would allocate two lists.
        Vec::new()
    }
}

impl<S: IO + 'static> GetProxyDigest for EdgeIo<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.as_ref()?.get_proxy_digest()
    }
}

impl<S: IO + 'static> GetSocketDigest for EdgeIo<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.as_ref()?.get_socket_digest()
    }
}

impl<S: IO + 'static> Peek for EdgeIo<S> {}

impl<S: IO + 'static> fmt::Debug for EdgeIo<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EdgeIo({})", self.connection.caller.client)
    }
}
