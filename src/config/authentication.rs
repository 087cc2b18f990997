//! `authentication`: the ways in which callers prove who they are, and which of them a
//! route asks for.

use std::fmt;

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

use super::{api_keys::ApiKeysSpec, client_certificate::ClientCertificateSpec, issuer::JwtSpec, types::Name};

/// A way in which callers prove who they are. Exactly one of `jwt`, `api_keys` and
/// `client_certificate` says which.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuthenticationSpec {
    /// Routes, logs and metrics call it by this name.
    pub name: Name,
    /// Tokens of an identity provider.
    #[serde(default)]
    pub jwt: Option<JwtSpec>,
    /// Keys that were given out.
    #[serde(default)]
    pub api_keys: Option<ApiKeysSpec>,
    /// Certificates that a listener's `client_auth` asked for and verified.
    #[serde(default)]
    pub client_certificate: Option<ClientCertificateSpec>,
}

/// Who vouches for the callers of a route: a list of names of `authentication`, any of
/// which is enough; `{ any: […] }`, the same; `{ all: […] }`, each of them; or
/// `anonymous`.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AuthenticateSpec {
    /// `anonymous`: nobody is asked who they are.
    Word(AnonymousSpec),
    /// Any of these; as `any`.
    List(Vec<Name>),
    /// How many of them.
    Kind(AuthenticateKindSpec),
}

/// Who vouches for the callers of a route, by how many of them have to.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthenticateKindSpec {
    /// The first of these to which the caller presents something; what is presented
    /// has to be good. With `anonymous` among them, who presents nothing gets in too.
    Any(Vec<Name>),
    /// Every one of these. The first says who asks.
    All(Vec<Name>),
}

/// Nobody is asked who they are.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnonymousSpec {
    /// `anonymous`.
    Anonymous,
}

impl AuthenticateSpec {
    /// The names, `anonymous` among them, with the key below `authenticate` that they
    /// stand at.
    pub fn names(&self) -> (&str, &[Name]) {
        match self {
            Self::Word(_) => ("", &[]),
            Self::List(names) => ("", names),
            Self::Kind(AuthenticateKindSpec::Any(names)) => ("any", names),
            Self::Kind(AuthenticateKindSpec::All(names)) => ("all", names),
        }
    }

    /// Whether each of the names has to vouch.
    pub fn needs_all(&self) -> bool {
        matches!(self, Self::Kind(AuthenticateKindSpec::All(_)))
    }

    /// Whether who presents nothing gets in.
    pub fn admits_anonymous(&self) -> bool {
        let anonymous = |name: &Name| name.as_str() == ANONYMOUS;
        matches!(self, Self::Word(_)) || (!self.needs_all() && self.names().1.iter().any(anonymous))
    }
}

// By hand: of an untagged enum serde only tells that nothing fits.
impl<'de> Deserialize<'de> for AuthenticateSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AuthenticateVisitor)
    }
}

struct AuthenticateVisitor;

impl<'de> Visitor<'de> for AuthenticateVisitor {
    type Value = AuthenticateSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a list of names of `authentication`, one of `{ any: […] }`, `{ all: […] }`, or `anonymous`",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<AuthenticateSpec, E> {
        match text {
            ANONYMOUS => Ok(AuthenticateSpec::Word(AnonymousSpec::Anonymous)),
            other => Err(E::custom(format!("write `[{other}]`, a list; the only word is `anonymous`"))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<AuthenticateSpec, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(AuthenticateSpec::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AuthenticateSpec, A::Error> {
        let one = || A::Error::custom("write exactly one of: any, all");
        let kind = match map.next_key()?.ok_or_else(one)? {
            KindKey::Any => AuthenticateKindSpec::Any(map.next_value()?),
            KindKey::All => AuthenticateKindSpec::All(map.next_value()?),
        };
        match map.next_key::<KindKey>()? {
            None => Ok(AuthenticateSpec::Kind(kind)),
            Some(_) => Err(one()),
        }
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum KindKey {
    Any,
    All,
}

/// An entry's place in [`Config::authentication`](super::Config::authentication): what
/// the rest of a snapshot knows it by.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AuthenticatorIndex(pub usize);

/// What stands for nobody's vouching; no entry can have this name.
pub const ANONYMOUS: &str = "anonymous";
