//! What is told of a request: plain data, as JSON and for a table.
//!
//! Decides nothing. A section that a request does not come to is absent: what is
//! refused by the gate has no route, what no route takes has no upstream.

use serde::{Deserialize, Serialize};

/// What the gateway would do with a request, and why.
#[derive(Debug, Deserialize, Serialize)]
pub struct Explanation {
    /// The snapshot that was asked; 0 is one that serves nobody.
    pub generation: u64,
    /// The zone of the gateway, from which distances are counted, if it is known.
    pub zone: Option<String>,
    /// The request.
    pub request: RequestTold,
    /// Who asks.
    pub principal: PrincipalTold,
    /// Which routes there are for it; absent where none was looked for.
    pub routing: Option<RoutingTold>,
    /// Who may use the route that won.
    pub access: Option<AccessTold>,
    /// Who has to vouch for its callers; absent where nobody has to.
    #[serde(default)]
    pub authentication: Option<AuthenticationTold>,
    /// The limits that are asked, in their order.
    #[serde(default)]
    pub limits: Vec<LimitTold>,
    /// The largest body that the route takes, in bytes.
    pub max_body: Option<u64>,
    /// What the route does.
    pub action: Option<ActionTold>,
    /// Every upstream that it can be sent to.
    pub upstreams: Vec<UpstreamTold>,
    /// What was made up where files alone are asked.
    pub notes: Vec<String>,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// Who has to vouch for callers, and who did.
#[derive(Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct AuthenticationTold {
    /// `any`, `any, or nobody`, or `all`.
    pub needs: String,
    /// Of these.
    pub of: Vec<String>,
    /// Who did.
    pub vouched: Option<String>,
    pub consumer: Option<String>,
    /// What is wrong with what is presented.
    pub flaw: Option<String>,
}

/// A limit, as it stands for this request; it is not taken from.
#[derive(Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct LimitTold {
    pub name: String,
    /// Whether it refuses, or only counts what it would.
    pub enforced: bool,
    /// `admits`, `does not hold`, or the flag of its refusal.
    pub says: String,
    /// The hash of the request's key; absent where all count together.
    pub key: Option<String>,
    /// What the request takes of a rate.
    pub cost: Option<u32>,
    /// How much is left.
    pub remaining: Option<u32>,
    /// The most that can be left.
    pub most: u32,
    /// Until all of it is there again; absent where it is.
    pub whole_in_seconds: Option<u64>,
}

/// The request as it goes on.
#[derive(Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct RequestTold {
    pub method: String,
    pub host: String,
    pub path: String,
    pub query: Option<String>,
    /// The path as it was written, where it goes on in another spelling.
    pub written_path: Option<String>,
    /// The path as routes see it, where that is in another spelling again.
    #[serde(default)]
    pub seen_path: Option<String>,
    /// The length of its body, where the header tells it.
    pub body_bytes: Option<u64>,
}

/// Who asks.
#[derive(Debug, Deserialize, Serialize)]
pub struct PrincipalTold {
    /// The client, behind every trusted proxy.
    pub address: String,
    /// Whom the connection is from, where that is a trusted proxy.
    pub sender: Option<String>,
    /// The VPC endpoint.
    pub vpc_endpoint: Option<String>,
    /// Whose endpoint or key it is; absent without one, and where it is of no tenant.
    pub tenant: Option<String>,
}

/// Which routes there are for a request.
#[derive(Debug, Deserialize, Serialize)]
pub struct RoutingTold {
    /// The route that takes it.
    pub winner: Option<RouteTold>,
    /// Routes whose host and path take it too, in order of precedence.
    pub losers: Vec<LoserTold>,
    /// How many more of them there are.
    pub more_losers: usize,
    /// Routes of which only the host or only the path takes it, nearest first.
    pub near: Vec<LoserTold>,
    /// How many more of them there are.
    pub more_near: usize,
    /// Where no host pattern takes it: which one may have been meant.
    pub hosts: Option<String>,
}

/// A route that takes a request.
#[derive(Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct RouteTold {
    pub name: String,
    /// The host pattern and the path matcher.
    pub by: String,
    /// Where it is written.
    pub source: String,
}

/// A route that does not.
#[derive(Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct LoserTold {
    pub name: String,
    /// The host pattern and the path matcher that came nearest.
    pub by: String,
    pub why: String,
}

/// Who may use a route.
#[derive(Debug, Deserialize, Serialize)]
pub struct AccessTold {
    /// These callers alone: tenants by their name, others as `consumer alice`; absent is
    /// everyone.
    pub allow: Option<Vec<String>>,
    /// Not these.
    pub deny: Vec<String>,
    /// Whether this request gets in.
    pub admits: bool,
    /// Which rule refuses this request, as `allow.scopes`.
    #[serde(default)]
    pub rule: Option<String>,
}

