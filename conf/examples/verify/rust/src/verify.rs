//! Verifies the token that Tollgate puts on a request: copy this file and `keys.rs`.
//!
//! `main.rs` shows it at work, `../README.md` says what each check is for.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::keys::Keys;

/// Says whether a token is good for a request.
pub struct Verifier {
    pub keys: Keys,
    pub issuer: String,
    pub audience: String,
    /// Some of [`PARTS`].
    pub require_bind: Vec<String>,
    /// `http` or `https`, as the gateway calls this server.
    pub scheme: String,
    /// Until when each `jti` is remembered, where each token counts once.
    pub seen: Option<Mutex<HashMap<String, u64>>>,
}

/// What a token has to be for.
pub struct Request<'a> {
    pub method: &'a str,
    /// As it came, neither decoded nor tidied.
    pub path: &'a str,
    /// Without its question mark; empty without one.
    pub query: &'a str,
    pub host: &'a str,
    pub body: &'a [u8],
}

/// The payload of a token.
pub type Claims = Map<String, Value>;

/// Why a token is not good: answer 401.
pub type Refused = String;

impl Verifier {
    /// The claims of a token that is for exactly this request.
    pub async fn verify(&self, token: &str, request: &Request<'_>) -> Result<Claims, Refused> {
        let header = decode_header(token).map_err(|why| why.to_string())?;
        if header.crit.is_some() {
            return Err("the header has `crit`: it means what is not understood here".into());
        }
        let key = self.keys.get(&header.kid.unwrap_or_default()).await.ok_or("the key is unknown")?;
        let (algorithm, key) = &*key;
        // The algorithm is the key's own; what the token says can only agree.
        let mut expected = Validation::new(*algorithm);
        expected.set_issuer(&[&self.issuer]);
        expected.set_audience(&[&self.audience]);
        expected.set_required_spec_claims(&["iss", "aud", "exp"]);
        expected.validate_nbf = true;
        expected.leeway = LEEWAY;
        let claims = decode::<Claims>(token, key, &expected).map_err(|why| why.to_string())?.claims;
        // The library does not look at `iat`.
        match claims.get("iat").and_then(Value::as_f64) {
            None => return Err("`iat` is missing".into()),
            Some(issued) if issued > (now() + LEEWAY) as f64 => return Err("it is not valid yet".into()),
            Some(_) => {}
        }
        self.check_request(&claims, request)?;
        self.check_once(&claims)?; // Last: only a good token is used up.
        Ok(claims)
    }

    fn check_request(&self, claims: &Claims, request: &Request<'_>) -> Result<(), Refused> {
        let is_required = |part: &str| self.require_bind.iter().any(|required| required == part);
        let whole_url = claims.get("htu").and_then(Value::as_str).is_some_and(|htu| !htu.starts_with('/'));
        let before = if whole_url { format!("{}://{}", self.scheme, request.host) } else { String::new() };
        let (body_claim, body_hash) = match claims.get("payloadhash") {
            // Profile `kong_upstream_jwt`: in hex, and nothing of nothing.
            Some(_) if request.body.is_empty() => ("payloadhash", String::new()),
            Some(_) => ("payloadhash", format!("{:x}", Sha256::digest(request.body))),
            None => ("bh", hash(request.body)),
        };
        let parts = [
            ("method", "htm", request.method.to_owned()),
            ("path", "htu", before + request.path),
            ("query", "qh", hash(request.query.as_bytes())),
            ("body", body_claim, body_hash),
        ];
        for (part, claim, value) in parts {
            match claims.get(claim) {
                None if is_required(part) => return Err(format!("`{claim}` is missing")),
                None => {}
                Some(said) if *said == value => {}
                // The gateway did not know the body: good only where nobody asks for it.
                Some(said) if part == "body" && said == "UNSIGNED" && !is_required(part) => {}
                Some(_) => return Err(format!("`{claim}` is of another request")),
            }
        }
        match is_required("host") && !whole_url {
            true => Err("`htu` names no host".into()),
            false => Ok(()),
        }
    }

    fn check_once(&self, claims: &Claims) -> Result<(), Refused> {
        let Some(seen) = &self.seen else { return Ok(()) };
        let jti = claims.get("jti").and_then(Value::as_str).ok_or("`jti` is missing")?;
        let end = claims.get("exp").and_then(Value::as_u64).ok_or("`exp` is no whole number")?;
        let (mut seen, now) = (seen.lock().unwrap(), now());
        // As often as the map has grown to its room: each token pays for one more.
        if seen.len() == seen.capacity() {
            seen.retain(|_, until| *until >= now);
        }
        match seen.insert(jti.to_owned(), end + LEEWAY + 1) {
            Some(_) => Err("the token was used before".into()),
            None => Ok(()),
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn hash(data: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(data))
}

/// What of a request a token can be bound to.
pub const PARTS: [&str; 5] = ["method", "path", "query", "host", "body"];

/// Seconds that clocks may differ.
const LEEWAY: u64 = 5;
