//! From what operators wrote to a router.
//!
//! Owns that everything wrong is found in one go, each problem with the key at
//! which it was written. What each part has to be is the part's own business.

use std::{collections::HashMap, sync::Arc};

use super::{
    Access, Action, Cors, Defaults, HeaderEdits, Rewrite, Route, Router, UpstreamIndex, claims::Claims,
    conflicts, nearest::nearest,
};
use crate::{
    config::{
        Problems, Source, Sourced,
        authentication::AuthenticatorIndex,
        route::RouteSpec,
        signer::SignerIndex,
        tenant::TenantIndex,
        types::{ByteSize, Name},
    },
    telemetry::spans::Share,
};

/// The names that routes may use, and the numbers by which the rest of the
/// snapshot knows what they stand for.
#[derive(Debug, Default, Eq, PartialEq)]
#[allow(missing_docs)]
pub struct Names {
    pub upstreams: HashMap<Name, UpstreamIndex>,
    pub tenants: HashMap<Name, TenantIndex>,
    pub signers: HashMap<Name, SignerIndex>,
    pub authenticators: HashMap<Name, AuthenticatorIndex>,
}

impl Router {
    /// The router of these routes.
    ///
    /// `None` when there is an error among the routes; errors and warnings go
    /// to `problems`.
    pub fn build(
        specs: &[Sourced<RouteSpec>],
        defaults: &Defaults,
        names: &Names,
        problems: &mut Problems,
    ) -> Option<Self> {
        Self::build_after(None, specs, (defaults, names), problems)
    }

    /// As [`build`](Self::build). A route that is the one before, in its place, is used
    /// again: what is made of it follows from it, its place, the defaults and the names.
    pub fn build_after(
        before: Option<Before<'_>>,
        specs: &[Sourced<RouteSpec>],
        (defaults, names): (&Defaults, &Names),
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = before.filter(|before| before.defaults == *defaults && before.names == *names);
        let mut own = Problems::default();
        let mut claims = Claims::new(defaults.paths);
        let (mut routes, mut told) = (Vec::with_capacity(specs.len()), Vec::new());
        refuse_equal_names(specs, &mut own);
        for (index, spec) in specs.iter().enumerate() {
            let mut site = Site { source: &spec.source, names, defaults, problems: &mut own };
            claims.add(&spec.spec, &mut site);
            let kept = before.as_ref().and_then(|before| before.route(index, spec));
            let said = site.problems.len();
            routes.extend(kept.or_else(|| Route::build(index, spec, &mut site).map(Arc::new)));
            told.extend((own.len() > said).then_some(index));
        }
        let table = claims.into_table();
        conflicts::tell(&table, specs, &mut own);
        let usable = !own.has_errors();
        problems.extend(own);
        // Each stands at its own place: there it is found again.
        debug_assert!(!usable || routes.len() == specs.len());
        let asks_for_consumers = table.asks_for_consumers();
        usable.then_some(Self { routes, table, asks_for_consumers, told })
    }
}

/// A router and what it was built from.
#[allow(missing_docs)]
pub struct Before<'a> {
    pub router: &'a Router,
    pub specs: &'a [Sourced<RouteSpec>],
    pub defaults: Defaults,
    pub names: Names,
}

impl Before<'_> {
    /// The route at this place, if it is this one and there was nothing to tell of it.
    fn route(&self, index: usize, is: &Sourced<RouteSpec>) -> Option<Arc<Route>> {
        let was = self.specs.get(index)?;
        let is_same = Arc::ptr_eq(&was.spec, &is.spec) && was.source == is.source;
        let is_quiet = self.router.told.binary_search(&index).is_err();
        let route = self.router.routes.get(index).filter(|route| route.index == index);
        route.filter(|_| is_same && is_quiet).cloned()
    }
}

