//! What operators write: `tollgate.yaml` and its fragments, read strictly.
//!
//! Owns the text, the keys, their defaults and their well-formedness. Does not
//! own whether names of upstreams and tenants refer to anything or certificates fit
//! their keys: that is `snapshot`'s, which reports into the same [`Problems`].
//!
//! The way of a text: `files` reads it, `document` parses it into a tree, `draft`
//! refuses equal keys and tags and fills in `secrets` (`sharing` takes over the routes that
//! stand in it as before), `sections` takes it apart,
//! `repair` reads each entry through `typed` into its spec and keeps every
//! `fault`, `rules`, `clashes`, `refers` and `shares` look at what types cannot say, and `load`
//! puts lines to everything that was found (`positions`).

pub mod api_keys;
pub mod authentication;
pub mod balance;
pub mod client_certificate;
pub mod cors;
pub mod discovery;
pub mod failover;
pub mod fleet;
pub mod health_check;
pub mod issuer;
pub mod limit;
pub mod listener;
pub mod location;
pub mod problems;
pub mod route;
pub mod server;
pub mod signer;
pub mod tenant;
pub mod tracing;
pub mod types;
pub mod upstream;

mod clashes;
mod depth;
mod document;
mod draft;
mod endpoints_file;
mod fault;
mod files;
mod keys_file;
mod load;
mod positions;
mod print;
mod refers;
mod repair;
mod rules;
mod schema;
mod secrets;
mod sections;
mod shares;
mod sharing;
mod stamp;
mod typed;
mod unknown;
mod usual;
mod zones;

#[cfg(test)]
mod golden;

pub use endpoints_file::{Unusable, read as read_endpoints_file, read_all as read_endpoints_files};
pub use keys_file::read as read_keys_file;
pub use load::{Broken, Loaded, load, load_after, load_for_check, locate_in_files};
pub use print::print;
pub use problems::{Problem, Problems, Severity, Source};
pub use schema::schema;
pub use shares::Share;
pub use stamp::Stamp;
pub use unknown::Unknown;

use std::{path::PathBuf, sync::Arc};

use authentication::AuthenticationSpec;
use discovery::DiscoverySpec;
use fleet::FleetSpec;
use limit::LimitSpec;
use listener::ListenerSpec;
use location::LocationSpec;
use route::RouteSpec;
use serde::{Serialize, Serializer};
use server::{
    AccessLogSpec, AdminSpec, ConnectionsSpec, ForwardedSpec, ReadinessSpec, RequestsSpec, RuntimeSpec,
};
use signer::SignerSpec;
use tenant::{PrivateLinkSpec, TenantSpec};
use tracing::TracingSpec;
use upstream::UpstreamSpec;

/// Everything that operators wrote, with every default filled in. Each value is
/// well-formed by itself; whether they fit together is the snapshot's to find.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// Where the gateway accepts.
    pub listeners: Vec<Sourced<ListenerSpec>>,
    /// What the load balancer asks.
    pub readiness: Option<ReadinessSpec>,
    /// The private ways in.
    pub admin: AdminSpec,
    /// The process.
    pub runtime: RuntimeSpec,
    /// What a client's connection may do.
    pub connections: ConnectionsSpec,
    /// What a request may look like.
    pub requests: RequestsSpec,
    /// Whose word counts about where a request came from.
    pub forwarded: ForwardedSpec,
    /// What is done for traces.
    pub tracing: TracingSpec,
    /// Where the access log goes.
    pub access_log: AccessLogSpec,
    /// Where this gateway runs.
    pub location: LocationSpec,
    /// How names of endpoints are looked up.
    pub discovery: DiscoverySpec,
    /// The gateways that count together.
    pub fleet: FleetSpec,
    /// Who comes through which VPC endpoint.
    pub tenants: Vec<Sourced<TenantSpec>>,
    /// What holds for everyone who comes through a VPC endpoint.
    pub privatelink: PrivateLinkSpec,
    /// How callers prove who they are, of the main file and of every fragment.
    pub authentication: Vec<Sourced<AuthenticationSpec>>,
    /// Who vouches for requests towards upstreams.
    pub signers: Vec<Sourced<SignerSpec>>,
    /// How fast and how much at once, of the main file and of every fragment.
    pub limits: Vec<Sourced<LimitSpec>>,
    /// Groups of endpoints, of the main file and of every fragment.
    pub upstreams: Vec<Sourced<UpstreamSpec>>,
    /// What goes where, of the main file and of every fragment.
    pub routes: Vec<Sourced<RouteSpec>>,
    /// The main file.
    #[serde(skip)]
    pub main: Source,
}

impl Config {
    /// A path as it is meant: relative ones start at the main file's folder.
    pub fn resolve(&self, path: &std::path::Path) -> PathBuf {
        self.main.file.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(bound = "T: Serialize")]
pub struct Sourced<T> {
    /// Where.
    #[serde(skip)]
    pub source: Source,
    /// What. Routes share it with those of the configuration before that were written
    /// in the same words.
    #[serde(flatten, serialize_with = "itself")]
    pub spec: Arc<T>,
}

fn itself<T: Serialize, S: Serializer>(spec: &Arc<T>, out: S) -> Result<S::Ok, S::Error> {
    T::serialize(spec, out)
}
