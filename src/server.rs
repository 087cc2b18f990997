//! Puts the process together: first everything that can fail (configuration,
//! certificates, sockets), then Pingora's services around it.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use pingora::{
    apps::HttpServerOptions,
    listeners::ListenerConfig,
    protocols::{
        http::v2::server::default_h2_options,
        l4::stream::{L4BufferSettings, Stream as L4Stream},
        tls::SslStream,
    },
    server::{RunArgs, Server, configuration::ServerConf},
    services::{ServiceHandle, ServiceWithDependents, listening::Service},
};
use pingora_proxy::HttpProxy;

use crate::{
    admin::{self, MetricsPage, Operator, Readiness},
    config::{self, Config, Problems},
    edge::{Caps, Drain, Edge, EdgeListener, Handshake, SkipsProxyHeader},
    gateway::{Gateway, record::Recorder},
    lifecycle::{
        self, BindError, Doors, Followers, Lasting, Reloader, Shutdown, Signals, Sockets, learn_place,
    },
    limit::store::Store,
    live::LiveState,
    snapshot::{Current, Snapshot},
    telemetry::{
        AccessLog, Metrics,
        metrics::{EarlyEnd, ListenerSeries},
        process_log, short_hash,
    },
    tls::{Acceptor, HandshakeFailure, TlsFacts},
    upstream::{discovery::Discovery, health::HealthChecks},
};

