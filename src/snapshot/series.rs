//! The counters of a snapshot's requests, found by index: nothing on a request's
//! way looks a name up.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use smallvec::SmallVec;

use crate::{
    config::{Config, Sourced, route::RouteSpec, tenant::UNKNOWN_TENANT, types::Name},
    identity::Tenancy,
    limit::Limits,
    route::UpstreamIndex,
    telemetry::{
        Metrics,
        metrics::{
            CrossZoneSeries, LimitSeries, NO_NAME, RouteSeries, TenantSeries, UpstreamSeries, ZoneSeries,
        },
    },
    upstream::Upstream,
};

/// The counters of every pair of route and upstream that a request can take,
/// found by index.
#[derive(Clone)]
pub(super) struct SeriesTable {
    nowhere: Arc<RouteSeries>,
    routes: Arc<[RouteRow]>,
    pub(super) upstreams: Vec<Arc<UpstreamSeries>>,
    /// By upstream and its zone.
    pub(super) zones: Vec<Vec<Arc<ZoneSeries>>>,
    /// By upstream.
    pub(super) cross_zone: Vec<Arc<CrossZoneSeries>>,
}

#[derive(Clone)]
struct RouteRow {
    /// In the row itself while it is one: each step to a route's own memory is one that
    /// a request waits for.
    forwarded: SmallVec<[(UpstreamIndex, Arc<RouteSeries>); 1]>,
    answered: Arc<RouteSeries>,
}

impl SeriesTable {
    pub(super) fn new(config: &Config, at_work: &[Arc<Upstream>], metrics: &Metrics) -> Self {
        Self::after(None, config, at_work, metrics)
    }

    /// As [`new`](Self::new). A route that is the one before has its series: those of a
    /// snapshot that serves are not forgotten.
    pub(super) fn after(
        before: Option<(&Self, &Config)>,
        config: &Config,
        at_work: &[Arc<Upstream>],
        metrics: &Metrics,
    ) -> Self {
        let upstreams = config.upstreams.iter().map(|u| metrics.upstream(u.spec.name.as_str()));
        let targets = Targets::of(config);
        // A row knows upstreams by their places.
        let before = before.filter(|(_, before)| Targets::of(before) == targets);
        let kept = |index: usize, route: &Sourced<RouteSpec>| {
            let (table, config) = before?;
            let was = config.routes.get(index)?;
            Arc::ptr_eq(&was.spec, &route.spec).then(|| table.routes.get(index).cloned())?
        };
        let row = |(index, route): (usize, &Sourced<RouteSpec>)| {
            if let Some(row) = kept(index, route) {
                return row;
            }
            let name = route.spec.name.as_str();
            let forwarded = targets
                .of_route(route)
                .into_iter()
                .map(|(index, upstream)| (UpstreamIndex(index), metrics.series(name, upstream)));
            RouteRow { answered: metrics.series(name, NO_NAME), forwarded: forwarded.collect() }
        };
        Self {
            nowhere: metrics.series(NO_NAME, NO_NAME),
            routes: config.routes.iter().enumerate().map(row).collect(),
            upstreams: upstreams.collect(),
            zones: zones(at_work, metrics),
            cross_zone: at_work.iter().map(|u| metrics.cross_zone(&u.name)).collect(),
        }
    }

    /// The same, with upstreams whose zones may be others.
    pub(super) fn with_zones_of(&self, at_work: &[Arc<Upstream>], metrics: &Metrics) -> Self {
        Self { zones: zones(at_work, metrics), ..self.clone() }
    }

    pub(super) fn of(&self, route: Option<usize>, upstream: Option<UpstreamIndex>) -> &RouteSeries {
        let Some(row) = route.and_then(|route| self.routes.get(route)) else { return &self.nowhere };
        let forwarded = upstream.and_then(|u| row.forwarded.iter().find(|(index, _)| *index == u));
        forwarded.map_or(&row.answered, |(_, series)| series)
    }

