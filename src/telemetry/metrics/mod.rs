//! What the gateway counts, and how a scrape reads it.
//!
//! Owns every metric's name, help and labels. Label values are configured names
//! or members of closed sets, never a path, a host or a client, so that the
//! number of series is bounded by the configuration. Nothing on a request's way
//! looks a label up: a snapshot asks for its series when it is built and keeps
//! them. A series shows from its first use on.

mod authentication;
mod certificates;
mod closed_set;
mod configuration;
mod connections;
mod counts;
mod cross_zone;
mod discovery;
mod family;
mod health;
mod histogram;
mod key_sets;
mod keys;
mod latency;
mod limits;
mod process;
mod signing;
mod spans;
mod store;
mod tenants;
mod text;
mod traffic;
mod watched;
mod zones;

pub use authentication::AuthenticatorSeries;
pub use certificates::CertificateExpiry;
pub use configuration::{CertificateReload, Configuration, Rollback};
pub use connections::{CERTIFICATES, EarlyEnd, ListenerSeries, OpenConnection};
pub use counts::{AttemptCounts, ByWord, RouteCounts};
pub use cross_zone::{CrossZoneSeries, OwnZone};
pub use discovery::{LookupResult, SourceGauges};
pub use health::{EndpointState, HealthSeries, ProbeResult};
pub use key_sets::{KeyFetchResult, KeySetGauges};
pub use keys::KeyGauges;
pub use latency::Latencies;
pub use limits::{LimitDecision, LimitGauges, LimitSeries};
pub use prometheus::IntCounter;
pub use signing::{HeldBytes, MostHeld, SignerSeries, TokenResult};
pub use spans::SpanResult;
pub use store::{ExchangeResult, StoreSeries};
pub use tenants::TenantSeries;
pub use traffic::{AttemptResult, NO_NAME, RouteSeries, UpstreamSeries};
pub use zones::{UpstreamGauges, ZoneGauges, ZoneSeries};

use std::{
    collections::HashSet,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry, Result};

use self::{
    authentication::Authentication,
    certificates::Certificates,
    connections::Connections,
    cross_zone::CrossZone,
    discovery::Sources,
    family::{Families, Scraped},
    health::HealthFamilies,
    key_sets::KeySets,
    keys::Keys,
    limits::Limits,
    process::Process,
    signing::Signing,
    tenants::Tenants,
    traffic::Traffic,
    zones::Zones,
};
use super::{refusals::RecentRefusals, shard};

/// Every metric of the process. Made once and handed down; there is no global.
pub struct Metrics {
    registry: Families,
    traffic: Arc<Traffic>,
    tenants: Arc<Tenants>,
    limits: Arc<Limits>,
    signing: Arc<Signing>,
    authentication: Arc<Authentication>,
    keys: Arc<Keys>,
    zones: Arc<Zones>,
    cross_zone: Arc<CrossZone>,
    connections: Arc<Connections>,
    certificates: Arc<Certificates>,
    sources: Arc<Sources>,
    key_sets: Arc<KeySets>,
    store: Arc<StoreSeries>,
    health: HealthFamilies,
    rejections: IntCounterVec,
    refusals: Arc<RecentRefusals>,
    configuration: Arc<Configuration>,
    upgrades: IntCounterVec,
    access_log_dropped: IntCounter,
    trace_spans: IntCounterVec,
    panics: IntCounter,
}

