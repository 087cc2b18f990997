//! Serves one connection: caps, PROXY header, handshake, requests, age, drain, close.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use pingora::{
    apps::{HttpServerApp, ServerApp},
    http::ResponseHeader,
    protocols::{
        GetProxyDigest, GetSocketDigest, IO, SocketDigest, Stream, http::ServerSession,
        l4::stream::Stream as L4Stream, raw_connect::ProxyDigest, tls::SslStream,
    },
    server::ShutdownWatch,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::{
    caps::{Caps, Full},
    clock::Clock,
    connection::{Caller, Connection},
    drain::{ConnectionGuard, Drain},
    head::HeadLimits,
    io::EdgeIo,
    nudge::Nudge,
    pace::MinRate,
    proxy_protocol::{ProxyProtocol, Silence, refuse_second},
    session::{holds_next_request, tune},
    taken::Taken,
};
use crate::{
    identity::{ClientKey, Tenants},
    telemetry::metrics::{EarlyEnd, ListenerSeries},
};

/// Ends TLS of a connection.
#[async_trait]
pub trait Handshake: Send + Sync {
    /// The connection in cleartext, or why there is none.
    async fn accept(&self, stream: L4Stream) -> Result<SslStream<L4Stream>, EarlyEnd>;
}

/// The edge of all listeners: Pingora tells the app of a connection, not which
/// listener took it, so one edge serves them all and finds the listener by the
/// connection's own address.
pub struct Edge<A> {
    /// Serves requests.
    pub http: Arc<A>,
    /// Where connections come from, in the order of the configuration.
    pub listeners: Vec<EdgeListener>,
    /// The limits of the current snapshot.
    pub limits: Box<dyn Fn() -> Limits + Send + Sync>,
    /// The tenants of the current snapshot.
    pub tenants: Box<dyn Fn() -> Arc<Tenants> + Send + Sync>,
    /// How many connections there are.
    pub caps: Caps,
    /// When to end.
    pub drain: Arc<Drain>,
    /// Ticks while it serves.
    pub clock: Clock,
}

/// A listener as the edge knows it.
pub struct EdgeListener {
    /// Where it listens; an unspecified address takes every address of its port.
    pub address: SocketAddr,
    /// Its metrics.
    pub series: Arc<ListenerSeries>,
    /// Ends TLS; without it the listener is cleartext.
    pub handshake: Option<Arc<dyn Handshake>>,
    /// What the current snapshot makes of PROXY headers here.
    pub proxy_protocol: Box<dyn Fn() -> Option<Arc<ProxyProtocol>> + Send + Sync>,
}

/// What a connection may do, as the configuration's `connections` says.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Limits {
    pub max: u32,
    pub max_per_client: u32,
    pub max_per_tenant: u32,
    pub handshake_timeout: Duration,
    pub header_timeout: Duration,
    pub idle: Duration,
    pub read: Duration,
    pub write: Duration,
    pub max_age: Duration,
    pub max_drain: Duration,
    pub max_drain_streams: Duration,
    pub max_header_bytes: usize,
    pub max_target_bytes: usize,
    pub max_requests: u32,
    pub min_rate: MinRate,
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for Edge<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, _shutdown: &ShutdownWatch) -> Option<Stream> {
        self.clock.keep();
        let mut stream = *stream.into_any().downcast::<L4Stream>().ok()?;
        let (index, peer) = self.listener_of(&stream)?;
        let listener = self.listeners.get(index)?;
        let Some(peer) = peer else {
            // It was reset before anyone could ask who it is.
            drop(listener.series.open());
            listener.series.ended_early(EarlyEnd::Probe);
            return None;
        };
        let limits = (self.limits)();
        let _open = listener.series.open();
        let (ended, client) = match self.admit(&mut stream, peer, listener, &limits).await {
            Err(why) => (Some(why), peer),
            Ok((guard, caller)) => {
                let streams = self.drain.streams().clone();
                let connection = Arc::new(Connection::new(index, caller, streams));
                self.accept((stream, guard), listener, &connection, &limits).await;
                (connection.ended(), connection.caller.client)
            }
        };
        if let Some(why) = ended {
            listener.series.ended_early(why);
            log::debug!("connection ended early: reason={} client={client}", why.word());
        }
        None
    }

    // `cleanup` is not forwarded: Pingora would close connections whose first
    // request is still on its way. The process exits when none is open.
}

