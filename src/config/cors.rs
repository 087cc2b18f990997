//! `routes[].cors`: which web pages of other origins may use a route.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{FieldName, MethodName, OriginPattern, Span};

/// Which web pages of other origins may use a route from a browser. Their preflights are
/// answered here, before anybody is authenticated, once networks and tenants of `allow`
/// and `deny` and limits by the client's address let them; what an upstream says of it is
/// replaced.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CorsSpec {
    /// Pages of any of these; at least one.
    pub origins: Vec<OriginPattern>,
    /// With these methods. Default: those that the route takes.
    #[serde(default)]
    pub methods: Vec<MethodName>,
    /// With these header fields, beside those that every page may send. `Authorization`
    /// and a key's field are none of those.
    #[serde(default)]
    pub headers: Vec<FieldName>,
    /// The fields of an answer that a page may read, beside those that every page may.
    #[serde(default)]
    pub expose: Vec<FieldName>,
    /// Whether a browser may send cookies and certificates along. Not with origin `*`.
    #[serde(default)]
    pub credentials: bool,
    /// How long a browser need not ask again. Browsers take at most two hours, some a day.
    #[serde(default = "ten_minutes")]
    pub max_age: Span,
}

fn ten_minutes() -> Span {
    Span::secs(600)
}