    /// Always holds: what serves has the very series that `metrics` shows. A row that is
    /// [kept](Self::after) asks for none, so it may only be kept from a snapshot that
    /// serves: of any other, as one that is called back, the series may be forgotten here.
    pub(super) fn retain(&self, config: &Config, metrics: &Metrics) {
        let mut kept = Vec::with_capacity(2 * config.routes.len() + 1);
        kept.push((NO_NAME, NO_NAME));
        for (route, row) in config.routes.iter().zip(&*self.routes) {
            let name = route.spec.name.as_str();
            kept.push((name, NO_NAME));
            let upstreams = row.forwarded.iter().filter_map(|(index, _)| config.upstreams.get(index.0));
            kept.extend(upstreams.map(|upstream| (name, upstream.spec.name.as_str())));
        }
        metrics.retain(&kept);
    }
}

fn zones(at_work: &[Arc<Upstream>], metrics: &Metrics) -> Vec<Vec<Arc<ZoneSeries>>> {
    let of = |u: &Arc<Upstream>| u.zones().iter().map(|zone| metrics.zone(&u.name, zone)).collect();
    at_work.iter().map(of).collect()
}

/// The places of upstreams by name: looked for in a list, they would make a reload of
/// many routes and upstreams take as long as both together.
#[derive(PartialEq)]
struct Targets<'c>(HashMap<&'c Name, usize, ahash::RandomState>);

impl<'c> Targets<'c> {
    fn of(config: &'c Config) -> Self {
        Self(config.upstreams.iter().enumerate().map(|(index, u)| (&u.spec.name, index)).collect())
    }

    /// The upstreams that a route can choose, each once.
    fn of_route(&self, route: &'c Sourced<RouteSpec>) -> BTreeMap<usize, &'c str> {
        let split = route.spec.to.iter().map(|to| &to.upstream);
        let named = split.chain(route.spec.overrides.iter().map(|over| &over.upstream));
        named.filter_map(|name| Some((*self.0.get(name)?, name.as_str()))).collect()
    }
}

/// The counters of every tenant, and of the unknown together. Without tenants
/// there are none: all endpoints are unknown then.
#[derive(Clone)]
pub(super) struct TenantSeriesTable {
    unknown: Option<Arc<TenantSeries>>,
    tenants: Vec<Arc<TenantSeries>>,
}

impl TenantSeriesTable {
    pub(super) fn new(config: &Config, metrics: &Metrics) -> Self {
        let tenants: Vec<_> = config.tenants.iter().map(|t| metrics.tenant(t.spec.name.as_str())).collect();
        let unknown = (!tenants.is_empty()).then(|| metrics.tenant(UNKNOWN_TENANT));
        Self { unknown, tenants }
    }

    pub(super) fn of(&self, tenancy: Tenancy) -> Option<&TenantSeries> {
        match tenancy {
            Tenancy::Direct => None,
            Tenancy::Unknown => self.unknown.as_deref(),
            Tenancy::Of(tenant) => self.tenants.get(tenant.0).map(Arc::as_ref),
        }
    }

    pub(super) fn retain(&self, config: &Config, metrics: &Metrics) {
        let unknown = self.unknown.iter().map(|_| UNKNOWN_TENANT);
        let tenants = config.tenants.iter().map(|tenant| tenant.spec.name.as_str());
        metrics.retain_tenants(&tenants.chain(unknown).collect::<Vec<_>>());
    }
}

/// The counters of every limit, by its place.
#[derive(Clone)]
pub(super) struct LimitSeriesTable(Arc<[Arc<LimitSeries>]>);

impl LimitSeriesTable {
    pub(super) fn new(limits: &Limits, metrics: &Metrics) -> Self {
        Self(limits.iter().map(|limit| metrics.limit(&limit.name)).collect())
    }

    pub(super) fn of(&self, limit: usize) -> Option<&LimitSeries> {
        self.0.get(limit).map(Arc::as_ref)
    }
}
