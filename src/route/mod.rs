//! Which route takes a request, and what a route says about it.
//!
//! Owns the canonical path, the order of precedence, weighted splits, rewrites,
//! redirects and header edits, as plain functions of the facts of a request. Does
//! not own listeners, upstreams (it names them by number), limits or identity,
//! and never sees a socket: the gateway applies what is decided here.
//!
//! A [`Router`] never changes; a reload builds a new one, or tells everything
//! that is wrong with what was written.

mod access;
mod action;
mod assemble;
mod authority;
mod build;
mod callers;
mod choice;
mod claims;
mod conditions;
mod conflicts;
mod cookie;
mod cors;
mod edits;
mod explain;
mod index;
mod literal;
#[cfg(test)]
mod model;
mod nearest;
pub mod path;
#[cfg(test)]
mod precedence;
mod redirect;
mod rewrite;
mod segments;
mod split;
mod sticky;
mod table;
mod template;
#[cfg(test)]
mod testing;
mod text;

use std::{fmt, net::IpAddr, sync::Arc};

use http::{HeaderMap, Method};
use serde_json::{Map, Value};

use crate::{
    config::{
        Source, authentication::AuthenticatorIndex, server::PathsSpec, signer::SignerIndex,
        tenant::TenantIndex,
    },
    telemetry::spans::Share,
};
pub use access::{Access, Rule};
pub use action::{Action, Respond};
pub use build::{Before, Names};
pub use callers::{Callers, Part};
pub use choice::Choice;
pub use conditions::Unmet;
pub use cors::{Cors, preflight_method};
pub use edits::HeaderEdits;
pub use explain::{Contest, Loser, Why};
pub use redirect::Redirect;
pub use rewrite::Rewrite;
pub use split::{Split, UpstreamIndex};
use table::{Claim, Described, Table};

/// The routes of a snapshot and the table that finds them.
#[derive(Debug)]
pub struct Router {
    routes: Vec<Arc<Route>>,
    table: Table,
    asks_for_consumers: bool,
    /// The places of routes of which something was told when they were built.
    told: Vec<usize>,
}

impl Router {
    /// The route that takes this request: the most specific one that matches.
    /// Allocates nothing (but a pattern its scratch space, once), and takes as
    /// many steps with 100,000 routes as with ten. Only routes with the same host
    /// and path, and the path patterns of the host, are tried one by one.
    ///
    /// `None` when no route matches; the caller answers 404.
    pub fn find<'r>(&'r self, facts: &Facts<'_>) -> Option<RouteMatch<'r>> {
        let claim = self.table.find(facts)?;
        let route = self.routes.get(claim.route as usize)?;
        Some(RouteMatch { route, table: &self.table, claim })
    }

    /// Whether any route is for some consumers alone.
    pub fn asks_for_consumers(&self) -> bool {
        self.asks_for_consumers
    }

    /// Every route, in the order of the configuration.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter()
    }
}

/// What a request is, as far as routes ask.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its host in lower case, without port and without dot at the end.
    pub host: &'a str,
    /// Its canonical path as routes see it; see [`path::matched`].
    pub path: &'a str,
    /// Its query as it was sent, without `?`.
    pub query: Option<&'a str>,
    /// Its method.
    pub method: &'a Method,
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// Whom it comes from, after the PROXY header and trusted forwarders.
    pub client: IpAddr,
    /// The VPC endpoint that it came through. The client's address means something
    /// only together with it.
    pub vpc_endpoint: Option<&'a str>,
    /// Whose endpoint that is.
    pub tenant: Option<TenantIndex>,
    /// Who was authenticated; `None` before anybody was asked, and of an anonymous.
    pub consumer: Option<Caller<'a>>,
    /// Consumers that routes ask for are taken to be met: nobody was asked yet.
    pub whoever: bool,
}

/// Who was authenticated, as far as routes and limits ask.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Who vouched.
    pub vouched: AuthenticatorIndex,
    /// Its name, which is one of who vouched alone.
    pub name: &'a str,
    /// What it may do, with spaces between.
    pub scopes: &'a str,
    /// The claims of its token.
    pub claims: Option<&'a Map<String, Value>>,
    /// Limits of its own, by their place.
    pub limits: &'a [usize],
}

/// A route and why it won; printed, it names the host pattern and the path
/// matcher that took the request.
#[derive(Clone, Copy, Debug)]
pub struct RouteMatch<'r> {
    /// The route.
    pub route: &'r Arc<Route>,
    table: &'r Table,
    claim: &'r Claim,
}

impl<'r> RouteMatch<'r> {
    /// The path as the route writes it, not as the request does: how it is matched,
    /// and its text.
    pub fn template(&self) -> (u8, &'r str) {
        (self.claim.kind as u8, self.table.template(self.claim))
    }
}

impl fmt::Display for RouteMatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Described(self.table, self.claim).fmt(f)
    }
}

/// What is done with the requests that match.
///
/// Small, and in a box what few routes have: each request touches all of one of perhaps
/// a hundred thousand, and waits for memory once for every 64 bytes of it.
#[derive(Debug)]
pub struct Route {
    /// What logs and metrics call it.
    pub name: Arc<str>,
    /// Its place in [`Router::routes`].
    pub index: usize,
    /// Who may use it; everyone else gets 403.
    pub access: Access,
    /// Which web pages of other origins may use it.
    pub cors: Option<Box<Cors>>,
    /// Where the answer comes from.
    pub action: Action,
    /// How path and host change on the way upstream.
    pub rewrite: Option<Box<Rewrite>>,
    /// How the header changes that the upstream gets.
    pub request_headers: HeaderEdits,
    /// How the header changes that the client gets.
    pub response_headers: HeaderEdits,
    /// The largest request body, in bytes; above it 413.
    pub max_body: u64,
    /// Who signs for its requests.
    pub signer: Option<SignerIndex>,
    /// How much of its traces is recorded, if not as much as of others.
    pub trace_share: Option<Share>,
    /// Whether requests of every method may be sent twice.
    pub retry_non_idempotent: bool,
    /// Where it was written.
    pub source: Source,
}

impl Route {
    /// Whether a request of this method may be sent twice.
    pub fn may_repeat(&self, method: &Method) -> bool {
        self.retry_non_idempotent || method.is_idempotent()
    }
}

/// What routes take from the rest of the configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Defaults {
    /// The largest request body, in bytes, of routes that do not say.
    pub max_body: u64,
    /// What requests may hold in their paths, so that no route waits for a path
    /// that is always refused.
    pub paths: PathsSpec,
}
