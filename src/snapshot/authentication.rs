//! Who can vouch for requests, and who has to for each route.

use std::sync::Arc;

use super::trust;
use crate::{
    config::{
        Config, Problems, Sourced,
        authentication::{AuthenticationSpec, AuthenticatorIndex},
    },
    identity::{Flaw, Requirement, Said},
    jwt::trust::{KeySource, Verifier},
    live::LiveState,
    telemetry::{Metrics, metrics::AuthenticatorSeries},
};

/// The ways of authentication of a snapshot, and what each route asks for.
#[derive(Default)]
pub struct Authentication {
    authenticators: Box<[Authenticator]>,
    /// By the route's index.
    routes: Box<[Requirement]>,
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
    ApiKeys,
    /// Verified client certificates.
    ClientCertificate,
}

impl Authentication {
    /// As configured. Everything that is wrong goes to `problems`.
    pub(super) fn build(
        config: &Config,
        live: &LiveState,
        metrics: &Metrics,
        problems: &mut Problems,
    ) -> Self {
        let authenticators = config.authentication.iter().filter_map(|entry| {
            let name = entry.spec.name.as_str();
            Some(Authenticator {
                name: name.into(),
                kind: kind(entry, config, live, problems)?,
                series: metrics.authenticator(name, &words()),
            })
        });
        let authenticators = authenticators.collect();
        let find = |name: &str| {
            let at = config.authentication.iter().position(|entry| entry.spec.name.as_str() == name);
            at.map(AuthenticatorIndex)
        };
        let requirement = |spec| Requirement::new(spec, find);
        let routes = config.routes.iter().map(|route| route.spec.authenticate.as_ref());
        Self {
            authenticators,
            routes: routes.map(|spec| spec.map(requirement).unwrap_or_default()).collect(),
        }
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
        self.routes.get(route).unwrap_or(NOBODY)
    }
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

fn kind(
    entry: &Sourced<AuthenticationSpec>,
    config: &Config,
    live: &LiveState,
    problems: &mut Problems,
) -> Option<AuthenticatorKind> {
    match &entry.spec {
        AuthenticationSpec { jwt: Some(jwt), .. } => {
            let source = entry.source.key("jwt");
            trust::verifier(jwt, &source, config, live, problems).map(AuthenticatorKind::Jwt)
        }
        AuthenticationSpec { api_keys: Some(_), .. } => Some(AuthenticatorKind::ApiKeys),
        _ => Some(AuthenticatorKind::ClientCertificate),
    }
}

/// Everything that can be said, in the order in which it is counted.
fn words() -> Vec<&'static str> {
    OUTCOMES.into_iter().chain(Flaw::ALL.iter().map(|flaw| flaw.word())).collect()
}

const OUTCOMES: [&str; 3] = ["vouched", "nothing", "foreign"];
