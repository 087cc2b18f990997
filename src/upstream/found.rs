//! Which addresses an upstream has: those that were written, and those that its
//! names and its file stand for, as far as that is known.
//!
//! Owns what was found last, for as long as the process runs, and how it becomes
//! the endpoints of an upstream. Does not own looking: `discovery` does.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use super::live::locked;
use crate::config::{
    types::{EndpointAddress, Name},
    upstream::{EndpointSpec, UpstreamSpec},
};

/// An endpoint whose address is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resolved {
    /// Where it answers.
    pub address: SocketAddr,
    /// The availability zone's id.
    pub zone: Option<Arc<str>>,
    /// The region, where it is not the gateway's own.
    pub region: Option<Arc<str>>,
    /// Its share beside the others; 0 is never.
    pub weight: u16,
}

impl Resolved {
    /// What is written of an endpoint, at this address.
    pub(super) fn at(address: SocketAddr, entry: &EndpointSpec, weight: u16) -> Self {
        let text = |name: &Name| Arc::from(name.as_str());
        Self { address, zone: entry.zone.as_ref().map(text), region: entry.region.as_ref().map(text), weight }
    }
}

/// What stands for endpoints.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum EndpointSource {
    /// The A and AAAA records of a host, at this port.
    Host(String, u16),
    /// The SRV records of a service.
    Service(String),
    /// A file that is watched.
    File(PathBuf),
}

/// What a source stands for now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FoundSet {
    /// Of a host.
    Addresses(Vec<SocketAddr>),
    /// Of a service, with each one's weight, never 0.
    Weighted(Vec<(SocketAddr, u16)>),
    /// Of a file: whole endpoints.
    Endpoints(Vec<Resolved>),
}

/// What was found last.
#[derive(Debug, Default)]
pub struct Found {
    sets: Mutex<HashMap<EndpointSource, Arc<FoundSet>>>,
}

impl Found {
    /// Remembers what a source stands for; says whether that is a change.
    pub fn learn(&self, source: &EndpointSource, set: FoundSet) -> bool {
        let before = locked(&self.sets).insert(source.clone(), Arc::new(set.clone()));
        before.is_none_or(|before| *before != set)
    }

    /// Forgets a source; says whether anything was known of it.
    pub fn forget(&self, source: &EndpointSource) -> bool {
        locked(&self.sets).remove(source).is_some()
    }

    /// Whether anything is known of a source.
    pub fn knows(&self, source: &EndpointSource) -> bool {
        locked(&self.sets).contains_key(source)
    }

    /// The endpoints of an upstream as far as they are known, each address once;
    /// `file` is its `endpoints_file`, from the root.
    pub fn resolve(&self, spec: &UpstreamSpec, file: Option<PathBuf>) -> Vec<Resolved> {
        self.resolve_in(spec, file, |_| None)
    }

    /// As [`resolve`](Self::resolve); `zone_of` says which zone is called so, for
    /// names that tell one.
    pub fn resolve_in(
        &self,
        spec: &UpstreamSpec,
        file: Option<PathBuf>,
        zone_of: impl Fn(&str) -> Option<Arc<str>>,
    ) -> Vec<Resolved> {
        let entry = |entry| self.entry(entry, &zone_of);
        let mut endpoints: Vec<_> = spec.endpoints.iter().flat_map(entry).collect();
        if let Some(FoundSet::Endpoints(set)) =
            file.and_then(|file| self.get(&EndpointSource::File(file))).as_deref()
        {
            endpoints.extend(set.iter().cloned());
        }
        let mut seen = HashSet::new();
        endpoints.retain(|endpoint| seen.insert(endpoint.address));
        endpoints
    }

    /// How many endpoints of a file have a share at all; `None` while nothing is known
    /// of it.
    pub fn weighing(&self, file: PathBuf) -> Option<usize> {
        match &*self.get(&EndpointSource::File(file))? {
            FoundSet::Endpoints(set) => Some(set.iter().filter(|endpoint| endpoint.weight > 0).count()),
            FoundSet::Addresses(_) | FoundSet::Weighted(_) => None,
        }
    }

    fn entry(&self, entry: &EndpointSpec, zone_of: impl Fn(&str) -> Option<Arc<str>>) -> Vec<Resolved> {
        let zone = entry.address.zone_name().filter(|_| entry.zone.is_none()).and_then(zone_of);
        let at = |address, weight| {
            let endpoint = Resolved::at(address, entry, weight);
            Resolved { zone: endpoint.zone.or_else(|| zone.clone()), ..endpoint }
        };
        let Some(source) = EndpointSource::of(&entry.address) else {
            let EndpointAddress::Socket(address) = &entry.address else { return Vec::new() };
            return vec![at(address.socket(), entry.weight)];
        };
        match self.get(&source).as_deref() {
            Some(FoundSet::Addresses(set)) => set.iter().map(|address| at(*address, entry.weight)).collect(),
            Some(FoundSet::Weighted(set)) => {
                let weigh = |weight: u16| if entry.weight == 0 { 0 } else { weight };
                set.iter().map(|(address, weight)| at(*address, weigh(*weight))).collect()
            }
            Some(FoundSet::Endpoints(_)) | None => Vec::new(),
        }
    }

    /// What a source stands for; `None` while nothing is known of it.
    pub fn get(&self, source: &EndpointSource) -> Option<Arc<FoundSet>> {
        locked(&self.sets).get(source).cloned()
    }
}

