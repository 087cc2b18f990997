//! Whether a token is bound to a request, claim by claim.

use boring::sha::sha256;
use serde_json::{Map, Value};

use crate::{jwt::encode, telemetry::hex};

/// A request, as far as is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// Its method.
    pub method: Option<&'a str>,
    /// Its path, or its URL without the query.
    pub path: Option<&'a str>,
    /// Its query, without `?`.
    pub query: Option<&'a str>,
    /// Its body.
    pub body: Option<&'a [u8]>,
}

impl Request<'_> {
    /// What it is not bound to, each in a sentence.
    pub fn flaws(&self, claims: &Map<String, Value>) -> Vec<String> {
        let method = self.method.and_then(|method| told(claims, "htm", "method", method));
        let path = self.path.and_then(|path| path_flaw(claims, path));
        let query = self.query.map(|query| encode(&sha256(query.as_bytes())));
        let query = query.and_then(|hash| told(claims, "qh", "query", &hash));
        let body = self.body.and_then(|body| body_flaw(claims, body));
        [method, path, query, body].into_iter().flatten().collect()
    }
}

fn told(claims: &Map<String, Value>, claim: &str, what: &str, wanted: &str) -> Option<String> {
    match claims.get(claim) {
        None => Some(format!("it is not bound to a {what}: there is no `{claim}`")),
        Some(Value::String(is)) if is == wanted => None,
        Some(is) => {
            let is = is.as_str().map_or_else(|| is.to_string(), str::to_owned);
            Some(format!("it is for another {what}: `{claim}` is `{is}`, and of this request `{wanted}`"))
        }
    }
}

/// A path is enough where the token names a whole URL.
fn path_flaw(claims: &Map<String, Value>, wanted: &str) -> Option<String> {
    let htu = claims.get("htu").and_then(Value::as_str);
    let path = htu.and_then(|htu| htu.split_once("://")).map(|(_, rest)| match rest.find('/') {
        Some(at) => rest.get(at..).unwrap_or_default(),
        None => "",
    });
    if wanted.starts_with('/') && path == Some(wanted) {
        return None;
    }
    told(claims, "htu", "path", wanted)
}

/// In either profile's claim.
fn body_flaw(claims: &Map<String, Value>, body: &[u8]) -> Option<String> {
    let hash = sha256(body);
    if !claims.contains_key("bh") && claims.contains_key("payloadhash") {
        let mut text = [0; 64];
        hex::write(&mut text, &hash);
        let text = if body.is_empty() { String::new() } else { String::from_utf8_lossy(&text).into_owned() };
        return told(claims, "payloadhash", "body", &text);
    }
    told(claims, "bh", "body", &encode(&hash))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_is_asked_for_has_to_be_bound_and_the_same() {
        let bound = claims(json!({ "htm": "GET", "htu": "http://a.test/x" }));
        let method = |method| Request { method: Some(method), ..Request::default() };
        let path = |path| Request { path: Some(path), ..Request::default() };

        assert!(method("GET").flaws(&bound).is_empty());
        assert!(method("PUT").flaws(&bound)[0].contains("another method: `htm` is `GET`"));
        assert!(path("/x").flaws(&bound).is_empty() && path("http://a.test/x").flaws(&bound).is_empty());
        assert_eq!(path("/y").flaws(&bound).len(), 1);
        let query = Request { query: Some(""), ..Request::default() };
        assert_eq!(query.flaws(&bound), ["it is not bound to a query: there is no `qh`"]);
    }

    #[test]
    fn a_body_is_hashed_as_its_profile_writes_it() {
        let of = |body| Request { body: Some(body), ..Request::default() };
        let kong = claims(json!({ "payloadhash": "" }));
        let native = claims(json!({ "bh": "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU" }));

        for claims in [&kong, &native] {
            assert!(of(b"").flaws(claims).is_empty(), "{claims:?}");
            assert_eq!(of(b"x").flaws(claims).len(), 1, "{claims:?}");
        }
    }
}
