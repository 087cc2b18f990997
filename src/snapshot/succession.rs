//! Snapshots that come of another one without its files being read as a whole.
//!
//! Owns what stays and what is taken anew: endpoints that were found, certificates
//! whose files changed, and a former snapshot that is called back.

use std::{
    path::Path,
    sync::Arc,
    time::{Instant, SystemTime},
};

use super::{
    AuthenticatorKind, Snapshot, authentication, parts,
    series::{LimitSeriesTable, SeriesTable, TenantSeriesTable},
    tracing,
};
use crate::{
    config::{Config, Problems},
    limit::Limits,
    live::LiveState,
    telemetry::{ConfigMark, Metrics},
    tls::Watched,
    upstream::Upstream,
};

impl Snapshot {
    /// The same configuration with what is known by now of where its upstreams
    /// are; those of which nothing else is known stay as they are. `None` when
    /// that is all of them. An upstream of 10,000 endpoints takes about 40 ms: call it
    /// off the request's path.
    pub fn refreshed(&self, live: &LiveState, metrics: &Metrics) -> Option<Self> {
        let place = live.place(&self.config().location);
        let moved = place != self.place;
        let mut upstreams = self.upstreams.clone();
        let specs = self.config().upstreams.iter().zip(&self.upstream_tls);
        for (upstream, (spec, terms)) in upstreams.iter_mut().zip(specs) {
            let endpoints = live.endpoints(&spec.spec, self.config());
            if moved || !upstream.has(&endpoints) {
                let known = live.upstream(&upstream.name);
                let tls = terms.as_ref().map(|terms| &terms.peer);
                *upstream = Arc::new(Upstream::new(&spec.spec, endpoints, tls, &place, known));
            }
        }
        let same = upstreams.iter().zip(&self.upstreams).all(|(new, old)| Arc::ptr_eq(new, old));
        let gateways = live.gateways(self.config());
        (!same || gateways != self.gateways).then(|| {
            let series = self.series.with_zones_of(&upstreams, metrics);
            let rate_limits = self.limits_among(gateways, live);
            let tracing = tracing::build(self.config(), &place);
            Self { tracing, place, upstreams, series, gateways, rate_limits, ..self.clone() }
        })
    }

    /// The limits with what they counted, among so many gateways.
    fn limits_among(&self, gateways: Option<u32>, live: &LiveState) -> Arc<Limits> {
        if gateways == self.gateways {
            return self.rate_limits.clone();
        }
        Arc::new(Limits::new(self.config(), gateways, &live.limits))
    }

    /// The same, from now on at work: keys of signers that it lacks are retired.
    pub fn at_work(self, live: &LiveState, metrics: &Metrics) -> Self {
        Self { signing: Arc::new(self.signing.at_work(&live.jwt, metrics)), ..self }
    }

    /// This former snapshot as the next one, of another generation: the configuration
    /// as it was, with certificates, keys and secrets as they were read then. Of now is
    /// what outlives snapshots, and where upstreams are.
    ///
    /// Its parts are used again and not built from its text: built again, it could only
    /// have today's files, which may be why somebody wants it back. But nobody wants what
    /// has expired meanwhile: that is read anew. What it held it
    /// kept from being forgotten, so that the counts of limits and the experience with
    /// endpoints are the very same ones. Its series are asked for anew: those that the
    /// snapshot after it did not have were forgotten with it.
    pub fn called_back(&self, generation: u64, live: &LiveState, metrics: &Metrics) -> Self {
        let now = self.refreshed(live, metrics).unwrap_or_else(|| self.clone());
        let config = self.config();
        let called_back = Self {
            generation,
            built: Instant::now(),
            mark: ConfigMark::new(generation, &self.hash),
            series: SeriesTable::new(config, &now.upstreams, metrics),
            tenant_series: TenantSeriesTable::new(config, metrics),
            limit_series: LimitSeriesTable::new(&now.rate_limits, metrics),
            // What is on the disk now stays there until it changes; but keys of callers
            // that were taken back stay so: their files are read at the next look.
            tls_files: Arc::new(TlsFiles::look(config).without_authentication()),
            ..now
        };
        called_back.at_work(live, metrics).in_date(SystemTime::now(), live)
    }

    /// With today's files in the place of certificates and lists that expired since they
    /// were read: their files may have been renewed long ago, and no change of them would
    /// be seen for weeks.
    fn in_date(self, now: SystemTime, live: &LiveState) -> Self {
        let mut files = TlsFiles::clone(&self.tls_files);
        let today = files.clone();
        for (known, table) in files.listeners.iter_mut().zip(&self.tls) {
            let lists = table.iter().flat_map(|table| table.revocation_lists()).map(|(_, end)| end);
            let certificates = table.iter().flat_map(|table| table.certificates());
            if certificates.map(|facts| facts.not_after).chain(lists).any(|end| end < now) {
                *known = Watched::default();
            }
        }
        for (known, terms) in files.upstreams.iter_mut().zip(&self.upstream_tls) {
            let shown = terms.as_ref().and_then(|terms| terms.shown.as_ref());
            if shown.is_some_and(|(_, end)| *end < now) {
                *known = Watched::default();
            }
        }
        if files == today {
            return self;
        }
        let renewal = Self { tls_files: Arc::new(files), ..self }.renewed(&today, live);
        log::info!("certificates had expired and are read again: changed={}", renewal.changed);
        renewal.problems.iter().for_each(|problem| log::warn!("{problem}"));
        renewal.next
    }

