//! Who can vouch for requests, and who has to for each route.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use http::HeaderName;

use super::trust;
use crate::{
    config::{
        self, Config, Problems, Source, Sourced,
        api_keys::ApiKeysSpec,
        authentication::{AuthenticationSpec, AuthenticatorIndex},
        tenant::TenantIndex,
    },
    identity::{ApiKeys, CertificateConsumers, Flaw, KeyNames, Requirement, Said},
    jwt::trust::{KeySource, Verifier},
    live::LiveState,
    telemetry::{Metrics, metrics::AuthenticatorSeries},
    tls::Watched,
};

/// The ways of authentication of a snapshot, and what each route asks for.
#[derive(Clone, Default)]
pub struct Authentication {
    authenticators: Box<[Authenticator]>,
    /// Which of `requirements` is a route's. Most routes have the same, and then every
    /// request finds it where the last one left it.
    routes: Arc<[u32]>,
    requirements: Arc<[Requirement]>,
}

/// A way of authentication at work.
#[derive(Clone)]
pub struct Authenticator {
    /// What logs and metrics call it.
    pub name: Arc<str>,
    /// What it is.
    pub kind: AuthenticatorKind,
    series: Arc<AuthenticatorSeries>,
}

/// What a way of authentication is.
#[derive(Clone)]
pub enum AuthenticatorKind {
    /// Tokens of an identity provider.
    Jwt(Arc<Verifier>),
    /// Keys that were given out.
    ApiKeys(Arc<ApiKeyMethod>),
    /// Verified client certificates.
    ClientCertificate(Arc<CertificateConsumers>),
}

/// Keys that were given out, and where requests carry them.
pub struct ApiKeyMethod {
    /// The field that carries a key.
    pub header: HeaderName,
    /// Whether the upstream gets it too.
    pub forward: bool,
    /// The keys.
    pub keys: ApiKeys,
}

impl Authentication {
    /// The ways that were built, and what routes ask for.
    pub(super) fn new(config: &Config, kinds: Vec<Option<AuthenticatorKind>>, metrics: &Metrics) -> Self {
        let words = words();
        let each = config.authentication.iter().zip(kinds).filter_map(|(entry, kind)| {
            let name = entry.spec.name.as_str();
            Some(Authenticator {
                name: name.into(),
                kind: kind?,
                series: metrics.authenticator(name, &words),
            })
        });
        let find = |name: &str| {
            let at = config.authentication.iter().position(|entry| entry.spec.name.as_str() == name);
            at.map(AuthenticatorIndex)
        };
        let requirement = |spec| Requirement::new(spec, find);
        let routes = config.routes.iter().map(|route| route.spec.authenticate.as_deref());
        let (routes, requirements) = once(routes.map(|spec| spec.map(requirement).unwrap_or_default()));
        Self { authenticators: each.collect(), routes, requirements }
    }

    /// The way of authentication at this place.
    pub fn get(&self, index: AuthenticatorIndex) -> Option<&Authenticator> {
        self.authenticators.get(index.0)
    }

    /// Every one, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Authenticator> {
        self.authenticators.iter()
    }

    /// The keys that tokens are verified with, by the names of those who do.
    pub fn key_sources(&self) -> Vec<(Arc<str>, Arc<KeySource>)> {
        let source = |one: &Authenticator| match &one.kind {
            AuthenticatorKind::Jwt(verifier) => Some((one.name.clone(), verifier.source().clone())),
            _ => None,
        };
        self.iter().filter_map(source).collect()
    }

    /// Who has to vouch for requests of the route at this place.
    pub fn of_route(&self, route: usize) -> &Requirement {
        const NOBODY: &Requirement = &Requirement::Nobody;
        let which = self.routes.get(route).and_then(|which| self.requirements.get(*which as usize));
        which.unwrap_or(NOBODY)
    }

    /// Those who have to vouch for requests of the route at this place.
    pub fn asked(&self, route: usize) -> impl Iterator<Item = &Authenticator> {
        self.of_route(route).authenticators().iter().filter_map(|index| self.get(*index))
    }

    /// The same with another one at this place.
    pub(super) fn with(&self, index: usize, kind: AuthenticatorKind) -> Self {
        let mut next = self.clone();
        if let Some(authenticator) = next.authenticators.get_mut(index) {
            authenticator.kind = kind;
        }
        next
    }
}

/// What routes ask for, each once, and which is whose.
fn once(of_routes: impl Iterator<Item = Requirement>) -> (Arc<[u32]>, Arc<[Requirement]>) {
    let mut places: HashMap<Requirement, u32, ahash::RandomState> = HashMap::default();
    let mut each = Vec::new();
    let which = of_routes.map(|requirement| {
        let next = each.len() as u32;
        *places.entry(requirement).or_insert_with_key(|requirement| {
            each.push(requirement.clone());
            next
        })
    });
    (which.collect(), each.into())
}