impl Metrics {
    /// Nothing counted yet. Fails only if two metrics here had the same name.
    pub fn new() -> Result<Arc<Self>> {
        let shards = shard::shard_count();
        let registry = Families::default();
        let traffic = Arc::new(Traffic::new(shards));
        let tenants = Arc::new(Tenants::new(shards));
        let limits = Arc::new(Limits::new(shards));
        let signing = Arc::new(Signing::new(shards));
        let authentication = Arc::new(Authentication::new(shards));
        let keys = Arc::<Keys>::default();
        let zones = Arc::new(Zones::new(shards));
        let cross_zone = Arc::new(CrossZone::new(shards));
        let connections = Arc::new(Connections::new(shards));
        let certificates = Arc::new(Certificates::default());
        let configuration = Arc::<Configuration>::default();
        let sources = Arc::new(Sources::default());
        let key_sets = Arc::<KeySets>::default();
        let store = Arc::<StoreSeries>::default();
        Scraped::register(&registry, traffic.clone())?;
        Scraped::register(&registry, tenants.clone())?;
        Scraped::register(&registry, limits.clone())?;
        Scraped::register(&registry, signing.clone())?;
        Scraped::register(&registry, authentication.clone())?;
        Scraped::register(&registry, keys.clone())?;
        Scraped::register(&registry, zones.clone())?;
        Scraped::register(&registry, cross_zone.clone())?;
        Scraped::register(&registry, connections.clone())?;
        Scraped::register(&registry, certificates.clone())?;
        Scraped::register(&registry, configuration.clone())?;
        Scraped::register(&registry, sources.clone())?;
        Scraped::register(&registry, key_sets.clone())?;
        Scraped::register(&registry, Arc::new(store::Store(store.clone())))?;
        Scraped::register(&registry, Arc::new(Process::new()))?;
        let build = IntGaugeVec::new(opts(BUILD_INFO), &["version"])?;
        registry.register(Box::new(build.clone()))?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Arc::new(Self {
            health: HealthFamilies::new(&registry)?,
            rejections: counters(&registry, REJECTIONS, &["flag"])?,
            refusals: Arc::default(),
            upgrades: counters(&registry, UPGRADES, &["result"])?,
            access_log_dropped: counter(&registry, ACCESS_LOG_DROPPED)?,
            trace_spans: counters(&registry, TRACE_SPANS, &["result"])?,
            panics: counter(&registry, PANICS)?,
            registry,
            traffic,
            tenants,
            limits,
            signing,
            authentication,
            keys,
            zones,
            cross_zone,
            connections,
            certificates,
            configuration,
            sources,
            key_sets,
            store,
        }))
    }

    /// What requests of this route to this upstream are counted in; the same
    /// one for the same names. [`NO_NAME`] stands for no route or no upstream.
    pub fn series(&self, route: &str, upstream: &str) -> Arc<RouteSeries> {
        self.traffic.series(route, upstream)
    }

    /// What attempts towards this upstream are counted in.
    pub fn upstream(&self, upstream: &str) -> Arc<UpstreamSeries> {
        self.traffic.upstream(upstream)
    }

    /// What requests of this tenant are counted in; the same for the same name.
    pub fn tenant(&self, name: &str) -> Arc<TenantSeries> {
        self.tenants.series(name)
    }

    /// What decisions of this limit are counted in; the same for the same name.
    pub fn limit(&self, name: &str) -> Arc<LimitSeries> {
        self.limits.series(name)
    }

    /// What tokens of this signer are counted in; the same for the same name.
    pub fn signer(&self, name: &str) -> Arc<SignerSeries> {
        self.signing.series(name)
    }

    /// What attempts towards this zone's endpoints of this upstream are counted in.
    pub fn zone(&self, upstream: &str, zone: &str) -> Arc<ZoneSeries> {
        self.zones.series(upstream, zone)
    }

    /// What requests to this upstream's endpoints of other zones are counted in.
    pub fn cross_zone(&self, upstream: &str) -> Arc<CrossZoneSeries> {
        self.cross_zone.series(upstream)
    }

    /// How upstreams are looked at at each scrape; the first one stays.
    pub fn watch_upstreams(&self, look: impl Fn() -> Vec<UpstreamGauges> + Send + Sync + 'static) {
        self.zones.look.watch(look);
    }

    /// How limits are looked at at each scrape; the first one stays.
    pub fn watch_limits(&self, look: impl Fn() -> Vec<LimitGauges> + Send + Sync + 'static) {
        self.limits.look.watch(look);
    }

    /// What this way of authentication says is counted in, by these words; the same for
    /// the same name.
    pub fn authenticator(&self, name: &str, words: &[&'static str]) -> Arc<AuthenticatorSeries> {
        self.authentication.series(name, words)
    }

    /// How the keys of signers are looked at at each scrape; the first one stays.
    pub fn watch_keys(&self, look: impl Fn() -> Vec<KeyGauges> + Send + Sync + 'static) {
        self.keys.0.watch(look);
    }

    /// What exchanges with the store of a fleet's limits are counted in.
    pub fn store(&self) -> Arc<StoreSeries> {
        self.store.clone()
    }

    /// How names and files are looked at at each scrape; the first one stays.
    pub fn watch_sources(&self, look: impl Fn() -> Vec<SourceGauges> + Send + Sync + 'static) {
        self.sources.0.watch(look);
    }

    /// How key sets of identity providers are looked at at each scrape; the first one stays.
    pub fn watch_key_sets(&self, look: impl Fn() -> Vec<KeySetGauges> + Send + Sync + 'static) {
        self.key_sets.0.watch(look);
    }

    /// Forgets the series of every (upstream, zone) but these, as
    /// [`retain`](Self::retain).
    pub fn retain_zones(&self, pairs: &[(&str, &str)]) {
        self.zones.retain(pairs);
        self.cross_zone.retain(&pairs.iter().map(|(upstream, _)| *upstream).collect());
    }

    /// Forgets the series of every tenant but these, as [`retain`](Self::retain).
    pub fn retain_tenants(&self, names: &[&str]) {
        self.tenants.retain(names);
    }

    /// Forgets the series of every limit but these, as [`retain`](Self::retain).
    pub fn retain_limits(&self, names: &HashSet<&str>) {
        self.limits.retain(names);
    }

    /// Forgets the series of every way of authentication but these.
    pub fn retain_authenticators(&self, names: &HashSet<&str>) {
        self.authentication.retain(names);
    }

    /// Forgets the series of every signer but these, as [`retain`](Self::retain).
    pub fn retain_signers(&self, names: &HashSet<&str>) {
        self.signing.retain(names);
    }

    /// Forgets every series but those of these (route, upstream) pairs, of
    /// their upstreams, and of their routes with [`NO_NAME`]. To be called after
    /// a new snapshot is at work, and after one was refused (with the pairs of
    /// the old one): a snapshot asks for series before it is known to be good.
    pub fn retain(&self, pairs: &[(&str, &str)]) {
        self.traffic.retain(pairs);
    }

    /// What an upstream's probes and endpoints are counted in.
    pub fn health(&self, upstream: &str) -> HealthSeries {
        self.health.series(upstream)
    }

    /// Forgets the probes and endpoints of every upstream but these.
    pub fn retain_health(&self, upstreams: &HashSet<&str>) {
        self.health.retain(upstreams);
    }

    /// What connections of this listener are counted in.
    pub fn listener(&self, name: &str) -> Arc<ListenerSeries> {
        self.connections.listener(name)
    }

    /// Counts refusals with this flag word. The words are a closed set of the
    /// caller's.
    pub fn rejection(&self, flag: &'static str) -> IntCounter {
        self.rejections.with_label_values(&[flag])
    }

    /// What was refused lately.
    pub fn refusals(&self) -> Arc<RecentRefusals> {
        self.refusals.clone()
    }

    /// What is counted of configurations.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// An upgrade was tried. The words are a closed set of the caller's.
    pub fn upgrade(&self, result: &'static str) {
        self.upgrades.with_label_values(&[result]).inc();
    }

    /// The certificates that listeners show, instead of those told before.
    pub fn certificates(&self, shown: [Vec<CertificateExpiry>; 3]) {
        self.certificates.replace(shown);
    }

    /// A task or thread panicked.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Counts access-log lines that were never written.
    pub fn access_log_dropped(&self) -> IntCounter {
        self.access_log_dropped.clone()
    }

    /// Counts spans that ended so. It shows from now on.
    pub fn trace_spans(&self, result: SpanResult) -> IntCounter {
        self.trace_spans.with_label_values(&[result.word()])
    }

    /// Everything, in the text format 0.0.4 ([`CONTENT_TYPE`]). Takes a lock
    /// that only snapshots being built wait for; best done off the workers.
    pub fn render(&self) -> String {
        self.registry.render().unwrap_or_else(|why| {
            log::error!("metrics cannot be rendered: error={why}");
            String::new()
        })
    }
}

