//! Makes the tokens that probes send.
//!
//! A genuine token comes from the signer itself, as traffic's do. What is signed with
//! its key beside that is of no more use to anyone than the genuine tokens that the
//! upstream gets anyway: it expired, or begins after its end, or is for a name under
//! `.invalid`, or leaves something out. The one without `exp` names this upstream, which
//! takes it for ever only if it takes every token for ever. Everything else is signed
//! with keys that were made for this run.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
};

use boring::sha::sha256;
use serde_json::{Map, Value};

use super::{request::Request, setting::Setting};
use crate::{
    cli::jwt::part,
    config::signer::{Algorithm, BodyMode},
    jwt::{Consumer, Facts, Now, SignError, Signer, SigningKey, Target, Token},
};

/// What a part of a token is made of.
pub type Members = Map<String, Value>;

/// Makes tokens.
pub struct Mint<'a> {
    /// Whose they are.
    pub setting: &'a Setting,
    /// What they are for.
    pub request: Request,
    /// Whether the upstream need not remember tokens.
    pub allow_replay: bool,
    /// A key of the signer's kind that nobody trusts.
    pub stranger: SigningKey,
    /// One of another kind.
    pub other_kind: SigningKey,
    signer: &'a Signer,
}

/// A token as the gateway would send it.
pub struct Genuine<'a> {
    /// The token.
    pub token: String,
    /// Its header.
    pub header: Members,
    /// Its claims.
    pub claims: Members,
    /// What signed it.
    pub key: &'a SigningKey,
}

impl<'a> Mint<'a> {
    /// Makes the strangers' keys.
    ///
    /// # Errors
    /// BoringSSL's.
    pub fn new(setting: &'a Setting, request: Request, allow_replay: bool) -> io::Result<Self> {
        let algorithm = setting.signer.algorithm();
        let other = if algorithm.is_slow() { Algorithm::Es256 } else { Algorithm::Rs256 };
        let signer = setting.signers.iter().next().ok_or_else(lost)?;
        let stranger = SigningKey::generate(algorithm)?;
        let other_kind = SigningKey::generate(other)?;
        Ok(Self { setting, request, allow_replay, stranger, other_kind, signer })
    }

    /// The token of the request.
    ///
    /// # Errors
    /// The signer's.
    pub fn genuine(&self) -> io::Result<Genuine<'a>> {
        self.genuine_for(&self.request)
    }

    /// The token of another request.
    ///
    /// # Errors
    /// The signer's.
    pub fn genuine_for(&self, request: &Request) -> io::Result<Genuine<'a>> {
        let now = Now::read();
        let value = match self.signer.token(&self.facts(request), now).map_err(broken)? {
            Token::Ready(value) => value,
            Token::Draft(draft) => draft.sign().map_err(broken)?,
        };
        let text = value.to_str().map_err(|_| lost())?;
        let token = text.strip_prefix("Bearer ").unwrap_or(text).to_owned();
        let (header, claims) = part(&token, 0).zip(part(&token, 1)).ok_or_else(lost)?;
        let kid = header.get("kid").and_then(Value::as_str).unwrap_or_default();
        let mut keys = self.setting.signers.keys();
        let (_, _, key) = keys.find(|(_, _, key)| key.public.kid.as_str() == kid).ok_or_else(lost)?;
        Ok(Genuine { token, header, claims, key })
    }

    fn facts<'r>(&'r self, request: &'r Request) -> Facts<'r> {
        let setting = self.setting;
        let consumer = setting.consumer.as_deref().map(|id| Consumer { id, name: id });
        let is_unsigned = setting.signer.body.mode == BodyMode::Unsigned;
        Facts {
            upstream: &setting.upstream,
            route: &setting.route,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            zone: setting.zone.as_deref(),
            tenant: setting.tenant.as_deref(),
            vpc_endpoint: None,
            consumer,
            scope: None,
            certificate: None,
            token: None,
            request: Target {
                method: &request.method,
                scheme: request.scheme,
                host: &request.host,
                path: request.path.as_bytes(),
                query: request.query.as_deref().map(str::as_bytes),
            },
            body: (!is_unsigned).then(|| sha256(&request.body)),
        }
    }

    /// As it stands in the field.
    pub fn value(&self, token: &str) -> String {
        format!("{}{token}", if self.setting.signer.bearer { "Bearer " } else { "" })
    }
}

impl Genuine<'_> {
    /// Another token by the same key.
    ///
    /// # Errors
    /// The library's.
    pub fn signed(&self, header: &Members, claims: &Members) -> io::Result<String> {
        sign(self.key, header, claims)
    }

    /// The header with another member; `Null` takes it away.
    pub fn header_with(&self, name: &str, value: Value) -> Members {
        with(&self.header, name, value)
    }

    /// The claims with another member; `Null` takes it away.
    pub fn claims_with(&self, name: &str, value: Value) -> Members {
        with(&self.claims, name, value)
    }

    /// The claims as they were an hour ago.
    pub fn claims_of_the_past(&self) -> Members {
        let mut claims = self.claims.clone();
        for name in ["iat", "nbf", "exp"] {
            if let Some(at) = claims.get(name).and_then(Value::as_i64) {
                claims.insert(name.to_owned(), (at - HOUR).into());
            }
        }
        claims
    }

    /// The claims, to count in an hour: by then they have expired, so that nobody can
    /// keep the token until it is good.
    pub fn claims_of_the_future(&self) -> Members {
        let mut claims = self.claims.clone();
        let issued = claims.get("iat").and_then(Value::as_i64).unwrap_or_default();
        claims.insert("iat".to_owned(), (issued + HOUR).into());
        claims.insert("nbf".to_owned(), (issued + HOUR).into());
        claims
    }
}

/// A token of these parts by any key.
///
/// # Errors
/// The library's.
pub fn sign(key: &SigningKey, header: &Members, claims: &Members) -> io::Result<String> {
    key.compact(&json(header), &json(claims)).map_err(broken)
}

/// A part's bytes.
pub fn json(members: &Members) -> Vec<u8> {
    serde_json::to_vec(members).unwrap_or_default()
}

fn with(members: &Members, name: &str, value: Value) -> Members {
    let mut members = members.clone();
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
    members
}

fn broken(why: SignError) -> io::Error {
    io::Error::other(why)
}

fn lost() -> io::Error {
    io::Error::other("the signer's token could not be read back")
}

/// Seconds; far beyond what verifiers let clocks differ.
const HOUR: i64 = 3600;
