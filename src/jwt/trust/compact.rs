//! A token in its compact form (RFC 7515, section 7.1), taken apart.
//!
//! Pure, and the first that sees what a stranger wrote; nothing of it is believed yet.

use serde_json::{Map, Value};

use super::{Refused, json};
use crate::{config::issuer::TokenAlgorithm, jwt::base64url};

/// A token, taken apart.
pub(super) struct Compact<'t> {
    pub algorithm: TokenAlgorithm,
    pub kid: Option<String>,
    pub typ: Option<String>,
    /// What is signed.
    pub signed: &'t [u8],
    /// The claims, encoded.
    claims: &'t str,
    pub signature: Vec<u8>,
}

impl<'t> Compact<'t> {
    /// Takes a token apart.
    ///
    /// `Err` says what is wrong with its form.
    pub fn parse(token: &'t str) -> Result<Self, Refused> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Refused::NoToken)?;
        let (header, claims) = signed.split_once('.').ok_or(Refused::NoToken)?;
        if claims.contains('.') || header.is_empty() {
            return Err(Refused::NoToken);
        }
        if token.len() > MOST_BYTES {
            return Err(Refused::TooLong);
        }
        let header = decoded(header)?;
        let header = json::object(&header).ok_or(Refused::Json)?;
        let algorithm = algorithm(&header)?;
        let (kid, typ) = (text(&header, "kid")?, text(&header, "typ")?);
        Ok(Self { algorithm, kid, typ, signed: signed.as_bytes(), claims, signature: decoded(signature)? })
    }

    /// The claims, not believed yet.
    pub fn claims(&self) -> Result<Map<String, Value>, Refused> {
        json::object(&decoded(self.claims)?).ok_or(Refused::Json)
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, Refused> {
    base64url::decode(part.as_bytes()).ok_or(Refused::Encoding)
}

/// `crit` asks for extensions, of which there are none here: also for RFC 7797's `b64`,
/// with which something else would be signed. Other members (`jwk`, `jku`, `x5u`, `x5c`)
/// count for nothing.
fn algorithm(header: &Map<String, Value>) -> Result<TokenAlgorithm, Refused> {
    let name = header.get("alg").and_then(Value::as_str).ok_or(Refused::Algorithm)?;
    let algorithm = TokenAlgorithm::of_name(name).ok_or(Refused::Algorithm)?;
    if header.contains_key("crit") { Err(Refused::Critical) } else { Ok(algorithm) }
}

fn text(header: &Map<String, Value>, name: &str) -> Result<Option<String>, Refused> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refused::Json),
    }
}

/// A header block has 32 KiB; a token with hundreds of groups in it has 12.
pub(super) const MOST_BYTES: usize = 16 << 10;
