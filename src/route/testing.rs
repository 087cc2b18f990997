//! For tests of this module: routes from JSON, requests in a line.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::{Defaults, Facts, Names, Router, UpstreamIndex};
use crate::config::{
    Problems, Source, Sourced, authentication::AuthenticatorIndex, route::RouteSpec, server::PathsSpec,
    tenant::TenantIndex,
};

/// The upstreams of every test, by their index.
pub(super) const UPSTREAMS: [&str; 3] = ["orders", "orders-canary", "billing"];

/// The tenants of every test, by their index.
pub(super) const TENANTS: [&str; 2] = ["alpha", "beta"];

/// The ways of authentication of every test, by their index.
pub(super) const AUTHENTICATION: [&str; 2] = ["keys", "cognito"];

/// What routes of tests may name.
pub(super) fn names() -> Names {
    let upstreams = UPSTREAMS.iter().enumerate();
    let tenants = TENANTS.iter().enumerate();
    let authentication = AUTHENTICATION.iter().enumerate();
    Names {
        upstreams: upstreams.map(|(i, name)| (name.parse().unwrap(), UpstreamIndex(i))).collect(),
        tenants: tenants.map(|(i, name)| (name.parse().unwrap(), TenantIndex(i))).collect(),
        authenticators: authentication
            .map(|(i, name)| (name.parse().unwrap(), AuthenticatorIndex(i)))
            .collect(),
        ..Names::default()
    }
}

/// A list of routes as a file would have it.
pub(super) fn specs(routes: Value) -> Vec<Sourced<RouteSpec>> {
    let specs: Vec<RouteSpec> = serde_json::from_value(routes).unwrap();
    let source = |i| Source::file("t.yaml").key("routes").entry(i);
    specs
        .into_iter()
        .enumerate()
        .map(|(i, spec)| Sourced { source: source(i), spec: Arc::new(spec) })
        .collect()
}

/// What `build` makes of it and says about it.
pub(super) fn build(routes: Value) -> (Option<Router>, Problems) {
    let defaults = Defaults { max_body: 1000, paths: PathsSpec::default() };
    let mut problems = Problems::default();
    let router = Router::build(&specs(routes), &defaults, &names(), &mut problems);
    assert_eq!(router.is_none(), problems.has_errors());
    (router, problems)
}

/// A router of routes without errors.
#[track_caller]
pub(super) fn router(routes: Value) -> Router {
    let (router, problems) = build(routes);
    router.unwrap_or_else(|| panic!("{problems}"))
}

/// Everything that is wrong, a line each.
pub(super) fn problems(routes: Value) -> String {
    build(routes).1.to_string()
}

/// A request that owns its facts.
pub(super) struct Request {
    host: String,
    path: String,
    query: Option<String>,
    method: Method,
    headers: HeaderMap,
    client: IpAddr,
    tenant: Option<TenantIndex>,
}

impl Request {
    pub(super) fn get(host: &str, path: &str) -> Self {
        Self {
            host: host.to_owned(),
            path: path.to_owned(),
            query: None,
            method: Method::GET,
            headers: HeaderMap::new(),
            client: IpAddr::from([192, 0, 2, 1]),
            tenant: None,
        }
    }

    pub(super) fn method(mut self, method: &str) -> Self {
        self.method = method.parse().unwrap();
        self
    }

    pub(super) fn query(mut self, query: &str) -> Self {
        self.query = Some(query.to_owned());
        self
    }

    pub(super) fn header(self, name: &str, value: &str) -> Self {
        self.raw_header(name, value.as_bytes())
    }

    pub(super) fn raw_header(mut self, name: &str, value: &[u8]) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers.append(name, HeaderValue::from_bytes(value).unwrap());
        self
    }

    pub(super) fn client(mut self, client: &str) -> Self {
        self.client = client.parse().unwrap();
        self
    }

    pub(super) fn tenant(mut self, name: &str) -> Self {
        self.tenant = TENANTS.iter().position(|tenant| *tenant == name).map(TenantIndex);
        self
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            host: &self.host,
            path: &self.path,
            query: self.query.as_deref(),
            method: &self.method,
            headers: &self.headers,
            client: self.client,
            vpc_endpoint: None,
            tenant: self.tenant,
            consumer: None,
            whoever: false,
        }
    }
}
