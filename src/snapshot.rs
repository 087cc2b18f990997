//! Everything that rules a request, immutable and swapped whole.
//!
//! `Snapshot::build` returns the value at work or every problem; it touches
//! files (certificates, keys) and no socket. A request pins one snapshot from
//! its first byte to its log line.

mod connections;
mod series;
mod signing;
mod store;
mod what_if;

use std::{
    collections::HashSet,
    path::Path,
    sync::Arc,
    time::{Instant, SystemTime},
};

use arc_swap::ArcSwap;
use series::{LimitSeriesTable, SeriesTable, TenantSeriesTable};
pub use signing::Signing;
pub use what_if::{Question, Report};

use crate::{
    config::{
        self, Config, Loaded, Problems, Source, Sourced, listener::ListenerSpec, signer::SignerIndex,
        tenant::TenantIndex, upstream::UpstreamSpec,
    },
    edge::{self, ProxyProtocol},
    gate::Gate,
    identity::{Tenancy, Tenants, TrustedHops},
    jwt::{Now, Signers},
    limit::{Limits, store::StoreSettings},
    live::LiveState,
    route::{Defaults, Names, Router, UpstreamIndex},
    telemetry::{
        Metrics,
        metrics::{
            CertificateExpiry, CrossZoneSeries, LimitSeries, RouteSeries, TenantSeries, UpstreamSeries,
            ZoneSeries,
        },
    },
    tls::{CertificateFacts, TlsTable, UpstreamTls},
    upstream::{Place, Upstream, peer::PeerTls},
};

/// Everything that rules a request.
#[derive(Clone)]
pub struct Snapshot {
    /// Counts the snapshots of this process, from 1.
    pub generation: u64,
    /// When it was built.
    pub built: Instant,
    /// Names the files' content.
    pub hash: String,
    /// What it was built from.
    pub loaded: Arc<Loaded>,
    /// What a request may look like.
    pub gate: Gate,
    /// Who comes through which VPC endpoint.
    pub tenants: Arc<Tenants>,
    /// What goes where.
    pub router: Arc<Router>,
    /// Groups of endpoints, by [`UpstreamIndex`].
    pub upstreams: Vec<Arc<Upstream>>,
    /// TLS towards each of them.
    upstream_tls: Vec<Option<PeerTls>>,
    tls: Vec<Option<Arc<TlsTable>>>,
    proxy_protocol: Vec<Option<Arc<ProxyProtocol>>>,
    place: Place,
    /// The proxies in front whose word counts.
    pub hops: TrustedHops,
    series: SeriesTable,
    tenant_series: TenantSeriesTable,
    limit_series: LimitSeriesTable,
    /// How many gateways count together, as far as that is known.
    gateways: Option<u32>,
    /// How fast each key may go, and how much of it at once.
    pub rate_limits: Arc<Limits>,
    /// Who signs for requests, and which fields are theirs.
    pub signing: Arc<Signing>,
    /// Where leased limits settle up.
    pub store: Option<Arc<StoreSettings>>,
    limits: edge::Limits,
}

impl Snapshot {
    /// Reads and builds. Everything that is wrong is told at once: what could be
    /// read of a broken configuration is looked at too. `learn` is called between
    /// the two, to find out what `live` has to know: where the instance is, what
    /// names stand for.
    pub fn load(
        path: &Path,
        generation: u64,
        live: &LiveState,
        metrics: &Metrics,
        learn: impl FnOnce(&Config),
    ) -> Result<(Self, Problems), Problems> {
        match config::load_for_check(path) {
            Ok(loaded) => {
                learn(&loaded.config);
                Self::build(loaded, generation, live, metrics)
            }
            Err(broken) => Err(everything_wrong(broken, live)),
        }
    }

