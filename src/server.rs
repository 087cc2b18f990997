//! Puts the process together: first everything that can fail (configuration,
//! certificates, sockets), then Pingora's services around it.

mod edge;
mod error;
mod private;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

pub use error::StartError;
use pingora::{
    server::{RunArgs, Server, configuration::ServerConf},
    services::{ServiceHandle, ServiceWithDependents, listening::Service},
};
use private::{Narrow, Prompt};

use crate::{
    admin::{self, Board, MetricsPage, Operator, Readiness},
    config::{self, Config},
    edge::{Drain, SkipsProxyHeader},
    jwt::trust::KeyFetcher,
    lifecycle::{
        self, AdminSocket, Beginning, Followers, Forerunners, Found, Handover, Heir, Lasting, Program, Pulse,
        Reloader, Shutdown, Signals, Sockets, Starting, Systemd, Upgrader, learn_place,
    },
    limit::store::Store,
    live::LiveState,
    snapshot::{Current, Snapshot},
    telemetry::{AccessLog, Metrics, SpanExporter, process_log, short_hash},
    tls::TicketRing,
    upstream::{discovery::Discovery, health::HealthChecks},
};

/// Serves the configuration at `path` until a signal ends it. What the process before
/// hands over, or systemd, is taken first.
pub fn run(path: &Path) -> Result<(), StartError> {
    lifecycle::hold_back();
    let program = Program::of_process().map_err(StartError::Program)?;
    match Heir::of_environment().map_err(StartError::Handover)? {
        None => {
            let found = Found::of_systemd().map_err(StartError::Systemd)?;
            start(path, program, Before { found, ..Before::default() }, &mut None)
        }
        Some((heir, told, found)) => {
            let mut heir = Some(heir);
            let outcome = start(path, program, Before { told, found }, &mut heir);
            if let (Err(why), Some(heir)) = (&outcome, &mut heir) {
                heir.failed(&why.to_string());
            }
            outcome
        }
    }
}

/// What there was before this process.
#[derive(Default)]
struct Before {
    told: Handover,
    found: Vec<Found>,
}

fn start(path: &Path, program: Program, before: Before, heir: &mut Option<Heir>) -> Result<(), StartError> {
    let parts = Parts::prepare(path, before.told, Systemd::new(heir.is_none()))?;
    let bound = parts.bind(before.found, heir.is_some())?;
    parts.prove();
    let (server, signals) = parts.assemble(bound, program, heir)?;
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
    Ok(())
}

/// The keys that the process before sealed sessions with; new ones where it told none
/// that can be understood.
fn tickets(told: &[u8]) -> TicketRing {
    if told.is_empty() {
        return TicketRing::default();
    }
    TicketRing::import(told).unwrap_or_else(|why| {
        log::warn!("sessions of the process before cannot be resumed: error={why}");
        TicketRing::default()
    })
}

/// What the services share.
struct Parts {
    path: PathBuf,
    current: Arc<Current>,
    live: Arc<LiveState>,
    metrics: Arc<Metrics>,
    access_log: Arc<AccessLog>,
    drain: Arc<Drain>,
    tickets: Arc<TicketRing>,
    followers: Followers,
    forerunners: Arc<Forerunners>,
    starting: Arc<Starting>,
}

/// Where the process can be reached.
struct Bound {
    sockets: Sockets,
    leftover: Vec<Found>,
    admin: Arc<AdminSocket>,
    pulse: Pulse,
}

impl Parts {
    fn prepare(path: &Path, told: Handover, systemd: Systemd) -> Result<Self, StartError> {
        let starting = Arc::new(Starting::watch().map_err(StartError::Thread)?);
        let metrics = Metrics::new().map_err(StartError::Metrics)?;
        process_log::install_panic_hook(metrics.clone());
        let live = Arc::new(LiveState::default());
        let (tickets, forerunners) = (tickets(&told.tickets), Arc::new(Forerunners::of(&told.finishing)));
        live.recall(told.live);
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
        let key_sets = Arc::new(KeyFetcher::start(&metrics).map_err(StartError::Thread)?);
        let (discovery, store) = (Arc::new(discovery), Arc::new(store));
        let spans = Arc::new(SpanExporter::new(metrics.clone()));
        let followers = Followers { health, discovery, key_sets, store, spans, systemd: Arc::new(systemd) };
        let (path, drain, tickets) = (path.to_owned(), Arc::default(), Arc::new(tickets));
        Ok(Self {
            path,
            current,
            live,
            metrics,
            access_log,
            drain,
            tickets,
            followers,
            forerunners,
            starting,
        })
    }

    /// Asks every endpoint once before anything is served: who connects
    /// meanwhile waits in the sockets' queues.
    fn prove(&self) {
        let now = self.current.load();
        self.followers.health.prove(&now.upstreams);
        self.followers.health.follow(&now.upstreams);
        self.followers.discovery.follow(now.config());
        let key_sources = now.authentication.key_sources();
        self.followers.key_sets.learn(key_sources.iter().map(|(_, source)| source));
        self.followers.key_sets.follow(key_sources);
        self.followers.store.follow(now.store.clone(), now.rate_limits.leases());
        self.followers.spans.follow(now.tracing.as_ref().map(|tracing| tracing.settings.clone()));
    }

