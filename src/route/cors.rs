//! Which web pages of other origins may use a route.
//!
//! Owns what is answered to a preflight and what stands in an answer (the Fetch
//! standard, 3.2). Does not own which route a preflight is for. Always holds: an origin
//! is told that it may only where it is listed, and never with credentials because of
//! `*`.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::build::Site;
use crate::config::{
    cors::CorsSpec,
    types::{FieldName, MethodName, OriginPattern},
};

/// Which web pages of other origins may use a route.
#[derive(Debug)]
pub struct Cors {
    origins: Box<[OriginPattern]>,
    /// Empty: those that the route takes.
    methods: Box<[Method]>,
    headers: Box<[HeaderName]>,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
}

impl Cors {
    /// `None` when it cannot be as written; the site hears why.
    pub(super) fn build(spec: &CorsSpec, site: &mut Site<'_>) -> Option<Self> {
        let any = spec.origins.iter().position(|origin| *origin == OriginPattern::Any);
        let mut good = true;
        if spec.origins.is_empty() {
            good = site.error("cors.origins", "no page is named; write at least one, or remove `cors`");
        }
        if let (Some(index), true) = (any, spec.credentials) {
            let text = "with `credentials` every page of the web could act as whoever reads it; write the origins, as `https://app.example.com`";
            good = site.error(&format!("cors.origins[{index}]"), text);
        }
        let names = |names: &[FieldName]| names.iter().map(|name| name.header().clone()).collect::<Vec<_>>();
        let expose = names(&spec.expose).iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
        good.then(|| Self {
            origins: spec.origins.clone().into(),
            methods: spec.methods.iter().map(MethodName::method).cloned().collect(),
            headers: names(&spec.headers).into(),
            // Names of fields can stand in a field.
            expose: HeaderValue::try_from(expose).ok().filter(|_| !spec.expose.is_empty()),
            credentials: spec.credentials,
            max_age: HeaderValue::from(spec.max_age.duration().as_secs()),
        })
    }