    /// Builds the whole of it. Warnings come back beside the value; errors
    /// come back alone.
    pub fn build(
        loaded: Loaded,
        generation: u64,
        live: &LiveState,
        metrics: &Metrics,
    ) -> Result<(Self, Problems), Problems> {
        let config = &loaded.config;
        let mut problems = loaded.warnings.clone();
        let Parts { tls, upstreams, upstream_tls, tenants, router, store, signers } =
            Parts::build(config, live, &mut problems);
        loaded.locate(&mut problems);
        let (Some(router), false) = (router, problems.has_errors()) else {
            problems.sort();
            return Err(problems);
        };
        // Once: the file may change meanwhile, and what both say has to be the same.
        let gateways = live.gateways(config);
        let rate_limits = Limits::new(config, gateways, &live.limits);
        let snapshot = Self {
            generation,
            built: Instant::now(),
            hash: loaded.hash.clone(),
            gate: Gate::new(&config.requests),
            series: SeriesTable::new(config, &upstreams, metrics),
            tenant_series: TenantSeriesTable::new(config, metrics),
            limit_series: LimitSeriesTable::new(&rate_limits, metrics),
            gateways,
            rate_limits: Arc::new(rate_limits),
            store,
            place: live.place(&config.location),
            hops: TrustedHops::new(&config.forwarded),
            signing: Arc::new(Signing::new(signers, metrics)),
            limits: connections::limits(config),
            proxy_protocol: config.listeners.iter().map(|l| proxy_protocol(&l.spec)).collect(),
            tenants: Arc::new(tenants),
            router: Arc::new(router),
            upstreams,
            upstream_tls,
            tls,
            loaded: Arc::new(loaded),
        };
        Ok((snapshot, problems))
    }

    /// The same configuration with what is known by now of where its upstreams
    /// are; those of which nothing else is known stay as they are. `None` when
    /// that is all of them. An upstream of 10,000 endpoints takes about 40 ms: call it
    /// off the request's path.
    pub fn refreshed(&self, live: &LiveState, metrics: &Metrics) -> Option<Self> {
        let place = live.place(&self.config().location);
        let moved = place != self.place;
        let mut upstreams = self.upstreams.clone();
        let specs = self.config().upstreams.iter().zip(&self.upstream_tls);
        for (upstream, (spec, tls)) in upstreams.iter_mut().zip(specs) {
            let endpoints = live.endpoints(&spec.spec, self.config());
            if moved || !upstream.has(&endpoints) {
                let known = live.upstream(&upstream.name);
                *upstream = Arc::new(Upstream::new(&spec.spec, endpoints, tls.as_ref(), &place, known));
            }
        }
        let same = upstreams.iter().zip(&self.upstreams).all(|(new, old)| Arc::ptr_eq(new, old));
        let gateways = live.gateways(self.config());
        (!same || gateways != self.gateways).then(|| {
            let series = self.series.with_zones_of(&upstreams, metrics);
            let rate_limits = self.limits_among(gateways, live);
            Self { place, upstreams, series, gateways, rate_limits, ..self.clone() }
        })
    }

    /// The limits with what they counted, among so many gateways.
    fn limits_among(&self, gateways: Option<u32>, live: &LiveState) -> Arc<Limits> {
        if gateways == self.gateways {
            return self.rate_limits.clone();
        }
        Arc::new(Limits::new(self.config(), gateways, &live.limits))
    }

    /// How many gateways count together; `None` where that is not written, or not
    /// known yet.
    pub fn gateways(&self) -> Option<u32> {
        self.gateways
    }

    /// What operators wrote.
    pub fn config(&self) -> &Config {
        &self.loaded.config
    }

    /// Where the gateway runs.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What a connection may do.
    pub fn limits(&self) -> edge::Limits {
        self.limits
    }

    /// The certificates and policies of a listener; `None` is cleartext.
    pub fn tls(&self, listener: usize) -> Option<&Arc<TlsTable>> {
        self.tls.get(listener)?.as_ref()
    }

    /// What a listener makes of PROXY headers; `None` knows none.
    pub fn proxy_protocol(&self, listener: usize) -> Option<&Arc<ProxyProtocol>> {
        self.proxy_protocol.get(listener)?.as_ref()
    }

    /// Every certificate with its listener's name.
    pub fn certificates(&self) -> impl Iterator<Item = (&str, &CertificateFacts)> {
        let tables = self.config().listeners.iter().zip(&self.tls);
        tables.flat_map(|(listener, table)| {
            let facts = table.iter().flat_map(|table| table.certificates());
            facts.map(|facts| (listener.spec.name.as_str(), facts))
        })
    }

