//! `signers`: who vouches for a request towards its upstream, with which keys and
//! which claims.

use std::{fmt, path::PathBuf};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    server::networks,
    types::{ByteSize, FieldName, Name, Span},
};

/// Signs a JSON Web Token for each request of the routes that name it. A header
/// field of this name that a client sends never reaches an upstream.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SignerSpec {
    /// Routes, logs and metrics call it by this name.
    pub name: Name,
    /// Whose claims it writes.
    #[serde(default)]
    pub profile: ProfileSpec,
    /// How it signs. Default: `ES256`; `RS256` with profile `kong_upstream_jwt`.
    #[serde(default)]
    pub algorithm: Option<Algorithm>,
    /// The header field that carries the token.
    #[serde(default = "jwt")]
    pub header: FieldName,
    /// Whether `Bearer ` stands before the token.
    #[serde(default)]
    pub bearer: bool,
    /// `iss`: who this gateway is for upstreams, as `https://gateway.example.com`.
    /// Profile `native` needs it.
    #[serde(default)]
    pub issuer: Option<String>,
    /// `aud`: for whom the token is. Default: the name of the upstream that gets it.
    #[serde(default)]
    pub audience: Option<String>,
    /// How long a token counts, `5s` to `300s`. Default: `30s`; `60s` with profile
    /// `kong_upstream_jwt`.
    #[serde(default)]
    pub ttl: Option<Span>,
    /// A folder of private keys, a PEM file each: `NAME.pem` or `NAME.key`. Of systemd's
    /// credentials `credential:NAME`, where the unit says `LoadCredential=NAME:FOLDER`.
    pub keys: PathBuf,
    /// How long a new key is published before it signs; longer than verifiers keep
    /// the key set, and than it takes until every gateway has the key.
    #[serde(default = "ten_minutes")]
    pub publish_for: Span,
    /// Who verifies. Once all of them fetched the key set since a key appeared, it
    /// signs before `publish_for` has passed. Each gateway knows who fetched from it
    /// alone: where they ask several for the key set, give them the key together.
    #[serde(default)]
    pub verifiers: Vec<VerifierSpec>,
    /// What it says of a request beside `iss`, `aud`, `sub`, `iat`, `nbf`, `exp` and `jti`.
    #[serde(default)]
    pub claims: Vec<ClaimSpec>,
    /// What of a request its token is for: with any of these each request has a
    /// token of its own, without one a token is used again for half of its life.
    #[serde(default)]
    pub bind: Vec<BindSpec>,
    /// How the body's hash comes into the token, with `body` in `bind` and with
    /// profile `kong_upstream_jwt`.
    #[serde(default)]
    pub body: BodySpec,
}

impl SignerSpec {
    /// How it signs, as written or by default.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm.unwrap_or(match self.profile {
            ProfileSpec::Native => Algorithm::Es256,
            ProfileSpec::KongUpstreamJwt => Algorithm::Rs256,
        })
    }

    /// How long a token counts, as written or by default.
    pub fn ttl(&self) -> Span {
        self.ttl.unwrap_or(match self.profile {
            ProfileSpec::Native => Span::secs(30),
            // As the plugin has it, fixed.
            ProfileSpec::KongUpstreamJwt => Span::secs(60),
        })
    }

    /// Whether its tokens carry the hash of a body.
    pub fn binds_body(&self) -> bool {
        self.profile == ProfileSpec::KongUpstreamJwt || self.bind.contains(&BindSpec::Body)
    }
}

/// Whose claims a signer writes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileSpec {
    /// Tollgate's own.
    #[default]
    Native,
    /// Those of Kong's plugin `kong-upstream-jwt`, for upstreams that verify them
    /// today: `aud iss iat exp jti consumerid consumername payloadhash`, and the
    /// certificate in `x5c`. Each key's file holds its certificate too.
    KongUpstreamJwt,
}

/// A signature algorithm of RFC 7518 and RFC 8037.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSA, PKCS #1 v1.5, with SHA-256. 25 times the price of the others.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSA, PSS, with SHA-256. The price of `RS256`.
    #[serde(rename = "PS256")]
    Ps256,
}

