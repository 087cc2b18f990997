//! `routes`: which requests go where, and what is changed on the way.

use std::fmt;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor},
};

use super::{
    authentication::AuthenticateSpec,
    cors::CorsSpec,
    server::networks,
    types::{
        ByteSize, ClaimName, FieldName, FieldValue, HostPattern, List, MethodName, Name, Pattern, Ratio,
    },
};

/// A match and what to do with what it matches. Exactly one of `to`,
/// `redirect`, `respond` and `jwks` says what.
///
/// When several routes match, the most specific wins, whatever their order in
/// the files: exact host before longest wildcard before any; then exact path
/// before longest prefix before pattern (longest text first); then one with
/// tenants before one without; then one with consumers; then one with methods before one without; then
/// more header matches; then more query matches; then the name that sorts first.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// Logs and metrics call it by this name.
    pub name: Name,
    /// Which requests; an empty match is every request.
    #[serde(default, rename = "match")]
    pub matches: MatchSpec,
    /// Upstreams that share the requests by weight.
    #[serde(default)]
    pub to: Box<[TargetSpec]>,
    /// Requests with this header or cookie go to one upstream, whatever the
    /// weights; the first that applies wins.
    #[serde(default)]
    pub overrides: List<OverrideSpec>,
    /// What keeps a client on the same upstream of a weighted split.
    #[serde(default)]
    pub sticky: Option<Box<StickySpec>>,
    /// Answers with a redirect.
    #[serde(default)]
    pub redirect: Option<Box<RedirectSpec>>,
    /// Answers with a fixed response.
    #[serde(default)]
    pub respond: Option<Box<RespondSpec>>,
    /// Answers with the public keys of every signer, for who verifies tokens.
    #[serde(default)]
    pub jwks: bool,
    /// Changes path and host before the request goes upstream.
    #[serde(default)]
    pub rewrite: Option<Box<RewriteSpec>>,
    /// Changes the header that the upstream gets.
    #[serde(default)]
    pub request_headers: HeaderEditsSpec,
    /// Changes the header that the client gets.
    #[serde(default)]
    pub response_headers: HeaderEditsSpec,
    /// Who vouches for callers; others get 401. Once there is `authentication`, every
    /// route says something: `anonymous` where nobody has to.
    #[serde(default)]
    pub authenticate: Option<Box<AuthenticateSpec>>,
    /// Only these callers get in; everyone else gets 403.
    #[serde(default)]
    pub allow: Option<Box<CallersSpec>>,
    /// These callers get 403.
    #[serde(default)]
    pub deny: Option<Box<CallersSpec>>,
    /// Which web pages of other origins may use it from a browser.
    #[serde(default)]
    pub cors: Option<Box<CorsSpec>>,
    /// Limits, asked after the global ones; all of them have to have room.
    #[serde(default)]
    pub limits: List<Name>,
    /// The signer of the token that goes with each request.
    #[serde(default)]
    pub sign: Option<Name>,
    /// The largest request body; above it 413. Default: `requests.max_body`.
    #[serde(default)]
    pub max_body: Option<ByteSize>,
    /// The share of its traces that is recorded. Default: `tracing.sampling.ratio`. A
    /// caller whose flag counts decides before it.
    #[serde(default)]
    pub trace_ratio: Option<Ratio>,
    /// Whether requests of every method may be sent twice. Only where the service
    /// knows a request that it got already, as by an idempotency key.
    #[serde(default)]
    pub retry_non_idempotent: bool,
}

/// Which requests a route takes: every given part has to match.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MatchSpec {
    /// Any of these hosts; none given is every host.
    pub hosts: List<HostPattern>,
    /// One path; `paths` with a single entry.
    pub path: Option<PathSpec>,
    /// Any of these paths; none given is every path.
    pub paths: List<PathSpec>,
    /// Any of these methods; none given is every method. `GET` includes `HEAD`.
    pub methods: List<MethodName>,
    /// All of these header fields.
    pub headers: List<HeaderMatchSpec>,
    /// All of these query parameters.
    pub query: List<QueryMatchSpec>,
    /// Any of these tenants; none given is everyone. A request of no tenant
    /// matches no route that names one.
    pub tenants: List<Name>,
    /// Any of these consumers. The route that takes the request of everyone else says
    /// how they are authenticated; what this one asks for has to hold too.
    pub consumers: List<String>,
}