/// Why the process did not start. Nothing was half-started.
#[derive(Debug)]
pub enum StartError {
    /// The configuration cannot be used.
    Config(Problems),
    /// A socket cannot be had.
    Bind(BindError),
    /// The access log cannot be written.
    AccessLog(String, std::io::Error),
    /// Two metrics have one name: a fault of the gateway.
    Metrics(prometheus::Error),
    /// BoringSSL gave no context.
    Tls(boring::error::ErrorStack),
    /// The system gives no thread.
    Thread(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => problems.fmt(f),
            Self::Bind(why) => writeln!(f, "error: {why}"),
            Self::AccessLog(path, why) => {
                writeln!(
                    f,
                    "error: access_log.path: cannot write `{path}`: {why}; write a file, `-` or `off`"
                )
            }
            Self::Metrics(why) => writeln!(f, "error: metrics cannot be set up: {why}"),
            Self::Tls(why) => writeln!(f, "error: TLS cannot be set up: {why}"),
            Self::Thread(why) => writeln!(f, "error: no thread to be had: {why}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Serves the configuration at `path` until a signal ends it.
pub fn run(path: &Path) -> Result<(), StartError> {
    let parts = Parts::prepare(path)?;
    let (sockets, doors) = parts.bind()?;
    parts.prove();
    let (server, signals) = parts.assemble(sockets, doors)?;
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
    Ok(())
}

/// What the services share.
struct Parts {
    path: PathBuf,
    current: Arc<Current>,
    live: Arc<LiveState>,
    metrics: Arc<Metrics>,
    access_log: Arc<AccessLog>,
    drain: Arc<Drain>,
    followers: Followers,
}

impl Parts {
    fn prepare(path: &Path) -> Result<Self, StartError> {
        let metrics = Metrics::new().map_err(StartError::Metrics)?;
        process_log::install_panic_hook(metrics.clone());
        let live = Arc::new(LiveState::default());
        let discovery = Discovery::start(live.found.clone(), &metrics).map_err(StartError::Thread)?;
        let learn = |config: &Config| {
            learn_place(&config.location, &live);
            discovery.learn(config);
        };
        let (first, warnings) =
            Snapshot::load(path, 1, &live, &metrics, learn).map_err(StartError::Config)?;
        warnings.iter().for_each(|warning| log::warn!("{warning}"));
        first.retain_metrics(&metrics);
        metrics.configuration().taken(1, &first.hash, SystemTime::now());
        let mut log_spec = first.config().access_log.clone();
        if !["-", "off"].contains(&log_spec.path.as_str()) {
            log_spec.path = first.config().resolve(Path::new(&log_spec.path)).display().to_string();
        }
        let access_log = AccessLog::open(&log_spec, &metrics)
            .map_err(|why| StartError::AccessLog(log_spec.path.clone(), why))?;
        let current = Arc::new(Current::new(first));
        admin::watch(&metrics, current.clone(), live.limits.fleet.clone());
        let access_log = Arc::new(access_log);
        let health = Arc::new(HealthChecks::start(metrics.clone()).map_err(StartError::Thread)?);
        let limits = &live.limits;
        let store = Store::start(limits.fleet.clone(), limits.clock, &metrics).map_err(StartError::Thread)?;
        let followers = Followers { health, discovery: Arc::new(discovery), store: Arc::new(store) };
        let (path, drain) = (path.to_owned(), Arc::default());
        Ok(Self { path, current, live, metrics, access_log, drain, followers })
    }

    /// Asks every endpoint once before anything is served: who connects
    /// meanwhile waits in the sockets' queues.
    fn prove(&self) {
        let now = self.current.load();
        self.followers.health.prove(&now.upstreams);
        self.followers.health.follow(&now.upstreams);
        self.followers.discovery.follow(now.config());
        self.followers.store.follow(now.store.clone(), now.rate_limits.leases());
    }

    fn bind(&self) -> Result<(Sockets, Doors), StartError> {
        let now = self.current.load();
        let config = now.config();
        let sockets = Sockets::default();
        for listener in &config.listeners {
            let name = listener.spec.name.as_str();
            sockets.tcp(name, listener.spec.address.socket()).map_err(StartError::Bind)?;
        }
        let doors = sockets.doors().map_err(StartError::Bind)?;
        if let Some(readiness) = &config.readiness {
            sockets.tcp("readiness", readiness.address.socket()).map_err(StartError::Bind)?;
        }
        if let Some(metrics) = config.admin.metrics {
            sockets.tcp("admin.metrics", metrics.socket()).map_err(StartError::Bind)?;
        }
        sockets.unix(&config.resolve(&config.admin.socket)).map_err(StartError::Bind)?;
        Ok((sockets, doors))
    }

    fn assemble(&self, sockets: Sockets, doors: Doors) -> Result<(Server, Signals), StartError> {
        let now = self.current.load();
        let config = now.config();
        let admin_socket = config.resolve(&config.admin.socket);
        let reloader = Arc::new(Reloader::new(
            self.path.clone(),
            self.current.clone(),
            self.live.clone(),
            self.metrics.clone(),
            self.followers.clone(),
        ));
        let refreshes = reloader.clone();
        let refresh = move || {
            refreshes.refresh();
        };
        self.followers.discovery.watch(refresh).map_err(StartError::Thread)?;
        lifecycle::watch_certificates(reloader.clone()).map_err(StartError::Thread)?;
        let shutdown = Arc::new(Shutdown::new(
            self.drain.clone(),
            self.access_log.clone(),
            self.current.clone(),
            admin_socket.clone(),
        ));
        let mut server = Server::new_with_opt_and_conf(None, server_conf(config));
        let sockets = server.add_service(sockets);
        let edge = self.edge_service(&server)?;
        add(&mut server, edge, &sockets);
        if let Some(readiness) = &config.readiness {
            let app = SkipsProxyHeader::new(Readiness { shutdown: shutdown.clone() });
            add(&mut server, Lasting(small("readiness", app, &readiness.address.to_string())), &sockets);
        }
        if let Some(address) = config.admin.metrics {
            let app = MetricsPage { metrics: self.metrics.clone(), current: self.current.clone() };
            add(&mut server, Lasting(small("metrics", app, &address.to_string())), &sockets);
        }
        let operator = Operator {
            current: self.current.clone(),
            reloader: reloader.clone(),
            discovery: self.followers.discovery.clone(),
            store: self.followers.store.clone(),
            shutdown: shutdown.clone(),
            started: Instant::now(),
        };
        add(&mut server, Lasting(operator_service(operator, &admin_socket)), &sockets);
        log_start(&now);
        let signals =
            Signals { reloader, access_log: self.access_log.clone(), shutdown, doors: Mutex::new(doors) };
        Ok((server, signals))
    }

    fn edge_service(&self, server: &Server) -> Result<Service<Edge<HttpProxy<Gateway>>>, StartError> {
        let now = self.current.load();
        let config = now.config();
        let recorder = Arc::new(Recorder::new(&self.metrics, self.access_log.clone()));
        let gateway = Gateway::new(self.current.clone(), recorder);
        let mut http = HttpProxy::new(gateway, server.configuration.clone());
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(config.connections.idle.duration());
        // Only so that our gate sees it: Pingora's own 405 names no `Allow` and is
        // neither logged nor counted. No list of methods has CONNECT in it.
        options.allow_connect_method_proxying = true;
        http.server_options = Some(options);
        let mut h2 = default_h2_options();
        h2.max_concurrent_streams(config.connections.max_streams)
            .initial_window_size(256 << 10)
            .initial_connection_window_size(1 << 20)
            .data_frame_budget(DATA_FRAME_BUDGET);
        http.h2_options = Some(h2);
        http.handle_init_modules();
        let (current, of_tenants) = (self.current.clone(), self.current.clone());
        let edge = Edge {
            http: Arc::new(http),
            listeners: self.edge_listeners()?,
            limits: Box::new(move || current.load().limits()),
            tenants: Box::new(move || of_tenants.load().tenants.clone()),
            caps: Caps::at_most(lifecycle::most_connections(config.connections.max)),
            drain: self.drain.clone(),
        };
        let mut service = Service::new("edge".to_owned(), edge);
        for listener in &config.listeners {
            service.add_listener(
                ListenerConfig::tcp(listener.spec.address.to_string())
                    .l4_buffer(L4BufferSettings::new(L4_BUFFER, L4_BUFFER)),
            );
        }
        Ok(service)
    }

    fn edge_listeners(&self) -> Result<Vec<EdgeListener>, StartError> {
        let now = self.current.load();
        let listeners = now.config().listeners.iter().enumerate();
        let edge_listener = |(index, listener): (usize, &config::Sourced<config::listener::ListenerSpec>)| {
            let spec = &listener.spec;
            let series = self.metrics.listener(spec.name.as_str());
            let handshake = spec.tls.as_ref().map(|_| {
                let current = self.current.clone();
                let table = move || current.load().tls(index).cloned();
                let acceptor = Acceptor::new(table).map_err(StartError::Tls)?;
                Ok(Arc::new(EndsTls { acceptor, series: series.clone() }) as Arc<dyn Handshake>)
            });
            let handshake = handshake.transpose()?;
            let current = self.current.clone();
            let proxy_protocol = Box::new(move || current.load().proxy_protocol(index).cloned());
            Ok(EdgeListener { address: spec.address.socket(), series, handshake, proxy_protocol })
        };
        listeners.map(edge_listener).collect()
    }
}

/// Ends TLS for the edge, and counts it, in the edge's words.
struct EndsTls {
    acceptor: Acceptor,
    series: Arc<ListenerSeries>,
}

#[async_trait]
impl Handshake for EndsTls {
    async fn accept(&self, stream: L4Stream) -> Result<SslStream<L4Stream>, EarlyEnd> {
        match self.acceptor.accept(stream).await {
            Ok(stream) => {
                let digest = stream.ssl_digest();
                if let Some(facts) = digest.as_ref().and_then(|d| d.extension.get::<TlsFacts>()) {
                    self.series.handshake(facts.version, facts.resumed, facts.curve);
                }
                Ok(stream)
            }
            Err(why) => {
                log::debug!("{why}");
                Err(early_end(why.failure))
            }
        }
    }
}

fn early_end(failure: HandshakeFailure) -> EarlyEnd {
    match failure {
        HandshakeFailure::Closed => EarlyEnd::Probe,
        HandshakeFailure::UnknownServerName => EarlyEnd::UnknownServerName,
        HandshakeFailure::ClientCertificateMissing => EarlyEnd::ClientCertificateMissing,
        HandshakeFailure::ClientCertificateBad => EarlyEnd::ClientCertificateBad,
        HandshakeFailure::ClientAlert | HandshakeFailure::Protocol | HandshakeFailure::Io => {
            EarlyEnd::HandshakeFailed
        }
    }
}

fn add(server: &mut Server, service: impl ServiceWithDependents + 'static, sockets: &ServiceHandle) {
    server.add_service(service).add_dependency(sockets);
}

/// A service with one thread of its own, so that data traffic cannot starve it.
fn small<A>(name: &str, app: A, address: &str) -> Service<A> {
    let mut service = Service::new(name.to_owned(), app);
    service.add_tcp(address);
    service.threads = Some(1);
    service
}

fn operator_service(operator: Operator, socket: &Path) -> Service<Operator> {
    use std::os::unix::fs::PermissionsExt;
    let mut service = Service::new("admin".to_owned(), operator);
    let owner_only = std::fs::Permissions::from_mode(0o600);
    service.add_uds(&socket.display().to_string(), Some(owner_only));
    service.threads = Some(1);
    service
}

fn server_conf(config: &config::Config) -> ServerConf {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = config.runtime.threads.map_or(cores, usize::from).max(1);
    let pool = config.runtime.upstream_connections.and_then(|n| usize::try_from(n).ok());
    ServerConf {
        threads,
        // Pingora counts attempts; routes set their own, lower, number.
        max_retries: MAX_ATTEMPTS,
        upstream_keepalive_pool_size: pool.map_or(512, |all| all.div_ceil(threads)),
        // Our own monitor ends the process; Pingora only has to wait for it.
        grace_period_seconds: Some(A_DAY.as_secs()),
        graceful_shutdown_timeout_seconds: Some(0),
        fast_timeout_to_tokio_threshold_seconds: Some(1),
        ..ServerConf::default()
    }
}

fn log_start(now: &Snapshot) {
    let config = now.config();
    for listener in &config.listeners {
        let spec = &listener.spec;
        let scheme = if spec.tls.is_some() { "https" } else { "http" };
        log::info!("listening: listener={} address={} scheme={scheme}", spec.name, spec.address);
    }
    log::info!(
        "tollgate {} started: pid={} routes={} upstreams={} generation={} hash={}",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        config.routes.len(),
        config.upstreams.len(),
        now.generation,
        short_hash(&now.hash)
    );
}

/// Pingora's 64 KiB make an idle TLS connection cost 51 to 94 KiB; 4 KiB make
/// it 31 to 34, at no CPU cost.
const L4_BUFFER: usize = 4 << 10;

const MAX_ATTEMPTS: usize = 3;

/// Ends an HTTP/2 connection for small DATA frames that wait: each counts 256
/// bytes less its own. A stream's whole window in messages of 20 bytes, as gRPC
/// sends them, has room; h2's own half of the connection's window has not.
const DATA_FRAME_BUDGET: usize = 4 << 20;

const A_DAY: Duration = Duration::from_secs(86_400);