impl Route {
    fn build(index: usize, sourced: &Sourced<RouteSpec>, site: &mut Site<'_>) -> Option<Self> {
        let spec = &sourced.spec;
        let access = Access::build(spec, site);
        let cors = spec.cors.as_ref().map(|cors| Cors::build(cors, site));
        let action = Action::build(spec, site);
        let rewrite = spec.rewrite.as_ref().map(|rewrite| Rewrite::build(rewrite, &spec.matches, site));
        let request_headers = HeaderEdits::build(&spec.request_headers, "request_headers", site);
        let response_headers = HeaderEdits::build(&spec.response_headers, "response_headers", site);
        Some(Self {
            name: Arc::from(spec.name.as_str()),
            index,
            access: access?,
            cors: match cors {
                Some(cors) => Some(Box::new(cors?)),
                None => None,
            },
            action: action?,
            rewrite: match rewrite {
                Some(rewrite) => Some(Box::new(rewrite?)),
                None => None,
            },
            request_headers: request_headers?,
            response_headers: response_headers?,
            // A name that nobody has was told where all names of signers are known.
            signer: spec.sign.as_ref().and_then(|name| site.names.signers.get(name).copied()),
            trace_share: spec.trace_ratio.map(Share::new),
            retry_non_idempotent: spec.retry_non_idempotent,
            max_body: spec.max_body.map_or(site.defaults.max_body, ByteSize::bytes),
            source: sourced.source.clone(),
        })
    }
}

/// Where a route is being built: what it may refer to, and who hears of problems.
pub(super) struct Site<'a> {
    pub(super) source: &'a Source,
    pub(super) names: &'a Names,
    pub(super) defaults: &'a Defaults,
    pub(super) problems: &'a mut Problems,
}

impl Site<'_> {
    /// Tells an error at a key of this route, such as `to[1].upstream`; an empty
    /// key is the route itself. Always false, to end a condition with.
    pub(super) fn error(&mut self, key: &str, text: impl Into<String>) -> bool {
        self.problems.error(&self.at(key), text);
        false
    }

    /// Tells a warning at a key of this route.
    pub(super) fn warn(&mut self, key: &str, text: impl Into<String>) {
        self.problems.warn(&self.at(key), text);
    }

    /// The number of an upstream; an error at `key` when there is none.
    pub(super) fn upstream(&mut self, name: &Name, key: &str) -> Option<UpstreamIndex> {
        let found = self.names.upstreams.get(name).copied();
        if found.is_none() {
            let known = nearest(name.as_str(), self.names.upstreams.keys().map(Name::as_str));
            self.error(key, format!("there is no upstream `{name}`; {known}"));
        }
        found
    }

    /// The numbers of the tenants in the list at `key`, in order; an error for
    /// each that there is not.
    pub(super) fn tenants(&mut self, names: &[Name], key: &str) -> Option<Box<[TenantIndex]>> {
        let known = &self.names.tenants;
        self.each(names, known, "tenant", key)
    }

    /// The same of ways of authentication.
    pub(super) fn authenticators(&mut self, names: &[Name], key: &str) -> Option<Box<[AuthenticatorIndex]>> {
        let known = &self.names.authenticators;
        self.each(names, known, "authentication", key)
    }

    fn each<T: Copy + Ord>(
        &mut self,
        names: &[Name],
        known: &HashMap<Name, T>,
        kind: &str,
        key: &str,
    ) -> Option<Box<[T]>> {
        let of = |(index, name): (usize, &Name)| {
            let found = known.get(name).copied();
            if found.is_none() {
                let known = nearest(name.as_str(), known.keys().map(Name::as_str));
                self.error(&format!("{key}[{index}]"), format!("there is no {kind} `{name}`; {known}"));
            }
            found
        };
        let found: Vec<_> = names.iter().enumerate().map(of).collect();
        let mut found = found.into_iter().collect::<Option<Vec<_>>>()?;
        found.sort_unstable();
        found.dedup();
        Some(found.into())
    }

    fn at(&self, key: &str) -> Source {
        if key.is_empty() { self.source.clone() } else { self.source.key(key) }
    }
}

/// A source in a sentence.
pub(super) fn place(source: &Source) -> String {
    format!("{}: {}", source.file.display(), source.key)
}

fn refuse_equal_names(specs: &[Sourced<RouteSpec>], problems: &mut Problems) {
    let mut seen: HashMap<&Name, &Source, ahash::RandomState> =
        HashMap::with_capacity_and_hasher(specs.len(), ahash::RandomState::new());
    for route in specs {
        match seen.get(&route.spec.name) {
            Some(first) => {
                let text = format!("`{}` is also the name of {}; rename one", route.spec.name, place(first));
                problems.error(&route.source.key("name"), text);
            }
            None => {
                seen.insert(&route.spec.name, &route.source);
            }
        }
    }
}
