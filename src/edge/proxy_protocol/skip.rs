//! A PROXY header where it does not matter who asks: an NLB that sends them to
//! clients' listeners sends them with its health checks too.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use pingora::{
    apps::ServerApp,
    protocols::{Stream, l4::stream::Stream as L4Stream},
    server::ShutdownWatch,
};

use super::{ProxyProtocol, Silence};
use crate::telemetry::metrics::EarlyEnd;

/// An app that answers everyone alike: with or without a PROXY header, which is
/// read and not believed.
pub struct SkipsProxyHeader<A> {
    app: Arc<A>,
    rule: ProxyProtocol,
}

impl<A> SkipsProxyHeader<A> {
    /// In front of `app`.
    pub fn new(app: A) -> Self {
        Self { app: Arc::new(app), rule: ProxyProtocol::from_anyone(HEADER) }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for SkipsProxyHeader<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let mut stream = stream.into_any().downcast::<L4Stream>().ok()?;
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let silence = Silence { most: SILENCE, why: EarlyEnd::Probe };
        self.rule.receive(&mut stream, nobody, silence).await.ok()?;
        self.app.process_new(stream, shutdown).await
    }
}

/// For the header, from its first byte.
const HEADER: Duration = Duration::from_secs(3);

/// Until the first byte, and between two requests.
const SILENCE: Duration = Duration::from_secs(60);