impl FoundSet {
    /// What the entries of an `endpoints_file` are, by address. Names are left out:
    /// they are refused when it is read.
    pub fn of_file(entries: &[EndpointSpec]) -> Self {
        let resolved = |entry: &EndpointSpec| {
            let EndpointAddress::Socket(address) = &entry.address else { return None };
            Some(Resolved::at(address.socket(), entry, entry.weight))
        };
        let mut set: Vec<_> = entries.iter().filter_map(resolved).collect();
        set.sort_by_key(|endpoint| endpoint.address);
        Self::Endpoints(set)
    }

    /// How many endpoints it is.
    pub fn count(&self) -> usize {
        match self {
            Self::Addresses(set) => set.len(),
            Self::Weighted(set) => set.len(),
            Self::Endpoints(set) => set.len(),
        }
    }

    /// Every address in it, in its order.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Addresses(set) => set.clone(),
            Self::Weighted(set) => set.iter().map(|(address, _)| *address).collect(),
            Self::Endpoints(set) => set.iter().map(|endpoint| endpoint.address).collect(),
        }
    }
}

impl fmt::Display for EndpointSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host, port) => write!(f, "{host}:{port}"),
            Self::Service(name) => write!(f, "srv:{name}"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl EndpointSource {
    /// Everything that has to be looked up for an upstream, each once; `file` is
    /// its `endpoints_file`, from the root.
    pub fn all_of(spec: &UpstreamSpec, file: Option<PathBuf>) -> BTreeSet<Self> {
        let names = spec.endpoints.iter().filter_map(|entry| Self::of(&entry.address));
        names.chain(file.map(Self::File)).collect()
    }

    /// Whether it is a file.
    pub fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// What has to be looked up for an address; `None` for one that is known.
    pub fn of(address: &EndpointAddress) -> Option<Self> {
        match address {
            EndpointAddress::Socket(_) => None,
            EndpointAddress::Host(host, port) => Some(Self::Host(host.clone(), *port)),
            EndpointAddress::Service(name) => Some(Self::Service(name.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files_become_endpoints_and_the_first_of_an_address_counts() {
        let spec: UpstreamSpec = serde_yaml::from_str(
            "{ name: orders, endpoints_file: orders.yaml, endpoints: [{ address: \"10.0.0.1:80\", weight: 3 },
               { address: \"orders.internal:80\", zone: z1 }, { address: \"srv:_o._tcp.internal\" },
               { address: \"unknown.internal:80\" }] }",
        )
        .unwrap();
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let resolved = |address, zone: Option<&str>, weight| Resolved {
            address: at(address),
            zone: zone.map(Arc::from),
            region: None,
            weight,
        };
        let found = Found::default();
        let host = EndpointSource::Host("orders.internal".into(), 80);
        found.learn(&host, FoundSet::Addresses(vec![at("10.0.0.1:80"), at("10.0.0.2:80")]));
        found.learn(
            &EndpointSource::Service("_o._tcp.internal".into()),
            FoundSet::Weighted(vec![(at("10.0.0.3:81"), 7)]),
        );
        let file = FoundSet::Endpoints(vec![resolved("10.0.0.4:80", Some("z2"), 1)]);
        found.learn(&EndpointSource::File("/etc/orders.yaml".into()), file);

        let endpoints = found.resolve(&spec, Some("/etc/orders.yaml".into()));

        let wanted = [
            resolved("10.0.0.1:80", None, 3),
            resolved("10.0.0.2:80", Some("z1"), 1),
            resolved("10.0.0.3:81", None, 7),
            resolved("10.0.0.4:80", Some("z2"), 1),
        ];
        assert_eq!(endpoints, wanted);
    }

    #[test]
    fn a_zonal_name_labels_its_addresses_unless_a_zone_is_written() {
        let name = "vpce-0abc-1xyz-us-east-1a.vpce-svc-0def.us-east-1.vpce.amazonaws.com";
        let spec: UpstreamSpec = serde_yaml::from_str(&format!(
            "{{ name: u, endpoints: [{{ address: \"{name}:80\" }}, {{ address: \"{name}:81\", zone: z9 }}] }}"
        ))
        .unwrap();
        let found = Found::default();
        for port in [80, 81] {
            let set = FoundSet::Addresses(vec![([10, 0, 0, 1], port).into()]);
            found.learn(&EndpointSource::Host(name.into(), port), set);
        }
        let zones = |zone_of: &dyn Fn(&str) -> Option<Arc<str>>| -> Vec<_> {
            let endpoints = found.resolve_in(&spec, None, zone_of);
            endpoints.into_iter().map(|endpoint| endpoint.zone.map(|zone| zone.to_string())).collect()
        };

        let known = |name: &str| (name == "us-east-1a").then(|| Arc::from("use1-az1"));
        assert_eq!(zones(&known), [Some("use1-az1".to_owned()), Some("z9".to_owned())]);
        assert_eq!(zones(&|_| None), [None, Some("z9".to_owned())]);
    }

    #[test]
    fn only_a_change_is_one() {
        let (found, source) = (Found::default(), EndpointSource::Host("a".into(), 80));
        let set = |text: &str| FoundSet::Addresses(vec![text.parse().unwrap()]);

        assert!(found.learn(&source, set("10.0.0.1:80")));
        assert!(!found.learn(&source, set("10.0.0.1:80")));
        assert!(found.learn(&source, set("10.0.0.2:80")));
        assert!(found.forget(&source) && !found.knows(&source));
    }
}