    /// The answer's fields to a preflight. A page that may not use the route, or not so,
    /// is told nothing, which its browser takes for no.
    pub fn preflight(&self, asked: &HeaderMap, answer: &mut HeaderMap) {
        answer.insert(header::VARY, VARY_PREFLIGHT);
        let Some(origin) = self.origin(asked.get(header::ORIGIN)) else { return };
        let Some(method) = asked_method(asked) else { return };
        if !self.methods.is_empty() && !self.methods.contains(&method) {
            return;
        }
        let mut wanted = asked.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
        if !wanted.all(|line| self.has_headers(line)) {
            return;
        }
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        if let Ok(method) = HeaderValue::from_str(method.as_str()) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method);
        }
        let names = self.headers.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
        if let (false, Ok(names)) = (names.is_empty(), HeaderValue::try_from(names)) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
    }

    /// What stands in the answer to a page of this origin, in the place of what an
    /// upstream says of it.
    pub fn answer(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        for name in OWN {
            answer.remove(name);
        }
        if !self.is_for_all() {
            // Whoever keeps answers keeps one for each origin.
            answer.append(header::VARY, VARY_ORIGIN);
        }
        let Some(origin) = self.origin(origin) else { return };
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        if let Some(expose) = &self.expose {
            answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    /// As the answer tells a page of this origin that it may.
    fn origin(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        let origin = origin?;
        if self.is_for_all() {
            return Some(ANY);
        }
        let text = origin.to_str().ok()?;
        self.origins.iter().any(|own| own.takes(text)).then(|| origin.clone())
    }

    fn is_for_all(&self) -> bool {
        self.origins.contains(&OriginPattern::Any)
    }

    fn has_headers(&self, wanted: &HeaderValue) -> bool {
        let names = wanted.to_str().unwrap_or_default().split(',').map(str::trim);
        let mut names = names.filter(|name| !name.is_empty());
        names.all(|name| self.headers.iter().any(|own| own.as_str().eq_ignore_ascii_case(name)))
    }
}

/// The method that a preflight asks for; `None` of any other request.
pub fn preflight_method(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if *method != Method::OPTIONS || !headers.contains_key(header::ORIGIN) {
        return None;
    }
    asked_method(headers)
}

fn asked_method(headers: &HeaderMap) -> Option<Method> {
    Method::from_bytes(headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

/// What only the gateway says where a route has a policy.
const OWN: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const VARY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
const VARY_PREFLIGHT: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::route::testing::{Request, problems, router};

    fn route(cors: Value) -> Value {
        json!([{ "name": "a", "respond": { "status": 200 }, "cors": cors }])
    }

    /// The fields of the answer, sorted, a line each.
    fn told(
        cors: &Value,
        fields: &[(&str, &str)],
        tell: impl Fn(&Cors, &HeaderMap, &mut HeaderMap),
    ) -> String {
        let router = router(route(cors.clone()));
        let request = fields.iter().fold(Request::get("h", "/"), |r, (name, value)| r.header(name, value));
        let facts = request.facts();
        let found = router.find(&facts).unwrap();
        let mut answer = HeaderMap::new();
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, "https://upstream.test".parse().unwrap());
        answer.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        tell(found.route.cors.as_ref().unwrap(), facts.headers, &mut answer);
        let mut lines: Vec<_> =
            answer.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect();
        lines.sort();
        lines.concat()
    }

    fn preflight(cors: &Value, fields: &[(&str, &str)]) -> String {
        told(cors, fields, |cors, asked, answer| cors.preflight(asked, answer))
    }

    const VARY: &str = "vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\n";

    #[test]
    fn a_listed_page_is_told_what_it_may() {
        let cors = json!({
            "origins": ["https://app.example.com"], "headers": ["Authorization", "X-Api-Key"],
            "credentials": true, "max_age": "1h",
        });
        let asks = [
            ("origin", "https://app.example.com"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "authorization,x-api-key"),
        ];

        assert_eq!(
            preflight(&cors, &asks),
            format!(
                "access-control-allow-credentials: true\n\
                 access-control-allow-headers: authorization, x-api-key\n\
                 access-control-allow-methods: PUT\n\
                 access-control-allow-origin: https://app.example.com\n\
                 access-control-max-age: 3600\n{VARY}"
            )
        );
    }

    #[test]
    fn whoever_is_not_listed_or_asks_for_more_is_told_nothing() {
        let cors =
            json!({ "origins": ["https://app.example.com"], "methods": ["GET", "PUT"], "headers": ["X-A"] });
        let asks = |origin, method, headers| {
            preflight(
                &cors,
                &[
                    ("origin", origin),
                    ("access-control-request-method", method),
                    ("access-control-request-headers", headers),
                ],
            )
        };

        assert!(asks("https://app.example.com", "PUT", "x-a").contains("allow-origin"));
        assert_eq!(asks("https://evil.example", "PUT", "x-a"), VARY);
        assert_eq!(asks("null", "PUT", "x-a"), VARY);
        assert_eq!(asks("https://app.example.com", "DELETE", "x-a"), VARY);
        assert_eq!(asks("https://app.example.com", "PUT", "x-a, x-b"), VARY);
    }

    #[test]
    fn an_answer_says_what_the_gateway_says_and_varies_by_origin() {
        let listed =
            json!({ "origins": ["https://*.example.com"], "expose": ["RateLimit"], "credentials": true });
        let answer = |cors: &Value, origin: Option<&str>| {
            told(cors, &[], |cors, _, answer| {
                answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*".parse().unwrap());
                answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true".parse().unwrap());
                answer.insert(header::VARY, "Accept".parse().unwrap());
                let origin = origin.map(|origin| HeaderValue::from_str(origin).unwrap());
                cors.answer(origin.as_ref(), answer);
            })
        };

        let own = "access-control-allow-credentials: true\n\
                   access-control-allow-origin: https://a.example.com\n\
                   access-control-expose-headers: ratelimit\nvary: Accept\nvary: Origin\n";
        assert_eq!(answer(&listed, Some("https://a.example.com")), own);
        assert_eq!(answer(&listed, Some("https://evil.test")), "vary: Accept\nvary: Origin\n");
        assert_eq!(answer(&listed, None), "vary: Accept\nvary: Origin\n");
        let any = json!({ "origins": ["*"] });
        assert_eq!(answer(&any, Some("https://evil.test")), "access-control-allow-origin: *\nvary: Accept\n");
    }

    #[test]
    fn only_a_preflight_is_one() {
        let of = |method: &str, fields: &[(&str, &str)]| {
            let request =
                fields.iter().fold(Request::get("h", "/"), |r, (name, value)| r.header(name, value));
            preflight_method(&method.parse().unwrap(), request.facts().headers)
        };
        let both = [("origin", "https://a"), ("access-control-request-method", "PUT")];

        assert_eq!(of("OPTIONS", &both), Some(Method::PUT));
        assert_eq!(of("GET", &both), None);
        assert_eq!(of("OPTIONS", &both[..1]), None);
        assert_eq!(of("OPTIONS", &both[1..]), None);
    }

    #[test]
    fn credentials_for_every_page_are_refused() {
        let told = problems(route(json!({ "origins": ["https://a.test", "*"], "credentials": true })));
        assert!(told.contains("routes[0].cors.origins[1]: with `credentials` every page"), "{told}");
        assert!(problems(route(json!({ "origins": [] }))).contains("cors.origins: no page is named"));
    }
}
