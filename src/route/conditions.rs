//! What a route asks of a request beside host and path: its tenant, method,
//! header fields, query parameters.
//!
//! Owns whether they hold and which of two sets is wider. Values are compared
//! as they were sent, nothing is decoded.

use std::fmt;

use http::{HeaderName, HeaderValue, Method, header};
use regex::Regex;

use super::{Facts, build::Site, callers::is_one_of};
use crate::config::{
    Problems, Source,
    route::{HeaderMatchSpec, MatchSpec, QueryMatchSpec},
    tenant::TenantIndex,
    types::{FieldValue, MethodName, Pattern},
};

/// Everything that has to hold; nothing asked always holds.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    /// Any of these; empty is everyone.
    tenants: Box<[TenantIndex]>,
    /// Any of these; empty is everyone.
    consumers: Box<[Box<str>]>,
    /// Any of these; empty is every method. With `GET` comes `HEAD`.
    methods: Box<[Method]>,
    headers: Box<[(HeaderName, Test)]>,
    query: Box<[(Box<str>, Test)]>,
}

impl Conditions {
    /// `None` when one of them is not usable; the site hears why.
    pub(super) fn build(spec: &MatchSpec, site: &mut Site<'_>) -> Option<Self> {
        let tenants = site.tenants(&spec.tenants, "match.tenants");
        let (source, problems) = (site.source, &mut *site.problems);
        let headers = each(&spec.headers, |i, h| header(h, &source.key("match.headers").entry(i), problems));
        let query = each(&spec.query, |i, q| parameter(q, &source.key("match.query").entry(i), problems));
        let consumers = spec.consumers.iter().map(|name| name.as_str().into()).collect();
        Some(Self {
            tenants: tenants?,
            consumers,
            methods: methods(&spec.methods),
            headers: headers?,
            query: query?,
        })
    }

    /// Whether nothing is asked.
    pub(super) fn is_empty(&self) -> bool {
        self.tenants.is_empty()
            && self.consumers.is_empty()
            && self.methods.is_empty()
            && self.headers.is_empty()
            && self.query.is_empty()
    }

    /// Whether it is for some consumers alone.
    pub(super) fn ask_for_consumers(&self) -> bool {
        !self.consumers.is_empty()
    }

    /// Whether a request has all of it.
    pub(super) fn hold(&self, facts: &Facts<'_>) -> bool {
        self.take_tenant(facts)
            && self.take_consumer(facts)
            && self.take_method(facts)
            && self.headers.iter().all(|asked| is_in_header(asked, facts))
            && self.query.iter().all(|asked| is_in_query(asked, facts))
    }

    fn take_tenant(&self, facts: &Facts<'_>) -> bool {
        self.tenants.is_empty() || facts.tenant.is_some_and(|tenant| self.tenants.contains(&tenant))
    }

    fn take_consumer(&self, facts: &Facts<'_>) -> bool {
        self.consumers.is_empty()
            || facts.whoever
            || facts.consumer.is_some_and(|consumer| is_one_of(&self.consumers, consumer.name))
    }

    fn take_method(&self, facts: &Facts<'_>) -> bool {
        self.methods.is_empty() || self.methods.contains(facts.method)
    }

    /// Everything that a request does not have; empty where [`hold`](Self::hold)
    /// is true.
    pub(super) fn unmet(&self, facts: &Facts<'_>) -> Vec<Unmet> {
        let tenants = (!self.take_tenant(facts)).then(|| Unmet::Tenant(self.tenants.clone()));
        let consumers = (!self.take_consumer(facts)).then(|| Unmet::Consumer(self.consumers.clone()));
        let methods = (!self.take_method(facts)).then(|| Unmet::Method(self.methods.clone()));
        let headers = self.headers.iter().filter(|asked| !is_in_header(asked, facts));
        let headers = headers.map(|(name, test)| Unmet::Header {
            name: name.clone(),
            how: test.unmet(facts.headers.contains_key(name)),
        });
        let query = self.query.iter().filter(|asked| !is_in_query(asked, facts));
        let query = query.map(|(name, test)| Unmet::Query {
            name: name.clone(),
            how: test.unmet(parameters(facts.query).any(|(sent, _)| sent == &**name)),
        });
        tenants.into_iter().chain(consumers).chain(methods).chain(headers).chain(query).collect()
    }

