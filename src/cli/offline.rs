//! The snapshot that a start with these files would build, for verbs that ask
//! files instead of a gateway.
//!
//! Nothing is looked up and no socket is touched: a name in DNS stands for one
//! endpoint, whose address is made up here and shown as the name; an
//! `endpoints_file` is read as `check` reads it. Every endpoint is taken to be
//! healthy.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use crate::{
    config::{self, Config, Problems, types::EndpointAddress, upstream::UpstreamSpec},
    limit::Freshness,
    live::LiveState,
    snapshot::Snapshot,
    telemetry::Metrics,
    upstream::{EndpointSource, FoundSet, Health},
};

/// A snapshot that serves nobody, and what stands in for what it cannot know.
pub(super) struct Offline {
    /// Of generation 0.
    pub(super) snapshot: Snapshot,
    live: LiveState,
    /// By the address that stands for it.
    names: BTreeMap<SocketAddr, String>,
}

impl Offline {
    /// Reads the files; or everything that is wrong with them, with an
    /// `endpoints_file` too.
    pub(super) fn load(file: &Path) -> Result<Self, Problems> {
        let Ok(metrics) = Metrics::new() else { return Err(Problems::default()) };
        let live = LiveState::default();
        // As every endpoint is taken to be healthy.
        live.limits.fleet.stand(Freshness::Fresh);
        let (mut names, mut problems) = (BTreeMap::new(), Problems::default());
        let learn = |config: &Config| {
            names = stand_ins(config, &live);
            config::read_endpoints_files(config, &mut problems, |path, entries| {
                live.found.learn(&EndpointSource::File(path), FoundSet::of_file(entries));
            });
        };
        let (snapshot, _) = Snapshot::load(file, 0, &live, &metrics, learn)?;
        snapshot.loaded.locate(&mut problems);
        if problems.has_errors() {
            return Err(problems);
        }
        // Nobody was asked: without a word of theirs no endpoint with a health check
        // would take traffic, and every upstream would panic.
        let endpoints = snapshot.upstreams.iter().flat_map(|upstream| upstream.endpoints());
        endpoints.for_each(|endpoint| endpoint.assume(Health::Healthy));
        Ok(Self { snapshot, live, names })
    }

    /// The name that this address stands for.
    pub(super) fn name(&self, address: &str) -> Option<&String> {
        self.names.get(&address.parse().ok()?)
    }

    /// The address that stands for this name.
    pub(super) fn address(&self, name: &str) -> Option<SocketAddr> {
        self.names.iter().find(|(_, other)| *other == name).map(|(address, _)| *address)
    }

    /// What stands in for endpoints of an upstream, in sentences.
    pub(super) fn notes(&self, upstream: &str) -> Vec<String> {
        let all = &self.snapshot.config().upstreams;
        let found = all.iter().map(|upstream| &upstream.spec).find(|spec| spec.name.as_str() == upstream);
        found.map(|spec| self.notes_of(spec)).unwrap_or_default()
    }

    fn notes_of(&self, spec: &UpstreamSpec) -> Vec<String> {
        let named =
            spec.endpoints.iter().filter(|entry| EndpointSource::of(&entry.address).is_some()).count();
        let names = (named > 0)
            .then(|| format!("names in DNS are not looked up here ({named}): each stands for one endpoint"));
        let file = spec.endpoints_file.as_ref().map(|file| {
            let path = self.snapshot.config().resolve(file);
            match self.live.found.knows(&EndpointSource::File(path)) {
                true => "`endpoints_file` was read as it is now".to_owned(),
                false => "`endpoints_file` has no endpoints yet: nothing stands for them".to_owned(),
            }
        });
        names.into_iter().chain(file).collect()
    }
}

/// An address for each name.
fn stand_ins(config: &Config, live: &LiveState) -> BTreeMap<SocketAddr, String> {
    let mut names = BTreeMap::new();
    let written = config.upstreams.iter().flat_map(|upstream| &upstream.spec.endpoints);
    for address in written.map(|endpoint| &endpoint.address) {
        let Some(source) = EndpointSource::of(address) else { continue };
        if live.found.knows(&source) {
            continue;
        }
        let port = if let EndpointAddress::Host(_, port) = address { *port } else { 0 };
        let nth = u32::try_from(names.len()).unwrap_or_default();
        let at = SocketAddr::from((Ipv4Addr::from(NOWHERE | nth), port));
        live.found.learn(&source, FoundSet::Addresses(vec![at]));
        names.insert(at, address.to_string());
    }
    names
}

/// 240.0.0.0/4 is nobody's (RFC 1112).
const NOWHERE: u32 = 0xf000_0000;