impl<A: HttpServerApp + Send + Sync + 'static> Edge<A> {
    /// A connection that was reset has no other end any more.
    fn listener_of(&self, stream: &L4Stream) -> Option<(usize, Option<SocketAddr>)> {
        let digest = stream.get_socket_digest()?;
        let local = *digest.local_addr()?.as_inet()?;
        let peer = digest.peer_addr().and_then(|peer| peer.as_inet().copied());
        let takes = |a: &SocketAddr| *a == local || (a.ip().is_unspecified() && a.port() == local.port());
        let exact = self.listeners.iter().position(|l| l.address == local);
        let index = exact.or_else(|| self.listeners.iter().position(|l| takes(&l.address)))?;
        Some((index, peer))
    }

    /// Finds out who asks, and whether there is room. While nobody knows who it
    /// is, a connection is one of the process and of no client.
    async fn admit(
        &self,
        stream: &mut L4Stream,
        peer: SocketAddr,
        listener: &EdgeListener,
        limits: &Limits,
    ) -> Result<(ConnectionGuard, Caller), EarlyEnd> {
        let mut permit = self.caps.enter(limits.max).map_err(cap)?;
        let guard = self.drain.enter();
        let silence = match listener.handshake {
            Some(_) => Silence { most: limits.handshake_timeout, why: EarlyEnd::HandshakeTimeout },
            None => Silence { most: limits.header_timeout, why: EarlyEnd::HeaderTimeout },
        };
        let told = match (listener.proxy_protocol)() {
            Some(rule) => rule.receive(stream, peer, silence).await?,
            None => None,
        };
        let by_header = told.is_some();
        let caller = told.unwrap_or_else(|| Caller::direct(peer));
        let client = ClientKey::new(caller.vpc_endpoint.as_deref(), caller.client.ip());
        self.caps.attribute(&mut permit, client, limits.max_per_client).map_err(cap)?;
        if let Some(endpoint) = &caller.vpc_endpoint {
            let tenants = (self.tenants)();
            let tenant = tenants.count_as(endpoint);
            self.caps.attribute_tenant(&mut permit, tenant, limits.max_per_tenant).map_err(cap)?;
        }
        if by_header {
            refuse_second(stream, silence).await?;
        }
        Ok((guard.hold(permit), caller))
    }

    async fn accept(
        self: &Arc<Self>,
        (mut stream, guard): (L4Stream, ConnectionGuard),
        listener: &EdgeListener,
        connection: &Arc<Connection>,
        limits: &Limits,
    ) {
        let Ok(header) = ResponseHeader::build_no_case(200, Some(0)) else { return };
        let shared: Box<dyn std::any::Any + Send + Sync> = Box::new(connection.clone());
        stream.set_proxy_digest(ProxyDigest::new(Box::new(header), Some(shared)));
        let Some(handshake) = &listener.handshake else {
            return self.serve(stream, guard, connection, limits).await;
        };
        match timeout(limits.handshake_timeout, handshake.accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream, guard, connection, limits).await,
            Ok(Err(why)) => connection.end(why),
            Err(_) => connection.end(EarlyEnd::HandshakeTimeout),
        }
    }

    async fn serve<S: IO + 'static>(
        self: &Arc<Self>,
        io: S,
        guard: ConnectionGuard,
        connection: &Arc<Connection>,
        limits: &Limits,
    ) {
        let http2 = matches!(io.selected_alpn_proto(), Some(pingora::protocols::ALPN::H2));
        let head = HeadLimits {
            header_bytes: limits.max_header_bytes,
            target_bytes: limits.max_target_bytes,
            http2,
            min_rate: limits.min_rate,
        };
        connection.allow_requests(limits.max_requests);
        let socket = io.get_socket_digest();
        let io: Stream = Box::new(EdgeIo::new(io, connection.clone(), guard, head));
        // The sender outlives the requests: a dropped one would read as a drain.
        let (ask_to_end, asked) = watch::channel(false);
        let mut requests = pin!(self.requests(io, http2, connection, limits, asked));
        let why = tokio::select! {
            biased;
            () = &mut requests => return self.note_end(connection),
            why = Nudge::new(self.watch(connection, limits, socket)) => why,
        };
        if matches!(why, EarlyEnd::HeaderTimeout | EarlyEnd::IdleTimeout | EarlyEnd::ReadTooSlow) {
            return connection.end(why);
        }
        connection.ask_to_end();
        ask_to_end.send_replace(true);
        // Today's: a reload changes what a drain waits for.
        let limits = (self.limits)();
        tokio::select! {
            biased;
            () = requests => {}
            () = connection.streams().had_their_time(&limits) => connection.end(why),
        }
    }

    async fn requests(
        self: &Arc<Self>,
        io: Stream,
        http2: bool,
        connection: &Arc<Connection>,
        limits: &Limits,
        asked: ShutdownWatch,
    ) {
        if http2 {
            ServerApp::process_new(&self.http, io, &asked).await;
            return;
        }
        let mut session = ServerSession::new_http1(io);
        loop {
            tune(&mut session, limits);
            let served = self.http.process_new_http(session, &asked).await;
            let Some((stream, settings)) = served.map(|reused| reused.consume()) else { return };
            if connection.may_be_overread() && settings.as_ref().is_some_and(holds_next_request) {
                return;
            }
            connection.expect_head();
            session = ServerSession::new_http1(stream);
            if let Some(settings) = settings {
                settings.apply_to_session(&mut session);
            }
        }
    }

    /// Waits until the connection has to end, and says why.
    async fn watch(
        &self,
        connection: &Connection,
        limits: &Limits,
        socket: Option<Arc<SocketDigest>>,
    ) -> EarlyEnd {
        // While only draining a new HTTP/2 connection gets a short life, not an
        // immediate GOAWAY: else its client would come back in a storm.
        let draining = self.drain.has_begun();
        let age = if draining { SHORT_LIFE } else { limits.max_age };
        let end = Instant::now() + age.mul_f64(0.9 + 0.2 * fastrand::f64());
        let mut drained =
            pin!(async { if draining { std::future::pending().await } else { self.drain.begun().await } });
        let mut taken = Taken::new(limits.min_rate, socket);
        let mut idle = Idle { requests: connection.requests(), since: Instant::now() };
        loop {
            let now = Instant::now();
            if idle.lasts(connection, now) >= limits.idle {
                return EarlyEnd::IdleTimeout;
            }
            let head_age = connection.head_age(now.into_std());
            if head_age.is_some_and(|age| age >= limits.header_timeout) {
                return EarlyEnd::HeaderTimeout;
            }
            if connection.pace().is_over(now.into_std()) {
                // The reader gives up, and the client gets its 408.
                connection.end(EarlyEnd::BodyTooSlow);
                connection.pace().wake_reader();
            }
            if taken.too_slowly(connection.pace().is_unsent(), now) {
                return EarlyEnd::ReadTooSlow;
            }
            let look_again = now + (limits.header_timeout - head_age.unwrap_or_default()).min(limits.idle);
            let look_again = look_again.min(now + limits.min_rate.grace);
            tokio::select! {
                () = sleep_until(look_again.min(end)) => {}
                () = &mut drained => return EarlyEnd::DrainCut,
                () = connection.enough() => return EarlyEnd::MaxRequestsCut,
            }
            if Instant::now() >= end {
                return EarlyEnd::MaxAgeCut;
            }
        }
    }

    fn note_end(&self, connection: &Connection) {
        match (connection.requests(), connection.heard()) {
            _ if connection.was_probe() => connection.end(EarlyEnd::Probe),
            (_, true) if connection.head_age(std::time::Instant::now()).is_some() => {
                connection.end(EarlyEnd::BadRequest);
            }
            _ => {}
        }
    }
}

fn cap(full: Full) -> EarlyEnd {
    match full {
        Full::Process => EarlyEnd::ConnectionCap,
        Full::Client => EarlyEnd::ClientCap,
        Full::Tenant => EarlyEnd::TenantCap,
    }
}

/// How long a connection has waited for its next request, as far as looks from
/// time to time tell: at most one interval between two looks too short.
struct Idle {
    requests: u32,
    since: Instant,
}

impl Idle {
    fn lasts(&mut self, connection: &Connection, now: Instant) -> Duration {
        let requests = connection.requests();
        if requests != self.requests || !connection.is_idle() {
            *self = Self { requests, since: now };
        }
        now - self.since
    }
}

/// The life of a connection that comes while the process drains.
const SHORT_LIFE: Duration = Duration::from_secs(2);