    /// How specific it is; of two the greater comes first.
    ///
    /// Tenants stand first: who asks is the one thing that the client does not
    /// choose, and a tenant's own route is not lost to one that asks for a method.
    pub(super) fn rank(&self) -> (bool, bool, bool, usize, usize) {
        (
            !self.tenants.is_empty(),
            !self.consumers.is_empty(),
            !self.methods.is_empty(),
            self.headers.len(),
            self.query.len(),
        )
    }

    /// Whether this holds for every request for which `other` does, as far as
    /// it can be told: two different patterns are taken to differ.
    pub(super) fn cover(&self, other: &Self) -> bool {
        let tests = other.tests();
        self.takes(other) && self.tests().iter().all(|test| tests.contains(test))
    }

    /// Whether every tenant and every method of `other` is one of these.
    pub(super) fn takes(&self, other: &Self) -> bool {
        includes(&self.tenants, &other.tenants)
            && includes(&self.consumers, &other.consumers)
            && includes(&self.methods, &other.methods)
    }

    /// Whether both name tenants and share one, or none names any; and the same
    /// of their methods. Then nothing but their names tells which comes first.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let share = self.tenants.iter().any(|tenant| other.tenants.contains(tenant));
        let no_tenants = self.tenants.is_empty() && other.tenants.is_empty();
        let share_consumer = self.consumers.iter().any(|name| other.consumers.contains(name));
        let no_consumers = self.consumers.is_empty() && other.consumers.is_empty();
        let no_methods = self.methods.is_empty() && other.methods.is_empty();
        (no_tenants || share)
            && (no_consumers || share_consumer)
            && (no_methods || self.common_method(other).is_some())
    }

    /// A method of both that was asked for, not the `HEAD` that comes with `GET`.
    pub(super) fn common_method(&self, other: &Self) -> Option<&Method> {
        let asked = |c: &Self, m: &Method| *m != Method::HEAD || !c.methods.contains(&Method::GET);
        let common = |m: &&Method| other.methods.contains(m) && asked(self, m) && asked(other, m);
        self.methods.iter().find(common)
    }

    /// The header and query tests as text, sorted: equal text is an equal test.
    pub(super) fn tests(&self) -> Vec<String> {
        let header = self.headers.iter().map(|(name, test)| format!("header {name} {test}"));
        let query = self.query.iter().map(|(name, test)| format!("query {name} {test}"));
        let mut tests: Vec<_> = header.chain(query).collect();
        tests.sort();
        tests.dedup();
        tests
    }
}

/// What a route asks and a request does not have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unmet {
    /// It is of none of these tenants.
    Tenant(Box<[TenantIndex]>),
    /// It is none of these consumers.
    Consumer(Box<[Box<str>]>),
    /// Its method is none of these.
    Method(Box<[Method]>),
    /// A header field.
    #[allow(missing_docs)]
    Header { name: HeaderName, how: String },
    /// A query parameter.
    #[allow(missing_docs)]
    Query { name: Box<str>, how: String },
}

fn is_in_header((name, test): &(HeaderName, Test), facts: &Facts<'_>) -> bool {
    facts.headers.get_all(name).iter().any(|value| test.passes(value.as_bytes()))
}

fn is_in_query((name, test): &(Box<str>, Test), facts: &Facts<'_>) -> bool {
    parameters(facts.query).any(|(sent, value)| sent == &**name && test.passes(value.as_bytes()))
}

/// Whether the first list, where empty is everything, holds all of the second.
fn includes<T: PartialEq>(these: &[T], others: &[T]) -> bool {
    these.is_empty() || (!others.is_empty() && others.iter().all(|other| these.contains(other)))
}

/// What a value has to be.
#[derive(Debug)]
enum Test {
    /// Anything, but there.
    Present,
    /// These bytes.
    Is(Box<[u8]>),
    /// What this matches; what is not UTF-8 it does not.
    Matches(Regex),
}

impl Test {
    fn passes(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Is(wanted) => **wanted == *value,
            Self::Matches(pattern) => str::from_utf8(value).is_ok_and(|text| pattern.is_match(text)),
        }
    }

    /// What is wrong with a value that did not pass, or with there being none.
    fn unmet(&self, is_there: bool) -> String {
        match self {
            Self::Is(wanted) if is_there => format!("is not `{}`", wanted.escape_ascii()),
            Self::Matches(pattern) if is_there => format!("does not match `{pattern}`"),
            _ => "is missing".to_owned(),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("is there"),
            Self::Is(value) => write!(f, "is {}", value.escape_ascii()),
            Self::Matches(pattern) => write!(f, "matches {pattern}"),
        }
    }
}

