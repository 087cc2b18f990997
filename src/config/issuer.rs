//! `authentication[].jwt`: tokens of an identity provider, and where the keys that
//! verify them come from.

use std::{fmt, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::types::{FieldName, HttpUrl, Span};

/// Tokens of an identity provider: JSON Web Tokens, signed with keys of a key set.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct JwtSpec {
    /// `iss`: who made the token, letter by letter as it stands there.
    pub issuer: String,
    /// `aud`: one of these has to be in it. May be left out only where `require` says
    /// for whom a token is: access tokens of Amazon Cognito have no `aud`, and say
    /// `client_id`.
    #[serde(default)]
    pub audience: Vec<String>,
    /// The URL of the provider's key set. Without `jwks` and `jwks_file` it is the
    /// `jwks_uri` of the issuer's `/.well-known/openid-configuration`.
    #[serde(default)]
    pub jwks: Option<HttpUrl>,
    /// A file with the key set, in the place of `jwks`. It is read again when it changes.
    #[serde(default)]
    pub jwks_file: Option<PathBuf>,
    /// The authorities, in PEM, that the certificate of the key set's server has to come
    /// from. Default: the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Whether keys may come without TLS from another machine than this one: whoever
    /// sits between can then make tokens for everyone.
    #[serde(default)]
    pub insecure_http: bool,
    /// The signature algorithms that count. An algorithm takes keys of its own kind
    /// alone, whatever a token says.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<TokenAlgorithm>,
    /// So long a token counts after its `exp` and before its `nbf`, `1s` to `5m`:
    /// clocks differ.
    #[serde(default = "half_a_minute")]
    pub leeway: Span,
    /// Claims that have to be there.
    #[serde(default)]
    pub require: Vec<RequiredClaim>,
    /// Scopes that all have to be in `scope` or `scp`; else 403 tells the client which.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// `typ` of the token's header: one of these, without regard to case, as `at+jwt`.
    /// Default: any.
    #[serde(default)]
    pub typ: Vec<String>,
    /// The claim that says who asks: limits, rules, logs and signers call the consumer
    /// by it.
    #[serde(default = "subject")]
    pub consumer: String,
    /// The header field that carries the token. In `Authorization` it stands after
    /// `Bearer `.
    #[serde(default = "authorization")]
    pub header: FieldName,
    /// The cookie that carries the token, in the place of `header`.
    #[serde(default)]
    pub cookie: Option<String>,
    /// Whether the upstream gets the token too.
    #[serde(default)]
    pub forward: bool,
    /// How often the key set is fetched: ahead of every request, in the background.
    #[serde(default = "ten_minutes")]
    pub refresh_every: Span,
    /// A token whose key is not known has the key set fetched at once, but so long after
    /// the last time at the earliest.
    #[serde(default = "half_a_minute")]
    pub refetch_after: Span,
    /// How long fetching it may take, looking its host up included; requests with an
    /// unknown key wait so long at the most.
    #[serde(default = "three_seconds")]
    pub timeout: Span,
    /// So long the last good key set serves while it cannot be fetched; then nobody's
    /// token can be verified, and the answer is 503.
    #[serde(default = "a_day")]
    pub serve_stale_for: Span,
    /// How long a verified token is known again without another look at its signature.
    /// It never counts beyond its `exp`, nor longer than its key stands in the key set.
    #[serde(default = "five_minutes")]
    pub cache_for: Span,
    /// How many verified tokens are known at once, 0 for none. Each takes 2 KiB or so.
    #[serde(default = "eight_thousand")]
    pub cache_tokens: u32,
}

/// A claim that has to be in a token.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RequiredClaim {
    /// Its name; `a.b` where there is no such claim means `b` inside of `a`.
    pub claim: String,
    /// It has to be one of these, or a list that has one of them. Default: anything.
    #[serde(default)]
    pub one_of: Vec<String>,
}

/// A signature algorithm with a key pair (RFC 7518, RFC 8037). Those with a shared secret
/// are not among them: who verifies could sign.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[allow(missing_docs)]
pub enum TokenAlgorithm {
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "ES384")]
    Es384,
    #[serde(rename = "ES512")]
    Es512,
    #[serde(rename = "EdDSA")]
    EdDsa,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "RS384")]
    Rs384,
    #[serde(rename = "RS512")]
    Rs512,
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "PS384")]
    Ps384,
    #[serde(rename = "PS512")]
    Ps512,
}

impl TokenAlgorithm {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
    ];

    /// As `alg` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
        }
    }

    /// The one of this name, letter by letter.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

impl fmt::Display for TokenAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What providers use; each is good. Longer ones are written by who has them.
fn algorithms() -> Vec<TokenAlgorithm> {
    vec![TokenAlgorithm::Rs256, TokenAlgorithm::Es256, TokenAlgorithm::Ps256, TokenAlgorithm::EdDsa]
}

fn subject() -> String {
    "sub".to_owned()
}

fn authorization() -> FieldName {
    // The literal is well-formed.
    "Authorization".parse().unwrap_or_else(|_| unreachable!())
}

fn three_seconds() -> Span {
    Span::secs(3)
}

fn half_a_minute() -> Span {
    Span::secs(30)
}

fn five_minutes() -> Span {
    Span::secs(300)
}

fn ten_minutes() -> Span {
    Span::secs(600)
}

fn a_day() -> Span {
    Span::secs(86_400)
}

fn eight_thousand() -> u32 {
    8192
}