/// Callers by who they are; at least one key. `allow` lets in who has all of what is
/// written, `deny` refuses who has any of it: each line lets fewer in.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallersSpec {
    /// An address in any of these networks, unless it comes through a VPC endpoint:
    /// 10.0.0.5 there is not 10.0.0.5 here.
    #[schemars(with = "Vec<String>")]
    #[serde(deserialize_with = "networks")]
    pub networks: Vec<IpNet>,
    /// Any of these tenants. A request of no tenant is none of them.
    pub tenants: Vec<Name>,
    /// Any of these of `authentication` vouched.
    pub authenticators: Vec<Name>,
    /// Any of these consumers: keys' `consumer`, tokens' claim. Where several vouch,
    /// write `authenticators` too: `alice` of one is not `alice` of another.
    pub consumers: Vec<String>,
    /// Claims of the caller's token: in `allow` all of these, in `deny` any.
    pub claims: Vec<ClaimMatchSpec>,
    /// What the caller's token or key may do: in `allow` all of these, in `deny` any.
    pub scopes: Vec<String>,
}

/// A claim of a caller's token.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimMatchSpec {
    /// Its name, or the way to it, as `realm_access.roles`.
    pub name: ClaimName,
    /// It says any of these: it is this text, number or word, or a list with it. None
    /// given: it has to be there.
    #[serde(default)]
    pub any: Vec<String>,
}

/// A path to match, after normalisation: text is a prefix, or say which kind.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(untagged)]
pub enum PathSpec {
    /// A prefix in whole segments: `/orders` takes `/orders` and `/orders/7`,
    /// not `/orders-old`. A slash at its end changes nothing.
    Prefix(Box<str>),
    /// Which kind of path.
    Kind(Box<PathKindSpec>),
}

/// A path to match, by kind.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathKindSpec {
    /// This path alone.
    Exact(String),
    /// This path and what is below it.
    Prefix(String),
    /// A regular expression; anchor it with `^` and `$`. Write a character that needs no
    /// escape in a path (`:`, `@`, `+`) as itself: its escape is matched as that.
    Pattern(Pattern),
}

// By hand: of an untagged enum serde only tells that nothing fits.
impl<'de> Deserialize<'de> for PathSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PathVisitor)
    }
}

struct PathVisitor;

impl<'de> Visitor<'de> for PathVisitor {
    type Value = PathSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a prefix as `/orders`, or one of `{ exact: … }`, `{ prefix: … }`, `{ pattern: … }`")
    }

    fn visit_str<E>(self, text: &str) -> Result<PathSpec, E> {
        Ok(PathSpec::Prefix(text.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PathSpec, A::Error> {
        let one = || A::Error::custom("write exactly one of: exact, prefix, pattern");
        let kind = match map.next_key()?.ok_or_else(one)? {
            PathKey::Exact => PathKindSpec::Exact(map.next_value()?),
            PathKey::Prefix => PathKindSpec::Prefix(map.next_value()?),
            PathKey::Pattern => PathKindSpec::Pattern(map.next_value()?),
        };
        match map.next_key::<PathKey>()? {
            None => Ok(PathSpec::Kind(Box::new(kind))),
            Some(_) => Err(one()),
        }
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum PathKey {
    Exact,
    Prefix,
    Pattern,
}

/// A header field to match. Without `value` and `pattern` it has to be there.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderMatchSpec {
    /// The field's name.
    pub name: FieldName,
    /// The exact value of one of its lines.
    #[serde(default)]
    pub value: Option<FieldValue>,
    /// A pattern for one of its lines.
    #[serde(default)]
    pub pattern: Option<Pattern>,
}

/// A query parameter to match, compared as it was sent, not decoded. Without
/// `value` and `pattern` it has to be there.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct QueryMatchSpec {
    /// The parameter's name.
    pub name: String,
    /// Its exact value.
    #[serde(default)]
    pub value: Option<String>,
    /// A pattern for its value.
    #[serde(default)]
    pub pattern: Option<Pattern>,
}

/// An upstream and its share of a route's requests.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSpec {
    /// The upstream's name.
    pub upstream: Name,
    /// Its share beside the others; 0 means never.
    #[serde(default = "one")]
    pub weight: u16,
}

/// Sends some requests to one upstream: for canary testers. Exactly one of
/// `header` and `cookie`.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OverrideSpec {
    /// A header field that decides.
    #[serde(default)]
    pub header: Option<FieldName>,
    /// A cookie that decides.
    #[serde(default)]
    pub cookie: Option<String>,
    /// The value that it has to have.
    pub value: String,
    /// Where these requests go. A weight of 0 in `to` does not hold them back.
    pub upstream: Name,
}