    /// The listener's name in the configuration.
    pub fn listener_name(&self, index: usize) -> Option<&str> {
        self.config().listeners.get(index).map(|listener| listener.spec.name.as_str())
    }

    /// The metrics of a route towards an upstream; the ones for "no route" and
    /// "no upstream" where there is none.
    pub fn series(&self, route: Option<usize>, upstream: Option<UpstreamIndex>) -> &RouteSeries {
        self.series.of(route, upstream)
    }

    /// The metrics of an upstream's attempts.
    pub fn upstream_series(&self, upstream: UpstreamIndex) -> Option<&UpstreamSeries> {
        self.series.upstreams.get(upstream.0).map(Arc::as_ref)
    }

    /// The metrics of attempts towards a zone of an upstream.
    pub fn zone_series(&self, upstream: UpstreamIndex, zone: usize) -> Option<&ZoneSeries> {
        self.series.zones.get(upstream.0)?.get(zone).map(Arc::as_ref)
    }

    /// The metrics of an upstream's requests that leave the own zone.
    pub fn cross_zone_series(&self, upstream: UpstreamIndex) -> Option<&CrossZoneSeries> {
        self.series.cross_zone.get(upstream.0).map(Arc::as_ref)
    }

    /// The metrics of a tenant's requests, and of the unknown together; `None`
    /// without tenants and for requests that came through no VPC endpoint.
    pub fn tenant_series(&self, tenancy: Tenancy) -> Option<&TenantSeries> {
        self.tenant_series.of(tenancy)
    }

    /// The metrics of a limit, by its place among the [limits](Self::rate_limits).
    pub fn limit_series(&self, limit: usize) -> Option<&LimitSeries> {
        self.limit_series.of(limit)
    }

    /// Forgets the metrics of what this snapshot does not have.
    pub fn retain_metrics(&self, metrics: &Metrics) {
        self.series.retain(self.config(), metrics);
        self.tenant_series.retain(self.config(), metrics);
        metrics.retain_limits(&self.rate_limits.iter().map(|limit| &*limit.name).collect());
        metrics.retain_signers(&self.signing.signers.iter().map(|signer| &*signer.name).collect());
        let zones = |u: &'_ Arc<Upstream>| -> Vec<_> {
            u.zones().iter().map(|zone| (u.name.clone(), zone.clone())).collect()
        };
        let zones: Vec<_> = self.upstreams.iter().flat_map(zones).collect();
        metrics
            .retain_zones(&zones.iter().map(|(upstream, zone)| (&**upstream, &**zone)).collect::<Vec<_>>());
        let shown = self.certificates().map(|(listener, facts)| CertificateExpiry {
            listener: listener.to_owned(),
            certificate: facts.file.display().to_string(),
            at: facts.not_after,
        });
        metrics.certificates(shown.collect());
    }
}

/// What is built from more than one section or from other files.
struct Parts {
    tls: Vec<Option<Arc<TlsTable>>>,
    upstreams: Vec<Arc<Upstream>>,
    upstream_tls: Vec<Option<PeerTls>>,
    tenants: Tenants,
    router: Option<Router>,
    store: Option<Arc<StoreSettings>>,
    signers: Signers,
}

impl Parts {
    fn build(config: &Config, live: &LiveState, problems: &mut Problems) -> Self {
        let now = SystemTime::now();
        let tls = config.listeners.iter().map(|l| table(l, config, now, problems)).collect();
        let upstream_tls: Vec<_> =
            config.upstreams.iter().map(|u| upstream_tls(u, config, now, problems)).collect();
        let place = live.place(&config.location);
        let upstream = |(u, tls): (&Sourced<UpstreamSpec>, &Option<PeerTls>)| {
            let known = live.upstream(&u.spec.name.as_str().into());
            let endpoints = live.endpoints(&u.spec, config);
            Arc::new(Upstream::new(&u.spec, endpoints, tls.as_ref(), &place, known))
        };
        let upstreams = config.upstreams.iter().zip(&upstream_tls).map(upstream).collect();
        let tenants = Tenants::build(&config.tenants, &config.privatelink, &config.main, problems);
        let defaults = Defaults {
            max_body: config.requests.max_body.bytes(),
            encoded_slash: config.requests.encoded_slash,
        };
        let router = Router::build(&config.routes, &defaults, &names(config), problems);
        let store = store::settings(config, now, problems);
        let resolve = |path: &Path| config.resolve(path);
        let signers = Signers::build(&config.signers, &resolve, &live.jwt, Now::read(), problems);
        Self { tls, upstreams, upstream_tls, tenants, router, store, signers }
    }
}

