//! Verifies a token as a careful upstream would, and says in words what is wrong.
//!
//! For the tools: `tollgate jwt verify` and `prove`. The first flaw counts, in the order
//! in which a verifier may look: nothing of a token is believed before its signature.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value};

use super::{
    base64url,
    public_keys::{PublicKey, PublicKeys, PublicKind},
    signature,
};
use crate::config::signer::Algorithm;

/// What has to be so beside the signature.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// `iss`; without it any.
    pub issuer: Option<&'a str>,
    /// One of `aud`; without it any.
    pub audience: Option<&'a str>,
    /// So long a token counts after `exp` and before `nbf` and `iat`.
    pub leeway: Duration,
}

/// A good token.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// Its header.
    pub header: Map<String, Value>,
    /// Its claims.
    pub claims: Map<String, Value>,
}

/// What is wrong with a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Flaw {
    /// It is not three parts with dots between; it is so many.
    Parts(usize),
    /// This part is not base64url without padding.
    Encoding(Part),
    /// This part is no JSON object.
    Json(Part),
    /// The header names no algorithm.
    NoAlgorithm,
    /// It is not signed: its algorithm is `none`.
    Unsigned,
    /// It is signed with a secret that a verifier would have to share.
    SharedSecret(String),
    /// The algorithm is one that this gateway does not know.
    UnknownAlgorithm(String),
    /// It asks for something that nobody here understands (`crit`).
    Critical,
    /// No key has its `kid`.
    UnknownKey(String),
    /// It has no `kid`, and the set has more than one key that could be meant.
    NoKeyId,
    /// The key with its `kid` is of another kind than its algorithm needs.
    KeyKind(PublicKind, Algorithm),
    /// The key with its `kid` is for another algorithm.
    KeyAlgorithm(String, Algorithm),
    /// The signature has so many bytes, and should have so many.
    SignatureLength(usize, usize),
    /// The signature is not one of this key over this token.
    Signature,
    /// A claim that has to be there is not.
    Missing(&'static str),
    /// A claim is not what it has to be: a number, or text.
    WrongType(&'static str),
    /// It expired so long ago.
    Expired(Duration),
    /// By this claim it counts from so long on.
    NotYet(&'static str, Duration),
    /// Its issuer is this.
    Issuer(String),
    /// It is for these.
    Audience(Vec<String>),
}

/// A part of a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// The first.
    Header,
    /// The second.
    Claims,
    /// The third.
    Signature,
}

/// Whether `token` is signed by one of `keys`, counts at `now` and is as expected.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(
    token: &str,
    keys: &PublicKeys,
    expected: &Expected<'_>,
    now: SystemTime,
) -> Result<Verified, Flaw> {
    let parts: Vec<_> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { return Err(Flaw::Parts(parts.len())) };
    let header = object(header, Part::Header)?;
    let algorithm = algorithm(&header)?;
    let key = key(&header, keys, algorithm)?;

    let signature = base64url::decode(signature.as_bytes()).ok_or(Flaw::Encoding(Part::Signature))?;
    let wanted = signature::length(&key.key, algorithm);
    if signature.len() != wanted {
        return Err(Flaw::SignatureLength(signature.len(), wanted));
    }
    let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
    if !signature::verify(&key.key, algorithm, signed.as_bytes(), &signature) {
        return Err(Flaw::Signature);
    }
    let claims = object(claims, Part::Claims)?;
    check_times(&claims, expected.leeway, now)?;
    check_parties(&claims, expected)?;
    Ok(Verified { header, claims })
}

fn object(part: &str, which: Part) -> Result<Map<String, Value>, Flaw> {
    let bytes = base64url::decode(part.as_bytes()).ok_or(Flaw::Encoding(which))?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(Flaw::Json(which)),
    }
}

fn algorithm(header: &Map<String, Value>) -> Result<Algorithm, Flaw> {
    let name = header.get("alg").and_then(Value::as_str).ok_or(Flaw::NoAlgorithm)?;
    if name.eq_ignore_ascii_case("none") {
        return Err(Flaw::Unsigned);
    }
    if name.starts_with("HS") {
        return Err(Flaw::SharedSecret(name.to_owned()));
    }
    let known = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name);
    let algorithm = known.ok_or_else(|| Flaw::UnknownAlgorithm(name.to_owned()))?;
    if header.contains_key("crit") { Err(Flaw::Critical) } else { Ok(algorithm) }
}