fn opts((name, help): (&str, &str)) -> Opts {
    Opts::new(name, help)
}

fn counter(registry: &Registry, what: (&str, &str)) -> Result<IntCounter> {
    let counter = IntCounter::with_opts(opts(what))?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn counters(registry: &Registry, what: (&str, &str), labels: &[&str]) -> Result<IntCounterVec> {
    let counters = IntCounterVec::new(opts(what), labels)?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

/// Whole seconds since 1970; 0 before it.
fn unix_seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// What an answer with [`Metrics::render`]'s text says it is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const BUILD_INFO: (&str, &str) = ("tollgate_build_info", "Always 1; which build runs.");
const REJECTIONS: (&str, &str) =
    ("tollgate_rejections_total", "Requests that the gateway refused itself, by why.");
const UPGRADES: (&str, &str) =
    ("tollgate_upgrades_total", "Upgrades that this process tried, by how they ended.");
const ACCESS_LOG_DROPPED: (&str, &str) =
    ("tollgate_access_log_dropped_total", "Access-log lines that were never written.");
const TRACE_SPANS: (&str, &str) =
    ("tollgate_trace_spans_total", "Spans of recorded requests, by what became of them.");
const PANICS: (&str, &str) = ("tollgate_panics_total", "Panics in tasks and threads. Each is a bug.");

#[cfg(test)]
mod tests;