/// The key whose hash picks the upstream of a weighted split: the same key
/// goes to the same upstream while weights stay. A request without it draws.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StickySpec {
    /// The value of this header field.
    Header(FieldName),
    /// The value of this cookie.
    Cookie(String),
    /// The client's address; of IPv6 the first 64 bits.
    ClientAddress,
}

/// A redirect. What is not given stays as the client sent it.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RedirectSpec {
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "found")]
    pub status: u16,
    /// `http` or `https`.
    #[serde(default)]
    pub scheme: Option<RedirectScheme>,
    /// The host to go to, with port if need be.
    #[serde(default)]
    pub host: Option<String>,
    /// The path to go to. The query stays, unless this has one.
    #[serde(default)]
    pub path: Option<String>,
}

/// The scheme of a redirect.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RedirectScheme {
    /// Cleartext.
    Http,
    /// TLS.
    Https,
}

/// A fixed response.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RespondSpec {
    /// 200 to 599.
    pub status: u16,
    /// Its body.
    #[serde(default)]
    pub body: String,
    /// What the body is.
    #[serde(default = "plain_text")]
    pub content_type: FieldValue,
}

/// How path and host change. At most one of `strip_prefix`, `replace_prefix`
/// and `pattern`; the query always stays.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewriteSpec {
    /// Takes this prefix, in whole segments, off the path; what is left begins
    /// with a slash.
    pub strip_prefix: Option<String>,
    /// Puts another prefix in the place of one.
    pub replace_prefix: Option<ReplacePrefixSpec>,
    /// Replaces what a pattern matches.
    pub pattern: Option<ReplacePatternSpec>,
    /// The `Host` that the upstream gets; default: the client's.
    pub host: Option<String>,
}

/// A prefix and what takes its place, in whole segments.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReplacePrefixSpec {
    /// The prefix that goes.
    pub prefix: String,
    /// The prefix that comes.
    pub with: String,
}

/// A pattern over the path and what takes its place.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReplacePatternSpec {
    /// The pattern; a path that it does not match stays.
    #[serde(rename = "match")]
    pub matches: Pattern,
    /// The new text, with `$1` or `${name}` for captures.
    pub with: String,
}

/// Changes to a header: first `remove`, then `set`, then `add`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderEditsSpec {
    /// These fields go.
    pub remove: List<FieldName>,
    /// These fields get exactly this value.
    pub set: List<FieldSpec>,
    /// These lines come beside what is there.
    pub add: List<FieldSpec>,
}

/// A header field.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FieldSpec {
    /// Its name.
    pub name: FieldName,
    /// Its value.
    pub value: FieldValue,
}

fn one() -> u16 {
    1
}

fn found() -> u16 {
    302
}

fn plain_text() -> FieldValue {
    // The literal is well-formed; an empty value would only lose the type.
    "text/plain; charset=utf-8".parse().unwrap_or_else(|_| unreachable!())
}
