//! Which keys a file has and what is read into which type.
//!
//! Owns the top level: the main file holds everything, a fragment authentication, limits,
//! upstreams and routes. Entries are read one by one, so that one bad entry hides no other.

use std::sync::Arc;

use super::{
    Config, Problems, Source, Sourced,
    authentication::AuthenticationSpec,
    document::Node,
    fault::{Fault, What},
    limit::LimitSpec,
    repair,
    route::RouteSpec,
    rules::{At, Rules},
    tenant::PrivateLinkSpec,
    typed,
    upstream::UpstreamSpec,
};

/// One file's keys, read from and then looked at for what is left.
pub(super) struct File<'a> {
    /// The file.
    pub source: Source,
    /// Its keys.
    pub entries: Vec<(String, Node)>,
    /// Where what is wrong goes.
    pub problems: &'a mut Problems,
}

/// The main file's configuration, without its fragments.
pub(super) fn main(mut file: File<'_>) -> Config {
    let none = match file.entries.iter().find(|(key, _)| key == "listeners") {
        Some((_, node)) => *node == Node::List(Vec::new()),
        None => true,
    };
    if none {
        file.problems.error(&file.source, "there is no listener; write at least one under `listeners`");
    }
    let tenants = file.list("tenants");
    let config = Config {
        listeners: file.list("listeners"),
        readiness: file.section("readiness"),
        admin: file.section("admin").unwrap_or_default(),
        runtime: file.section("runtime").unwrap_or_default(),
        connections: file.section("connections").unwrap_or_default(),
        requests: file.section("requests").unwrap_or_default(),
        forwarded: file.section("forwarded").unwrap_or_default(),
        tracing: file.section("tracing").unwrap_or_default(),
        access_log: file.section("access_log").unwrap_or_default(),
        location: file.section("location").unwrap_or_default(),
        discovery: file.section("discovery").unwrap_or_default(),
        fleet: file.section("fleet").unwrap_or_default(),
        privatelink: file.section::<PrivateLinkSpec>("privatelink").unwrap_or_default().or_default(&tenants),
        tenants,
        authentication: file.list("authentication"),
        signers: file.list("signers"),
        limits: file.list("limits"),
        upstreams: file.list("upstreams"),
        routes: file.list("routes"),
        main: file.source.clone(),
    };
    file.rest(|key| Fault::new(What::UnknownKey(key.to_owned(), MAIN_KEYS)).to_string());
    config
}

/// What fragments may hold, of all of them.
#[derive(Default)]
pub(super) struct Shared {
    /// In the order of the files' names.
    pub authentication: Vec<Sourced<AuthenticationSpec>>,
    /// In the order of the files' names.
    pub limits: Vec<Sourced<LimitSpec>>,
    /// In the order of the files' names.
    pub upstreams: Vec<Sourced<UpstreamSpec>>,
    /// In the order of the files' names.
    pub routes: Vec<Sourced<RouteSpec>>,
}

impl Shared {
    /// Adds a fragment.
    pub(super) fn add(&mut self, mut file: File<'_>) {
        self.authentication.extend(file.list("authentication"));
        self.limits.extend(file.list("limits"));
        self.upstreams.extend(file.list("upstreams"));
        self.routes.extend(file.list("routes"));
        file.rest(|key| match MAIN_KEYS.contains(&key) {
            true => {
                format!("`{key}` belongs in the main file; a fragment holds authentication, limits, upstreams and routes")
            }
            false if key == "endpoints" => "files in conf.d are fragments of the configuration; write a list of endpoints \
                 into a folder of its own, as endpoints.d, and name it in an upstream's `endpoints_file`"
                .to_owned(),
            false => Fault::new(What::UnknownKey(key.to_owned(), FRAGMENT_KEYS)).to_string(),
        });
    }
}

impl File<'_> {
    fn take(&mut self, key: &str) -> Option<(Node, Source)> {
        let at = self.entries.iter().position(|(name, _)| name == key)?;
        let (_, node) = self.entries.remove(at);
        Some((node, self.source.key(key)))
    }

    fn section<T: Rules>(&mut self, key: &str) -> Option<T> {
        let (node, source) = self.take(key)?;
        self.read(node, &source)
    }

    pub(super) fn list<T: Rules>(&mut self, key: &str) -> Vec<Sourced<T>> {
        let Some((node, source)) = self.take(key) else { return Vec::new() };
        let items = match node {
            Node::List(items) => items,
            Node::Told => return Vec::new(),
            other => {
                let fault = Fault::new(What::Wrong(typed::given(&other), "a list of mappings".to_owned()));
                self.problems.error(&source, fault.to_string());
                return Vec::new();
            }
        };
        let mut read = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let source = source.entry(index);
            let taken = T::taken(&item).filter(|_| !self.problems.is_full());
            let spec = taken.or_else(|| self.read(item, &source).map(Arc::new));
            read.extend(spec.map(|spec| Sourced { source, spec }));
        }
        read
    }

    fn read<T: Rules>(&mut self, mut node: Node, source: &Source) -> Option<T> {
        let read = repair::read::<T>(&mut node, source, self.problems)?;
        read.spec.check(&mut At { source, lost: &read.lost, problems: self.problems });
        Some(read.spec)
    }

    pub(super) fn rest(self, told: impl Fn(&str) -> String) {
        for (key, _) in self.entries {
            if self.problems.is_full() {
                return;
            }
            let source = self.source.key(&key);
            self.problems.error(&source, told(&key));
        }
    }
}

pub(super) const MAIN_KEYS: &[&str] = &[
    "listeners",
    "readiness",
    "admin",
    "runtime",
    "connections",
    "requests",
    "forwarded",
    "tracing",
    "access_log",
    "location",
    "discovery",
    "fleet",
    "tenants",
    "privatelink",
    "authentication",
    "signers",
    "limits",
    "upstreams",
    "routes",
];
pub(super) const FRAGMENT_KEYS: &[&str] = &["authentication", "limits", "upstreams", "routes"];