impl Authenticator {
    /// Counts what was said of a request.
    pub fn record(&self, said: &Said) {
        let flaw = |flaw: &Flaw| Flaw::ALL.iter().position(|one| one == flaw);
        let place = match said {
            Said::Vouched(_) => Some(0),
            Said::Nothing => Some(1),
            Said::Foreign => Some(2),
            Said::Refused(why) => flaw(why).map(|place| place + OUTCOMES.len()),
            Said::Unsettled => None,
        };
        place.into_iter().for_each(|place| self.series.record(place));
    }
}

impl AuthenticatorKind {
    /// A way of authentication with what its files hold now; `None` where something is
    /// wrong, which `problems` tells.
    pub(super) fn build(
        index: usize,
        entry: &Sourced<AuthenticationSpec>,
        (config, live): (&Config, &LiveState),
        problems: &mut Problems,
    ) -> Option<Self> {
        match &*entry.spec {
            AuthenticationSpec { jwt: Some(jwt), .. } => {
                let source = entry.source.key("jwt");
                trust::verifier(jwt, &source, config, live, problems).map(Self::Jwt)
            }
            AuthenticationSpec { api_keys: Some(spec), .. } => {
                let source = entry.source.key("api_keys").key("files");
                let tenants = &config.tenants;
                let names = KeyNames {
                    authenticator: AuthenticatorIndex(index),
                    tenant: &|name| tenants.iter().position(|t| t.spec.name == *name).map(TenantIndex),
                    limit: &|name| config.limits.iter().position(|limit| limit.spec.name == *name),
                };
                let keys = api_keys(spec, &source, &names, config, problems)?;
                let (header, forward) = (spec.header.header().clone(), spec.forward);
                Some(Self::ApiKeys(Arc::new(ApiKeyMethod { header, forward, keys })))
            }
            AuthenticationSpec { client_certificate: Some(spec), .. } => {
                let tenants = &config.tenants;
                let tenant = |name: &str| tenants.iter().position(|t| t.spec.name.as_str() == name);
                let consumers = CertificateConsumers::new(spec, AuthenticatorIndex(index), |name| {
                    tenant(name).map(TenantIndex)
                });
                Some(Self::ClientCertificate(Arc::new(consumers)))
            }
            // It was told that nothing is written.
            AuthenticationSpec { jwt: None, api_keys: None, client_certificate: None, .. } => None,
        }
    }
}

fn api_keys(
    spec: &ApiKeysSpec,
    source: &Source,
    names: &KeyNames<'_>,
    config: &Config,
    problems: &mut Problems,
) -> Option<ApiKeys> {
    let mut all = Some(Vec::new());
    for (index, file) in spec.files.iter().enumerate() {
        let path = config.resolve(file);
        if spec.files.iter().take(index).any(|other| config.resolve(other) == path) {
            problems.error(&source.entry(index), "this file stands here already; write it once");
        }
        if matches!(path.try_exists(), Ok(false)) {
            let text = format!(
                "there is no `{}`; `tollgate apikey new --consumer NAME` makes a key and the line to write \
                 there, below `keys:`; `keys: []` will do for now",
                path.display()
            );
            problems.error(&source.entry(index), text);
            all = None;
            continue;
        }
        match (config::read_keys_file(&path, problems), &mut all) {
            (Some(keys), Some(all)) => all.extend(keys),
            _ => all = None,
        }
    }
    let mut own = Problems::default();
    let built = ApiKeys::build(&all?, names, &mut own);
    config::locate_in_files(&mut own);
    problems.extend(own);
    built
}

/// The files behind a way of authentication.
pub(super) fn watched(spec: &AuthenticationSpec, config: &Config) -> Watched {
    let keys = spec.api_keys.iter().flat_map(|keys| &keys.files);
    Watched::at(keys.map(|file| config.resolve(file)).collect::<Vec<PathBuf>>())
}

/// Everything that can be said, in the order in which it is counted.
fn words() -> Vec<&'static str> {
    OUTCOMES.into_iter().chain(Flaw::ALL.iter().map(|flaw| flaw.word())).collect()
}

const OUTCOMES: [&str; 3] = ["vouched", "nothing", "foreign"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_that_ask_for_the_same_share_it() {
        let of = |index| Requirement::All([AuthenticatorIndex(index)].into());

        let (which, each) = once([of(1), Requirement::Nobody, of(2), of(1), Requirement::Nobody].into_iter());

        assert_eq!((&*which, &*each), (&[0, 1, 2, 0, 1][..], &[of(1), Requirement::Nobody, of(2)][..]));
    }
}