/// What a route does.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionTold {
    /// It sends the client elsewhere.
    #[allow(missing_docs)]
    Redirect { status: u16, location: String },
    /// It answers itself.
    #[allow(missing_docs)]
    Respond { status: u16, body_bytes: usize, content_type: String },
    /// It answers with the public keys of every signer.
    KeySet,
    /// It sends the request upstream.
    Forward(ForwardTold),
}

/// How a route sends a request upstream.
#[derive(Debug, Deserialize, Serialize)]
pub struct ForwardTold {
    /// Whom it draws from.
    pub split: Vec<ShareTold>,
    /// What goes before the draw, in order.
    pub overrides: Vec<OverrideTold>,
    /// What keeps a client on its side, and whether the request has it.
    pub sticky: Option<StickyTold>,
    /// The path that the upstream gets; absent where the rewrite makes none.
    pub path: Option<String>,
    /// The host that the upstream gets.
    pub host: String,
    /// The token that the upstream gets; absent where nobody signs.
    #[serde(default)]
    pub signed: Option<SignedTold>,
}

/// Who signs for a request.
#[derive(Debug, Deserialize, Serialize)]
pub struct SignedTold {
    /// The signer's name.
    pub signer: String,
    /// The field that carries the token.
    pub header: String,
    /// How it is signed.
    pub algorithm: String,
    /// Which claims it has, as far as they are known of the request.
    pub claims: Vec<String>,
}

/// A part of a split.
#[derive(Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct ShareTold {
    pub upstream: String,
    pub weight: u64,
    /// Of the route's requests that are drawn.
    pub share: f64,
}

/// An override of a split.
#[derive(Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct OverrideTold {
    /// What it looks for.
    pub by: String,
    pub upstream: String,
    /// Whether the request has it; the first that applies decides.
    pub applies: bool,
}

/// The sticky key of a split.
#[derive(Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct StickyTold {
    pub by: String,
    /// Without it the request is drawn.
    pub has_key: bool,
}

/// An upstream that a request can be sent to.
#[derive(Debug, Deserialize, Serialize)]
pub struct UpstreamTold {
    /// Its name.
    pub name: String,
    /// Of requests like this one.
    pub share: f64,
    /// Too few endpoints are in service anywhere.
    pub panic: bool,
    /// Why it takes no request now.
    pub refuses: Option<RefusalTold>,
    /// How long, at most, a request waits for room now; absent where it need not,
    /// or may not.
    pub waits_ms: Option<u64>,
    /// How endpoints are balanced by a key, where they are.
    pub hash: Option<HashTold>,
    /// What is tried again.
    pub retries: RetriesTold,
    /// Nearest first.
    pub tiers: Vec<TierTold>,
    /// Endpoints of weight 0: never picked.
    pub never: Vec<EndpointTold>,
}

/// A status and its flag word.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct RefusalTold {
    pub status: u16,
    pub flag: String,
}

/// A key that decides among endpoints.
#[derive(Debug, Deserialize, Serialize)]
pub struct HashTold {
    /// What is hashed.
    pub by: String,
    /// Whether the request has it; without it any endpoint is drawn.
    pub has_key: bool,
    /// Where this key goes now.
    pub endpoint: Option<String>,
}

/// What is tried again.
#[derive(Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct RetriesTold {
    /// Attempts in all.
    pub attempts: u8,
    /// As `connect`, `reset`, `503`.
    pub on: Vec<String>,
    pub per_try_timeout_ms: Option<u64>,
    /// Whether a request of this method may be sent twice; else only what was
    /// never sent is tried again.
    pub repeatable: bool,
}

/// A tier.
#[derive(Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct TierTold {
    pub tier: String,
    /// Of the upstream's traffic.
    pub share: f64,
    /// Of its weight.
    pub in_service: f64,
    pub endpoints: Vec<EndpointTold>,
    /// How many more there are.
    pub more: usize,
}

/// An endpoint.
#[derive(Debug, Deserialize, Serialize)]
#[allow(missing_docs)]
pub struct EndpointTold {
    pub address: String,
    pub zone: Option<String>,
    pub weight: u16,
    /// Of the upstream's traffic.
    pub share: f64,
    /// What it is, in a word or two.
    pub state: String,
    /// What probes say; absent when nobody asks.
    pub health: Option<String>,
    pub ejected_seconds: Option<f64>,
    pub in_flight: u32,
}

/// What becomes of a request.
#[derive(Debug, Deserialize, Serialize)]
pub struct Verdict {
    /// The status that the gateway answers with itself; absent where the upstream
    /// answers.
    pub status: Option<u16>,
    /// The flag word of a refusal.
    pub flag: Option<String>,
    /// The upstreams that it can be forwarded to.
    pub upstreams: Vec<String>,
    /// The same in a sentence.
    pub text: String,
}