/// The key with the header's `kid`, or the only one that could be meant. The header
/// says which key, never what it is: `jwk`, `jku` and `x5c` count for nothing.
fn key<'a>(
    header: &Map<String, Value>,
    keys: &'a PublicKeys,
    algorithm: Algorithm,
) -> Result<&'a PublicKey, Flaw> {
    let mut fitting = keys.keys.iter().filter(|key| key.kind.fits(algorithm));
    let key = match header.get("kid").and_then(Value::as_str) {
        Some(kid) => keys.keys.iter().find(|key| key.kid.as_deref() == Some(kid)),
        None => match (fitting.next(), fitting.next()) {
            (Some(only), None) => Some(only),
            _ => return Err(Flaw::NoKeyId),
        },
    };
    let unknown = || header.get("kid").and_then(Value::as_str).unwrap_or_default().to_owned();
    let key = key.ok_or_else(|| Flaw::UnknownKey(unknown()))?;
    if !key.kind.fits(algorithm) {
        return Err(Flaw::KeyKind(key.kind, algorithm));
    }
    match &key.alg {
        Some(other) if other != algorithm.name() => Err(Flaw::KeyAlgorithm(other.clone(), algorithm)),
        _ => Ok(key),
    }
}

fn check_times(claims: &Map<String, Value>, leeway: Duration, now: SystemTime) -> Result<(), Flaw> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let leeway = leeway.as_secs_f64();
    let number = |name: &'static str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(Flaw::WrongType(name)),
    };
    let apart = |from: f64, to: f64| Duration::try_from_secs_f64(to - from).unwrap_or(Duration::MAX);
    let expires = number("exp")?.ok_or(Flaw::Missing("exp"))?;
    if now >= expires + leeway {
        return Err(Flaw::Expired(apart(expires, now)));
    }
    for name in ["nbf", "iat"] {
        match number(name)? {
            Some(from) if from > now + leeway => return Err(Flaw::NotYet(name, apart(now, from))),
            _ => {}
        }
    }
    Ok(())
}

fn check_parties(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), Flaw> {
    if let Some(wanted) = expected.issuer {
        let issuer = claims.get("iss").ok_or(Flaw::Missing("iss"))?;
        match issuer.as_str() {
            Some(issuer) if issuer == wanted => {}
            Some(other) => return Err(Flaw::Issuer(other.to_owned())),
            None => return Err(Flaw::WrongType("iss")),
        }
    }
    let Some(wanted) = expected.audience else { return Ok(()) };
    let audiences = match claims.get("aud").ok_or(Flaw::Missing("aud"))? {
        Value::String(one) => vec![one.clone()],
        Value::Array(several) => several.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => return Err(Flaw::WrongType("aud")),
    };
    if audiences.iter().any(|audience| audience == wanted) { Ok(()) } else { Err(Flaw::Audience(audiences)) }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Claims => "claims part",
            Self::Signature => "signature",
        })
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parts(parts) => write!(f, "a token has 3 parts with dots between, and this has {parts}"),
            Self::Encoding(part) => write!(f, "the {part} is not base64url without padding"),
            Self::Json(part) => write!(f, "the {part} is no JSON object"),
            Self::NoAlgorithm => f.write_str("the header names no algorithm (`alg`)"),
            Self::Unsigned => f.write_str("it is not signed: `alg` is `none`"),
            Self::SharedSecret(alg) => {
                write!(f, "`{alg}` signs with a shared secret, and a key set holds public keys alone")
            }
            Self::UnknownAlgorithm(alg) => write!(f, "`{alg}` is not one of ES256, EdDSA, RS256 and PS256"),
            Self::Critical => f.write_str("the header asks for an extension (`crit`) that is not known"),
            Self::UnknownKey(kid) => write!(f, "no key of the set is called `{kid}`"),
            Self::NoKeyId => {
                f.write_str("the header names no key (`kid`), and not exactly one could be meant")
            }
            Self::KeyKind(kind, alg) => {
                write!(f, "the header says {alg}, and the key that it names is {kind}")
            }
            Self::KeyAlgorithm(other, alg) => {
                write!(f, "the header says {alg}, and the key that it names is for `{other}`")
            }
            Self::SignatureLength(is, wanted) => write!(
                f,
                "the signature has {is} bytes and should have {wanted}; of ES256 it is r and s, not DER"
            ),
            Self::Signature => {
                f.write_str("the signature is not the key's: another signed it, or it was changed")
            }
            Self::Missing(claim) => write!(f, "there is no `{claim}`"),
            Self::WrongType(claim) => write!(f, "`{claim}` is of a wrong type"),
            Self::Expired(ago) => write!(f, "it expired {} s ago", ago.as_secs()),
            Self::NotYet(claim, ahead) => {
                write!(f, "by `{claim}` it counts in {} s; do the clocks agree?", ahead.as_secs().max(1))
            }
            Self::Issuer(issuer) => write!(f, "it is of issuer `{issuer}`"),
            Self::Audience(audiences) => write!(f, "it is for `{}`", audiences.join("`, `")),
        }
    }
}

impl std::error::Error for Flaw {}

#[cfg(test)]
mod tests;
