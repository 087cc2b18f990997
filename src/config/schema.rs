//! The JSON Schema of the configuration, for editors and other tools.
//!
//! The types' doc comments are its texts. What two keys have to do with each
//! other is not in it: `tollgate check` tells that.

use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Value, json};

use super::{
    authentication::AuthenticationSpec,
    discovery::DiscoverySpec,
    fleet::FleetSpec,
    limit::LimitSpec,
    listener::ListenerSpec,
    location::LocationSpec,
    route::RouteSpec,
    server::{
        AccessLogSpec, AdminSpec, ConnectionsSpec, ForwardedSpec, ReadinessSpec, RequestsSpec, RuntimeSpec,
    },
    signer::SignerSpec,
    tenant::{PrivateLinkSpec, TenantSpec},
    tracing::TracingSpec,
    upstream::UpstreamSpec,
};

/// The JSON Schema (2020-12) of `tollgate.yaml`. A fragment has the same
/// `authentication`, `limits`, `upstreams` and `routes` and nothing else, so that no key is required here.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12();
    let settings = settings.with_transform(RecursiveTransform(without_null));
    let settings = settings.with_transform(RecursiveTransform(with_references));
    settings.into_generator().into_root_schema_for::<Tollgate>().to_value()
}

/// The configuration of Tollgate: the main file. Files in `conf.d/` beside it
/// hold more `authentication`, `limits`, `upstreams` and `routes`.
#[derive(Default, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Tollgate {
    /// Where the gateway accepts; at least one.
    listeners: Vec<ListenerSpec>,
    /// What the load balancer asks.
    readiness: Option<ReadinessSpec>,
    /// The private ways in.
    admin: AdminSpec,
    /// The process.
    runtime: RuntimeSpec,
    /// What a client's connection may do.
    connections: ConnectionsSpec,
    /// What a request may look like.
    requests: RequestsSpec,
    /// Whose word counts about where a request came from.
    forwarded: ForwardedSpec,
    /// What is done for traces.
    tracing: TracingSpec,
    /// Where the access log goes.
    access_log: AccessLogSpec,
    /// Where this gateway runs.
    location: LocationSpec,
    /// How names of endpoints are looked up.
    discovery: DiscoverySpec,
    /// The gateways that count together.
    fleet: FleetSpec,
    /// Who comes through which VPC endpoint.
    tenants: Vec<TenantSpec>,
    /// What holds for everyone who comes through a VPC endpoint.
    privatelink: PrivateLinkSpec,
    /// How callers prove who they are.
    authentication: Vec<AuthenticationSpec>,
    /// Who vouches for requests towards upstreams.
    signers: Vec<SignerSpec>,
    /// How fast and how much at once.
    limits: Vec<LimitSpec>,
    /// Groups of endpoints.
    upstreams: Vec<UpstreamSpec>,
    /// What goes where.
    routes: Vec<RouteSpec>,
}

/// Takes `null` away as a value: a key without a value is refused.
fn without_null(schema: &mut Schema) {
    let null = json!({ "type": "null" });
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|t| t != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(any)) = schema.get_mut("anyOf") {
        any.retain(|choice| *choice != null);
        if let [Value::Object(only)] = any.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            only.into_iter().for_each(|(key, value)| drop(schema.insert(key, value)));
        }
    }
    match schema.get_mut("default") {
        Some(Value::Null) => drop(schema.remove("default")),
        Some(Value::Object(section)) => section.retain(|_, value| !value.is_null()),
        _ => {}
    }
}

/// Lets `${env:…}` and `${file:…}` stand for any text.
fn with_references(schema: &mut Schema) {
    if let Some(Value::String(pattern)) = schema.get_mut("pattern") {
        *pattern = format!(r"{pattern}|\$\{{(env|file):");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sections::MAIN_KEYS;

    #[test]
    fn the_schema_has_the_keys_that_are_read() {
        let schema = schema();

        let mut read = MAIN_KEYS.to_vec();
        read.sort_unstable();
        let keys = schema["properties"].as_object().unwrap().keys().collect::<Vec<_>>();
        assert_eq!(keys, read);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["additionalProperties"], false);
        assert!(schema.get("required").is_none());
    }

    #[test]
    fn nothing_in_the_schema_may_be_null_and_every_key_is_described() {
        let schema = schema();

        let text = schema.to_string();
        assert!(!text.contains("\"null\"") && !text.contains(":null"), "{schema:#}");
        let defs = schema["$defs"].as_object().unwrap().values();
        for properties in defs.filter_map(|d| d["properties"].as_object()) {
            for (key, property) in properties {
                assert!(property.get("description").is_some(), "{key}: {property}");
            }
        }
    }
}