    /// The same configuration with certificates, keys and authorities read again where
    /// their files are others than they were: `files` was looked at before.
    pub fn renewed(&self, files: &TlsFiles, live: &LiveState) -> Renewal {
        let mut renewal = Renewal {
            next: self.clone(),
            problems: Problems::default(),
            changed: 0,
            authenticators: Vec::new(),
            is_new: false,
        };
        let mut taken = TlsFiles::clone(&self.tls_files);
        for (index, looked) in files.listeners.iter().enumerate() {
            let Some(known) = taken.listeners.get_mut(index).filter(|known| *known != looked) else {
                continue;
            };
            if renewal.listener(index) {
                known.clone_from(looked);
            }
        }
        for (index, looked) in files.upstreams.iter().enumerate() {
            let Some(known) = taken.upstreams.get_mut(index).filter(|known| *known != looked) else {
                continue;
            };
            if renewal.upstream(index, live) {
                known.clone_from(looked);
            }
        }
        for (index, looked) in files.authentication.iter().enumerate() {
            let Some(known) = taken.authentication.get_mut(index).filter(|known| *known != looked) else {
                continue;
            };
            if renewal.authenticator(index, live) {
                known.clone_from(looked);
            }
        }
        renewal.next.tls_files = Arc::new(taken);
        self.loaded.locate(&mut renewal.problems);
        renewal
    }
}

/// A snapshot with files of TLS that were read again.
pub struct Renewal {
    /// What could be taken; the rest as it was, also in its
    /// [`tls_files`](Snapshot::tls_files).
    pub next: Snapshot,
    /// What could not be taken, as errors, and what somebody should look at.
    pub problems: Problems,
    /// How many certificates, or terms towards upstreams, are others than before.
    pub changed: usize,
    /// Ways of authentication whose files were read again, by their place.
    pub authenticators: Vec<usize>,
    /// Whether there is anything new in it at all.
    pub is_new: bool,
}

impl Renewal {
    /// Whether all of it could be taken.
    fn listener(&mut self, index: usize) -> bool {
        let config = &self.next.loaded.config;
        let (Some(listener), Some(Some(table))) = (config.listeners.get(index), self.next.tls.get(index))
        else {
            return true;
        };
        let Some(spec) = &listener.spec.tls else { return true };
        let resolve = |path: &Path| config.resolve(path);
        let mut found = Problems::default();
        let source = listener.source.key("tls");
        let renewed = table.renewed(spec, &source, &resolve, SystemTime::now(), &mut found);
        let is_whole = !found.has_errors();
        self.problems.extend(found);
        let Some(renewed) = renewed else { return false };
        let before: Vec<_> = table.certificates().map(|facts| facts.fingerprint).collect();
        self.changed += renewed.certificates().filter(|facts| !before.contains(&facts.fingerprint)).count();
        if let Some(slot) = self.next.tls.get_mut(index) {
            *slot = Some(Arc::new(renewed));
            self.is_new = true;
        }
        is_whole
    }

    /// Whether it could be taken.
    fn upstream(&mut self, index: usize, live: &LiveState) -> bool {
        let next = &mut self.next;
        let config = &next.loaded.config;
        let (Some(spec), Some(upstream)) = (config.upstreams.get(index), next.upstreams.get_mut(index))
        else {
            return true;
        };
        let mut found = Problems::default();
        let terms = parts::upstream_tls(spec, config, SystemTime::now(), &mut found);
        self.problems.extend(found);
        let Some(terms) = terms else { return false };
        let known = live.upstream(&upstream.name);
        // Not those of now: the series of its zones are of these.
        let endpoints = upstream.resolved();
        *upstream = Arc::new(Upstream::new(&spec.spec, endpoints, Some(&terms.peer), &next.place, known));
        if let Some(slot) = next.upstream_tls.get_mut(index) {
            let identity = terms.peer.identity;
            self.changed += usize::from(slot.as_ref().is_none_or(|was| was.peer.identity != identity));
            *slot = Some(terms);
        }
        self.is_new = true;
        true
    }

    /// Whether it could be taken.
    fn authenticator(&mut self, index: usize, live: &LiveState) -> bool {
        let config = &self.next.loaded.config;
        let Some(entry) = config.authentication.get(index) else { return true };
        let mut found = Problems::default();
        let kind = AuthenticatorKind::build(index, entry, (config, live), &mut found);
        self.problems.extend(found);
        let Some(kind) = kind else { return false };
        self.next.authentication = Arc::new(self.next.authentication.with(index, kind));
        self.authenticators.push(index);
        self.is_new = true;
        true
    }
}

/// What the files behind every TLS section and every way of authentication of a
/// configuration are: equal when none of them was touched in between.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TlsFiles {
    listeners: Vec<Watched>,
    upstreams: Vec<Watched>,
    authentication: Vec<Watched>,
}

impl TlsFiles {
    /// As if files of ways of authentication had never been read.
    fn without_authentication(self) -> Self {
        let authentication = self.authentication.iter().map(|_| Watched::default()).collect();
        Self { authentication, ..self }
    }

    /// As they are now. A few system calls for each file.
    pub fn look(config: &Config) -> Self {
        let resolve = |path: &Path| config.resolve(path);
        let tls = config.listeners.iter().map(|listener| listener.spec.tls.as_ref());
        let listeners = tls.map(|tls| tls.map(|tls| Watched::of_listener(tls, &resolve)).unwrap_or_default());
        let tls = config.upstreams.iter().map(|upstream| upstream.spec.tls.as_ref());
        let upstreams = tls.map(|tls| tls.map(|tls| Watched::of_upstream(tls, &resolve)).unwrap_or_default());
        let authentication = config.authentication.iter();
        let authentication = authentication.map(|entry| authentication::watched(&entry.spec, config));
        Self {
            listeners: listeners.collect(),
            upstreams: upstreams.collect(),
            authentication: authentication.collect(),
        }
    }
}