impl Algorithm {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Es256, Self::EdDsa, Self::Rs256, Self::Ps256];

    /// As `alg` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    /// Whether a signature holds a worker up so long (634 µs with 2048 bits, where
    /// the others take 23 to 27) that others would wait behind it.
    pub fn is_slow(self) -> bool {
        matches!(self, Self::Rs256 | Self::Ps256)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Someone who verifies tokens.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct VerifierSpec {
    /// What `tollgate keys status` calls it.
    pub name: Name,
    /// From where it fetches the key set.
    #[schemars(with = "Vec<String>")]
    #[serde(deserialize_with = "networks")]
    pub networks: Vec<IpNet>,
    /// From how many addresses of these the key set has to be fetched before this
    /// verifier has it, 1 to 64: as many as it has instances, where each asks from an
    /// address of its own. One that is started anew comes from another and is counted
    /// twice; behind one NAT all are one, so that `publish_for` alone counts.
    #[serde(default = "one")]
    pub instances: u8,
}

/// Something that a signer says of a request; what is not known is left out.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimSpec {
    /// `tenant`: the tenant's name.
    Tenant,
    /// `vpce`: the id of the VPC endpoint.
    Vpce,
    /// `consumer`: who was authenticated.
    Consumer,
    /// `client_ip`: the client's address.
    ClientIp,
    /// `zone`: where this gateway runs.
    Zone,
    /// `route`: the route's name.
    Route,
    /// `scope`: what the client's own token allows (RFC 8693).
    Scope,
    /// `cnf.x5t#S256`: the SHA-256 of the client's certificate (RFC 8705).
    ClientCertificate,
    /// This claim of the client's verified token, under its own name.
    Token(String),
}

/// A part of a request that a token is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BindSpec {
    /// `htm`: the method.
    Method,
    /// `htu`: the path that the upstream gets, without the query.
    Path,
    /// `qh`: the hash of the query that the upstream gets.
    Query,
    /// `htu` is then the whole URL, with scheme and host. Needs `path`.
    Host,
    /// `bh`: the hash of the body.
    Body,
}

/// How the hash of a body comes into a token.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BodySpec {
    /// Where the hash is from.
    pub mode: BodyMode,
    /// The largest body with `buffer`; above it 413.
    pub max: ByteSize,
    /// How much may be held with `buffer` by all requests of the signer together; above
    /// it 503, so that no number of clients takes all of the memory.
    pub max_held: ByteSize,
    /// How much of that one tenant may hold, or one client (an address, and the VPC
    /// endpoint that it is behind) who is no tenant's; above it 503, for that one alone.
    pub max_held_per_client: ByteSize,
}

impl Default for BodySpec {
    fn default() -> Self {
        Self {
            mode: BodyMode::Buffer,
            max: ByteSize::new(1 << 20),
            // 256 of the largest default size.
            max_held: ByteSize::new(256 << 20),
            // A quarter: it takes four to fill it, and one of the largest `max` has room.
            max_held_per_client: ByteSize::new(64 << 20),
        }
    }
}

/// Where the hash of a body is from.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyMode {
    /// The body is read whole before the request goes on.
    #[default]
    Buffer,
    /// The client says it in `Content-Digest` (RFC 9530); a body that is not of
    /// this hash ends the upstream's request before its last byte.
    Digest,
    /// There is none, and the token says `UNSIGNED`.
    Unsigned,
}

/// A signer's place in [`Config::signers`](super::Config::signers): what the rest
/// of a snapshot knows it by.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SignerIndex(pub usize);

fn jwt() -> FieldName {
    // The literal is well-formed.
    "JWT".parse().unwrap_or_else(|_| unreachable!())
}

/// So many addresses of a verifier are told from each other.
pub const MOST_INSTANCES: u8 = 64;

fn one() -> u8 {
    1
}

fn ten_minutes() -> Span {
    Span::secs(600)
}