/// All of them, or `None` when any is missing; every one is looked at.
fn each<S, T>(specs: &[S], mut build: impl FnMut(usize, &S) -> Option<T>) -> Option<Box<[T]>> {
    let built: Vec<_> = specs.iter().enumerate().map(|(i, spec)| build(i, spec)).collect();
    built.into_iter().collect()
}

/// Name and value of each query parameter; one without `=` has an empty value.
fn parameters(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.into_iter().flat_map(|query| query.split('&'));
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn methods(spec: &[MethodName]) -> Box<[Method]> {
    let given = spec.iter().map(MethodName::method);
    let mut methods: Vec<Method> = given.cloned().collect();
    if methods.contains(&Method::GET) && !methods.contains(&Method::HEAD) {
        methods.push(Method::HEAD);
    }
    methods.into_boxed_slice()
}

fn header(spec: &HeaderMatchSpec, source: &Source, problems: &mut Problems) -> Option<(HeaderName, Test)> {
    let name = spec.name.header();
    if *name == header::HOST {
        problems.error(&source.key("name"), "the host is matched by `match.hosts`; write it there");
        return None;
    }
    let value = spec.value.as_ref().map(FieldValue::value);
    let test = test(value.map(HeaderValue::as_bytes), spec.pattern.as_ref(), source, problems)?;
    Some((name.clone(), test))
}

fn parameter(spec: &QueryMatchSpec, source: &Source, problems: &mut Problems) -> Option<(Box<str>, Test)> {
    let as_sent =
        |text: &str, not: &[u8]| text.bytes().all(|b| (b'!'..=b'~').contains(&b) && !not.contains(&b));
    let good_name = !spec.name.is_empty() && as_sent(&spec.name, b"&=#");
    if !good_name {
        let text = format!("`{}` is never a name in a query; write it as it is sent, as `a%20b`", spec.name);
        problems.error(&source.key("name"), text);
    }
    let good_value = spec.value.as_ref().is_none_or(|value| as_sent(value, b"&#"));
    if !good_value {
        let value = spec.value.as_deref().unwrap_or_default();
        let text = format!("`{value}` is never a value in a query; write it as it is sent, as `a%20b`");
        problems.error(&source.key("value"), text);
    }
    let value = spec.value.as_ref().map(String::as_bytes);
    let test = test(value, spec.pattern.as_ref(), source, problems)?;
    (good_name && good_value).then(|| (spec.name.as_str().into(), test))
}

fn test(
    value: Option<&[u8]>,
    pattern: Option<&Pattern>,
    source: &Source,
    problems: &mut Problems,
) -> Option<Test> {
    match (value, pattern) {
        (None, None) => Some(Test::Present),
        (Some(value), None) => Some(Test::Is(value.into())),
        (None, Some(pattern)) => Some(Test::Matches(pattern.regex().clone())),
        (Some(_), Some(_)) => {
            problems.error(source, "`value` and `pattern` are two ways to say it; keep one of them");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        config::server::PathsSpec,
        route::{
            Defaults,
            testing::{Request, names, problems},
        },
    };

    fn conditions(spec: serde_json::Value) -> Conditions {
        let mut problems = Problems::default();
        let spec: MatchSpec = serde_json::from_value(spec).unwrap();
        let defaults = Defaults { max_body: 0, paths: PathsSpec::default() };
        let (source, names) = (Source::file("test"), names());
        let mut site = Site { source: &source, names: &names, defaults: &defaults, problems: &mut problems };
        Conditions::build(&spec, &mut site).unwrap()
    }

    #[test]
    fn get_includes_head_and_nothing_else_does() {
        let get = conditions(json!({ "methods": ["GET"] }));
        let post = conditions(json!({ "methods": ["POST"] }));
        let head = Request::get("h", "/").method("HEAD");

        assert!(get.hold(&head.facts()));
        assert!(!post.hold(&head.facts()));
        assert!(!conditions(json!({ "methods": ["HEAD"] })).hold(&Request::get("h", "/").facts()));
    }

    #[test]
    fn a_request_of_no_tenant_is_of_none_that_is_named() {
        let (beta, both) = (json!({ "tenants": ["beta"] }), json!({ "tenants": ["alpha", "beta"] }));
        let holds = |spec: &serde_json::Value, tenant| {
            conditions(spec.clone()).hold(&Request::get("h", "/").tenant(tenant).facts())
        };

        assert!(holds(&beta, "beta") && holds(&both, "alpha") && holds(&both, "beta"));
        assert!(!holds(&beta, "alpha") && !holds(&beta, "none") && !holds(&both, "none"));
        assert!(holds(&json!({}), "alpha") && holds(&json!({}), "none"));
    }

    #[test]
    fn a_header_is_there_or_is_a_value_or_matches_on_any_of_its_lines() {
        let request = Request::get("h", "/").header("x-tier", "silver").header("x-tier", "gold");
        let holds = |header| conditions(json!({ "headers": [header] })).hold(&request.facts());

        assert!(holds(json!({ "name": "X-Tier" })));
        assert!(holds(json!({ "name": "x-tier", "value": "gold" })));
        assert!(holds(json!({ "name": "x-tier", "pattern": "^sil" })));
        assert!(!holds(json!({ "name": "x-tier", "value": "gol" })));
        assert!(!holds(json!({ "name": "x-tier", "pattern": "^g$" })));
        assert!(!holds(json!({ "name": "x-other" })));
    }

    #[test]
    fn a_query_parameter_is_compared_as_it_was_sent() {
        let request = Request::get("h", "/").query("a=1&b&a=2&c=x%20y&=z");
        let holds = |query| conditions(json!({ "query": [query] })).hold(&request.facts());

        assert!(holds(json!({ "name": "a", "value": "2" })));
        assert!(holds(json!({ "name": "b" })));
        assert!(holds(json!({ "name": "b", "value": "" })));
        assert!(holds(json!({ "name": "c", "value": "x%20y" })));
        assert!(holds(json!({ "name": "a", "pattern": "^[0-9]$" })));
        assert!(!holds(json!({ "name": "b", "value": "1" })));
        assert!(!holds(json!({ "name": "z" })));
    }

    #[test]
    fn a_header_value_that_is_not_utf8_matches_no_pattern() {
        let request = Request::get("h", "/").raw_header("x-a", b"\xff");

        assert!(!conditions(json!({ "headers": [{ "name": "x-a", "pattern": "" }] })).hold(&request.facts()));
        assert!(conditions(json!({ "headers": [{ "name": "x-a" }] })).hold(&request.facts()));
    }

    #[test]
    fn wider_conditions_cover_narrower_ones() {
        let any = conditions(json!({}));
        let get = conditions(json!({ "methods": ["GET"] }));
        let both = conditions(json!({ "methods": ["POST", "GET"] }));
        let gold = conditions(json!({ "methods": ["GET"], "headers": [{ "name": "x", "value": "gold" }] }));

        assert!(any.cover(&get) && both.cover(&get) && get.cover(&gold) && any.cover(&any));
        assert!(!get.cover(&any) && !get.cover(&both) && !gold.cover(&get));

        let alpha = conditions(json!({ "tenants": ["alpha"] }));
        let alpha_get = conditions(json!({ "tenants": ["alpha"], "methods": ["GET"] }));
        let tenants = conditions(json!({ "tenants": ["beta", "alpha"] }));
        assert!(
            any.cover(&alpha) && tenants.cover(&alpha) && alpha.cover(&alpha_get) && get.cover(&alpha_get)
        );
        assert!(
            !alpha.cover(&any) && !alpha.cover(&tenants) && !alpha.cover(&get) && !alpha_get.cover(&alpha)
        );
    }

    #[test]
    fn what_can_never_hold_is_told_with_its_key() {
        let told = problems(json!([{
            "name": "a", "respond": { "status": 200 },
            "match": {
                "headers": [{ "name": "x", "value": "1", "pattern": "1" }, { "name": "Host", "value": "h" }],
                "tenants": ["alpha", "gamma"],
                "query": [{ "name": "a=b" }, { "name": "q", "value": "a b" }, { "name": "q", "value": "", "pattern": "" }]
            }
        }]));

        assert!(told.contains("routes[0].match.tenants[1]: there is no tenant `gamma`; known are"), "{told}");
        assert!(told.contains("routes[0].match.headers[0]: `value` and `pattern`"), "{told}");
        assert!(told.contains("routes[0].match.headers[1].name: the host is matched by"), "{told}");
        assert!(told.contains("routes[0].match.query[0].name: `a=b` is never a name"), "{told}");
        assert!(told.contains("routes[0].match.query[1].value: `a b` is never a value"), "{told}");
        assert!(told.contains("routes[0].match.query[2]: `value` and `pattern`"), "{told}");
    }
}
