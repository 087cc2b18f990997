//! What should become of a probe, by what the signer's configuration says.

use serde::Serialize;

use super::mint::Mint;
use crate::config::signer::{BindSpec, ProfileSpec};

/// What should become of a probe.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Must {
    /// It is let in.
    Accept,
    /// It is not.
    Refuse,
    /// Either is right, because of this.
    Either(&'static str),
    /// There is nothing to try, because of this.
    Skip(&'static str),
}

/// A good token.
pub fn accept(_: &Mint<'_>) -> Must {
    Must::Accept
}

/// A bad one, whatever is configured.
pub fn refuse(_: &Mint<'_>) -> Must {
    Must::Refuse
}

/// Bad where the signer says who it is.
pub fn has_issuer(mint: &Mint<'_>) -> Must {
    if mint.setting.signer.issuer.is_some() { Must::Refuse } else { Must::Skip("the signer has no `issuer`") }
}

/// Bad where tokens are bound to this.
pub fn bound(mint: &Mint<'_>, part: BindSpec, otherwise: &'static str) -> Must {
    if mint.setting.binds(part) { Must::Refuse } else { Must::Skip(otherwise) }
}

/// Bad where tokens carry the body's hash.
pub fn binds_body(mint: &Mint<'_>) -> Must {
    if mint.setting.binds_body() { Must::Refuse } else { Must::Skip(NO_BODY) }
}

/// Bad where tokens are bound to anything.
pub fn is_bound(mint: &Mint<'_>) -> Must {
    match !mint.setting.signer.bind.is_empty() || mint.setting.binds_body() {
        true => Must::Refuse,
        false => Must::Skip("the signer binds nothing"),
    }
}

/// What is not bound is sent again by the gateway itself; so is a bound token, where
/// an attempt that failed is made again, but only once let in.
pub fn replay(mint: &Mint<'_>) -> Must {
    let is_native = mint.setting.signer.profile == ProfileSpec::Native;
    match (is_native && mint.setting.signer.bind.is_empty(), mint.allow_replay) {
        (true, _) => Must::Accept,
        (false, true) => Must::Either("--allow-replay"),
        (false, false) if !is_native => Must::Either("that plugin's verifiers need not remember tokens"),
        (false, false) => Must::Refuse,
    }
}

/// Why another method is not tried.
pub const NO_METHOD: &str = "not bound: who sees a token may use it with another method; `bind: [method]`";
/// Why another path is not tried.
pub const NO_PATH: &str = "not bound: who sees a token may use it for another path; `bind: [path]`";
/// Why another query is not tried.
pub const NO_QUERY: &str = "not bound: who sees a token may use it with another query; `bind: [query]`";
/// Why another host is not tried.
pub const NO_HOST: &str = "not bound: who sees a token may use it for another host; `bind: [path, host]`";
const NO_BODY: &str = "not bound: who sees a token may use it with another body; `bind: [body]`";