    fn bind(&self, found: Vec<Found>, follows: bool) -> Result<Bound, StartError> {
        let now = self.current.load();
        let config = now.config();
        let mut sockets = Sockets::with(found);
        if follows {
            sockets.share();
        }
        for listener in &config.listeners {
            let name = listener.spec.name.as_str();
            sockets.listener(name, listener.spec.address.socket()).map_err(StartError::Bind)?;
        }
        if let Some(readiness) = &config.readiness {
            sockets.private("readiness", readiness.address.socket()).map_err(StartError::Bind)?;
        }
        if let Some(metrics) = config.admin.metrics {
            sockets.private("admin.metrics", metrics.socket()).map_err(StartError::Bind)?;
        }
        let path = config.resolve(&config.admin.socket);
        let bind = if follows { AdminSocket::bind_beside } else { AdminSocket::bind };
        let (admin, fd) = bind(&path).map_err(StartError::Bind)?;
        sockets.operator(&admin, fd);
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let pulse = Pulse(sockets.own(loopback).map_err(StartError::Bind)?);
        let leftover = sockets.leftover();
        for found in &leftover {
            log::warn!("a socket that no listener has is closed: address={}", found.address);
        }
        Ok(Bound { sockets, leftover, admin: Arc::new(admin), pulse })
    }

    fn assemble(
        &self,
        bound: Bound,
        program: Program,
        heir: &mut Option<Heir>,
    ) -> Result<(Server, Signals), StartError> {
        let now = self.current.load();
        let config = now.config();
        let systemd = self.followers.systemd.clone();
        let listening = bound.sockets.listening();
        let reloader = self.reloader()?;
        let shutdown = Arc::new(Shutdown::new(
            self.drain.clone(),
            (self.access_log.clone(), self.followers.spans.clone()),
            self.current.clone(),
            bound.admin.clone(),
        ));
        let upgrader = Arc::new(Upgrader {
            program,
            listening: listening.clone(),
            reloader: reloader.clone(),
            live: self.live.clone(),
            tickets: self.tickets.clone(),
            shutdown: shutdown.clone(),
            admin_socket: bound.admin.clone(),
            systemd: systemd.clone(),
            forerunners: self.forerunners.clone(),
            metrics: self.metrics.clone(),
            under_way: Mutex::default(),
        });
        let operator = self.operator(&reloader, &shutdown, upgrader.clone());
        let mut server = Server::new_with_opt_and_conf(None, server_conf(config));
        let sockets = server.add_service(bound.sockets);
        let edge = self.edge_service(&server, bound.pulse)?;
        add(&mut server, edge, &sockets);
        self.add_private(&mut server, &sockets, (operator, &bound.admin), &shutdown);
        log_start(&now);
        let beginning = Beginning {
            pulse: bound.pulse,
            heir: heir.take(),
            systemd: systemd.clone(),
            listening: listening.clone(),
            leftover: bound.leftover,
            admin_socket: bound.admin,
            current: self.current.clone(),
            access_log: self.access_log.clone(),
            metrics: self.metrics.clone(),
            shutdown: shutdown.clone(),
        };
        beginning.watch().map_err(StartError::Thread)?;
        let (access_log, forerunners) = (self.access_log.clone(), self.forerunners.clone());
        let starting = self.starting.clone();
        let signals =
            Signals { reloader, access_log, shutdown, upgrader, listening, systemd, forerunners, starting };
        Ok((server, signals))
    }

    fn operator(
        &self,
        reloader: &Arc<Reloader>,
        shutdown: &Arc<Shutdown>,
        upgrader: Arc<Upgrader>,
    ) -> Operator {
        let board = Arc::new(Board::new(
            (self.current.clone(), self.metrics.clone()),
            reloader.clone(),
            self.followers.discovery.clone(),
            self.followers.store.clone(),
            shutdown.clone(),
        ));
        Operator {
            current: self.current.clone(),
            reloader: reloader.clone(),
            discovery: self.followers.discovery.clone(),
            store: self.followers.store.clone(),
            shutdown: shutdown.clone(),
            upgrader,
            metrics: self.metrics.clone(),
            board,
            started: Instant::now(),
        }
    }

    /// What operators, load balancers and scrapers ask.
    fn add_private(
        &self,
        server: &mut Server,
        sockets: &ServiceHandle,
        (operator, socket): (Operator, &AdminSocket),
        shutdown: &Arc<Shutdown>,
    ) {
        let now = self.current.load();
        let config = now.config();
        let board = operator.board.clone();
        let service = operator_service(operator, socket.bound());
        add(server, Lasting { service, until: shutdown.of_private_services() }, sockets);
        if let Some(readiness) = &config.readiness {
            let app = SkipsProxyHeader::new(Prompt::new(Readiness { shutdown: shutdown.clone() }));
            let service = small("readiness", app, &readiness.address.to_string());
            add(server, Lasting { service, until: shutdown.of_private_services() }, sockets);
        }
        if let Some(address) = config.admin.metrics {
            let app = MetricsPage { metrics: self.metrics.clone(), current: self.current.clone(), board };
            let service = small("metrics", Prompt::new(app), &address.to_string());
            add(server, Lasting { service, until: shutdown.of_private_services() }, sockets);
        }
    }

    fn reloader(&self) -> Result<Arc<Reloader>, StartError> {
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
        Ok(reloader)
    }
}

fn add(server: &mut Server, service: impl ServiceWithDependents + 'static, sockets: &ServiceHandle) {
    server.add_service(service).add_dependency(sockets);
}

/// A service with one thread of its own, so that data traffic cannot starve it.
fn small<A>(name: &'static str, app: A, address: &str) -> Service<Narrow<A>> {
    let mut service = Service::new(name.to_owned(), Narrow::new(name, app));
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

const MAX_ATTEMPTS: usize = 3;

const A_DAY: Duration = Duration::from_secs(86_400);
