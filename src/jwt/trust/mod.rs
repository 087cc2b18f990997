//! Verifies tokens that identity providers made for clients.
//!
//! `compact` takes a token apart, `json` reads its objects, `key` and `key_set` are what
//! it is verified with, `claims` is what it has to say, `verifier` all of that with what
//! was verified before; `credential` finds it in a request. Keys are in a [`KeySource`],
//! which outlives snapshots in [`TrustLive`]; `document` and `rounds` fetch them,
//! on the thread of a [`KeyFetcher`].
//!
//! Always holds: nothing that a token says picks what it is verified with, but which key
//! of the issuer's own set; a token is never good for longer than its `exp` and its key;
//! and no request waits for an issuer, but one whose key nobody knows yet, for a bounded
//! time.
//!
//! BoringSSL verifies, and no crate for tokens: the gateway has it for TLS and for its
//! own tokens, keys are parsed once for each key set instead of once for each token as
//! `jsonwebtoken`'s providers do, and those crates bring a second set of algorithms
//! (aws-lc, or RustCrypto's `rsa`, RUSTSEC-2023-0071). What is left of a crate then is
//! `compact` and `claims`.

mod claims;
mod compact;
mod credential;
mod document;
mod fetcher;
mod json;
mod key;
mod key_set;
mod live;
mod refused;
mod rounds;
mod source;
mod verifier;

pub use claims::claim;
pub use credential::Presented;
pub use fetcher::KeyFetcher;
pub use live::{Built, Remembered, TrustLive};
pub use refused::Refused;
pub use source::{KeySource, SourceView};
pub use verifier::{Verified, Verifier};

pub mod oracle;

#[cfg(test)]
mod tests;
