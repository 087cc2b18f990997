//! Everything that rules a request, immutable and swapped whole.
//!
//! `Snapshot::build` returns the value at work or every problem; it touches
//! files (certificates, keys) and no socket. A request pins one snapshot from
//! its first byte to its log line.

mod authentication;
mod connections;
mod parts;
mod series;
mod signing;
mod store;
mod succession;
mod tracing;
mod trust;
mod what_if;

use std::{
    path::Path,
    sync::Arc,
    time::{Instant, SystemTime},
};

use arc_swap::ArcSwap;
pub use authentication::{ApiKeyMethod, Authentication, Authenticator, AuthenticatorKind};
use parts::{Parts, UpstreamTerms, everything_wrong, proxy_protocol};
use series::{LimitSeriesTable, SeriesTable, TenantSeriesTable};
pub use signing::Signing;
pub use succession::{Renewal, TlsFiles};
pub use tracing::Tracing;
pub use what_if::{Question, Report};

use crate::{
    config::{self, Config, Loaded, Problems},
    edge::{self, ProxyProtocol},
    gate::Gate,
    identity::{Tenancy, Tenants, TrustedHops},
    limit::{Limits, store::StoreSettings},
    live::LiveState,
    route::{Router, UpstreamIndex},
    telemetry::{
        ConfigMark, Metrics,
        metrics::{
            CertificateExpiry, CrossZoneSeries, LimitSeries, RouteSeries, TenantSeries, UpstreamSeries,
            ZoneSeries,
        },
    },
    tls::{CertificateFacts, TlsTable},
    upstream::{Place, Upstream},
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
    /// How the log lines of its requests name it.
    pub mark: ConfigMark,
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
    upstream_tls: Vec<Option<UpstreamTerms>>,
    tls: Vec<Option<Arc<TlsTable>>>,
    /// What the files behind both were when they were read.
    tls_files: Arc<TlsFiles>,
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
    /// Who can vouch for requests, and who has to.
    pub authentication: Arc<Authentication>,
    /// Who signs for requests, and which fields are theirs.
    pub signing: Arc<Signing>,
    /// Where leased limits settle up.
    pub store: Option<Arc<StoreSettings>>,
    /// Which requests are recorded, and where that goes.
    pub tracing: Option<Arc<Tracing>>,
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
        let loaded = config::load_for_check(path).map_err(|broken| everything_wrong(broken, live))?;
        learn(&loaded.config);
        Self::build(loaded, generation, live, metrics)
    }

    /// As [`load`](Self::load), of the generation after `before`. Routes that are written
    /// as they were, and all that they depend on as it was, are the same ones, so that
    /// they need neither time nor memory again.
    pub fn load_after(
        path: &Path,
        before: &Self,
        live: &LiveState,
        metrics: &Metrics,
        learn: impl FnOnce(&Config),
    ) -> Result<(Self, Problems), Problems> {
        let loaded = config::load_after(path, Some(&before.loaded));
        let loaded = loaded.map_err(|broken| everything_wrong(broken, live))?;
        learn(&loaded.config);
        Self::build_after(Some(before), loaded, before.generation + 1, (live, metrics))
    }

    /// Builds the whole of it. Warnings come back beside the value; errors
    /// come back alone.
    pub fn build(
        loaded: Loaded,
        generation: u64,
        live: &LiveState,
        metrics: &Metrics,
    ) -> Result<(Self, Problems), Problems> {
        Self::build_after(None, loaded, generation, (live, metrics))
    }

    fn build_after(
        before: Option<&Self>,
        loaded: Loaded,
        generation: u64,
        (live, metrics): (&LiveState, &Metrics),
    ) -> Result<(Self, Problems), Problems> {
        let config = &loaded.config;
        let mut problems = loaded.warnings.clone();
        // Before they are read: what changes meanwhile is seen as a change.
        let tls_files = Arc::new(TlsFiles::look(config));
        let Parts { tls, upstreams, upstream_tls, tenants, router, store, signers, authenticators } =
            Parts::build(config, before, live, &mut problems);
        loaded.locate(&mut problems);
        let (Some(router), false) = (router, problems.has_errors()) else {
            problems.sort();
            return Err(problems);
        };
        // Once: the file may change meanwhile, and what both say has to be the same.
        let gateways = live.gateways(config);
        let rate_limits = Limits::new(config, gateways, &live.limits);
        let place = live.place(&config.location);
        let snapshot = Self {
            generation,
            built: Instant::now(),
            hash: loaded.hash.clone(),
            mark: ConfigMark::new(generation, &loaded.hash),
            gate: Gate::new(&config.requests),
            series: SeriesTable::after(before.map(|b| (&b.series, b.config())), config, &upstreams, metrics),
            tenant_series: TenantSeriesTable::new(config, metrics),
            limit_series: LimitSeriesTable::new(&rate_limits, metrics),
            gateways,
            rate_limits: Arc::new(rate_limits),
            store,
            tracing: tracing::build(config, &place),
            place,
            hops: TrustedHops::new(&config.forwarded),
            authentication: Arc::new(Authentication::new(config, authenticators, metrics)),
            signing: Arc::new(Signing::new(signers, metrics)),
            limits: connections::limits(config),
            proxy_protocol: config.listeners.iter().map(|l| proxy_protocol(&l.spec)).collect(),
            tenants: Arc::new(tenants),
            router: Arc::new(router),
            upstreams,
            upstream_tls,
            tls,
            tls_files,
            loaded: Arc::new(loaded),
        };
        Ok((snapshot, problems))
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

    /// Every list of revoked certificates with its listener's name, its file, and when it
    /// has to be renewed.
    pub fn revocation_lists(&self) -> impl Iterator<Item = (&str, &Path, SystemTime)> {
        let tables = self.config().listeners.iter().zip(&self.tls);
        tables.flat_map(|(listener, table)| {
            let lists = table.iter().flat_map(|table| table.revocation_lists());
            lists.map(|(file, at)| (listener.spec.name.as_str(), file, at))
        })
    }

    /// Every certificate that the gateway shows to an upstream, with that one's name, its
    /// file, and until when it is valid.
    pub fn upstream_certificates(&self) -> impl Iterator<Item = (&str, &Path, SystemTime)> {
        let each = self.upstreams.iter().zip(&self.upstream_tls);
        each.filter_map(|(upstream, terms)| {
            let (file, at) = terms.as_ref()?.shown.as_ref()?;
            Some((&*upstream.name, &**file, *at))
        })
    }

    /// What the files of TLS were when they were read.
    pub fn tls_files(&self) -> &TlsFiles {
        &self.tls_files
    }

    /// The terms of TLS towards each upstream, by name: another number where
    /// authorities or the gateway's own certificate are others.
    pub fn upstream_identities(&self) -> impl Iterator<Item = (&str, u64)> {
        let each = self.upstreams.iter().zip(&self.upstream_tls);
        each.filter_map(|(upstream, tls)| Some((&*upstream.name, tls.as_ref()?.peer.identity)))
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
        metrics.retain_authenticators(&self.authentication.iter().map(|one| &*one.name).collect());
        metrics.retain_signers(&self.signing.signers.iter().map(|signer| &*signer.name).collect());
        let zones = |u: &'_ Arc<Upstream>| -> Vec<_> {
            u.zones().iter().map(|zone| (u.name.clone(), zone.clone())).collect()
        };
        let zones: Vec<_> = self.upstreams.iter().flat_map(zones).collect();
        metrics
            .retain_zones(&zones.iter().map(|(upstream, zone)| (&**upstream, &**zone)).collect::<Vec<_>>());
        let expiry = |(of, file, at): (&str, &Path, SystemTime)| CertificateExpiry {
            of: of.to_owned(),
            file: file.display().to_string(),
            at,
        };
        let certificates = self.certificates().map(|(of, facts)| (of, &*facts.file, facts.not_after));
        let certificates = certificates.map(expiry).collect();
        let upstreams = self.upstream_certificates().map(expiry).collect();
        metrics.certificates([certificates, upstreams, self.revocation_lists().map(expiry).collect()]);
    }
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

#[cfg(test)]
mod tests;