fn names(config: &Config) -> Names {
    let upstreams = config.upstreams.iter().enumerate();
    let tenants = config.tenants.iter().enumerate();
    let signers = config.signers.iter().enumerate();
    Names {
        upstreams: upstreams.map(|(i, u)| (u.spec.name.clone(), UpstreamIndex(i))).collect(),
        tenants: tenants.map(|(i, t)| (t.spec.name.clone(), TenantIndex(i))).collect(),
        signers: signers.map(|(i, s)| (s.spec.name.clone(), SignerIndex(i))).collect(),
    }
}

/// Adds what the parts of a broken configuration have wrong, without what may
/// only follow from what is missing of it: nothing of an entry that is broken
/// itself, no unknown upstream or tenant while one of those is broken.
fn everything_wrong(broken: config::Broken, live: &LiveState) -> Problems {
    let mut problems = broken.problems;
    let Some(rest) = broken.rest else { return problems };
    let mut further = Problems::default();
    Parts::build(&rest.config, live, &mut further);
    rest.locate(&mut further);
    let entry = |source: &Source| {
        let end = source.key.find(']').map_or(source.key.len(), |at| at + 1);
        (source.file.clone(), source.key.get(..end).unwrap_or_default().to_owned())
    };
    let bad: HashSet<_> = problems.iter().map(|problem| entry(&problem.source)).collect();
    let is_bad = |section| bad.iter().any(|(_, key)| key.is_empty() || key.starts_with(section));
    let (upstream_is_bad, tenant_is_bad) = (is_bad("upstreams"), is_bad("tenants"));
    for problem in further.iter() {
        let key = &problem.source.key;
        let follows = (upstream_is_bad && key.ends_with(".upstream"))
            || (tenant_is_bad && (key.contains(".tenants[") || key.starts_with("privatelink")));
        if !follows && !bad.contains(&entry(&problem.source)) {
            problems.add(problem.clone());
        }
    }
    problems.sort();
    problems
}

/// The snapshot that new requests pin.
pub struct Current(ArcSwap<Snapshot>);

impl Current {
    /// Begins with the first snapshot.
    pub fn new(first: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(first))
    }

    /// Pins the snapshot of now.
    pub fn load(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// New requests pin this one from now on.
    pub fn publish(&self, next: Snapshot) {
        self.0.store(Arc::new(next));
    }
}

fn table(
    listener: &Sourced<ListenerSpec>,
    config: &Config,
    now: SystemTime,
    problems: &mut Problems,
) -> Option<Arc<TlsTable>> {
    let spec = listener.spec.tls.as_ref()?;
    let resolve = |path: &Path| config.resolve(path);
    TlsTable::build(spec, &listener.source.key("tls"), &resolve, now, problems).map(Arc::new)
}

fn proxy_protocol(spec: &ListenerSpec) -> Option<Arc<ProxyProtocol>> {
    spec.proxy_protocol.as_ref().and_then(ProxyProtocol::new).map(Arc::new)
}

fn upstream_tls(
    spec: &Sourced<UpstreamSpec>,
    config: &Config,
    now: SystemTime,
    problems: &mut Problems,
) -> Option<PeerTls> {
    let tls = spec.spec.tls.as_ref()?;
    let resolve = |path: &Path| config.resolve(path);
    let built = UpstreamTls::build(tls, &spec.source.key("tls"), &resolve, now, problems)?;
    Some(PeerTls {
        server_name: tls.server_name.clone(),
        ca: built.ca,
        client: built.client,
        identity: built.identity,
    })
}

#[cfg(test)]
mod tests;
